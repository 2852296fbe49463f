"""Whether a process lives, and whether it can do its work. What is found is kept for a moment: asking again and again costs nothing.

*Essential* is what nothing goes without. What else fails degrades the service, and it stays ready: a hub that is taken out of service because the
key-holder is away would end the calls that do not need it.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from signaling.storage.persistence import PersistentStoreError
from signaling.wire.errors import Refused

TIMEOUT: Final = 2.0
"""Seconds that one check may take."""
KEPT: Final = 2.0
"""Seconds for which what was found is not looked for again."""
MAX_SKEW: Final = 2.0
"""Seconds that this machine's clock may be off Redis's: relays and hubs find each other by leases of a few seconds."""
LOW_DISK: Final = 256 << 20
"""Bytes: with less the data folder is full for all purposes."""


class CheckError(Exception):
    """A check that found something wrong; the text says what, without anyone's data."""


@dataclass(frozen=True)
class Check:
    """One thing to look at. ``look`` returns a line about it, or raises."""

    name: str
    look: Callable[[], Awaitable[str]]
    essential: bool = True


class Finding(Struct, frozen=True):
    """What was found."""

    name: str
    ok: bool
    essential: bool
    detail: str
    seconds: float


class Report(Struct, frozen=True):
    """All findings. ``ready``: nothing essential failed. ``degraded``: something did."""

    ready: bool
    degraded: bool
    checks: list[Finding]


class Health:
    """Looks at everything at the same time, at most once in ``kept`` seconds whoever asks."""

    def __init__(
        self, checks: Sequence[Check], *, timeout: float = TIMEOUT, kept: float = KEPT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = tuple(checks)
        self._timeout = timeout
        self._kept = kept
        self._clock = clock
        self._report: Report | None = None
        self._at = 0.0
        self._looking: asyncio.Task[Report] | None = None

    async def report(self) -> Report:
        """What was found just now, or a moment ago. Never raises but when cancelled."""
        if self._report is not None and self._clock() - self._at < self._kept:
            return self._report
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return await asyncio.shield(self._looking)

    @property
    def last(self) -> Report | None:
        """What was found last."""
        return self._report

    async def _look(self) -> Report:
        findings = await asyncio.gather(*map(self._one, self._checks))
        self._report = Report(
            ready=all(finding.ok for finding in findings if finding.essential),
            degraded=not all(finding.ok for finding in findings),
            checks=list(findings),
        )
        self._at = self._clock()
        return self._report

    async def _one(self, check: Check) -> Finding:
        began = self._clock()
        try:
            async with asyncio.timeout(self._timeout):
                detail, ok = await check.look(), True
        except Exception as error:
            detail, ok = reason(error), False
        return Finding(check.name, ok, check.essential, detail, round(self._clock() - began, 4))


def reason(error: Exception) -> str:
    """What an exception may tell: our own words, or its type; the words of libraries hold URLs, with passwords in them."""
    if isinstance(error, (CheckError, PersistentStoreError)):
        return str(error)
    if isinstance(error, Refused):
        return error.message
    return "no answer in time" if isinstance(error, TimeoutError) else f"does not answer ({type(error).__name__})"


async def redis_clock(redis: Any) -> float:
    """Seconds that this machine's clock is ahead of Redis's, give or take half of the way there and back. Raises ``RedisError``."""
    asked = time.time()
    seconds, micros = await redis.time()
    return (asked + time.time()) / 2 - (int(seconds) + int(micros) / 1e6)


def check_skew(ahead: float) -> str:
    """Raises ``CheckError`` when the clocks are too far apart."""
    if abs(ahead) > MAX_SKEW:
        raise CheckError(
            f"this machine's clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} Redis's: run NTP on both"
        )
    return f"within {abs(ahead):.2f} s of Redis's"


def free_bytes(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize


def check_disk(folder: Path) -> str:
    """Raises ``CheckError`` when there is hardly any room."""
    free = free_bytes(folder)
    if free < LOW_DISK:
        raise CheckError(f"{free >> 20} MiB free where the data folder is")
    return f"{free >> 20} MiB free"
