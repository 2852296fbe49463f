"""A Python client of the protocol: for tests, benches, and anyone who wants to call from code."""
