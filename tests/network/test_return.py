"""A call that a server of ours carries goes back to a direct way when there is one, and nobody hears that it is looked for."""

import asyncio
from pathlib import Path

import pytest

from tests.network.lab import PUBLIC, TURN, Lab, lab
from tests.network.servers import make_authority, service, turn_server
from tests.network.talk import Talker, call, end, people

pytestmark = pytest.mark.network

UNHEARD = 1_000
"""Milliseconds without a packet: Opus' pauses for silence take 400, a busy machine some more; of a way that was lost, the page says so after 1,200."""

# Keeps whether the page ever said that the call is interrupted, and counts ICE restarts.
WATCH = """() => {
  lab.interrupted = false;
  lab.restarts = 0;
  const see = () => { lab.interrupted ||= document.body.innerText.includes("interrupted"); };
  new MutationObserver(see).observe(document.body, { subtree: true, childList: true, characterData: true });
  const pc = lab.connections.at(-1);
  const set = pc.setLocalDescription.bind(pc);
  pc.setLocalDescription = (description) => { if (description?.type !== "rollback") lab.restarts++; return set(description); };
  return null;
}"""

# Until so many restarts were made from now on and the far end is at this address (if one is given), and two seconds more: the longest time without a
# packet, in ms; -1: it did not come to that.
QUIET = """async ([restarts, address, milliseconds]) => {
  const [began, before] = [performance.now(), lab.restarts];
  let [last, packets, longest, since] = [began, (await lab.stats()).packets, 0, null];
  while (performance.now() < began + milliseconds) {
    const now = await lab.stats();
    const at = performance.now();
    longest = Math.max(longest, at - last);
    if (now.packets > packets) [last, packets] = [at, now.packets];
    const there = lab.restarts - before >= restarts && (address === null || (now.address === address && now.local !== "relay"));
    since = there ? since ?? at : null;
    if (since !== null && at - since > 2000) return Math.round(longest);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return -1;
}"""


async def back(network: Lab, alice: Talker, bob: Talker, rung: str, blocked: tuple[str, ...], restarts: int) -> list[list[int]]:
    """A call that a server carries: a way back is looked for in vain, then it is there. The longest gaps of both sides, each time.

    Args:
        rung: what carries the call.
        blocked: what Alice cannot reach at first.
        restarts: of ICE, at each side, for one try in vain.
    """
    network.block("alice", blocked)
    await asyncio.gather(alice.ready(), bob.ready())
    outcome = await call(alice, bob)
    assert outcome.rung == rung
    for one in (alice, bob):
        await one.page.js(WATCH)

    async def both(restarts: int, far: tuple[str | None, str | None], seconds: float) -> list[int]:
        waiting = (one.page.js(QUIET, [restarts, there, 1000 * seconds]) for one, there in zip((alice, bob), far, strict=True))
        return list(await asyncio.gather(*waiting))

    gaps = [await both(restarts, (None, None), 25)]
    network.block("alice", ())
    gaps.append(await both(0, (PUBLIC["bob"], PUBLIC["alice"]), 45))
    for one in (alice, bob):
        assert not await one.page.js("() => lab.interrupted"), (rung, one.name, gaps)
        await one.page.sees("Connected")
    await asyncio.gather(alice.page.hears(bob.page.hz), bob.page.hears(alice.page.hz))
    await end(alice, bob)
    return gaps


@pytest.mark.parametrize(("hers", "his"), [("chromium", "firefox"), ("firefox", "chromium")])
async def test_when_a_direct_way_opens_under_a_call_the_call_takes_it_and_nobody_hears_it_looked_for(
    hers: str, his: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o755)
    with lab() as network:
        authority = make_authority(tmp_path / "ca")
        async with (
            turn_server(network, tmp_path / "turn", authority),
            service(network, tmp_path / "data", turn=True, relay=True) as running,
            people(network, running, authority, {"Alice": ("alice", hers), "Bob": ("bob", his)}) as both,
        ):
            alice, bob = both["Alice"], both["Bob"]
            # in vain over the relay is two restarts: to the direct way, and to the leg again. From TURN, Chromium may find the way without one
            for rung, blocked, restarts in (("relay", (PUBLIC["bob"], TURN), 2), ("turn/udp", (PUBLIC["bob"],), 1)):
                in_vain, found = await back(network, alice, bob, rung, blocked, restarts)
                with capsys.disabled():
                    print(f"\n{hers} → {his}, {rung} → direct: without a packet, ms: in vain {in_vain}, found {found}", end="")
                assert min(*in_vain, *found) >= 0
                assert max(*in_vain, *found) < UNHEARD
