"""Several hubs on one Redis, each a process of its own, with hands to hurt them: for ``bench.chaos``."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.processes import free_port, stop, wait_for_port
from bench.wall import Wall, a_wall
from signaling.storage.embedded import EmbeddedValkey

WALLED: Final = 2
"""The hub that can be cut off from Redis."""
MOVED: Final = 1
"""The hub whose clock can be moved."""
_SECRET: Final = "a secret of the fleet's hubs and their key-holder"
_FAKETIME: Final = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
"""Debian's package faketime: a wall clock that can be moved for one process."""


@dataclass
class Fleet:
    """The hubs; ``urls`` of those that were started, by number."""

    folder: Path
    valkey: EmbeddedValkey
    book: EmbeddedValkey
    wall: Wall
    environment: dict[str, str]
    movable_clocks: bool = False
    """Whether the clock of one hub can be moved: it makes that hub slower."""
    hubs: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[int, int] = field(default_factory=dict)

    def log(self, number: int) -> str:
        """What a hub has said."""
        return (self.folder / f"hub{number}.log").read_text(errors="replace")

    def start_hub(self, number: int) -> None:
        """Start a hub and wait until it listens. The last one is behind the wall."""
        port = self.ports.setdefault(number, free_port())
        environment = dict(self.environment)
        prefix, host = [], "127.0.0.1"
        if number == WALLED:
            prefix, host = self.wall.prefix, self.wall.host
            environment["KLOUDTALK_REDIS_URL"] = self.wall.redis_url
        clock = self.folder / f"clock{number}"
        if self.movable_clocks and number == MOVED and Path(_FAKETIME).exists():
            clock.write_text("+0s\n")
            environment |= {
                "LD_PRELOAD": _FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1", "DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        with (self.folder / f"hub{number}.log").open("ab") as log:
            self.hubs[number] = subprocess.Popen(
                [*prefix, sys.executable, "-m", "signaling", "hub", "--host", host, "--port", str(port)],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_for_port(port, self.hubs[number], self.folder / f"hub{number}.log", host=host)

    def signal_hub(self, number: int, what: signal.Signals) -> None:
        """Send a hub a signal."""
        self.hubs[number].send_signal(what)

    def move_clock(self, number: int, seconds: int) -> bool:
        """Have a hub's wall clock jump. False when libfaketime is not installed."""
        clock = self.folder / f"clock{number}"
        if not clock.exists():
            return False
        clock.write_text(f"+{seconds}s\n")
        return True

    def url(self, number: int) -> str:
        """Where a hub is."""
        return f"http://{self.wall.host if number == WALLED else '127.0.0.1'}:{self.ports[number]}"

    def kill_redis(self) -> None:
        """SIGKILL; ``valkey.start`` starts it again on what it had written."""
        process = self.valkey.process
        if process is not None:
            process.kill()
            process.wait()


@contextlib.asynccontextmanager
async def fleet(folder: Path, hubs: int, *, movable_clocks: bool = False) -> AsyncIterator[Fleet]:
    """Valkeys, a key-holder and hubs; at the end all of them are ended, by pid."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    valkey = EmbeddedValkey(folder / "v", persistent=True)
    book = EmbeddedValkey(folder / "b", persistent=False)
    valkey.start()
    book.start()
    wall = await a_wall(str(valkey.socket_path))
    socket = data / "keyholder.sock"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KLOUDTALK_")} | {
        "KLOUDTALK_DATA_DIR": str(data),
        "KLOUDTALK_REDIS_URL": valkey.url,
        "KLOUDTALK_ADDRESS_BOOK_REDIS_URL": book.url,
        "KLOUDTALK_KEYHOLDER_URL": f"unix:{socket}",
        "KLOUDTALK_KEYHOLDER_SECRET": _SECRET,
        "KLOUDTALK_DRAIN_SECONDS": "1",
        "KLOUDTALK_METRICS_PORT": "0",
        "KLOUDTALK_LIMITS_SCALE": "1000",  # every client has the same address
    }
    with (folder / "keyholder.log").open("wb") as log:
        keyholder = subprocess.Popen(  # noqa: ASYNC220 - it only starts
            [sys.executable, "-m", "signaling", "keyholder"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    made = Fleet(folder, valkey, book, wall, environment, movable_clocks)
    try:
        until = time.monotonic() + 30
        while not socket.exists():
            if keyholder.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the key-holder did not start")
            await asyncio.sleep(0.05)
        for number in range(hubs):
            await asyncio.to_thread(made.start_hub, number)
        yield made
    finally:
        await wall.open()
        for hub in made.hubs.values():
            with contextlib.suppress(ProcessLookupError):
                hub.send_signal(signal.SIGCONT)
            hub.send_signal(signal.SIGINT)
        for hub in made.hubs.values():
            stop(hub)
        await wall.close()
        stop(keyholder)
        for store in (valkey, book):
            store.stop()
