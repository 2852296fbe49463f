"""What hubs tell each other: one Struct per message, as MessagePack. Never seen outside, so fields may come and go with a rolling
upgrade: unknown messages are dropped, and every notice is a hint whose truth is in Redis or SQL.
"""

from typing import Final

import msgspec
from msgspec import Struct


class Text(Struct, frozen=True, array_like=True, tag="t"):
    """Hand an encoded message to a device."""

    device: str
    text: bytes


class AccountText(Struct, frozen=True, array_like=True, tag="a"):
    """Hand an encoded message to every device of an account, except one."""

    account: str
    text: bytes
    but: str = ""


class Replaced(Struct, frozen=True, array_like=True, tag="r"):
    """A device has connected to another hub: close its socket here."""

    device: str


class PairChanged(Struct, frozen=True, array_like=True, tag="p"):
    """The calls between two accounts changed: the new state, where their devices are, and what to tell yours."""

    accounts: tuple[str, str]
    state: bytes
    nodes: dict[str, str]
    texts: list[Text]


class Resync(Struct, frozen=True, array_like=True, tag="s"):
    """Send ``sync`` to these devices: what they know may be old."""

    devices: list[str]


class DevicesRemoved(Struct, frozen=True, array_like=True, tag="d"):
    """Devices of an account are no more: their sessions, sockets and calls end."""

    account: str
    devices: list[str]


class Restricted(Struct, frozen=True, array_like=True, tag="f"):
    """An account was frozen, or unfrozen."""

    account: str
    devices: list[str]
    restricted: bool


class Blocked(Struct, frozen=True, array_like=True, tag="b"):
    """An operator blocked an account, or unblocked it."""

    account: str
    devices: list[str]
    blocked: bool


class Renewed(Struct, frozen=True, array_like=True, tag="n"):
    """Sessions of these devices are to be read anew (a number changed, a policy was acknowledged): they reconnect."""

    devices: list[str]


class Invalidated(Struct, frozen=True, array_like=True, tag="i"):
    """Settings, devices, address book or blocks of an account changed: forget what you remember of it."""

    account: str


class Joined(Struct, frozen=True, array_like=True, tag="j"):
    """A hub has started: it need not be found at the next renewal only."""

    node: str


class Drain(Struct, frozen=True, array_like=True, tag="q"):
    """An operator wants this hub to hand its clients over to the others, and end."""


class Missed(Struct, frozen=True, array_like=True, tag="m"):
    """Notices to this hub were dropped, for there were too many: make up for them."""


BusMessage = (
    Text
    | AccountText
    | Replaced
    | PairChanged
    | Resync
    | DevicesRemoved
    | Restricted
    | Blocked
    | Renewed
    | Invalidated
    | Joined
    | Missed
    | Drain
)
"""Everything that may be on the bus."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[BusMessage]] = msgspec.msgpack.Decoder(BusMessage)


def encode_bus(message: BusMessage) -> bytes:
    """One message as bytes."""
    return _encoder.encode(message)


def decode_bus(data: bytes) -> BusMessage | None:
    """One message; None for what a hub of another version sent and this one does not know."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError:
        return None
