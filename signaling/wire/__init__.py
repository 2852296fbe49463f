"""The protocol ``kloudtalk.v1`` as data: every message, every REST body, every error code. Imports nothing of ours."""
