"""Pure rules of operators: roles, one-time codes, passwords, pseudonyms, reasons, claims of a single sign-on."""

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.operators import totp
from signaling.operators.limits import OperatorLimits
from signaling.operators.oidc import name_of, role_of
from signaling.operators.passwords import check_password
from signaling.operators.pseudonyms import LENGTH, Pseudonyms
from signaling.operators.reasons import checked_reason
from signaling.operators.roles import PEOPLE_ONLY, PERMISSIONS, allowed, parse_role
from signaling.operators.sealing import Sealer
from signaling.wire import base64url
from signaling.wire.admin.frame import Permission, Role
from signaling.wire.errors import Refused

ids = st.binary(min_size=16, max_size=16).map(base64url.encode)


def test_each_role_may_more_than_the_one_before_and_admins_all():
    assert PERMISSIONS[Role.VIEWER] < PERMISSIONS[Role.SUPPORT] < PERMISSIONS[Role.ADMIN] == frozenset(Permission)
    assert not PERMISSIONS[Role.VIEWER] & {Permission.ACCOUNTS_REVEAL, Permission.ACCOUNTS_LOOK_UP, Permission.TICKETS}
    assert not PERMISSIONS[Role.SUPPORT] & {Permission.OPERATORS, Permission.TOKENS, Permission.AUDIT_READ}


@given(st.sampled_from(Role), st.sets(st.sampled_from(Permission)))
def test_a_token_never_does_what_its_owner_may_not_or_what_is_for_people(role, scopes):
    assert allowed(role, scopes) == (scopes & PERMISSIONS[role]) - PEOPLE_ONLY


@given(st.integers(min_value=100, max_value=2**33), st.integers(min_value=-3, max_value=3))
def test_codes_of_the_step_before_and_after_are_taken_and_none_twice(now, off):
    secret = totp.new_secret()
    step = now // totp.STEP + off
    code = pyotp.TOTP(secret).generate_otp(step)
    found = totp.matching_step(secret, code, now, 0)
    assert (found == step) if abs(off) <= 1 else (found != step)
    if found is not None:
        assert totp.matching_step(secret, code, now, found) != found


def test_a_code_as_the_standard_has_it():
    # RFC 6238, appendix B, in six digits
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert totp.matching_step(secret, "287082", 59, 0) == 1
    assert totp.matching_step(secret, "050471", 1111111111, 0) == 37037037
    assert totp.uri(secret, "ada", "My talk").startswith("otpauth://totp/My%20talk:ada?secret=" + secret)
    drawn = totp.drawn("x").splitlines()
    assert len({len(line) for line in drawn}) == 1


@given(ids, ids)
def test_pseudonyms_can_be_undone_with_the_key_only(one, other):
    mine, theirs = Pseudonyms(b"a" * 32), Pseudonyms(b"b" * 32)
    shown = mine.of(one)
    assert len(shown) == LENGTH
    assert shown.isalnum()
    assert mine.account(shown) == one == Pseudonyms(b"a" * 32).account(shown)
    assert theirs.account(shown) != one
    assert (mine.of(other) == shown) == (one == other)


@given(st.text(max_size=30))
def test_what_is_no_pseudonym_is_no_account(text):
    account = Pseudonyms(b"a" * 32).account(text)
    assert account is None or Pseudonyms(b"a" * 32).of(account) == text


def test_pseudonyms_beyond_128_bits_are_none():
    assert Pseudonyms(b"a" * 32).account("z" * LENGTH) is None


@pytest.mark.parametrize(
    "reason", ["police request 2026-17", "  reported  by\nmany ", "ticket AbCdEfGh_1234567890-xy", "order of 2026-11-25"]
)
def test_reasons(reason):
    assert checked_reason(reason) == " ".join(reason.split())


@pytest.mark.parametrize(
    "reason", ["", "  x ", "mail of ada@example.org", "call +49 151 1234567", "0151/123-45-67", "(030) 1234.567", "a\x1b[2Jb c"]
)
def test_reasons_that_name_somebody_or_say_nothing(reason):
    with pytest.raises(Refused):
        checked_reason(reason)


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "ada lovelace 1815", "ADA is my name ok"])
def test_weak_passwords(password):
    with pytest.raises(Refused):
        check_password(password, "ada")


def test_a_good_password():
    check_password("correct horse battery", "ada")


def test_sealed_secrets_open_with_the_key_and_for_whom_they_are():
    sealer = Sealer(b"k" * 32)
    sealed = sealer.seal(b"secret", "ada")
    assert sealer.open(sealed, "ada") == b"secret"
    assert sealer.open(sealed, "bea") is None
    assert Sealer(b"l" * 32).open(sealed, "ada") is None
    assert sealer.open(sealed[:-1], "ada") is None
    assert sealer.open(b"", "ada") is None


def test_a_browser_s_mark_is_one_operator_s():
    limits = OperatorLimits(None, b"pepper")  # type: ignore[arg-type]
    mark = limits.new_mark("ada")
    assert [counter.kind for counter in limits.sign_in("ada", "192.0.2.1", mark)] == ["operator_browser"]
    for name, given_mark in (("bea", mark), ("ada", mark[:-1]), ("ada", ""), ("ada", "." + mark.partition(".")[2]), ("ada", "ü.ü")):
        assert [counter.kind for counter in limits.sign_in(name, "192.0.2.1", given_mark)] == ["operator", "operator_address"]


def test_roles_by_claim():
    roles = dict(parse_role(text) for text in ("staff=viewer", "cn=desk,dc=x=support", "root=admin"))
    assert role_of({"groups": ["staff", "cn=desk,dc=x"]}, "groups", roles) is Role.SUPPORT
    assert role_of({"groups": "root"}, "groups", roles) is Role.ADMIN
    assert role_of({"realm_access": {"roles": ["staff"]}}, "realm_access.roles", roles) is Role.VIEWER
    assert role_of({"https://x.example/roles": ["staff"]}, "https://x.example/roles", roles) is Role.VIEWER
    for claims in ({}, {"groups": None}, {"groups": ["nobody", 7, {}]}, {"groups": {"root": True}}):
        assert role_of(claims, "groups", roles) is None
    for text in ("root", "=admin", "root=king"):
        with pytest.raises(ValueError, match="VALUE=ROLE"):
            parse_role(text)


def test_names_by_claim():
    assert name_of({"n": "Ada.Lovelace@example.org"}, "n") == "ada.lovelace"
    assert name_of({"n": "Ada Lovelace"}, "n") == "ada-lovelace"
    for value in ("", "7", "@x", "local", None, ["ada"], "Ü"):
        assert name_of({"n": value}, "n") is None
