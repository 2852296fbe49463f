"""What operators see of a running process: metrics, logs, health, traces. Features count with ``counting``; the rest reads what they counted."""
