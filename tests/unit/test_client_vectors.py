"""The Python client makes the bytes of ``tests/vectors``; the TypeScript SDK is held to the same."""

import json
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from signaling.accounts.certificates import CertificateInvalid, verify_chain
from signaling.client import linking
from signaling.client.address_book import BookEntry, EntryInvalid, decrypt_entry, encrypt_entry
from signaling.client.safety_number import grouped, safety_number
from signaling.client.sealing import Content, Route, SealError, seal, unseal
from signaling.wire import base64url
from signaling.wire.certificate import DeviceCertificate

FOLDER = Path(__file__).parent.parent / "vectors"


def load(name: str):
    return json.loads((FOLDER / f"{name}.json").read_text())


def names(vectors) -> list[str]:
    return [str(v.get("name") or v.get("reason") or i)[:40] for i, v in enumerate(vectors)]


CERTIFICATES, SEALING, LINKING, BOOK = load("certificate"), load("sealing"), load("linking"), load("address_book")


@pytest.mark.parametrize("vector", CERTIFICATES["valid"], ids=names(CERTIFICATES["valid"]))
def test_valid_certificates(vector):
    verify_chain(msgspec.convert(vector["certificate"], DeviceCertificate))


@pytest.mark.parametrize("vector", CERTIFICATES["invalid"], ids=names(CERTIFICATES["invalid"]))
def test_invalid_certificates(vector):
    with pytest.raises((CertificateInvalid, msgspec.ValidationError)):
        verify_chain(msgspec.convert(vector["certificate"], DeviceCertificate))


@pytest.mark.parametrize("vector", SEALING["vectors"], ids=names(SEALING["vectors"]))
def test_sealed_payloads_open_and_what_is_sealed_opens_again(vector):
    route = Route(vector["call"], vector["sender"], vector["receiver"])
    private = X25519PrivateKey.from_private_bytes(base64url.decode(vector["receiver_sealing_private"]))
    signing = Ed25519PrivateKey.from_private_bytes(base64url.decode(vector["sender_signing_private"]))
    content = msgspec.convert(vector["content"], Content)
    assert unseal(route, vector["sealed"], private, vector["sender_signing_public"]) == content
    again = seal(route, content, signing, vector["receiver_sealing_public"])
    assert again != vector["sealed"]
    assert len(again) == len(vector["sealed"])
    assert unseal(route, again, private, vector["sender_signing_public"]) == content


@pytest.mark.parametrize("vector", SEALING["invalid"], ids=names(SEALING["invalid"]))
def test_payloads_that_must_not_open(vector):
    route = Route(vector["call"], vector["sender"], vector["receiver"])
    private = X25519PrivateKey.from_private_bytes(base64url.decode(vector["receiver_sealing_private"]))
    with pytest.raises(SealError) as error:
        unseal(route, vector["sealed"], private, vector["sender_signing_public"])
    assert error.value.reason == vector["error"]


@pytest.mark.parametrize("vector", load("safety_number")["vectors"])
def test_safety_numbers(vector):
    one, other = vector["one"], vector["other"]
    number = safety_number((one["account"], one["identity_key"]), (other["account"], other["identity_key"]))
    assert number == vector["safety_number"]
    assert grouped(number) == vector["shown"]


def test_linking():
    key = linking.link_key(LINKING["secret"])
    assert base64url.encode(key) == LINKING["link_key"]
    assert linking.show(LINKING["lookup"], LINKING["secret"]) == LINKING["shown"]
    for typed in LINKING["typed"]:
        assert linking.parse(typed) == (LINKING["lookup"], LINKING["secret"])
    assert linking.claim_mac(key, **LINKING["claim"]["input"]) == LINKING["claim"]["mac"]
    approval = LINKING["approval"]["input"]
    certificate = msgspec.convert(approval["certificate"], DeviceCertificate)
    assert linking.approval_mac(key, certificate, approval["sealed"]) == LINKING["approval"]["mac"]
    route = Route(LINKING["lookup"], LINKING["old_device"]["device"], LINKING["new_device"]["device"])
    private = X25519PrivateKey.from_private_bytes(base64url.decode(LINKING["new_device"]["sealing_private"]))
    opened = linking.open_secrets(route, approval["sealed"], private, LINKING["old_device"]["signing_public"])
    assert base64url.encode(opened) == LINKING["book_key"]


@pytest.mark.parametrize("code", ["", "ABCD-EFGH-JKMN", "UUUU-UUUU-UUUU-UUUU", "ABCD-EFGH-JKMN-PQRST"])
def test_what_is_no_link_code(code):
    with pytest.raises(ValueError, match="code"):
        linking.parse(code)


@pytest.mark.parametrize("vector", BOOK["vectors"], ids=names(BOOK["vectors"]))
def test_address_book_entries(vector):
    key, nonce = base64url.decode(vector["book_key"]), base64url.decode(vector["nonce"])
    entry = BookEntry(vector["name"], vector["phone"])
    assert encrypt_entry(key, vector["token"], entry, lambda _: nonce) == vector["entry"]
    opened = decrypt_entry(key, vector["token"], vector["entry"])
    assert opened.phone == vector["phone"]
    assert vector["name"].startswith(opened.name)


@pytest.mark.parametrize("vector", BOOK["invalid"], ids=names(BOOK["invalid"]))
def test_address_book_entries_of_others(vector):
    with pytest.raises(EntryInvalid):
        decrypt_entry(base64url.decode(vector["book_key"]), vector["token"], vector["entry"])
