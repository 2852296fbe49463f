"""A page with one ``RTCPeerConnection`` whose media goes to a leg of a relay, and two of them brought together over one."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection
from typing import Any

from aiohttp import web

from media.relay import LegParameters, Relay
from tests.browser.browsers import Page

_SCRIPT = """
const log = [];
let pc;
// the peer's description with the ICE lines of our leg in the place of the peer's
const through = (sdp, leg) => sdp.split("\\r\\n").flatMap((line) => {
  if (/^a=(candidate|end-of-candidates|ice-lite|ice-options)/.test(line)) return [];
  if (line.startsWith("a=ice-ufrag:")) return ["a=ice-ufrag:" + leg.ufrag];
  if (line.startsWith("a=ice-pwd:")) return ["a=ice-pwd:" + leg.pwd, ...leg.candidates.map((c) => "a=" + c), "a=end-of-candidates"];
  if (line.startsWith("t=") && leg.lite) return [line, "a=ice-lite"];
  return [line];
}).join("\\r\\n");
const mine = () => ({
  sdp: pc.localDescription.sdp,
  ufrag: /a=ice-ufrag:(\\S+)/.exec(pc.localDescription.sdp)[1],
  pwd: /a=ice-pwd:(\\S+)/.exec(pc.localDescription.sdp)[1],
});
globalThis.call = {
  async start() {
    pc = new RTCPeerConnection();
    pc.onconnectionstatechange = () => log.push([performance.now(), pc.connectionState]);
    pc.ontrack = ({ streams }) => {
      const audio = document.querySelector("audio") ?? document.body.appendChild(new Audio());
      audio.srcObject = streams[0];
      audio.play();
    };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    for (const track of stream.getTracks()) pc.addTrack(track, stream);
  },
  async offer(restart) { await pc.setLocalDescription(await pc.createOffer({ iceRestart: restart })); return mine(); },
  async answer(sdp, leg) {
    await pc.setRemoteDescription({ type: "offer", sdp: through(sdp, leg) });
    await pc.setLocalDescription(await pc.createAnswer());
    return mine();
  },
  async accept(sdp, leg) { await pc.setRemoteDescription({ type: "answer", sdp: through(sdp, leg) }); },
  async connected() {
    for (;;) {
      if (pc.connectionState === "connected") return performance.now();
      if (pc.connectionState === "failed") return null;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  },
  async stats() {
    const all = [...(await pc.getStats()).values()];
    const transport = all.find((s) => s.type === "transport");
    const pair = all.find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
    const inbound = all.find((s) => s.type === "inbound-rtp");
    return { state: pc.connectionState, packets: inbound?.packetsReceived ?? 0, lost: inbound?.packetsLost ?? 0,
      energy: inbound?.totalAudioEnergy ?? 0, dtls: transport?.dtlsState ?? null, remote: all.find((s) => s.id === pair?.remoteCandidateId) ?? null };
  },
  // the longest time without a new packet within so many milliseconds
  async gap(milliseconds) {
    let last = performance.now(), packets = -1, longest = 0;
    const until = last + milliseconds;
    while (performance.now() < until) {
      const now = (await call.stats()).packets;
      if (now !== packets) { longest = Math.max(longest, performance.now() - last); last = performance.now(); packets = now; }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return Math.max(longest, performance.now() - last);
  },
};
"""


@contextlib.asynccontextmanager
async def page_server() -> AsyncIterator[str]:
    """URL of the page."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(
            text=f"<!doctype html><title>relay</title><link rel=icon href='data:,'><body><script>{_SCRIPT}</script>",
            content_type="text/html",
        )

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://localhost:{runner.addresses[0][1]}/"
    await runner.cleanup()


def leg_data(leg: LegParameters, *, lite: bool, transports: Collection[str] = ("udp", "tcp")) -> dict[str, Any]:
    """A leg for the page, with its candidates of some transports."""
    candidates = [one for one in leg.candidates if one.split()[2] in transports]
    return {"ufrag": leg.ufrag, "pwd": leg.pwd, "candidates": candidates, "lite": lite}


async def connect(
    relay: Relay,
    caller: Page,
    callee: Page,
    *,
    restart: bool = False,
    transports: tuple[Collection[str], Collection[str]] = (("udp", "tcp"), ("udp", "tcp")),
) -> float:
    """Offer and answer through the relay; milliseconds from the answer at the caller until both are connected. ``transports``: what the
    caller and the callee may use.
    """
    offer = await caller.js("(restart) => call.offer(restart)", restart)
    at_caller = await relay.leg("call", 0, (offer["ufrag"], offer["pwd"]))
    at_callee = await relay.leg("call", 1, None)
    answer = await callee.js(
        "(sdp, leg) => call.answer(sdp, leg)", offer["sdp"], leg_data(at_callee, lite=True, transports=transports[1])
    )
    assert await relay.leg("call", 1, (answer["ufrag"], answer["pwd"])) == at_callee
    started = time.monotonic()
    await caller.js("(sdp, leg) => call.accept(sdp, leg)", answer["sdp"], leg_data(at_caller, lite=False, transports=transports[0]))
    await asyncio.gather(caller.js("() => call.connected()"), callee.js("() => call.connected()"))
    return 1000 * (time.monotonic() - started)
