"""Presence (P16): online and last seen, recorded and shown only as each user's settings allow."""
