"""Writes the test vectors that the Python and the TypeScript client must both satisfy: ``python tests/vectors/make_vectors.py``.

Everything comes from fixed seeds. HPKE's ephemeral key cannot be chosen in ``cryptography``, so existing sealed payloads are kept when
they still open; all other bytes are the same in every run. Byte fields are unpadded base64url.
"""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from msgspec.structs import replace

from media.quality import mos
from signaling.client import address_book, linking, safety_number, sealing
from signaling.client.keys import DeviceKeys, certify_first, certify_linked
from signaling.privacy import proof
from signaling.wire import base64url
from signaling.wire.certificate import DeviceCertificate

FOLDER = Path(__file__).parent
ISSUED_AT = 1_700_000_000_000


def seeded(name: str, length: int) -> bytes:
    """``length`` bytes from a name."""
    return hashlib.shake_256(b"kloudtalk vectors " + name.encode()).digest(length)


def ident(name: str) -> str:
    """An id of the protocol from a name."""
    return base64url.encode(seeded(f"id {name}", 16))


def device(name: str) -> DeviceKeys:
    """A device's keys from a name."""
    count = iter(range(100))
    return DeviceKeys.generate(lambda length: seeded(f"device {name} {next(count)}", length))


def identity(name: str) -> Ed25519PrivateKey:
    """An identity key from a name."""
    return Ed25519PrivateKey.from_private_bytes(seeded(f"identity {name}", 32))


def plain(value: object) -> Any:
    """A Struct as JSON values."""
    return msgspec.to_builtins(value)


def proofs() -> Any:
    """Proofs that a device asks (P22, P23): the act, who asks, when, and the signature."""
    keys = device("prover")
    acts = (proof.EXPORT, proof.DELETE, proof.RESTRICT, proof.UNRESTRICT)
    made = [(act, proof.prove(act, ident("account"), keys.device, keys.signing, ISSUED_AT)) for act in acts]
    return {
        "account": ident("account"),
        "device": keys.device,
        "signing_private": base64url.encode(keys.signing.private_bytes_raw()),
        "signing_public": keys.signing_key,
        "proofs": [{"act": act, "at": p.at, "signature": p.signature} for act, p in made],
    }


def load(name: str) -> Any:
    """The vectors of a file, if it exists."""
    path = FOLDER / name
    return json.loads(path.read_text()) if path.exists() else None


