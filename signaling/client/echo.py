"""Answers test calls (``kloudtalk echo``): a greeting, then what is heard, and now and then how loud it is, sealed to the caller.

Nothing of any call is kept: audio is in memory for a second (``media/echo.py``), the caller's keys as long as the call, and no number is ever told
to this account.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from media.echo import EchoTrack, greeting
from signaling.client.client import Call, Client
from signaling.client.profile import Profile
from signaling.client.rest import ClientError
from signaling.telemetry.counting import HUMAN, Histogram, count
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import Reason, Stage

log = logging.getLogger(__name__)

_REPORT_EVERY: Final = 1.5
"""Seconds between two reports to the caller."""
_RETRY: Final = 2.0
"""Seconds until the hub is tried again when it cannot be reached."""
_NICE: Final = 10
"""Calls of people come first on a busy machine."""


class Outcome(StrEnum):
    """What became of a test call."""

    HEARD = "heard"
    """Sound went both ways."""
    LEFT = "left"
    """The caller hung up before."""
    FAILED = "failed"
    """No way for the sound was found, or the call could not be taken."""


@dataclass(eq=False)
class EchoCounts:
    """What operators are told of test calls; nothing of a single one."""

    ended: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    audio: Histogram = field(default_factory=lambda: Histogram(HUMAN))
    """Seconds from taking a call until sound goes both ways."""


@dataclass(eq=False)
class EchoState:
    """How the echo of this process is, whatever hub it is connected to now."""

    capacity: int
    """Calls at a time."""
    counts: EchoCounts = field(default_factory=EchoCounts)
    client: Client | None = None
    echo: "Echo | None" = None

    @property
    def online(self) -> bool:
        """Whether a hub is connected."""
        return self.client is not None and self.client.online

    @property
    def calls(self) -> int:
        """Calls that go on now."""
        return 0 if self.echo is None else len(self.echo)


class Echo:
    """Answers the calls of one client.

    Args:
        seconds: after which a call is ended.
        counts: where it is counted what becomes of them.
    """

    def __init__(self, client: Client, *, seconds: float, counts: EchoCounts | None = None) -> None:
        self._client = client
        self._seconds = seconds
        self._counts = EchoCounts() if counts is None else counts
        self._greeting: Sequence[bytes] = greeting()
        self._calls: dict[str, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Calls that go on now."""
        return len(self._calls)

    async def run(self) -> None:
        """Answer, until cancelled."""
        try:
            while True:
                call = await self._client.incoming.get()
                task = asyncio.create_task(self._answer(call))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _answer(self, call: Call) -> None:
        before = self._calls.get(call.account)
        self._calls[call.account] = call
        try:
            if before is not None:
                await before.hangup()  # one at a time for each account, the newest: the page was loaded anew
            await self._talk(call)
        except (ClientError, ConnectionError, PermissionError) as error:
            log.info("a test call could not be answered (%s)", type(error).__name__)
        finally:
            if self._calls.get(call.account) is call:
                del self._calls[call.account]
                self._client.forget(call.account)
            self._client.notices.clear()

    async def _talk(self, call: Call) -> None:
        began, outcome = asyncio.get_running_loop().time(), Outcome.FAILED
        track = EchoTrack(self._greeting)
        self._client.accept_identity_change(call.account)  # whose keys they are makes no difference to an echo
        try:
            async with asyncio.timeout(self._seconds):
                await call.accept(track=track, heard=track.hear)
                await call.reach(Stage.CONNECTED)
                outcome = Outcome.HEARD
                self._counts.audio.observe(asyncio.get_running_loop().time() - began)
                while not await _over(call, _REPORT_EVERY):
                    await self._report(call, track)
        except TimeoutError:
            pass
        finally:
            track.stop()
            if outcome is Outcome.FAILED and call.reason in (Reason.HANGUP, Reason.CANCELLED):
                outcome = Outcome.LEFT
            count(self._counts.ended, outcome)
            if call.stage is not Stage.ENDED:
                with contextlib.suppress(ClientError):
                    await call.hangup()

    async def _report(self, call: Call, track: EchoTrack) -> None:
        """Tell the caller what is heard of them: docs/protocol.md, "test call"."""
        levels, arrived = track.levels(), await call.received()
        with contextlib.suppress(ClientError):  # the hub is away for the moment: the next one may get there
            await call.signal(
                "levels",
                {
                    "rms": levels.rms,
                    "peak": levels.peak,
                    "clipped": round(levels.clipped, 3),
                    "packets": arrived.packets,
                    "lost": arrived.lost,
                    "jitter": round(arrived.jitter, 4),
                },
            )


