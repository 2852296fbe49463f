"""The edge: WebSocket sessions, REST plumbing, authentication, origin checks, rate limits, errors to statuses."""
