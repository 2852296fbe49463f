"""The short form of ``bench.chaos``: a hub is killed, and Redis is killed, under calls between real processes. Nobody is left with another
view of a call than the other side.
"""

from bench.chaos import run

FAULTS = ["kill-redis", "kill-hub"]


async def test_both_sides_of_every_call_agree_after_each_fault(tmp_path):
    results = await run(tmp_path, calls=12, faults=FAULTS, expire=False)
    for fault in FAULTS:
        assert results[fault]["violations"] == 0, results
        assert results[fault]["kept"] == results[fault]["of"] == 6
