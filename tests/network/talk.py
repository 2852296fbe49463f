"""People in the lab, and what is seen of their calls: by the browser's own counters, not by what our client says of itself."""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

from tests.browser.browsers import BROWSERS, Page, Place
from tests.browser.person import Person
from tests.browser.service import Service
from tests.network.lab import HUB, RELAY, TURN, TURN_NAME, Home, Lab
from tests.network.servers import ORIGIN, Authority

# Runs before the page's own scripts: keeps every connection that the page makes, and when something was clicked or first heard.
PRELOAD = """() => {
  const lab = globalThis.lab = { connections: [], clickedAt: {}, candidates: [] };
  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Native {
    constructor(...all) { super(...all); lab.connections.push(this); }
    async addIceCandidate(candidate) { lab.candidates.push(candidate?.candidate ?? ""); return super.addIceCandidate(candidate); }
    async setRemoteDescription(description) { lab.candidates.push(...(description.sdp?.match(/^(a=candidate|c=|m=audio).*$/gm) ?? [])); return super.setRemoteDescription(description); }
  };
  addEventListener("click", (event) => { lab.clickedAt[event.target.closest("button")?.textContent ?? ""] = Date.now(); }, true);
  lab.stats = async () => {
    const pc = lab.connections.at(-1);
    const by = new Map();
    if (pc) (await pc.getStats()).forEach((one) => by.set(one.id, one));
    const all = [...by.values()];
    const heard = all.find((one) => one.type === "inbound-rtp");
    const chosen = all.find((one) => one.type === "transport" && one.selectedCandidatePairId)?.selectedCandidatePairId;
    const pair = by.get(chosen) ?? all.find((one) => one.type === "candidate-pair" && one.selected)
      ?? all.find((one) => one.type === "candidate-pair" && one.nominated && one.state === "succeeded");
    const [local, remote] = [by.get(pair?.localCandidateId), by.get(pair?.remoteCandidateId)];
    return {
      state: pc?.connectionState ?? null, packets: heard?.packetsReceived ?? 0, lost: heard?.packetsLost ?? 0, energy: heard?.totalAudioEnergy ?? 0,
      concealed: heard?.concealedSamples ?? 0, samples: heard?.totalSamplesReceived ?? 0, fec: heard?.fecPacketsReceived ?? null,
      local: local?.candidateType ?? null, relayProtocol: local?.relayProtocol ?? null, remote: remote?.candidateType ?? null, protocol: remote?.protocol ?? null,
      address: remote?.address ?? remote?.ip ?? null, port: remote?.port ?? null, at: Date.now(),
    };
  };
  // the time of the first packet of audio of the newest connection, ms since the epoch; null when none comes
  lab.firstAudio = async (milliseconds) => {
    const before = lab.connections.length;
    const until = performance.now() + milliseconds;
    while (performance.now() < until) {
      if (lab.connections.length > 0 && !lab.connections.at(-1).kloudtalkSeen && (await lab.stats()).packets > 0) {
        lab.connections.at(-1).kloudtalkSeen = true;
        return Date.now();
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return null;
  };
  // the longest time without a packet, in ms, from now on until packets have come again for a second and a half; Infinity: they do not
  lab.gap = async (milliseconds) => {
    let [last, packets, longest, broken] = [performance.now(), (await lab.stats()).packets, 0, false];
    const until = performance.now() + milliseconds;
    let since = null;
    while (performance.now() < until) {
      const now = (await lab.stats()).packets;
      const at = performance.now();
      if (now > packets) {
        longest = Math.max(longest, at - last);
        [last, packets] = [at, now];
        if (longest > 600) broken = true;
        since ??= at;
        if (broken && at - since > 1500) return longest;
      } else if (at - last > 600) since = null;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return performance.now() - last > 1000 ? -1 : longest;
  };
}"""


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """One call. Times in seconds from the click on Accept to the first packet of audio; None where none came."""

    rungs: tuple[str | None, str | None]
    """What carried it, as the caller's and the callee's browser have it."""
    heard: tuple[float | None, float | None]

    @property
    def connected(self) -> bool:
        """Whether both heard something."""
        return None not in self.heard

    @property
    def rung(self) -> str:
        """What carried the call: the rung furthest up the ladder of the two sides."""
        order = [None, "host", "srflx", "turn (theirs)", "turn/udp", "turn/tcp", "turn/tls", "relay", "relay/tcp"]
        return max(self.rungs, key=order.index) or "none"


