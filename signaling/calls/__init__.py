"""1:1 calls: the pure machine, its service and store, the history."""