def write(name: str, value: object) -> None:
    """Write one file."""
    (FOLDER / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


ALICE = ident("alice")
BOB = ident("bob")
PHONE, LAPTOP, TABLET, BOBS = device("phone"), device("laptop"), device("tablet"), device("bob's phone")
FIRST = certify_first(ALICE, identity("alice"), PHONE, ISSUED_AT)


def further(own: DeviceCertificate, keys: DeviceKeys, new: DeviceKeys, issued_at: int) -> DeviceCertificate:
    """A linked device's certificate."""
    return certify_linked(
        own, keys, device=new.device, signing_key=new.signing_key, sealing_key=new.sealing_key, issued_at=issued_at
    )


SECOND = further(FIRST, PHONE, LAPTOP, ISSUED_AT + 1000)
THIRD = further(SECOND, LAPTOP, TABLET, ISSUED_AT + 2000)


def certificates() -> Any:
    """Chains that verify, and chains that must not."""
    flipped = bytearray(base64url.decode(SECOND.chain[1].signature))
    flipped[0] ^= 1
    bad = replace(SECOND.chain[1], signature=base64url.encode(bytes(flipped)))
    swapped = replace(SECOND.chain[1], sealing_key=BOBS.sealing_key)
    twice_link = further(DeviceCertificate(ALICE, FIRST.identity_key, SECOND.chain[1:]), LAPTOP, PHONE, ISSUED_AT)
    return {
        "about": "Device certificates. `certificate` is as on the wire; verification is from the identity key to the last link.",
        "valid": [
            {"name": "one link", "certificate": plain(FIRST)},
            {"name": "two links", "certificate": plain(SECOND)},
            {"name": "three links", "certificate": plain(THIRD)},
        ],
        "invalid": [
            {"reason": "signature changed", "certificate": plain(replace(SECOND, chain=(SECOND.chain[0], bad)))},
            {"reason": "sealing key swapped", "certificate": plain(replace(SECOND, chain=(SECOND.chain[0], swapped)))},
            {"reason": "another account", "certificate": plain(replace(FIRST, account=BOB))},
            {
                "reason": "another identity key",
                "certificate": plain(replace(FIRST, identity_key=certify_first(BOB, identity("bob"), BOBS, 0).identity_key)),
            },
            {"reason": "a link left out", "certificate": plain(replace(THIRD, chain=(THIRD.chain[0], THIRD.chain[2])))},
            {"reason": "first link missing", "certificate": plain(replace(SECOND, chain=SECOND.chain[1:]))},
            {"reason": "a device twice", "certificate": plain(replace(SECOND, chain=(*SECOND.chain, twice_link.chain[-1])))},
            {
                "reason": "issued at another time",
                "certificate": plain(replace(FIRST, chain=(replace(FIRST.chain[0], issued_at=ISSUED_AT + 1),))),
            },
            {"reason": "no link", "certificate": {**plain(FIRST), "chain": []}},
        ],
    }


def sealed_payloads() -> Any:
    """Payloads that open, and payloads that must not."""
    old = load("sealing.json")
    call = ident("call")
    contents = {
        "offer": sealing.Content("offer", 0, {"sdp": "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\n"}),
        "candidates": sealing.Content(
            "candidates",
            1,
            {
                "candidates": [
                    {
                        "candidate": "candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host",
                        "sdpMid": "0",
                        "sdpMLineIndex": 0,
                        "usernameFragment": "abcd",
                    }
                ],
                "end": True,
            },
        ),
        "state, with letters beyond ASCII": sealing.Content("state", 2, {"muted": True, "held": False, "note": "grüß dich, 你好"}),
    }
    facts = {
        "call": call,
        "sender": PHONE.device,
        "receiver": BOBS.device,
        "receiver_sealing_private": base64url.encode(BOBS.sealing.private_bytes_raw()),
        "receiver_sealing_public": BOBS.sealing_key,
        "sender_signing_private": base64url.encode(PHONE.signing.private_bytes_raw()),
        "sender_signing_public": PHONE.signing_key,
    }
    vectors = []
    for name, content in contents.items():
        sealed = next((v["sealed"] for v in old["vectors"] if v["name"] == name), None) if old else None
        route = sealing.Route(call, PHONE.device, BOBS.device)
        try:
            assert sealed is not None
            opened = sealing.unseal(route, sealed, BOBS.sealing, PHONE.signing_key)
            assert opened == content
        except (AssertionError, ValueError):
            sealed = sealing.seal(route, content, PHONE.signing, BOBS.sealing_key)
        padded = sealing.padded(content)
        bound = sealing.context(route)
        vectors.append(
            {
                "name": name,
                **facts,
                "content": plain(content),
                "padded_content": base64url.encode(padded),
                "context": base64url.encode(bound),
                "signature": base64url.encode(PHONE.signing.sign(bound + padded)),
                "sealed": sealed,
            }
        )
    first = vectors[0]
    data = bytearray(base64url.decode(first["sealed"]))
    data[-1] ^= 1
    forged = next((v["sealed"] for v in old["invalid"] if v["name"] == "signed by another"), None) if old else None
    if forged is None:
        bound = sealing.context(sealing.Route(call, PHONE.device, BOBS.device))
        body = base64url.decode(first["padded_content"])
        forged = base64url.encode(
            Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM).encrypt(
                LAPTOP.signing.sign(bound + body) + body, BOBS.sealing.public_key(), info=bound
            )
        )
    same = {**facts, "sealed": first["sealed"]}
    return {
        "about": "Sealed payloads. HPKE's ephemeral key is random: a test opens `sealed` and compares with `content`; sealing is "
        "tested by opening what was sealed. `signature` is Ed25519 over context || padded_content.",
        "vectors": vectors,
        "invalid": [
            {"name": "tampered", "error": "cannot_open", **facts, "sealed": base64url.encode(bytes(data))},
            {"name": "wrong_sender", "error": "cannot_open", **same, "sender": LAPTOP.device},
            {"name": "other call", "error": "cannot_open", **same, "call": ident("another call")},
            {"name": "other receiver", "error": "cannot_open", **same, "receiver": TABLET.device},
            {
                "name": "another device's key",
                "error": "cannot_open",
                **same,
                "receiver_sealing_private": base64url.encode(TABLET.sealing.private_bytes_raw()),
                "receiver_sealing_public": TABLET.sealing_key,
            },
            {"name": "signed by another", "error": "signature_invalid", **facts, "sealed": forged},
            {
                "name": "another signing key expected",
                "error": "signature_invalid",
                **same,
                "sender_signing_public": LAPTOP.signing_key,
            },
            {"name": "cut short", "error": "cannot_open", **facts, "sealed": first["sealed"][:128]},
        ],
    }


