"""Profile, picture, new number and address, device details, over a real hub (P03, P15, P18, P19)."""

import asyncio
import io
from contextlib import AsyncExitStack

import pytest
from msgspec import UNSET
from PIL import Image

from signaling.client.client import Call, Client
from signaling.client.media import ToneTrack
from signaling.client.rest import ClientError
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import ProfileChanged
from signaling.wire.rest import ChangeProfile, Channel, DeviceInfo, Profile, Purpose, SetPicture
from tests.conftest import eventually
from tests.integration.hub_fixture import RunningHub, register
from tests.integration.test_client_calls import ALICE, BOB, acquainted

NEW = "+4915199999999"


@pytest.fixture
async def friends(hub: RunningHub):
    """Alice and Bob, with each other in their books."""
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        yield alice, bob


async def alice_calls(alice: Client, bob: Client) -> Call:
    """Bob's side of a call from Alice, who is back after her connection was closed."""
    async with asyncio.timeout(20):
        while True:
            try:
                outgoing = await alice.call(bob.profile.account, track=ToneTrack(440))
                break
            except ClientError:
                await alice._socket.online()
        incoming = await bob.incoming.get()
    await outgoing.hangup()
    return incoming


async def code_of(work) -> ErrorCode:
    with pytest.raises(ClientError) as refused:
        await work
    return refused.value.code


def red_square(side: int = 900) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(made, "JPEG", comment=b"my address")
    return made.getvalue()


async def test_contacts_see_name_about_and_picture_and_strangers_nothing(hub, friends):
    alice, bob = friends
    own = await alice.change_profile(ChangeProfile(name="  Alice\u202e  Liddell ", about="In Wonderland"))
    assert (own.name, own.about) == ("Alice Liddell", "In Wonderland")
    own = await alice.set_picture(red_square())
    (seen,) = await bob.profiles_of(own.account)
    assert seen == Profile(
        account=own.account,
        name="Alice Liddell",
        about="In Wonderland",
        about_changed_at=own.about_changed_at,
        picture_changed_at=own.picture_changed_at,
    )
    picture = await bob.picture_of(own.account)
    assert b"my address" not in picture
    with Image.open(io.BytesIO(picture)) as opened:
        assert opened.size == (512, 512)
    eve: Client = await register(hub, "+442079460018")
    try:
        assert await eve.profiles_of(own.account, "Z" * 22) == [Profile(own.account), Profile("Z" * 22)]
        assert await code_of(eve.picture_of(own.account)) is await code_of(eve.picture_of("Z" * 22)) is ErrorCode.NOT_FOUND
        # who has Alice in the book, but is not in hers, is a stranger still
        await eve.allow_phonebook()
        await eve.find({ALICE: "Alice"})
        assert await eve.profiles_of(own.account) == [Profile(own.account)]
    finally:
        await eve.close()
    await alice._ask("blocks.add", session=True, account=bob.profile.account)
    assert await bob.profiles_of(own.account) == [Profile(own.account)]
    assert await code_of(bob.picture_of(own.account)) is ErrorCode.NOT_FOUND


async def test_the_time_of_the_about_text_is_that_of_its_own_change(hub, friends):
    alice, _ = friends
    first = (await alice.change_profile(ChangeProfile(about="here"))).about_changed_at
    assert (await alice.change_profile(ChangeProfile(name="A"))).about_changed_at == first
    gone = await alice.change_profile(ChangeProfile(about=""))
    assert gone.about is UNSET
    assert gone.about_changed_at >= first


async def test_contacts_are_told_and_a_picture_can_be_removed(hub, friends):
    alice, bob = friends
    told = []
    take = bob._take

    async def taken(message) -> None:
        if isinstance(message, ProfileChanged):
            told.append(message.account)
        await take(message)

    bob._take = taken  # type: ignore[method-assign]
    await alice.set_picture(red_square())
    await alice._ask("profile.remove_picture", session=True)
    await alice._ask("profile.remove_picture", session=True)
    await eventually(lambda: len(told) >= 2)
    assert set(told) == {alice.profile.account}
    assert await code_of(bob.picture_of(alice.profile.account)) is ErrorCode.NOT_FOUND


