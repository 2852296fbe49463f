"""WebSocket framing of what the hub sends (RFC 6455, section 5.2): text in one frame, unmasked. Pure."""

from typing import Final

_SHORT: Final = tuple(bytes((0x81, length)) for length in range(126))


def text_frame(payload: bytes) -> bytes:
    """The bytes on the wire of a text message; ``payload`` is UTF-8."""
    length = len(payload)
    if length < 126:
        return _SHORT[length] + payload
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload
