"""The short form of ``bench.chaos``: Redis is killed, a hub is killed, and a hub is cut off from Redis, under calls between real processes, while
people take calls and hang up. Nobody is left with another view of a call than the other side.
"""

from bench.chaos import run

FAULTS = ["kill-redis", "kill-hub", "partition"]


async def test_both_sides_of_every_call_agree_after_each_fault(tmp_path):
    results = await run(tmp_path, calls=16, faults=FAULTS, expire=False)
    for fault in FAULTS:
        assert results[fault]["violations"] == 0, results
        assert results[fault]["kept"] == results[fault]["of"] == 4
