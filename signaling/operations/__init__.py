"""What goes on: live calls and those that ended, hubs and relays with their load, figures of the last day; and what operators do about it."""
