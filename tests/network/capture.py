"""What is on the wire, seen from inside a namespace, and an eavesdropper's attempt to hear it."""

import contextlib
import math
import socket
import struct
import threading
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from av import AudioFrame
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.packet import Packet

from tests.network.lab import Lab

_ETH_P_ALL: Final = 3
_RATE: Final = 48_000


@dataclass(frozen=True, slots=True)
class Datagram:
    """One IPv4 packet; for UDP with its ports and payload."""

    source: str
    target: str
    protocol: int
    ports: tuple[int, int]
    payload: bytes


@contextlib.contextmanager
def capture(lab: Lab, name: str) -> Iterator[list[Datagram]]:
    """Everything that comes into or leaves a namespace, loopback aside, while the context lasts."""
    sniffer = lab.inside(name, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)))
    sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    sniffer.settimeout(0.1)
    seen: list[Datagram] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                frame, (device, *_) = sniffer.recvfrom(4096)
                packet = parse(frame)
                if packet is not None and device != "lo":
                    seen.append(packet)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        over.set()
        reader.join()
        sniffer.close()


def parse(frame: bytes) -> Datagram | None:
    """An Ethernet frame with IPv4 in it, else None."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return None
    header = (frame[14] & 15) * 4
    total = struct.unpack("!H", frame[16:18])[0]
    body = frame[14 + header : 14 + total]
    ports, payload = (0, 0), b""
    if frame[23] in (6, 17) and len(body) >= 8:
        ports = struct.unpack("!HH", body[:4])
        payload = body[8:] if frame[23] == 17 else body
    return Datagram(socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34]), frame[23], ports, payload)


def kind(payload: bytes) -> str:
    """What a datagram of WebRTC is, by its first byte (RFC 7983)."""
    first = payload[0] if payload else 255
    if first <= 3:
        return "stun"
    if 20 <= first <= 63:
        return "dtls"
    return ("rtcp" if 192 <= payload[1] <= 223 else "rtp") if 128 <= first <= 191 and len(payload) > 12 else "unknown"


def rtp_payload(packet: bytes) -> bytes:
    """What follows the RTP header and its extensions (RFC 3550, section 5)."""
    start = 12 + 4 * (packet[0] & 15)
    if packet[0] & 0x10:
        start += 4 + 4 * struct.unpack("!H", packet[start + 2 : start + 4])[0]
    return packet[start:]


def tone_in(payloads: Iterable[bytes], hz: float) -> float:
    """Decode payloads as the Opus that they would be if nobody had encrypted them; the share of the energy at a frequency, 0 to 1."""
    decoder = AudioCodecContext.create("opus", "r")
    decoder.sample_rate = _RATE
    resampler = AudioResampler(format="s16", layout="mono", rate=_RATE)
    samples: array[int] = array("h")
    for payload in payloads:
        with contextlib.suppress(Exception):  # noise is seldom a frame
            for frame in decoder.decode(Packet(payload)):
                for plain in resampler.resample(frame):
                    samples.frombytes(bytes(plain.planes[0])[: 2 * plain.samples])
    best = 0.0
    for at in range(0, len(samples) - 4800, 4800):
        best = max(best, _share(samples[at : at + 4800], hz))
    return best


def opus_of_tone(hz: float, frames: int = 60) -> list[bytes]:
    """What a microphone that hears a tone would send without encryption: to show that ``tone_in`` would find it."""
    encoder = AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout = _RATE, "s16", "mono"  # type: ignore[assignment]
    encoder.open()
    packets: list[bytes] = []
    for number in range(frames):
        frame = AudioFrame(format="s16", layout="mono", samples=960)
        frame.planes[0].update(
            array("h", (int(9000 * math.sin(2 * math.pi * hz * (number * 960 + i) / _RATE)) for i in range(960))).tobytes()
        )
        frame.sample_rate, frame.pts = _RATE, number * 960
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def _share(samples: "array[int]", hz: float) -> float:
    energy = sum(s * s for s in samples)
    if energy < len(samples) * 100.0**2:
        return 0.0
    w = 2 * math.pi * hz / _RATE
    real = sum(s * math.cos(w * i) for i, s in enumerate(samples))
    imaginary = sum(s * math.sin(w * i) for i, s in enumerate(samples))
    return 2 * (real * real + imaginary * imaginary) / (len(samples) * energy)