async def test_a_picture_that_is_none_is_refused_and_many_are_limited(hub, friends, monkeypatch):
    alice, _ = friends
    monkeypatch.setattr("signaling.accounts.public_profile.PICTURES_AN_HOUR", 2)
    assert await code_of(alice.set_picture(b"not a picture")) is ErrorCode.PICTURE_INVALID
    assert await code_of(alice._ask("profile.set_picture", SetPicture("A"), session=True)) is ErrorCode.PICTURE_INVALID
    assert await code_of(alice.set_picture(red_square(64))) is ErrorCode.RATE_LIMITED


async def test_a_new_number_needs_both_codes_and_moves_the_matches(hub, friends):
    alice, bob = friends
    account = alice.profile.account
    change = await alice.start_change(Channel.PHONE, "+49 151 9999 9999")
    assert (change.channel, change.to) == (Channel.PHONE, NEW)
    mail = (await alice.account()).email
    codes = {"code": hub.codes[NEW], "confirmation": hub.codes[mail]}
    for part in codes:
        wrong = codes | {part: "000000" if codes[part] != "000000" else "111111"}
        assert await code_of(alice.finish_change(Channel.PHONE, **wrong)) is ErrorCode.CODE_WRONG
    assert await code_of(alice.finish_change(Channel.EMAIL, **codes)) is ErrorCode.NO_CHANGE_PENDING
    changed = await alice.finish_change(Channel.PHONE, **codes)
    assert (changed.phone, changed.account) == (NEW, account)
    assert await code_of(alice.finish_change(Channel.PHONE, **codes)) is ErrorCode.NO_CHANGE_PENDING
    # Bob has the old number: it is nobody's now. He finds the new one
    await eventually(lambda: account not in bob.matches.values())
    assert await bob.find({NEW: "Alice"}) == {NEW: account}
    await bob.find({NEW: "Alice"})
    call = await alice_calls(alice, bob)
    assert call.phone == NEW  # the devices came back with a session of the new number


async def test_a_new_address_is_taken_up_and_one_of_another_account_is_refused(hub, friends):
    alice, bob = friends
    await alice.start_change(Channel.EMAIL, "Alice@New.example.org")
    codes = {"code": hub.codes["alice@new.example.org"], "confirmation": hub.codes[ALICE]}
    assert (await alice.finish_change(Channel.EMAIL, **codes)).email == "alice@new.example.org"
    await bob.start_change(Channel.EMAIL, "alice@new.example.org")
    codes = {"code": hub.codes["alice@new.example.org"], "confirmation": hub.codes[BOB]}
    assert await code_of(bob.finish_change(Channel.EMAIL, **codes)) is ErrorCode.EMAIL_TAKEN


async def test_a_number_of_another_account_is_refused_to_who_proves_it(hub, friends):
    alice, _bob = friends
    await alice.start_change(Channel.PHONE, BOB)  # says nothing yet: it sends a code to Bob
    codes = {"code": hub.codes[BOB], "confirmation": hub.codes[(await alice.account()).email]}
    assert await code_of(alice.finish_change(Channel.PHONE, **codes)) is ErrorCode.PHONE_TAKEN
    assert (await alice.account()).phone == ALICE


async def test_changes_are_checked_limited_and_forgotten_with_the_account(hub, friends, redis):
    alice, _ = friends
    assert await code_of(alice.start_change(Channel.PHONE, "12")) is ErrorCode.PHONE_INVALID
    assert await code_of(alice.start_change(Channel.EMAIL, "nobody")) is ErrorCode.EMAIL_INVALID
    await alice.start_change(Channel.PHONE, NEW)
    assert await code_of(alice.start_change(Channel.PHONE, NEW)) is ErrorCode.RATE_LIMITED
    assert await redis.keys("registration:*") != []
    await alice.delete_account()
    assert await redis.keys("registration:*") == []


async def test_device_details_need_the_consent_and_go_with_it(hub, friends):
    alice, _bob = friends
    info = DeviceInfo(os="Debian 12", browser="Firefox 153", language="de", time_zone="Europe/Berlin", battery=80)
    assert await code_of(alice.describe_device(info)) is ErrorCode.CONSENT_REQUIRED
    await alice.allow(Purpose.DEVICE_DETAILS)
    await alice.describe_device(info)
    (device,) = (await alice._ask("devices.list", session=True)).devices
    assert device.details.info == info
    assert device.details.network == "127.0.0.0/24"
    assert device.details.country is UNSET
    assert (await alice.account()).country == "DE"
    await alice.allow(Purpose.DEVICE_DETAILS, granted=False)
    (device,) = (await alice._ask("devices.list", session=True)).devices
    assert device.details is UNSET
