"""Contacts: private discovery, the live address book, matches, blocks."""
