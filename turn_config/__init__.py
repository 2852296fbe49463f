"""STUN and TURN: time-limited credentials and the ladder for one client. Never imports ``signaling``."""
