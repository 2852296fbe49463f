"""Calls while hubs, Redis and networks fail: ``python -m bench.chaos``.

Real clients at three hubs hold calls that ring and calls that are up. Something breaks, and people do not wait until it is whole again: calls
that ring are taken or cancelled in the middle, calls that are up are hung up, by one side or by both. Clients come back on whatever hub
there is, as the SDK does. Then, for each call, both sides must say the same: up on both, or ended on both with one reason; none may ring longer
than its time, none may end twice, every request is answered, and when all have hung up, no call is left in the store. A hub's silence is no
excuse, and a client asks again when it was told ``unavailable``.
"""

import argparse
import asyncio
import contextlib
import functools
import itertools
import json
import random
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
from redis.asyncio import Redis

from bench.fleet import MOVED, Fleet, fleet
from bench.processes import end_on_signals, report, say
from bench.service import Account, seed
from signaling.contacts.store import ContactStore
from signaling.wire import base64url
from signaling.wire.messages import RING_TIMEOUT

_SEALED: Final = "s" * 400
NO_ANSWER: Final = "no answer"
"""What a request has got that was asked for a minute."""
_DURING: Final = 20.0
"""Seconds from the beginning of a fault over which people do things."""
_LATE: Final = 8.0
"""Seconds by which a call may ring longer than its time: a hub that looks after a dead one's calls does so once a second, and the
fault itself may have kept everyone from telling."""


class Device:
    """One device of a chaos run: it reconnects by itself, as the SDK does, and knows its calls."""

    def __init__(self, account: Account, urls: Callable[[], list[str]], rng: random.Random) -> None:
        self.account = account
        self.stages: dict[str, str] = {}
        self.seqs: dict[str, int] = {}
        """The newest change of each call that it knows: what is older and comes late is not heeded."""
        self.ends: Counter[str] = Counter()
        self.rang: dict[str, float] = {}
        self.ring_times: dict[str, float] = {}
        self.reconnects = 0
        self._away = 0.0
        self._lost_at: float | None = None
        self._urls, self._rng = urls, rng
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    def start(self, http: aiohttp.ClientSession) -> None:
        """Connect, and stay connected."""
        self._task = asyncio.get_running_loop().create_task(self._live(http))

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def until(self, condition: Callable[[], bool], timeout: float) -> None:
        """Wait for a condition on what this device knows. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    @property
    def away(self) -> float:
        """Seconds that it has been without a socket, in all, before the present one."""
        return self._away

    @property
    def online(self) -> bool:
        """Whether it has been sent ``sync`` on its present socket."""
        return self._ws is not None

    async def ask(self, kind: str, **fields: Any) -> str:
        """Ask until there is an answer other than ``unavailable``: ``ok`` or the error's code."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            ws = self._ws
            if ws is None:
                await asyncio.sleep(0.1)
                continue
            number = next(self._numbers)
            answer = self._answers[number] = asyncio.get_running_loop().create_future()
            try:
                await ws.send_str(json.dumps({"type": kind, "id": number, **fields}))
                async with asyncio.timeout(10):
                    said = await answer
            except (TimeoutError, ConnectionError, aiohttp.ClientError):
                continue
            finally:
                self._answers.pop(number, None)
            code = str(said.get("code", "ok"))
            if code not in ("unavailable", "rate_limited", "closed"):
                return code
            await asyncio.sleep(0.5 + self._rng.random() / 2)
        return NO_ANSWER

    async def _live(self, http: aiohttp.ClientSession) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                url = self._rng.choice(self._urls())
                async with asyncio.timeout(10):
                    ws = await http.ws_connect(url + "/v1/ws", protocols=("kloudtalk.v1",), heartbeat=4)
                try:
                    await ws.send_str(json.dumps({"type": "hello", "id": 0, "token": self.account.token}))
                    async for frame in ws:
                        if frame.type is aiohttp.WSMsgType.TEXT:
                            async with self._changed:
                                self._take(json.loads(frame.data), ws)
                                self._changed.notify_all()
                finally:
                    if self._ws is not None:
                        self._lost_at = time.monotonic()
                    self._ws = None
                    for answer in self._answers.values():
                        if not answer.done():
                            answer.set_result({"code": "closed"})
                    await ws.close()
            self.reconnects += 1
            await asyncio.sleep(0.2 + self._rng.random())

    def _take(self, message: dict[str, Any], ws: aiohttp.ClientWebSocketResponse) -> None:
        kind, call = message["type"], message.get("call", "")
        if kind in ("ok", "error"):
            answer = self._answers.get(message.get("re", -1))
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif kind == "sync":
            self._ws = ws
            if self._lost_at is not None:
                self._away += time.monotonic() - self._lost_at
                self._lost_at = None
            live = {view["call"]: view for view in message["calls"]}
            for known, stage in self.stages.items():
                if not stage.startswith("ended") and known not in live:
                    self._set(known, "ended")  # the reason stands in the history
            for view in live.values():
                self.seqs[view["call"]] = max(view["seq"], self.seqs.get(view["call"], 0))
                self._set(view["call"], view["stage"])
        elif "seq" in message and message["seq"] <= self.seqs.get(call, 0) and kind != "call.ended":
            pass
        elif kind == "call.ended":
            self.ends[call] += 1
            self._set(call, f"ended {message['reason']}")
        else:
            stage = {
                "call.incoming": "inviting",
                "call.rings": "ringing",
                "call.answered": "connecting",
                "call.up": "connected",
            }.get(kind)
            if stage is not None and not (kind == "call.incoming" and call in self.stages):
                self.seqs[call] = message["seq"]
                self._set(call, stage)

    def _set(self, call: str, stage: str) -> None:
        now = time.monotonic() - self._away  # who has no socket cannot know, and the SDK ends what rings by its own clock
        if stage in ("inviting", "ringing"):
            self.rang.setdefault(call, now)
        elif call in self.rang and call not in self.ring_times:
            self.ring_times[call] = now - self.rang[call]
        self.stages[call] = stage


