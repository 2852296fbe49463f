"""Who tries to find out which numbers are here, or what others uploaded (P07, P08, P26): budgets, and what the hub's machine alone gives away."""

import base64
import hashlib
import hmac
import secrets

import pytest

from signaling.client.rest import ClientError
from signaling.contacts import oprf
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode
from signaling.wire.rest import MAX_BOOK, MAX_EVALUATIONS, MAX_UPLOAD, AskProfiles, ChangeContacts, Entry, Evaluate
from tests.everything import STRANGER, some_picture
from tests.integration.hub_fixture import _KEY, _SECRET, register
from tests.integration.test_client_calls import ALICE, BOB
from tests.integration.test_rest_account import code_of

CAROL = "+4915155555556"


def token() -> str:
    return base64url.encode(secrets.token_bytes(64))


def blinded(count: int) -> list[str]:
    return [base64url.encode(oprf.blind(b"+4930", secrets.token_bytes(64))[1])] * count


async def test_scanning_by_discovery_ends_at_the_budget_and_a_new_account_of_the_number_has_no_new_one(hub):
    async with await register(hub, ALICE) as alice:
        await alice.allow_phonebook()
        some = Evaluate(blinded(MAX_EVALUATIONS))
        left = 20_000
        while left >= MAX_EVALUATIONS:
            left = (await alice._ask("discovery.evaluate", some, session=True)).remaining
        with pytest.raises(ClientError) as spent:
            await alice._ask("discovery.evaluate", some, session=True)
        assert spent.value.code is ErrorCode.BUDGET_SPENT
        assert 40_000 < spent.value.retry_after < 50_000  # 500 numbers at 1,000 a day: half a day
        await alice.delete_account()
    async with await register(hub, ALICE) as again:
        await again.allow_phonebook()
        assert await code_of(again._ask("discovery.evaluate", some, session=True)) is ErrorCode.BUDGET_SPENT
    async with await register(hub, BOB) as bob:
        await bob.allow_phonebook()
        assert (await bob._ask("discovery.evaluate", some, session=True)).remaining == 20_000 - MAX_EVALUATIONS


async def test_a_phonebook_of_100_000_is_told_where_it_ends_and_what_fits_stays(hub):
    async with await register(hub, ALICE) as alice:
        await alice.allow_phonebook()
        at_once = ChangeContacts([Entry(token(), "x") for _ in range(100_000)])
        assert await code_of(alice._ask("contacts.change", at_once, session=True)) is ErrorCode.TOO_LARGE
        one_too_many = ChangeContacts(at_once.add[: MAX_UPLOAD + 1])
        assert await code_of(alice._ask("contacts.change", one_too_many, session=True)) is ErrorCode.INVALID
        assert await code_of(alice._ask("discovery.evaluate", Evaluate(blinded(501)), session=True)) is ErrorCode.INVALID
        for start in range(0, MAX_BOOK, MAX_UPLOAD):
            change = ChangeContacts(at_once.add[start : start + MAX_UPLOAD])
            assert (await alice._ask("contacts.change", change, session=True)).count == start + MAX_UPLOAD
        more = ChangeContacts(at_once.add[MAX_BOOK : MAX_BOOK + 1])
        assert await code_of(alice._ask("contacts.change", more, session=True)) is ErrorCode.ADDRESS_BOOK_FULL
        assert len((await alice._ask("contacts.get", session=True)).entries) == MAX_BOOK


async def test_a_token_that_was_not_evaluated_matches_nobody(hub):
    async with await register(hub, ALICE) as alice, await register(hub, BOB):
        await alice.allow_phonebook()
        guesses = [
            hashlib.sha512(BOB.encode()).digest(),
            hmac.digest(_SECRET.encode(), BOB.encode(), "sha512"),
            BOB.encode().ljust(64),
        ]
        change = ChangeContacts([Entry(base64url.encode(guess), "x") for guess in guesses])
        assert (await alice._ask("contacts.change", change, session=True)).matches == []


@pytest.mark.parametrize("endpoint", ["devices.of_account", "presence.get", "profile.list", "profile.picture"])
async def test_a_stranger_cannot_tell_an_account_from_none(hub, endpoint):
    """Nor its devices, presence, name or picture: the answers are the same but for the id that was asked about."""
    async with await register(hub, ALICE) as alice, await register(hub, BOB) as bob:
        await alice.set_picture(some_picture())
        answers = []
        for account in (alice.profile.account, "A" * 22):
            try:
                body = AskProfiles([account]) if endpoint == "profile.list" else None
                answer = repr(await bob._ask(endpoint, body, session=True, account=account))
            except ClientError as refused:
                answer = repr(refused.code)
            answers.append(answer.replace(account, "?"))
        assert answers[0] == answers[1]


async def test_what_the_hub_s_machine_holds_does_not_reveal_a_number_without_the_key_holder(hub, redis, book_redis, tmp_path):
    """Everything that the hub has is taken: database, both Redis, its secret. Then numbers are tried, all of a block that holds the one."""
    async with await register(hub, ALICE) as alice:
        await alice.allow_phonebook()
        await alice.find({STRANGER: "Kunigunde Niemand"})
        (held,) = (await alice._ask("contacts.get", session=True)).entries
    taken = [path.read_bytes() for path in tmp_path.glob("hub.db*")]
    for store in (redis, book_redis):
        for key in await store.keys("*"):
            taken += [key, await store.dump(key) or b""]
    everything = b"\n".join(taken)
    assert held.token.encode() in everything
    assert STRANGER.encode() not in everything
    assert b"Kunigunde" not in everything
    block = [f"+49151999900{n:02}" for n in range(100)]
    assert STRANGER in block
    pepper = hmac.digest(_SECRET.encode(), b"kloudtalk/v1 pepper", hashlib.sha256)
    keys = [b"", _SECRET.encode(), pepper]
    scalars = [oprf.derive_key(hashlib.sha256(key).digest(), b"kloudtalk/v1 discovery") for key in keys]
    for number in block:
        data = number.encode()
        tries = [hmac.digest(key, data, name) for key in keys for name in ("sha256", "sha512")]
        tries += [hashlib.new(name, data).digest() for name in ("sha1", "sha256", "sha512", "md5")]
        tries += [oprf.evaluate(scalar, data) for scalar in scalars]
        for tried in tries:
            for form in (base64url.encode(tried), base64.b64encode(tried).decode(), tried.hex()):
                assert form.encode() not in everything
    # with the key-holder's key it is one evaluation for each number: docs/security.md says what that costs
    found = [number for number in block if base64url.encode(oprf.evaluate(_KEY, number.encode())) == held.token]
    assert found == [STRANGER]
