"""Real browsers, real pages, real calls."""
