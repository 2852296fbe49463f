"""What the calls' Redis holds: bounded, and never for ever."""

from contextlib import AsyncExitStack

from signaling.calls.machine import Call
from signaling.calls.pair import ABSENT, encode_state, next_version, pair_key
from signaling.calls.store import SEALED, CallStore, SealedRecord
from tests.integration.test_call_traces import connected, phones
from tests.phones import new_id


async def test_what_is_sealed_in_a_call_is_kept_so_many_times_at_most(redis):
    store = CallStore(redis)
    ann, ben = new_id(), new_id()
    call = Call(new_id(), ann, "d" * 22, "", ben, ("e" * 22,), frozenset(), created_at=1.0, deadline=None)
    key, state = pair_key(ann, ben), encode_state(next_version(ABSENT, store.nonce()), [call])
    await store.restore([(key, (ann, ben), state, None)])
    kept = [SealedRecord("d" * 22, "e" * 22, f"{number:0128}") for number in range(SEALED + 50)]
    for start in range(0, len(kept), 200):
        await store.append((key, call.id, record) for record in kept[start : start + 200])
    assert await store.sealed(key, call.id) == kept[:SEALED]


async def test_nothing_of_a_live_call_is_in_redis_for_ever(hub, redis):
    async with AsyncExitStack() as stack:
        alice, bob = await phones(hub, stack, hub.url, hub.url)
        call = await connected(alice, bob)
        names = ("pair:", "sealed:", "calls_of:")
        keys = [key for key in await redis.keys("{c0}:*") if key.decode().removeprefix("{c0}:").startswith(names)]
        assert len(keys) == 4  # both have it in their index
        lives = {key: await redis.ttl(key) for key in keys}
        assert all(0 < left <= 86_400 for left in lives.values()), lives
        for key in keys:
            await redis.expire(key, 100)
        pair = hub.hub.calls._by_call[call]
        await hub.hub.calls._store.touch([(pair.key, pair.accounts, tuple(pair.calls))])
        assert min([await redis.ttl(key) for key in keys]) > 80_000
