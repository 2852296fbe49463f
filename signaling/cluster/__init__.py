"""Many hubs as one service: who is alive, which hub a device is on, and how hubs tell each other things. They share only Redis and SQL."""
