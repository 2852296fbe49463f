"""Audio of a call through aiortc (the optional dependency ``kloudtalk[client]``): what is sent comes from a track, what is heard goes to a function.

aiortc checks the DTLS certificate of the other side against the fingerprint in its description, which came out of a verified payload (P10).
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamTrack
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame

from signaling.wire.rest import IceServers

RATE: Final = 48_000
_FRAME: Final = 960


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


class AudioMedia:
    """One WebRTC connection with audio both ways. Candidates are gathered before a description is handed out.

    Args:
        servers: STUN and TURN as the hub gave them.
        track: what is sent.
        heard: gets every frame that comes in.
        changed: told ``connected``, ``failed`` or ``closed``.
    """

    def __init__(
        self,
        servers: IceServers,
        track: MediaStreamTrack,
        *,
        heard: Callable[[AudioFrame], None],
        changed: Callable[[str], None],
    ) -> None:
        ice = [RTCIceServer(urls=s.urls, username=s.username or None, credential=s.credential or None) for s in servers.ice_servers]
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=ice))
        self._track = track
        self._heard = heard
        self._tasks: set[asyncio.Task[None]] = set()
        self._early: list[Mapping[str, Any]] = []
        self._pc.addTrack(track)
        self._pc.on("track", self._on_track)
        self._pc.on("connectionstatechange", lambda: changed(self._pc.connectionState))

    async def offer(self) -> str:
        """Our offer, with its candidates."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return str(self._pc.localDescription.sdp)

    async def answer(self, offer: str) -> str:
        """Our answer to an offer, with its candidates. Raises ``ValueError`` when the offer is none."""
        await self._pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._take_early()
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        return str(self._pc.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the other side's answer. Raises ``ValueError`` when it is none."""
        await self._pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await self._take_early()

    async def add(self, candidates: Iterable[Mapping[str, Any]]) -> None:
        """Candidates as browsers send them (W3C ``RTCIceCandidateInit``); what cannot be used is left out."""
        if self._pc.remoteDescription is None:
            self._early += candidates
            return
        for init in candidates:
            text = str(init.get("candidate", ""))
            if not text.startswith("candidate:"):
                continue
            with contextlib.suppress(ValueError, IndexError, AssertionError):
                candidate = candidate_from_sdp(text.removeprefix("candidate:"))
                mid, index = init.get("sdpMid"), init.get("sdpMLineIndex")
                candidate.sdpMid = None if mid is None else str(mid)
                candidate.sdpMLineIndex = index if isinstance(index, int) else None
                await self._pc.addIceCandidate(candidate)

    async def close(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        self._track.stop()
        await self._pc.close()

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
        self._news = asyncio.Event()

    def __call__(self, frame: AudioFrame) -> None:
        """Take a frame."""
        data = array("h", bytes(frame.planes[0])[: 2 * frame.samples * len(frame.layout.channels)])
        self._samples += data[:: len(frame.layout.channels)]
        self.frames += 1
        if len(self._samples) > 10 * RATE:
            del self._samples[: 5 * RATE]
        self._news.set()

    async def hears(self, hz: float, timeout: float = 20.0) -> None:
        """Wait until a tone is clearly there: more of the loudness at ``hz`` than at all else. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout):
            at = 0
            while True:
                while len(self._samples) < at + 4800:
                    self._news.clear()
                    await self._news.wait()
                window = self._samples[at : at + 4800]
                at += 4800
                if len(self._samples) > 9 * RATE:
                    at = max(0, len(self._samples) - RATE)
                if _share(window, hz) > 0.5:
                    return


def _share(samples: array[int], hz: float) -> float:
    """How much of the energy is at one frequency, 0 to 1 (Goertzel's algorithm)."""
    energy = sum(s * s for s in samples)
    if energy < len(samples) * 100.0**2:
        return 0.0  # silence
    w = 2 * math.pi * hz / RATE
    real = sum(s * math.cos(w * i) for i, s in enumerate(samples))
    imaginary = sum(s * math.sin(w * i) for i, s in enumerate(samples))
    return 2 * (real * real + imaginary * imaginary) / (len(samples) * energy)
