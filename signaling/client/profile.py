"""What a Python client keeps: its session and keys, in one file that only its owner may read."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from signaling.client.keys import DeviceKeys, StoredKeys
from signaling.client.security import Pin
from signaling.wire.certificate import DeviceCertificate


class Profile(Struct):
    """A signed-in device. ``book_key`` is 32 bytes, base64url."""

    account: str
    device: str
    token: str
    phone: str
    stored: StoredKeys
    certificate: DeviceCertificate
    book_key: str
    pins: dict[str, Pin] = {}
    tokens: dict[str, str] = {}
    """Discovery tokens of numbers that were looked up, by E.164."""

    @property
    def keys(self) -> DeviceKeys:
        """The private keys."""
        return DeviceKeys.load(self.stored)

    def save(self, path: Path) -> None:
        """Write the file, readable by its owner only."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> "Profile":
        """Read it back. Raises ``OSError`` and ``msgspec.DecodeError``."""
        return msgspec.json.decode(path.read_bytes(), type=cls)
