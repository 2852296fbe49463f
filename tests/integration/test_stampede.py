"""The short form of ``bench.stampede``: a few hundred clients lose their sockets at once, and the hub is killed under them. All are back, and none met
with an error but for the time in which there was no hub.
"""

from bench.stampede import run


async def test_hundreds_of_clients_come_back_at_once(tmp_path):
    results = await run(tmp_path, 300, quiet=0.5)
    assert results["cut"]["errors"].keys() <= {"no sync in time"}, results  # a machine that has much else to do
    assert results["killed"]["errors"].keys() <= {"no sync in time", "no hub listens"}, results
    assert results["cut"]["calls"]["meanwhile"]["calls"] > 0