class Couple:
    """Two devices with one call between them."""

    def __init__(self, caller: Device, callee: Device) -> None:
        self.caller, self.callee = caller, callee
        self.call = base64url.encode(random.randbytes(16))

    async def ring(self) -> None:
        """Invite; the callee's device rings."""
        payloads = {self.callee.account.device: _SEALED}
        self.caller.stages[self.call] = "inviting"
        said = await self.caller.ask("call.invite", call=self.call, to=self.callee.account.id, payloads=payloads)
        if said not in ("ok", "call_exists"):  # asked again, for the answer was lost
            raise RuntimeError(f"an invite was refused: {said}")
        self.caller.rang.setdefault(self.call, time.monotonic() - self.caller.away)
        try:
            await self.callee.until(lambda: self.call in self.callee.stages, 30)
        except TimeoutError:
            raise RuntimeError(
                f"a call that was stored does not ring (the device is {'' if self.callee.online else 'not '}connected)"
            ) from None
        await self.callee.ask("call.ringing", call=self.call)

    async def connect(self) -> None:
        """The call is up."""
        await self.ring()
        await self.callee.ask("call.accept", call=self.call, payload=_SEALED)
        await self.caller.until(lambda: self.caller.stages.get(self.call) == "connecting", 30)
        await asyncio.gather(self.caller.ask("call.connected", call=self.call), self.callee.ask("call.connected", call=self.call))
        await self.caller.until(lambda: self.caller.stages.get(self.call) == "connected", 30)
        await self.callee.until(lambda: self.callee.stages.get(self.call) == "connected", 30)

    @property
    def stages(self) -> tuple[str, str]:
        """What the caller's device knows of the call, and what the callee's does."""
        return (self.caller.stages.get(self.call, "unknown"), self.callee.stages.get(self.call, "unknown"))

    @property
    def settled(self) -> bool:
        """Whether the call is up on both sides, or has ended on both."""
        one, other = self.stages
        return (one.startswith("ended") and other.startswith("ended")) or one == other == "connected"

    async def settle(self, until: float) -> None:
        """Wait for that, but not beyond a time (of ``time.monotonic``)."""
        for device in (self.caller, self.callee):
            with contextlib.suppress(TimeoutError):
                await device.until(lambda: self.settled or until < time.monotonic(), max(0.1, until - time.monotonic()))

    async def take(self) -> str:
        """The callee takes the call, and both connect. Returns what went wrong with a request, '' for nothing."""
        if (said := await self.callee.ask("call.accept", call=self.call, payload=_SEALED)) == NO_ANSWER:
            return f"{said} to call.accept"
        with contextlib.suppress(TimeoutError):
            await self.caller.until(lambda: self.stages[0] in ("connecting", "connected") or self.stages[0].startswith("ended"), 40)
        said = await asyncio.gather(*(device.ask("call.connected", call=self.call) for device in (self.caller, self.callee)))
        return f"{NO_ANSWER} to call.connected" if NO_ANSWER in said else ""

    async def hang_up(self, *sides: Device) -> str:
        """One side hangs up, or both at once. Returns what went wrong with a request."""
        said = await asyncio.gather(*(side.ask("call.hangup", call=self.call) for side in sides))
        return f"{NO_ANSWER} to call.hangup" if NO_ANSWER in said else ""

    def agree(self, reasons: dict[str, list[str]]) -> str | None:
        """What is wrong with this call; None when nothing is. ``reasons`` are those in the history, one for each side."""
        stages = self.stages
        if not self.settled:
            return f"{stages[0]} at the caller, {stages[1]} at the callee"
        told = {stage.removeprefix("ended").strip() for stage in stages if stage.startswith("ended")} - {""}
        if len(told | set(reasons.get(self.call, ()))) > 1:
            return f"reasons differ: {sorted(told)} were told, {reasons.get(self.call, [])} are in the history"
        for device in (self.caller, self.callee):
            if device.ends[self.call] > 1:
                return "told of the end twice"
            if device.ring_times.get(self.call, 0) > RING_TIMEOUT + _LATE:
                return f"rang for {device.ring_times[self.call]:.0f} s"
        return None


