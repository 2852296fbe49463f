"""Consent: what users allowed, when, and under which text."""
