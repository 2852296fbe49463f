"""Calls on hostile networks: a lab of network namespaces, real browsers in it, and what must connect."""
