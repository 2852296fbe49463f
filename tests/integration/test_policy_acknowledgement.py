"""A new version of the policy must be acknowledged before the service is used on; calls in progress are not cut (P04)."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from signaling.client.client import Client
from signaling.client.media import ToneTrack
from signaling.client.rest import ClientError
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import Stage
from signaling.wire.rest import ChangeProfile, Purpose
from tests.conftest import eventually
from tests.integration.hub_fixture import RunningHub, beside
from tests.integration.test_client_calls import acquainted, rung


async def code_of(work) -> ErrorCode:
    with pytest.raises(ClientError) as refused:
        await work
    return refused.value.code


@pytest.fixture
def later(hub: RunningHub, tmp_path):
    """Starts a hub on the same stores with a newer policy."""
    file = tmp_path / "policy.md"
    file.write_text("# Privacy policy\n\nVersion 2030-1\n\nNew words.\n")
    return lambda: beside(hub, policy_version="2030-1", policy_file=file)


async def test_nothing_is_used_before_the_new_policy_is_acknowledged_and_rights_work_all_the_time(hub, later):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        bobs = bob.profile.account
        await alice.close()
        url = (await stack.enter_async_context(later())).url
        again = await stack.enter_async_context(Client(url, alice.profile))
        await eventually(lambda: again.policy_wanted)
        for use in (
            again.address_book(),
            again.change_profile(ChangeProfile(name="Alice")),
            again.call(bobs, track=ToneTrack(440)),
            again.watch(bobs),
            again.open_link(),
        ):
            assert await code_of(use) is ErrorCode.POLICY_NOT_ACKNOWLEDGED
        assert (await again.account()).policy_version == hub.hub.settings.policy_version
        await again.allow(Purpose.PHONEBOOK, granted=False)  # a withdrawal waits for nothing
        await again._ask("devices.list", session=True)
        # an older version, or one that does not exist, is not what was shown
        assert await code_of(again.acknowledge_policy(hub.hub.settings.policy_version)) is ErrorCode.POLICY_NOT_ACKNOWLEDGED
        policy = await again._ask("server.policy")
        account = await again.acknowledge_policy(policy.version)
        assert account.policy_version == "2030-1"
        assert (await again.change_profile(ChangeProfile(name="Alice"))).name == "Alice"
        await eventually(lambda: not again.policy_wanted)  # the connection was made anew
        await again.watch(bobs)


async def test_a_call_in_progress_goes_on_and_a_new_one_waits(hub, later):
    async with AsyncExitStack() as stack:
        alice, bob = await acquainted(hub, stack)
        outgoing = await alice.call(bob.profile.account, track=ToneTrack(440))
        incoming = await rung(bob)
        await incoming.accept(track=ToneTrack(620))
        await asyncio.gather(outgoing.reach(Stage.CONNECTED), incoming.reach(Stage.CONNECTED))
        # the hub is updated: everybody comes back to it, and has not acknowledged what is new
        url = (await stack.enter_async_context(later())).url
        for client in (alice, bob):
            await client._socket.close()
            client.url = url
            await client.connect()
            await eventually(lambda client=client: client.policy_wanted)
        await outgoing.send_state(muted=True)
        async with asyncio.timeout(10), incoming._news:
            await incoming._news.wait_for(lambda: incoming.peer_muted)
        await outgoing.hangup()
        await incoming.reach(Stage.ENDED)
        assert await code_of(alice.call(bob.profile.account, track=ToneTrack(440))) is ErrorCode.POLICY_NOT_ACKNOWLEDGED


async def test_one_yes_counts_for_every_device_on_every_hub(hub, later):
    async with AsyncExitStack() as stack:
        alice, _ = await acquainted(hub, stack)
        phone = await stack.enter_async_context(Client(hub.url))
        linking = asyncio.create_task(phone.claim_link(await alice.open_link(), "a phone"))
        await alice.approve_link()
        await linking
        one, other = await stack.enter_async_context(later()), await stack.enter_async_context(later())
        await eventually(lambda: other.hub.cluster.nodes.node in one.hub.cluster.nodes.others)  # hubs know each other after a beat
        for client, newer in ((alice, one), (phone, other)):
            await client._socket.close()
            client.url = newer.url
            client._rest._url = newer.url
            await client.connect()
            await eventually(lambda client=client: client.policy_wanted)
        await alice.acknowledge_policy("2030-1")
        await eventually(lambda: not phone.policy_wanted)
        await phone.address_book()