def safety_numbers() -> Any:
    """Pairs of accounts with their number."""
    sides = [
        {"account": ident(name), "identity_key": base64url.encode(identity(name).public_key().public_bytes_raw())}
        for name in ("alice", "bob", "carol")
    ]
    vectors = []
    for a, b in ((0, 1), (1, 0), (1, 2)):
        one, other = sides[a], sides[b]
        pair = ((one["account"], one["identity_key"]), (other["account"], other["identity_key"]))
        number = safety_number.safety_number(*pair)
        vectors.append(
            {
                "one": {**one, "digits": safety_number.digits_of(*pair[0])},
                "other": {**other, "digits": safety_number.digits_of(*pair[1])},
                "safety_number": number,
                "shown": safety_number.grouped(number),
            }
        )
    return {"about": "Safety numbers: each side's 30 digits in sorted order.", "vectors": vectors}


def links() -> Any:
    """One linking, from the code to the approval."""
    old = load("linking.json")
    lookup, secret = "7K3M", "ABCDEFGH0123"
    key = linking.link_key(secret)
    name = "Alices Läptop"
    book_key = seeded("book key", 32)
    sealed = str(old["approval"]["input"]["sealed"]) if old else ""
    route = sealing.Route(lookup, PHONE.device, LAPTOP.device)
    try:
        opened = linking.open_secrets(route, sealed, LAPTOP.sealing, PHONE.signing_key)
        assert opened == book_key
    except (AssertionError, ValueError):
        sealed = linking.seal_secrets(book_key, route, PHONE.signing, LAPTOP.sealing_key)
    claim = {
        "device": LAPTOP.device,
        "signing_key": LAPTOP.signing_key,
        "sealing_key": LAPTOP.sealing_key,
        "device_name": name,
    }
    return {
        "about": "Linking a further device: the old device shows lookup + secret. `sealed` opens with the new device's sealing key, "
        "call = lookup, sender = old device, receiver = new device.",
        "lookup": lookup,
        "secret": secret,
        "shown": linking.show(lookup, secret),
        "typed": ["7k3m-abcd-efgh-0123", " 7K3M ABCD EFGH OI23 ", "7K3MABCDEFGHOL23"],
        "link_key": base64url.encode(key),
        "claim": {"input": claim, "mac": linking.claim_mac(key, **claim)},
        "old_device": {"device": PHONE.device, "signing_public": PHONE.signing_key},
        "new_device": {"device": LAPTOP.device, "sealing_private": base64url.encode(LAPTOP.sealing.private_bytes_raw())},
        "approval": {
            "input": {"certificate": plain(SECOND), "sealed": sealed},
            "mac": linking.approval_mac(key, SECOND, sealed),
        },
        "book_key": base64url.encode(book_key),
    }


def book() -> Any:
    """Encrypted address book entries."""
    book_key = seeded("book key", 32)
    vectors = []
    for index, (name, phone) in enumerate((("Bob", "+4930123456"), ("Zoë 小明", "+819012345678"), ("n" * 200, "+14155550123"))):
        token, nonce = base64url.encode(seeded(f"token {index}", 64)), seeded(f"nonce {index}", 12)
        entry = address_book.encrypt_entry(book_key, token, address_book.BookEntry(name, phone), {12: nonce}.__getitem__)
        vectors.append(
            {
                "book_key": base64url.encode(book_key),
                "nonce": base64url.encode(nonce),
                "token": token,
                "name": name,
                "phone": phone,
                "entry": entry,
            }
        )
    return {
        "about": "Address book entries: AES-256-GCM; the plaintext is compact JSON with `name` before `phone`, padded with spaces.",
        "vectors": vectors,
        "invalid": [
            {"reason": "another token", **{k: vectors[0][k] for k in ("book_key", "entry")}, "token": vectors[1]["token"]},
            {
                "reason": "another key",
                **{k: vectors[0][k] for k in ("token", "entry")},
                "book_key": base64url.encode(seeded("another book key", 32)),
            },
        ],
    }


def opinions() -> Any:
    """Mean opinion scores, over what networks do."""
    conditions = itertools.product((0.0, 0.01, 0.05, 0.1, 0.3, 1.0), (0.0, 0.005, 0.03, 0.06), (0.0, 0.04, 0.2, 0.5, 1.5))
    return [
        {"loss": loss, "jitter": jitter, "rtt": rtt, "mos": mos(loss=loss, jitter=jitter, rtt=rtt)}
        for loss, jitter, rtt in conditions
    ]


def main() -> None:
    """Write every file."""
    write("certificate.json", certificates())
    write("sealing.json", sealed_payloads())
    write("safety_number.json", safety_numbers())
    write("linking.json", links())
    write("address_book.json", book())
    write("proof.json", proofs())
    write("mos.json", opinions())


if __name__ == "__main__":
    main()
