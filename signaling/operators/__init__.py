"""Operators: people who look after the service and its users. Who they are, how they sign in, what they may do, and the record of what they did."""
