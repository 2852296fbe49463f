"""Oblivious PRF, mode OPRF (0x00) with suite ristretto255-SHA512 (RFC 9497). Pure: blinds and keys come from the caller.

The client blinds a number, the key-holder multiplies the blinded point with its key, the client removes the blind: the key-holder
never sees the number and the client never sees the key. The output is the discovery token of the number (P08).
"""

import hashlib
from typing import Final

from signaling.contacts import ristretto255

CONTEXT: Final = b"OPRFV1-\x00-ristretto255-SHA512"
"""``contextString`` of RFC 9497, section 3.1."""

ELEMENT_BYTES: Final = 32
SCALAR_BYTES: Final = 32
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""Order of the ristretto255 group (RFC 9496)."""

_IDENTITY: Final = bytes(ELEMENT_BYTES)


class InvalidElement(ValueError):  # noqa: N818 - the RFC's word is DeserializeError; this says what is wrong
    """Bytes that are not the canonical encoding of a ristretto255 element, or the identity."""


def _expand_message_xmd(message: bytes, tag: bytes, length: int = 64) -> bytes:
    """``expand_message_xmd`` with SHA-512 (RFC 9380, section 5.3.1), for outputs of one block."""
    tag_prime = tag + bytes([len(tag)])
    b0 = hashlib.sha512(bytes(128) + message + length.to_bytes(2, "big") + b"\0" + tag_prime).digest()
    return hashlib.sha512(b0 + b"\x01" + tag_prime).digest()[:length]


def hash_to_group(message: bytes) -> bytes:
    """``HashToGroup``: the element for ``message`` (RFC 9497, section 4.1)."""
    element: bytes = ristretto255.from_hash(_expand_message_xmd(message, b"HashToGroup-" + CONTEXT))
    return element


def scalar_from_uniform(uniform: bytes) -> bytes:
    """A scalar from 64 uniform bytes, little-endian, reduced modulo the group order. Raises ``ValueError`` on the zero scalar."""
    number = int.from_bytes(uniform, "little") % ORDER
    if number == 0:
        raise ValueError("zero scalar")
    return number.to_bytes(SCALAR_BYTES, "little")


def blind(message: bytes, uniform: bytes) -> tuple[bytes, bytes]:
    """Blind ``message`` with a scalar made of 64 random bytes.

    Returns:
        (blind scalar, blinded element), 32 bytes each.
    """
    return blind_with_scalar(message, scalar_from_uniform(uniform))


def blind_with_scalar(message: bytes, scalar: bytes) -> tuple[bytes, bytes]:
    """``Blind`` of RFC 9497, section 3.3.1, with the given scalar."""
    return scalar, ristretto255.scalarmult(scalar, hash_to_group(message))


def blind_evaluate(key: bytes, blinded: bytes) -> bytes:
    """``BlindEvaluate``: what the key-holder does with one blinded element of 32 bytes. Raises ``InvalidElement``."""
    if len(blinded) != ELEMENT_BYTES or blinded == _IDENTITY or not ristretto255.is_valid_point(blinded):
        raise InvalidElement("not a ristretto255 element")
    evaluated: bytes = ristretto255.scalarmult(key, blinded)
    return evaluated


def finalize(message: bytes, scalar: bytes, evaluated: bytes) -> bytes:
    """``Finalize``: remove the blind and hash; 64 bytes. Raises ``InvalidElement``."""
    if len(evaluated) != ELEMENT_BYTES or evaluated == _IDENTITY or not ristretto255.is_valid_point(evaluated):
        raise InvalidElement("not a ristretto255 element")
    inverse = pow(int.from_bytes(scalar, "little"), -1, ORDER).to_bytes(SCALAR_BYTES, "little")
    element = ristretto255.scalarmult(inverse, evaluated)
    return _hash(message, element)


def evaluate(key: bytes, message: bytes) -> bytes:
    """``Evaluate``: the output for ``message`` by who has the key; equals ``finalize`` of the blinded way."""
    return _hash(message, ristretto255.scalarmult(key, hash_to_group(message)))


def _hash(message: bytes, element: bytes) -> bytes:
    parts = len(message).to_bytes(2, "big") + message + len(element).to_bytes(2, "big") + element
    return hashlib.sha512(parts + b"Finalize").digest()


def derive_key(seed: bytes, info: bytes) -> bytes:
    """``DeriveKeyPair`` (RFC 9497, section 3.2.1): the private key, a scalar of 32 bytes, from a seed of 32 bytes."""
    prefix = seed + len(info).to_bytes(2, "big") + info
    for counter in range(256):
        uniform = _expand_message_xmd(prefix + bytes([counter]), b"DeriveKeyPair" + CONTEXT)
        number = int.from_bytes(uniform, "little") % ORDER
        if number:
            return number.to_bytes(SCALAR_BYTES, "little")
    raise ValueError("no key for this seed")
