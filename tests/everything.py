"""Uses every feature there is, so that what must be exported, erased or counted has been there. New features add themselves here."""

import asyncio
import io
from contextlib import AsyncExitStack

from PIL import Image

from signaling.client.client import Client
from signaling.client.media import ToneTrack
from signaling.wire import base64url
from signaling.wire.rest import (
    Attachment,
    ChangeObjection,
    ChangeProfile,
    ChangeSettings,
    DeviceInfo,
    Interest,
    LastSeenRule,
    LastSeenTo,
    MeasuredQuality,
    MeasuredWay,
    OpenTicket,
    Purpose,
    StartRegistration,
)

NAMES = ("Walpurga Zwiebelfisch", "Balthasar Querkopf")
"""Names that each has for the other."""
TEXTS = (
    "Schneewittchens Schwester", "Im Turm, bitte klopfen", "Eierkocher 3000", "Lebkuchenrezept.txt", "Nelken, Zimtsterne", "Frage an den Hof",
    "Ist der Brunnen tief?",
)  # fmt: skip
"""The first's name, about text, the model of the device, and what stands in a ticket."""
STRANGER = "+4915199990001"
"""In both phonebooks, and no user."""


def some_picture() -> bytes:
    """A picture that is like no other."""
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, "PNG")
    return file.getvalue()


async def use_everything(one: Client, other: Client, url: str, stack: AsyncExitStack) -> Client:
    """Two registered clients do all there is to do; answers a second device of the first, still open."""
    for client, peer, name in ((one, other, NAMES[1]), (other, one, NAMES[0])):
        await client.allow_phonebook()
        await client.find({peer.profile.phone: name, STRANGER: "Kunigunde Niemand"})
    second = await stack.enter_async_context(Client(url))
    linking = asyncio.create_task(second.claim_link(await one.open_link(), "Wanduhr im Flur"))
    await one.approve_link()
    await linking
    await one.open_link()  # another, which nobody claims
    account = other.profile.account
    seen = LastSeenRule(LastSeenTo.CONTACTS_EXCEPT, [account])
    await one._ask("settings.change", ChangeSettings(last_seen=seen), session=True)
    await one._ask("blocks.add", session=True, account=account)
    await one._ask("blocks.remove", session=True, account=account)
    await one._ask("objections.change", ChangeObjection(True), session=True, interest=Interest.STATISTICS)
    await one.change_profile(ChangeProfile(name=TEXTS[0], about=TEXTS[1]))
    await one.set_picture(some_picture())
    await one.allow(Purpose.DEVICE_DETAILS)
    await one.describe_device(DeviceInfo(model=TEXTS[2]))
    kept = Attachment("Lebkuchenrezept.txt", "text/plain", base64url.encode(b"Pfeffer, Nelken, Zimtsterne"))
    await one._ask("tickets.open", OpenTicket("Frage an den Hof", "Ist der Brunnen tief?", [kept]), session=True)
    await one._ask("plan.start_trial", session=True)
    await one._ask("settings.change", ChangeSettings(business=True), session=True)
    call = await one.call(account, track=ToneTrack(440))
    await one.allow(Purpose.QUALITY)
    await one._ask("calls.quality", MeasuredQuality(MeasuredWay(99, 1, 0.01), client="Glockenspiel 7"), session=True, call=call.id)
    async with asyncio.timeout(10):
        await (await other.incoming.get()).decline()
        while not await one.history() or not await other.history():
            pass  # each look has what is on its way written first
    await one._ask("blocks.add", session=True, account=account)
    # a registration of one's own number that is not finished
    info = await one._ask("server.info")
    me = await one._ask("account.get", session=True)
    await one._ask("registration.start", StartRegistration(me.phone, me.email, info.policy_version))
    assert call.id
    return second