def rung(stats: dict[str, Any]) -> str | None:
    """What carries a call, from the chosen pair of candidates."""
    if stats["local"] is None:
        return None
    if stats["address"] == RELAY:
        return "relay/tcp" if stats["protocol"] == "tcp" else "relay"
    if stats["local"] == "relay":
        return f"turn/{stats['relayProtocol'] or 'udp'}"
    if stats["address"] == TURN:
        return "turn (theirs)"
    return "host" if (stats["local"], stats["remote"]) == ("host", "host") else "srflx"


class Talker(Person):
    """Somebody in a home of the lab."""

    home: Home

    async def ready(self) -> None:
        """Load the page anew and wait for the hub: after a change of network nothing old shall be in the way."""
        await self.page.goto(ORIGIN)
        await self.page.sees("Connected")

    async def stats(self) -> dict[str, Any]:
        """What the browser counts of the call."""
        counted: dict[str, Any] = await self.page.js("() => lab.stats()")
        return counted

    async def always_relay(self, wanted: bool) -> None:
        """Turn the setting on or off, by clicking."""
        page = self.page
        await page.click("link", "Settings", exact=True)
        await page.find("checkbox", "Always use a relay")
        box = "[...document.querySelectorAll('label')].find((l) => l.textContent.includes('Always use a relay')).querySelector('input').checked"
        if await page.js(f"() => {box}") is not wanted:
            await page.click("checkbox", "Always use a relay")
            await page.until(f"{box} === {json.dumps(wanted)}", "the setting")
        await page.click("link", "Contacts", exact=True)


async def call(caller: Talker, callee: Talker, *, seconds: float = 24.0, settle: float = 1.2) -> Outcome:
    """Call by clicking; returns once both have heard something, or the call has ended without."""
    await caller.page.click("button", f"Call {callee.name}", exact=True)
    await callee.page.find("button", "Accept")
    waiting = [asyncio.create_task(one.page.js("(ms) => lab.firstAudio(ms)", seconds * 1000)) for one in (caller, callee)]
    await callee.page.click("button", "Accept")
    heard = await asyncio.gather(*waiting)
    accepted = await callee.page.js('() => lab.clickedAt["Accept"]')
    # ICE nominates what answered first, and takes a better pair when it is found
    settled = "async (ms) => { await new Promise((resolve) => setTimeout(resolve, ms)); return lab.stats(); }"
    stats = await asyncio.gather(*(one.page.js(settled, settle * 1000) for one in (caller, callee)))
    first = tuple(None if at is None else (at - accepted) / 1000 for at in heard)
    return Outcome((rung(stats[0]), rung(stats[1])), first)  # type: ignore[arg-type]


async def end(*talkers: Talker) -> None:
    """Hang up, if there is something to hang up, and close what is left of it."""
    for one in talkers:
        if await one.page.has("button", "Hang up"):
            with contextlib.suppress(AssertionError):
                await one.page.click("button", "Hang up", timeout=2)
    for one in talkers:
        with contextlib.suppress(AssertionError):
            await one.page.click("button", "Close", exact=True, timeout=4)


@contextlib.asynccontextmanager
async def people(
    lab: Lab, service: Service, authority: Authority, wanted: dict[str, tuple[Home, str]]
) -> AsyncIterator[dict[str, Talker]]:
    """Register people, each in a home with a browser, who all have each other in their phonebooks.

    Args:
        wanted: by name, where and with which browser (``chromium``, ``firefox``).
    """
    async with contextlib.AsyncExitStack() as stack:

        async def come(number: int, name: str, home: Home, browser: str) -> Talker:
            place = Place(lab.namespace(home), ORIGIN, (HUB, TURN, RELAY, TURN_NAME), authority.authority)
            page: Page = await stack.enter_async_context(BROWSERS[browser](ORIGIN, place=place, preload=PRELOAD))
            talker = Talker(name, f"+49309018{number:02d}", page, service)
            talker.home = home
            await talker.register()
            return talker

        talkers = [await come(20 + i, name, home, browser) for i, (name, (home, browser)) in enumerate(wanted.items())]
        for one in talkers:
            await one.bring_contacts("\n".join(f"{other.name}, {other.phone}" for other in talkers if other is not one))
        yield {one.name: one for one in talkers}
