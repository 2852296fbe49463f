"""Encryption of a web push's content for one browser (RFC 8291: ``aes128gcm`` of RFC 8188 under an ECDH key). Pure.

By our own hand, over ``cryptography``: the library for it is published as source only, which would run its set-up code wherever the hub is
installed. The RFC's own example is a test, and Firefox opens what this makes (``tests/browser/test_push.py``).
"""

import struct
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_RECORD: Final = 4096
"""Bytes of a record at most; a push is one (RFC 8291, section 4)."""


def public_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    """A P-256 public key as 65 bytes, uncompressed (X9.62)."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def check_key(p256dh: bytes) -> ec.EllipticCurvePublicKey:
    """The browser's key. Raises ``ValueError`` when the bytes are no point of the curve."""
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)


def encrypt(content: bytes, *, p256dh: bytes, auth: bytes, salt: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The body of the push.

    Args:
        content: at most 3,993 bytes.
        p256dh: the browser's public key, 65 bytes.
        auth: its authentication secret, 16 bytes.
        salt: 16 random bytes, new for each push.
        key: a P-256 key, new for each push.
    """
    browser, own = check_key(p256dh), public_bytes(key.public_key())
    secret = key.exchange(ec.ECDH(), browser)
    ikm = _hkdf(secret, salt=auth, info=b"WebPush: info\0" + p256dh + own, length=32)
    content_key = _hkdf(ikm, salt=salt, info=b"Content-Encoding: aes128gcm\0", length=16)
    nonce = _hkdf(ikm, salt=salt, info=b"Content-Encoding: nonce\0", length=12)
    header = salt + struct.pack("!IB", _RECORD, len(own)) + own
    return header + AESGCM(content_key).encrypt(nonce, content + b"\x02", None)


def _hkdf(key: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(key)
