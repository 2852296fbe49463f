"""Accounts: registration, verification, devices, sessions, links."""