# --- what goes wrong ------------------------------------------------------------------------------------------------------------------------


async def kill_hub(ships: Fleet) -> None:
    """A hub is killed, and comes back half a minute later."""
    ships.signal_hub(0, signal.SIGKILL)
    ships.hubs[0].wait()
    await asyncio.sleep(15)
    await asyncio.to_thread(ships.start_hub, 0)


async def kill_redis(ships: Fleet) -> None:
    """Redis is killed and started again at once, on what it had written to disk."""
    ships.kill_redis()
    await asyncio.to_thread(ships.valkey.start)


async def stop_redis(ships: Fleet) -> None:
    """Redis is away for ten seconds."""
    await asyncio.to_thread(ships.valkey.stop)
    await asyncio.sleep(10)
    await asyncio.to_thread(ships.valkey.start)


async def partition(ships: Fleet) -> None:
    """A hub is cut off from Redis for twenty seconds, but not from its clients."""
    await ships.wall.shut()
    await asyncio.sleep(20)
    await ships.wall.open()


async def pause_hub(ships: Fleet) -> None:
    """A hub does nothing for twenty seconds, and then goes on as if nothing had been."""
    ships.signal_hub(1, signal.SIGSTOP)
    await asyncio.sleep(20)
    ships.signal_hub(1, signal.SIGCONT)


async def jump_clock(ships: Fleet) -> None:
    """A hub's wall clock jumps by a minute."""
    if not ships.move_clock(MOVED, 60):
        say("  (libfaketime is not installed: the clock stays)")
    await asyncio.sleep(5)


async def drain_hub(ships: Fleet) -> None:
    """A hub is shut down as in a rolling restart, and started again."""
    for number in range(3):
        ships.signal_hub(number, signal.SIGTERM)
        await asyncio.to_thread(ships.hubs[number].wait)
        await asyncio.to_thread(ships.start_hub, number)


CLOCK: Final = "jump-clock"
PARTITION: Final = "partition"
ROLLING: Final = "rolling-restart"
_SETTLED: Final = 30.0
"""Seconds after a fault in which hubs find out who is dead, and clients come back."""

FAULTS: Final[dict[str, Callable[[Fleet], Awaitable[None]]]] = {
    "kill-hub": kill_hub,
    "kill-redis": kill_redis,
    "stop-redis": stop_redis,
    PARTITION: partition,
    "pause-hub": pause_hub,
    CLOCK: jump_clock,
    ROLLING: drain_hub,
}


