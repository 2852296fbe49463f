"""Waking devices that have no socket: web push, APNs, FCM. A push says "wake up" and nothing else (P10, P17)."""
