"""Packets in a stream of TCP: each after its length in 16 bits (RFC 4571), as ICE has it (RFC 6544, section 3). Pure."""

from collections.abc import Iterator
from typing import Final

_CHUNK: Final = 2_048
"""Bytes read at once: what one turn of the event loop can cost."""


class FrameError(ValueError):
    """A packet that is longer than any of a call: what comes after it cannot be told apart."""


def framed(packet: bytes) -> bytes:
    """A packet with its length."""
    return len(packet).to_bytes(2, "big") + packet


class Deframer:
    """Takes a stream apart. It holds one packet that is not whole yet, and no more.

    Args:
        limit: bytes of the longest packet.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self.chunk = bytearray(_CHUNK)
        """Where the next bytes of the stream are to be written; then ``take``."""

    def take(self, size: int) -> Iterator[bytes]:
        """The packets that are whole with ``size`` more bytes of ``chunk``, empty ones too. Raises ``FrameError`` when it gets to a longer
        one; nothing may be taken after that.
        """
        held = self._held
        held += memoryview(self.chunk)[:size]
        at = 0
        while len(held) - at >= 2:
            end = at + 2 + (held[at] << 8 | held[at + 1])
            if end - at - 2 > self._limit:
                raise FrameError
            if end > len(held):
                break
            yield bytes(held[at + 2 : end])
            at = end
        del held[:at]
