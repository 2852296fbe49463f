"""What a relay tells of itself and of how calls arrive at it, over Redis, for whoever runs the service: sums, and headers' arithmetic under
the random name of a pair. No address, no account, no call (P17).

``relay_quality:PAIR`` is a list of ``Sample``, one each ``EVERY`` seconds; the last ``KEPT`` are kept.
"""

import os
import resource
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from media.quality import mos
from media.relay import Direction, Relay

EVERY: Final = 10.0
"""Seconds between two samples of a call."""
KEPT: Final = 360
"""Samples of one call: those of the last hour."""
LIFETIME: Final = 72 * 3600
"""Seconds that they are kept after the last one."""


class RelayLoad(Struct, frozen=True):
    """How much a relay has to do."""

    name: str
    """Machine and process."""
    started_at: float
    """Seconds since 1970."""
    legs: int
    """Sides of calls whose device is there."""
    packets: float
    """Forwarded, a second."""
    dropped: float
    """Datagrams that the source gate did not let through, a second."""
    cpu: float
    """Share of one core."""
    lag: float
    """Seconds that the event loop was late at most."""


class SideSample(Struct, frozen=True, array_like=True):
    """How what one side sent arrived since the sample before."""

    packets: int
    loss: float
    """Share, 0 to 1."""
    jitter: float
    """Seconds."""
    rtt: float | None
    """Seconds, between this side and the relay and back."""
    mos: float | None
    """Opinion that people would have of the way from this side to the other; None when nothing came."""


class Sample(Struct, frozen=True, array_like=True):
    """Both sides at one time (seconds since 1970)."""

    at: float
    sides: tuple[SideSample, SideSample]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Sample)


def encode_sample(sample: Sample) -> bytes:
    """A sample as it is stored."""
    return _encoder.encode(sample)


def decode_samples(stored: Sequence[bytes]) -> list[Sample]:
    """Samples out of the store; what another version wrote is left out."""
    found: list[Sample] = []
    for data in stored:
        try:
            found.append(_decoder.decode(data))
        except msgspec.DecodeError:
            continue
    return found


def quality_key(pair: str) -> str:
    """Redis key of a pair's samples."""
    return f"relay_quality:{pair}"


def side_sample(before: Direction | None, now: Direction, rtt: float) -> SideSample:
    """What changed at one side between two looks (pure). ``rtt``: seconds from one device to the other and back."""
    expected = now.expected - (0 if before is None else before.expected)
    lost = now.lost - (0 if before is None else before.lost)
    packets = now.packets - (0 if before is None else before.packets)
    loss = min(1.0, max(0.0, lost / expected)) if expected > 0 else 0.0
    score = round(mos(loss=loss, jitter=now.jitter, rtt=rtt), 2) if expected > 0 else None
    return SideSample(packets, round(loss, 4), round(now.jitter, 4), None if now.rtt is None else round(now.rtt, 4), score)


class Reporter:
    """Looks at a relay now and then.

    Args:
        relay: a started relay.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._before: dict[str, tuple[Direction, Direction]] = {}
        self._name = f"{socket.gethostname()} {os.getpid()}"
        self._started = time.time()
        self._looked = time.monotonic()
        self._packets = self._dropped = 0
        self._cpu = _cpu_seconds()
        self.lag = 0.0
        """Seconds that the event loop was late at most, since the last look; whoever measures it puts it here."""

    def load(self) -> RelayLoad:
        """How much there was to do since the last look."""
        now, cpu, counts = time.monotonic(), _cpu_seconds(), self._relay.counts().as_dict()
        packets = counts["forwarded"]
        dropped = sum(number for name, number in counts.items() if name not in ("forwarded", "stun", "held"))
        seconds = max(0.001, now - self._looked)
        load = RelayLoad(
            name=self._name,
            started_at=self._started,
            legs=self._relay.legs()[0],
            packets=round((packets - self._packets) / seconds, 1),
            dropped=round((dropped - self._dropped) / seconds, 1),
            cpu=round((cpu - self._cpu) / seconds, 3),
            lag=round(self.lag, 4),
        )
        self._looked, self._packets, self._dropped, self._cpu, self.lag = now, packets, dropped, cpu, 0.0
        return load

    def samples(self) -> dict[str, Sample]:
        """Of each pair, what came since the last time this was asked."""
        at, found, seen = time.time(), dict[str, Sample](), dict[str, tuple[Direction, Direction]]()
        for pair in self._relay.pairs():
            sides = self._relay.quality(pair)
            if sides is None:
                continue
            seen[pair] = sides
            before = self._before.get(pair, (None, None))
            rtt = sum(side.rtt or 0.0 for side in sides)
            one, other = side_sample(before[0], sides[0], rtt), side_sample(before[1], sides[1], rtt)
            if one.packets or other.packets:
                found[pair] = Sample(round(at, 1), (one, other))
        self._before = seen
        return found


async def store_samples(redis: Any, samples: dict[str, Sample]) -> None:
    """Keep them. Raises ``RedisError`` or ``OSError``."""
    if not samples:
        return
    async with redis.pipeline(transaction=False) as pipe:
        for pair, sample in samples.items():
            key = quality_key(pair)
            pipe.rpush(key, encode_sample(sample))
            pipe.ltrim(key, -KEPT, -1)
            pipe.expire(key, LIFETIME)
        await pipe.execute()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