async def run_fault(ships: Fleet, name: str, couples: list[Couple], *, expire: bool) -> dict[str, Any]:
    """Half of the couples talk, half ring; then the fault, and what people do meanwhile; then everyone must agree. ``expire``: nobody ends
    those that ring on.
    """
    talking, ringing = couples[: len(couples) // 2], couples[len(couples) // 2 :]
    for couple in couples:
        couple.call = base64url.encode(random.randbytes(16))
    limit = asyncio.Semaphore(40)

    async def one(work: Callable[[], Awaitable[None]]) -> None:
        async with limit:
            await work()

    await asyncio.gather(*(one(c.connect) for c in talking))
    await asyncio.gather(*(one(c.ring) for c in ringing))
    say(f"{name}: {len(talking)} calls are up, {len(ringing)} ring")
    wrong: list[tuple[Couple, str]] = []
    begun = time.monotonic()

    async def meanwhile(couple: Couple, act: Callable[[], Awaitable[str]]) -> None:
        await asyncio.sleep(random.random() * _DURING)
        if problem := await act():
            wrong.append((couple, problem))

    staying = [couple for number, couple in enumerate(talking) if number % 4 > 1 or name == ROLLING]
    acts: list[tuple[Couple, Callable[[], Awaitable[str]]]] = []
    for number, couple in enumerate(talking):
        if couple not in staying:
            sides = [(couple.caller,), (couple.callee,), (couple.caller, couple.callee)][number // 4 % 3]
            acts.append((couple, functools.partial(couple.hang_up, *sides)))
    for number, couple in enumerate(ringing):
        if number % 4 == 0:
            acts.append((couple, couple.take))
        elif number % 4 == 1:
            acts.append((couple, functools.partial(couple.hang_up, couple.caller)))
    people = [asyncio.create_task(meanwhile(*act)) for act in acts]
    await FAULTS[name](ships)
    whole = time.monotonic()
    await asyncio.gather(*people)
    devices = [device for couple in couples for device in (couple.caller, couple.callee)]
    for device in devices:
        with contextlib.suppress(TimeoutError):
            await device.until(lambda d=device: d.online, 30)  # type: ignore[misc]
    if not expire:
        await asyncio.gather(*(one(lambda c=c: _hang_up(c, wrong)) for c in ringing))  # type: ignore[misc]
    # those that ring are over after their time at the latest; who does not come back in time ends a call
    until = max(begun + RING_TIMEOUT, whole + _SETTLED) + _LATE
    await asyncio.gather(*(couple.settle(until) for couple in couples))
    before = [(couple, f"{problem}, before anyone hung up") for couple in couples if (problem := couple.agree({})) is not None]
    kept = sum(couple.stages == ("connected", "connected") for couple in staying)
    if name == ROLLING:
        before += [(couple, "a rolling restart ended it") for couple in staying if couple.stages[0].startswith("ended")]
    await asyncio.gather(*(one(lambda c=c: _hang_up(c, wrong)) for c in couples if not c.stages[0].startswith("ended")))  # type: ignore[misc]
    reasons = await asyncio.to_thread(_history, ships.folder / "data" / "kloudtalk.db", {couple.call for couple in couples})
    wrong += before
    wrong += [(couple, problem) for couple in couples if (problem := couple.agree(reasons)) is not None]
    wrong += [(couple, "does not end") for couple in couples if not couple.stages[0].startswith("ended")]
    for couple, problem in wrong[:10]:
        say(f"  violation: {couple.call}: {problem}")
    left = await _left(ships)
    result = {
        "calls": len(couples), "kept": kept, "of": len(staying), "acts": len(acts), "violations": len({c.call for c, _ in wrong}) + left,
        "left_in_store": left, "ends": dict(Counter(reason for some in reasons.values() for reason in set(some))),
        "history_missing": sum(len(reasons.get(couple.call, ())) != 2 for couple in couples),
        "longest_ring": round(max((d.ring_times.get(c.call, 0) for c in couples for d in (c.caller, c.callee)), default=0), 1),
        "reconnects": sum(d.reconnects for d in devices), "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip
    if name == PARTITION:
        result["wall"] = ships.wall.kind
    for device in devices:
        device.reconnects = 0
    say(f"  {result}")
    return result


async def _left(ships: Fleet) -> int:
    """Pairs that still have live calls in the store, when all have hung up."""
    redis = Redis.from_url(ships.valkey.url)
    try:
        async with asyncio.timeout(15):
            while await redis.zcard("{c0}:calls"):
                await asyncio.sleep(0.2)
        return 0
    except TimeoutError:
        return int(await redis.zcard("{c0}:calls"))
    finally:
        await redis.aclose()


async def _hang_up(couple: Couple, wrong: list[tuple[Couple, str]]) -> None:
    if problem := await couple.hang_up(couple.caller):
        wrong.append((couple, problem))
    for device in (couple.caller, couple.callee):
        with contextlib.suppress(TimeoutError):
            await device.until(lambda: all(stage.startswith("ended") for stage in couple.stages), 10)


def _history(path: Path, calls: set[str]) -> dict[str, list[str]]:
    """Reasons by call, one for each side, once the hubs have written both sides' lines of every ended call, or after a while."""
    until = time.monotonic() + 15
    while True:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            rows = [row for row in database.execute("SELECT call, reason FROM call_records") if row[0] in calls]
        if len(rows) >= 2 * len(calls) or time.monotonic() > until:
            break
        time.sleep(0.2)
    reasons: dict[str, list[str]] = {}
    for call, reason in rows:
        reasons.setdefault(call, []).append(reason)
    return reasons


async def run(folder: Path, *, calls: int, faults: list[str], expire: bool = True) -> dict[str, Any]:
    """All faults, one after the other, on one fleet of three hubs. ``expire``: calls that ring do so until their time is over."""
    say(f"seeding {2 * calls} accounts")
    people = await seed(folder / "data", 2 * calls)
    rng = random.Random(20261124)
    async with (
        fleet(folder, 3, movable_clocks=CLOCK in faults) as ships,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        redis = Redis.from_url(ships.book.url)
        store = ContactStore(redis)
        for one, other in zip(people[::2], people[1::2], strict=True):
            await store.change(one.id, {other.discovery: "x"}, [], reset=False, limit=100)
            await store.change(other.id, {one.discovery: "x"}, [], reset=False, limit=100)
        await redis.aclose()

        def urls() -> list[str]:
            return [ships.url(number) for number in range(3)]

        say(f"the wall between a hub and Redis is a {ships.wall.kind}")
        devices = [Device(account, urls, rng) for account in people]
        couples = [Couple(one, other) for one, other in zip(devices[::2], devices[1::2], strict=True)]
        try:
            for start in range(0, len(devices), 100):
                some = devices[start : start + 100]
                for device in some:
                    device.start(http)
                await asyncio.gather(*(device.until(lambda d=device: d.online, 120) for device in some))  # type: ignore[misc]
            return {name: await run_fault(ships, name, couples, expire=expire) for name in faults}
        finally:
            await asyncio.gather(*(device.stop() for device in devices))
            for number in ships.hubs:
                for line in ships.log(number).splitlines():
                    if "defect" in line or "Traceback" in line:
                        say(f"  hub {number}: {line}")


def main() -> int:
    """Run the faults that were asked for."""
    parser = argparse.ArgumentParser(description="Calls at three hubs while hubs, Redis and networks fail.")
    parser.add_argument("--calls", type=int, default=1_000, help="calls, half of them up and half ringing (default: %(default)s)")
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS), help="which (default: all)")
    options = parser.parse_args()
    end_on_signals()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 6 * options.calls + 1_000)), hard))
    folder = Path(tempfile.mkdtemp(prefix="kloudtalk-chaos-"))
    try:
        # a clock that can be moved makes a hub slower: that fault has hubs of its own
        parts = [[f for f in options.faults if f != CLOCK], [f for f in options.faults if f == CLOCK]]
        results: dict[str, Any] = {}
        for number, some in enumerate(part for part in parts if part):
            results |= asyncio.run(run(folder / str(number), calls=options.calls, faults=some))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    violations = sum(result["violations"] for result in results.values())
    report(
        {
            "metric": "chaos_violations",
            "ours": violations,
            "peer": None,
            "ratio": None,
            "unit": "calls",
            "faults": results,
        }
    )
    return 0 if violations == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
