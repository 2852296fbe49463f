"""Operators: people who answer users and act on written requests. Each has a name and a secret; what they do is on record."""
