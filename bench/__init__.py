"""Benchmarks: each prints progress on stderr and one JSON object as the last line of stdout. ``docs/benchmarks.md`` explains them."""
