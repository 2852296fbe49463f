"""Audio of a call through aiortc (the optional dependency ``kloudtalk[client]``): what is sent comes from a track, what is heard goes to a function.

aiortc checks the DTLS certificate of the other side against the fingerprint in its description, which came out of a verified payload (P10).
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import math
from array import array
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from aioice import Connection, TransportPolicy
from aiortc import RTCConfiguration, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcicetransport import connection_kwargs
from av import AudioFrame
from msgspec import Struct

from signaling.client.path import Path
from signaling.client.sdp import Ice, ice_of, relayed_only, trickling, with_ice, without_addresses
from signaling.wire.rest import IceServers

RATE: Final = 48_000
_FRAME: Final = 960
_WINDOW: Final = RATE // 10
"""Samples in which a tone is looked for at a time."""


class ToneTrack(MediaStreamTrack):  # type: ignore[misc]
    """A microphone that whistles.

    Args:
        hz: the tone. It beeps, 0.35 s of every 0.5 s: noise suppression takes a steady tone for noise.
    """

    kind = "audio"

    def __init__(self, hz: float) -> None:
        super().__init__()
        self._hz = hz
        self._sent = 0
        self._start: float | None = None

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when they are due."""
        loop = asyncio.get_running_loop()
        if self._start is None:
            self._start = loop.time()
        await asyncio.sleep(max(0.0, self._start + self._sent / RATE - loop.time()))
        samples = array("h", bytes(2 * _FRAME))
        for i in range(_FRAME):
            t = (self._sent + i) / RATE
            if t % 0.5 < 0.35:
                samples[i] = int(12_000 * math.sin(2 * math.pi * self._hz * t))
        frame = AudioFrame(format="s16", layout="mono", samples=_FRAME)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate = RATE
        frame.pts = self._sent
        frame.time_base = fractions.Fraction(1, RATE)
        self._sent += _FRAME
        return frame


def file_track(path: str) -> MediaStreamTrack:
    """The audio of a file, in any format that FFmpeg reads. Raises ``ValueError`` when there is none."""
    track: MediaStreamTrack | None = MediaPlayer(path).audio
    if track is None:
        raise ValueError("the file has no audio")
    return track


class Arrived(Struct, frozen=True):
    """What has come of the other side's audio since the call began (W3C webrtc-stats). ``jitter``: seconds; ``rtt``: seconds, None: not known."""

    packets: int
    lost: int
    jitter: float
    rtt: float | None


