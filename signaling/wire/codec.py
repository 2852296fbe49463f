"""Frames to messages and back. Decoding validates every bound; nothing that a client sends can raise anything but ``Refused``."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.messages import ClientMessage, ServerMessage

_client: Final[msgspec.json.Decoder[ClientMessage]] = msgspec.json.Decoder(ClientMessage)
_server: Final[msgspec.json.Decoder[ServerMessage]] = msgspec.json.Decoder(ServerMessage)
_encoder: Final = msgspec.json.Encoder()


class _Envelope(msgspec.Struct):
    """The part of a frame that an answer needs, read without validating the rest."""

    type: str | None = None
    id: int | None = None


_envelope: Final = msgspec.json.Decoder(_Envelope)
_types: Final = frozenset(struct.__struct_config__.tag for struct in ClientMessage.__args__)


class BadFrame(NamedTuple):
    """A frame that could not be accepted: which request it was, if that much could be read, and why."""

    re: int | None
    refused: Refused


def decode_client(frame: bytes | str | memoryview) -> ClientMessage | BadFrame:
    """Decode one frame from a client. Never raises: what is wrong comes back as ``BadFrame``."""
    try:
        return _client.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return _explain(frame, error)


def _explain(frame: bytes | str | memoryview, error: Exception) -> BadFrame:
    """Say what is wrong with a frame, in terms of the protocol and without repeating its content."""
    try:
        envelope = _envelope.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return BadFrame(None, Refused(ErrorCode.MALFORMED))
    re = envelope.id if envelope.id is not None and 0 <= envelope.id < 2**53 else None
    if envelope.type is None:
        return BadFrame(re, Refused(ErrorCode.MALFORMED, "`type` is missing"))
    if envelope.type not in _types:
        return BadFrame(re, Refused(ErrorCode.UNKNOWN_TYPE))
    if isinstance(error, msgspec.ValidationError):
        return BadFrame(re, Refused(ErrorCode.INVALID, describe(error)))
    return BadFrame(re, Refused(ErrorCode.MALFORMED))


def describe(error: msgspec.ValidationError) -> str:
    """The validation error's own words: the constraint and the path of the field; msgspec puts no values into them but ids of tags."""
    text = str(error)
    return text if len(text) <= 200 and "Invalid value" not in text else "a field has a value that is not allowed"


def holds_nul(raw: bytes, decoded: Any) -> bool:
    """Whether a text in what was decoded holds U+0000: JSON can say it (RFC 8259, section 7), PostgreSQL cannot keep it."""
    if b"\\u0000" not in raw:  # the only way to say it
        return False
    waiting = [msgspec.to_builtins(decoded)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if "\0" in value:
                return True
        elif isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


def decode_server(frame: bytes | str) -> ServerMessage:
    """Decode one frame from a hub (for clients). Raises ``msgspec.DecodeError``."""
    return _server.decode(frame)


encode: Final[Callable[[msgspec.Struct], bytes]] = _encoder.encode
"""Encodes one message as the text of a frame, in UTF-8."""