async def _over(call: Call, within: float) -> bool:
    """Whether the call ends within some seconds."""
    try:
        await call.reach(Stage.ENDED, within)
    except TimeoutError:
        return False
    return True


@contextlib.asynccontextmanager
async def _unobserved(_state: EchoState) -> AsyncIterator[None]:
    yield


async def run_echo(
    url: str,
    *,
    token: str,
    profile: Path,
    calls: int,
    seconds: float,
    observe: Callable[[EchoState], contextlib.AbstractAsyncContextManager[None]] = _unobserved,
) -> None:
    """Be the echo of a service until SIGTERM or SIGINT. Raises ``PermissionError`` when another process is, or becomes, it.

    Args:
        url: of a hub.
        token: what the hub and its services derive from their secret.
        profile: file for its keys and session.
        calls: at a time.
        seconds: after which a call is ended.
        observe: what goes on beside it while it runs.
    """
    os.nice(_NICE)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    state = EchoState(calls)
    async with observe(state):
        await _keep_serving(stop, state, url, token=token, profile=profile, seconds=seconds)


async def _keep_serving(stop: asyncio.Event, state: EchoState, url: str, *, token: str, profile: Path, seconds: float) -> None:
    """Be there until it is stopped, whatever becomes of hubs."""
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        serving = asyncio.create_task(_serve(state, url, token=token, profile=profile, seconds=seconds))
        await asyncio.wait([stopping, serving], return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            serving.cancel()
        try:
            await serving
        except asyncio.CancelledError:
            return
        except (ClientError, TimeoutError, aiohttp.ClientError) as error:
            if isinstance(error, ClientError) and error.code not in (ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED):
                raise
            log.warning("the hub cannot be reached; trying again")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _RETRY)


async def _serve(state: EchoState, url: str, *, token: str, profile: Path, seconds: float) -> None:
    """Answer calls; returns when the hub does not know this device any more."""
    client = state.client = Client(url, _load(profile), max_calls=state.capacity)
    echo = state.echo = Echo(client, seconds=seconds, counts=state.counts)
    try:
        if client.profile is None:
            await client.open()
            await _enrol(client, token, profile)
        else:
            opening = asyncio.create_task(client.open())
            revoked = asyncio.create_task(client.revoked.wait())
            await asyncio.wait([opening, revoked], return_when=asyncio.FIRST_COMPLETED)
            if client.revoked.is_set():
                opening.cancel()
                await _enrol(client, token, profile)
            else:
                revoked.cancel()
                await opening
        log.info("answering test calls, up to %d at a time", state.capacity)
        print("answering test calls", flush=True)
        ends = [asyncio.create_task(work) for work in (echo.run(), client.revoked.wait(), client.replaced.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.wait(ends)
        if client.replaced.is_set():
            raise PermissionError("another process answers the test calls of this service")
    finally:
        await client.close()


async def _enrol(client: Client, token: str, profile: Path) -> None:
    client.revoked.clear()
    await client.enrol_as_echo(token)
    if client.profile is not None:
        client.profile.save(profile)


def _load(path: Path) -> Profile | None:
    """The profile of the last time; None when there is none, or it cannot be read."""
    try:
        return Profile.load(path)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, ValueError):
        log.warning("%s cannot be read: the echo gets new keys", path.name)
        return None