class AudioMedia:
    """One WebRTC connection with audio both ways, whose ICE can start anew under it (``path.py``). Candidates are gathered before a
    description is handed out.

    Args:
        servers: STUN and TURN as the hub gave them.
        track: what is sent.
        heard: gets every frame that comes in.
        changed: told ``connected``, ``failed`` or ``closed``: what became of DTLS.
        lost: told when ICE has failed, or the other side's consent is over.
        hidden: this device's addresses are not told: only TURN servers and relays.
    """

    def __init__(
        self,
        servers: IceServers,
        track: MediaStreamTrack,
        *,
        heard: Callable[[AudioFrame], None],
        changed: Callable[[str], None],
        lost: Callable[[], None] = lambda: None,
        hidden: bool = False,
    ) -> None:
        self._ice = [
            RTCIceServer(urls=s.urls, username=s.username or None, credential=s.credential or None) for s in servers.ice_servers
        ]
        self._shut = hidden and servers.relay
        """Nothing at all goes to the other side's candidates: a relay's leg is waited for."""
        self._hidden = hidden
        self._asking = asyncio.Lock()
        # with a relay to come, what is gathered here is neither told nor used; aiortc just wants some
        policy = RTCIceTransportPolicy.RELAY if hidden and not servers.relay else RTCIceTransportPolicy.ALL
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=self._ice, iceTransportPolicy=policy))
        self._track = track
        self._heard = heard
        self._tasks: set[asyncio.Task[None]] = set()
        self._early: list[Mapping[str, Any]] = []
        transport = self._pc.addTrack(track).transport.transport
        self._path = Path(transport._connection, lost)
        self._path.insert(transport)
        self._pc.on("track", self._on_track)
        self._pc.on("connectionstatechange", lambda: changed(self._pc.connectionState))

    async def offer(self) -> str:
        """Our offer, with its candidates."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return self._described()

    async def answer(self, offer: str) -> str:
        """Our answer to an offer, with its candidates. Raises ``ValueError`` when the offer is none."""
        await self._pc.setRemoteDescription(RTCSessionDescription(self._usable(offer), "offer"))
        await self._take_early()
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        return self._described()

    async def accept(self, answer: str) -> None:
        """Take the other side's answer. Raises ``ValueError`` when it is none."""
        await self._pc.setRemoteDescription(RTCSessionDescription(self._usable(answer), "answer"))
        await self._take_early()

    async def add(self, candidates: Iterable[Mapping[str, Any]], epoch: int = 0) -> None:
        """Candidates as browsers send them (W3C ``RTCIceCandidateInit``); what cannot be used, or is of another epoch, is left out."""
        if self._shut or epoch != self._path.epoch:
            return
        if self._pc.remoteDescription is None:
            self._early += candidates
            return
        texts = (str(init.get("candidate", "")) for init in candidates)
        await self._path.add(epoch, tuple(text for text in texts if text.startswith("candidate:")))

    # --- later ways -----------------------------------------------------------------------------------------------------------

    @property
    def packets(self) -> int:
        """RTP packets that came."""
        return self._path.packets

    @property
    def turned(self) -> bool:
        """What is sent goes through a TURN server, of this side's or of the other's."""
        return self._path.turned

    async def arrived(self) -> Arrived:
        """What has come so far."""
        reports = (await self._pc.getStats()).values()
        inbound = [report for report in reports if report.type == "inbound-rtp"]
        rtts = [report.roundTripTime for report in reports if report.type == "remote-inbound-rtp"]
        return Arrived(
            packets=sum(report.packetsReceived for report in inbound),
            lost=max(0, sum(report.packetsLost for report in inbound)),
            jitter=max((report.jitter for report in inbound), default=0) / RATE,
            rtt=next((rtt for rtt in rtts if rtt is not None), None),
        )

    def flows(self, epoch: int) -> bool:
        """Whether ICE of this epoch is connected, and DTLS is."""
        return epoch == self._path.epoch and self._path.connected and self._pc.connectionState == "connected"

    async def restart_offer(self, epoch: int) -> str:
        """An offer with new ICE parameters (RFC 8445, section 9). DTLS goes on."""
        return self._restarted(epoch, await self._path.begin(epoch, self._connection(controlling=True, leg=False)))

    async def restart_answer(self, epoch: int, offer: str) -> str:
        """Our answer to such an offer. Raises ``ValueError`` when it is none."""
        remote = ice_of(offer)
        ours = await self._path.begin(epoch, self._connection(controlling=remote.lite, leg=False))
        await self._path.go(epoch, remote)
        return self._restarted(epoch, ours)

    async def restart_accept(self, epoch: int, answer: str) -> None:
        """Take the answer to our new offer. Raises ``ValueError`` when it is none."""
        await self._path.go(epoch, ice_of(answer))

    async def to_leg(self, epoch: int, ask: Callable[[str, str], Awaitable[Ice]]) -> None:
        """Restart ICE towards our leg of a relay, which ``ask`` gets for our new credentials. Raises what ``ask`` raises."""
        # one after the other: the leg has the credentials that it was told last
        async with self._asking:
            if epoch < self._path.epoch:
                return
            # the leg learns our address from our checks (RFC 8445, section 7.3.1.3): candidates are not told
            ours = await self._path.begin(epoch, self._connection(controlling=True, leg=True))
            await self._path.go(epoch, await ask(ours.ufrag, ours.pwd), all_known=True)

    async def close(self, *, keep_track: bool = False) -> None:
        """End it. ``keep_track``: what is sent goes on, in another connection."""
        for task in self._tasks:
            task.cancel()
        if not keep_track:
            self._track.stop()
        await self._pc.close()
        await self._path.close()

    def _connection(self, *, controlling: bool, leg: bool) -> Connection:
        self._shut = self._shut and leg  # on other ways, TURN servers stand between
        policy = TransportPolicy.RELAY if self._hidden and not leg else TransportPolicy.ALL
        return Connection(ice_controlling=controlling, transport_policy=policy, **connection_kwargs(self._ice))

    def _described(self) -> str:
        sdp = trickling(str(self._pc.localDescription.sdp))
        if not self._hidden:
            return sdp
        ice = ice_of(sdp)
        return with_ice(sdp, Ice(ice.ufrag, ice.pwd, () if self._shut else relayed_only(ice.candidates)))

    def _restarted(self, epoch: int, ice: Ice) -> str:
        told = relayed_only(ice.candidates) if self._hidden else ice.candidates
        return with_ice(trickling(str(self._pc.localDescription.sdp)), Ice(ice.ufrag, ice.pwd, told), version=epoch)

    def _usable(self, sdp: str) -> str:
        return without_addresses(sdp) if self._shut else sdp

    async def _take_early(self) -> None:
        early, self._early = self._early, []
        await self.add(early)

    def _on_track(self, track: MediaStreamTrack) -> None:
        async def listen() -> None:
            with contextlib.suppress(Exception):  # aiortc's MediaStreamError: the track has ended
                while True:
                    self._heard(await track.recv())

        task = asyncio.create_task(listen())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Listener:
    """Finds out what is heard: give it to a call as ``heard``, then wait for a tone."""

    def __init__(self) -> None:
        self.frames = 0
        self._samples = array("h")
        self._gone = 0
        """Samples that lie too far back, and are not kept any more."""
        self._news = asyncio.Event()

    def __call__(self, frame: AudioFrame) -> None:
        """Take a frame."""
        data = array("h", bytes(frame.planes[0])[: 2 * frame.samples * len(frame.layout.channels)])
        self._samples += data[:: len(frame.layout.channels)]
        self.frames += 1
        if len(self._samples) > 10 * RATE:
            del self._samples[: 5 * RATE]
            self._gone += 5 * RATE
        self._news.set()

    async def hears(self, hz: float, timeout: float = 20.0) -> None:
        """Wait until a tone is clearly there: more of the loudness at ``hz`` than at all else. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout):
            at = self._gone
            while True:
                while self._gone + len(self._samples) < at + _WINDOW:
                    self._news.clear()
                    await self._news.wait()
                at = max(at, self._gone)
                if _share(self._samples[at - self._gone : at - self._gone + _WINDOW], hz) > 0.5:
                    return
                at += _WINDOW
                await asyncio.sleep(0)  # whoever has seconds of it to go through lets the sound come in, and the time run out


def _share(samples: array[int], hz: float) -> float:
    """How much of the energy is at one frequency, 0 to 1 (Goertzel's algorithm)."""
    energy = sum(s * s for s in samples)
    if energy < len(samples) * 100.0**2:
        return 0.0  # silence
    w = 2 * math.pi * hz / RATE
    real = sum(s * math.cos(w * i) for i, s in enumerate(samples))
    imaginary = sum(s * math.sin(w * i) for i, s in enumerate(samples))
    return 2 * (real * real + imaginary * imaginary) / (len(samples) * energy)
