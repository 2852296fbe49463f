"""Identifiers and small value types of the protocol, with the bounds that the decoder enforces.

Every identifier is 128 random bits as 22 characters of unpadded base64url (RFC 4648, section 5). Call ids and device ids are
chosen by the client that creates them (sealed payloads are bound to both before the hub has seen them); account ids by the hub.
"""

from typing import Annotated, Final

from msgspec import Meta

ID_PATTERN: Final = r"^[A-Za-z0-9_-]{22}\Z"
"""22 characters of base64url: 128 bits."""

MAX_DEVICES: Final = 10
"""Devices of one account at a time. An invite carries one sealed payload for each, and must fit in one frame."""

AccountId = Annotated[str, Meta(pattern=ID_PATTERN, description="account: 128 bits, base64url")]
DeviceId = Annotated[str, Meta(pattern=ID_PATTERN, description="device: 128 bits, base64url, chosen by the device")]
CallId = Annotated[str, Meta(pattern=ID_PATTERN, description="call: 128 bits, base64url, chosen by the caller")]
LinkId = Annotated[str, Meta(pattern=ID_PATTERN, description="device link: 128 bits, base64url")]

TicketId = Annotated[str, Meta(pattern=ID_PATTERN, description="support ticket: 128 bits, base64url")]
AttachmentId = Annotated[str, Meta(pattern=ID_PATTERN, description="attachment of a ticket: 128 bits, base64url")]
OrderId = Annotated[str, Meta(pattern=ID_PATTERN, description="order: 128 bits, base64url")]

RequestId = Annotated[int, Meta(ge=0, le=2**53 - 1, description="chosen by the sender of a request, repeated in its answer")]

Key32 = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z", description="32 bytes, unpadded base64url (a public key)")]
Signature = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{86}\Z", description="64 bytes, unpadded base64url (Ed25519)")]
Mac = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z", description="32 bytes, unpadded base64url (HMAC-SHA-256)")]
Token = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z", description="256 bits, unpadded base64url: an opaque bearer token")]
DiscoveryToken = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{86}\Z", description="64 bytes, base64url: OPRF output (RFC 9497)")]
Element = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z", description="32 bytes, base64url: a ristretto255 element (RFC 9496)")
]
Sealed = Annotated[
    str,
    Meta(
        min_length=128, max_length=16_384, pattern=r"^[A-Za-z0-9_-]+\Z", description="sealed payload, base64url; opaque to the hub"
    ),
]
E164 = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{4,14}\Z", description="phone number, E.164")]
Millis = Annotated[int, Meta(ge=0, le=2**53 - 1, description="milliseconds since 1970-01-01T00:00:00Z")]
IceUfrag = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{4,256}\Z", description="ice-ufrag (RFC 8839, section 5.4)")]
IceCandidate = Annotated[
    str, Meta(pattern=r"^candidate:[\x20-\x7e]{1,400}\Z", description="candidate-attribute, one line (RFC 8839, section 5.1)")
]
IcePwd = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{22,256}\Z", description="ice-pwd (RFC 8839, section 5.4)")]
