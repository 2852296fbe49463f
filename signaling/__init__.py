"""KloudTalk's hub: sets up end-to-end encrypted voice calls between contacts, and never learns what they say."""

__version__ = "0.1.0"
