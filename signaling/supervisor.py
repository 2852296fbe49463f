"""``kloudtalk serve``: starts what is not configured elsewhere (two Valkeys, the key-holder), then the hub, a relay and the echo for test
calls, and ends all together. Relay and echo may fail: calls go on without them, and they are started again.
"""

import contextlib
import fcntl
import math
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Final

from msgspec.structs import replace

from signaling.settings import Settings
from signaling.settings_loader import to_environment
from signaling.storage.embedded import EmbeddedStoreError, EmbeddedValkey, dying_with_parent
from signaling.storage.unix_sockets import make_room, socket_path

_START_TIMEOUT: Final = 30.0
_STOP_TIMEOUT: Final = 15.0
_HELPER_WAITS: Final = (0.0, 0.0, 1.0, 5.0, 15.0, 60.0)
"""Seconds until a helper that ended is started again: the first time, the second, and so on. At once at first: a relay's calls are silent."""
_HELPER_RAN: Final = 120.0
"""Seconds after which a helper that ends is taken to have worked."""


class ServeError(RuntimeError):
    """The service cannot start; the message says why, for the operator."""


@dataclass(slots=True)
class _Helper:
    """A child that may fail: the service goes on, and it is started again."""

    name: str
    without: str
    """What the operator is told of the time without it."""
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    at: float = 0.0
    """When it started, or is to be started again, on the clock of ``time.monotonic``."""

    def tend(self, start: Callable[[str], subprocess.Popen[bytes]]) -> None:
        """Start it, and start it again when it ended."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            if now - self.at > _HELPER_RAN:
                self.failures = 0
            wait = _HELPER_WAITS[min(self.failures, len(_HELPER_WAITS) - 1)]
            status = self.process.returncode
            again = f"Starting it again in {wait:.0f} s"
            print(f"kloudtalk: the {self.name} ended (status {status}); {self.without}. {again}", file=sys.stderr, flush=True)
            self.failures += 1
            self.process, self.at = None, now + wait
        if self.process is None and now >= self.at:
            self.process, self.at = start(self.name), now


class Supervisor:
    """The children of one ``serve``. ``run`` returns the exit status of the command."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._valkeys: list[tuple[str, EmbeddedValkey]] = []
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._relay = _Helper("relay", "calls go on without it")
        self._echo = _Helper("echo", "there are no test calls meanwhile")
        self._running = settings
        self._address: str | None = None
        """Where the hub listens, once it does."""
        self._stop_asked = False
        self._lock: IO[str] | None = None
        self._held: socket.socket | None = None
        self._ready = 0
        self._wake = -1
        """Written to, it has ``run`` look around."""

    def run(self) -> int:
        """Start everything, wait, end everything. 0 after SIGINT or SIGTERM, 1 when a child died or nothing could start."""
        wake_read, wake_write = os.pipe()
        self._wake = wake_write
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

        def asked(_number: int, _frame: FrameType | None) -> None:
            self._stop_asked = True

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, asked)
        signal.signal(signal.SIGCHLD, lambda _n, _f: None)  # a child's end wakes the pipe
        try:
            self._start()
            died = None
            while not self._stop_asked and (died := self._dead()) is None:
                self._restart_drained()
                self._tend_helpers()
                due = min((helper.at for helper in self._helpers() if helper.process is None), default=math.inf) - time.monotonic()
                ready, _, _ = select.select([wake_read], [], [], min(5.0, max(0.01, due)))
                if ready:
                    os.read(wake_read, 512)
            if died is not None:
                print(f"kloudtalk: {died}; ending the others", file=sys.stderr, flush=True)
                return 1
            print("kloudtalk: stopping", flush=True)
            return 0
        except (ServeError, EmbeddedStoreError, OSError) as error:
            if self._stop_asked:
                return 0
            print(f"kloudtalk: {error}", file=sys.stderr, flush=True)
            return 1
        finally:
            self._stop()
            signal.set_wakeup_fd(-1)
            os.close(wake_read)
            os.close(wake_write)

    def _start(self) -> None:
        settings = self._settings
        folder = settings.data_dir.absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServeError(f"another kloudtalk serve uses {folder}") from None
        settings = replace(settings, data_dir=folder)
        if settings.redis_url is None:
            settings = replace(settings, redis_url=self._valkey("valkey", folder / "valkey", persistent=True))
        if settings.address_book_redis_url is None:
            url = self._valkey("address book valkey", folder / "address-book", persistent=False)
            settings = replace(settings, address_book_redis_url=url)
        if settings.keyholder_secret is None:
            settings = replace(settings, keyholder_secret=_kept_secret(folder / "keyholder.secret"))
        if settings.keyholder_url is None:
            path = make_room(folder / "keyholder.sock")
            settings = replace(settings, keyholder_url=f"unix:{path}")
            self._spawn("key-holder", "keyholder", _metrics_at(settings, 0))
            self._wait_for(path)
        if settings.workers > 1 and settings.port == 0:
            settings = replace(settings, port=self._free_port(settings.host))
        for number in range(settings.workers):
            name = "hub" if settings.workers == 1 else f"hub {number + 1}"
            self._relay_output(self._spawn(name, "hub", _metrics_at(settings, 2 + number), stdout=subprocess.PIPE))
        self._running = settings

    def _free_port(self, host: str) -> int:
        """A port for all hubs; held, without listening on it, until they are gone."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._held = socket.socket(family, socket.SOCK_STREAM)
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind((host, 0))
        return int(self._held.getsockname()[1])

    def _helpers(self) -> list[_Helper]:
        """Those that are wanted now; the echo needs the hub's address."""
        echo = self._settings.echo and self._address is not None
        return [helper for helper, wanted in ((self._relay, self._settings.relay), (self._echo, echo)) if wanted]

    def _tend_helpers(self) -> None:
        """Start the helpers, and start again those that ended."""
        for helper in self._helpers():
            settings = _metrics_at(self._running, 1 if helper is self._relay else 2 + self._settings.workers)
            if helper is self._echo and settings.echo_hub_url is None:
                settings = replace(settings, echo_hub_url=self._address)
            helper.tend(lambda command, settings=settings: self._popen(command, settings, subprocess.DEVNULL))  # type: ignore[misc]

    def _valkey(self, name: str, folder: Path, *, persistent: bool) -> str:
        valkey = EmbeddedValkey(folder, persistent=persistent)
        self._valkeys.append((name, valkey))
        valkey.start()
        return valkey.url

    def _spawn(self, name: str, command: str, settings: Settings, stdout: int | None = None) -> subprocess.Popen[bytes]:
        child = self._popen(command, settings, stdout)
        self._children.append((name, child))
        return child

    def _popen(self, command: str, settings: Settings, stdout: int | None = None) -> subprocess.Popen[bytes]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KLOUDTALK_")} | to_environment(settings)
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "signaling", command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            preexec_fn=dying_with_parent(),
            start_new_session=True,  # Ctrl-C goes to us; we end the children in order
        )

    def _wait_for(self, path: Path) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while not path.exists():
            if self._stop_asked:
                raise ServeError("stopped")
            died = self._dead()
            if died is not None or time.monotonic() > deadline:
                raise ServeError(died or "the key-holder did not start in time")
            time.sleep(0.05)

    def _relay_output(self, hub: subprocess.Popen[bytes]) -> None:
        """Pass the hub's output on; a thread, since it goes on for as long as the hub lives."""
        import threading

        def relay() -> None:
            assert hub.stdout is not None  # noqa: S101
            for line in hub.stdout:
                text = line.decode(errors="replace").rstrip("\n")
                if text.startswith("listening on "):
                    self._ready += 1
                    if self._ready != self._settings.workers:  # the others are to come, or this one is back
                        continue
                    address = self._address = text.removeprefix("listening on ")
                    with contextlib.suppress(OSError):  # it may be stopping
                        os.write(self._wake, b"\0")
                    print(f"{self._settings.server_name} is ready: open {address} in a browser. Ctrl-C stops it.", flush=True)
                    if self._settings.phone_delivery == "console" or self._settings.email_delivery == "console":
                        print(
                            "Verification codes are printed here (set phone_delivery and email_delivery to send them).", flush=True
                        )
                else:
                    print(text, flush=True)

        threading.Thread(target=relay, daemon=True).start()

    def _drained(self, name: str, child: subprocess.Popen[bytes]) -> bool:
        """Whether a hub ended by itself and well, as one does that an operator drains, while another has its clients."""
        others = [one for other, one in self._children if other.startswith("hub ") and other != name]
        return name.startswith("hub ") and child.poll() == 0 and any(one.poll() is None for one in others)

    def _restart_drained(self) -> None:
        for position, (name, child) in enumerate(self._children):
            if self._drained(name, child):
                print(f"kloudtalk: {name} was drained; starting it again", file=sys.stderr, flush=True)
                settings = _metrics_at(self._running, 2 + int(name.removeprefix("hub ")) - 1)
                again = self._popen("hub", settings, subprocess.PIPE)
                self._children[position] = (name, again)
                self._relay_output(again)

    def _dead(self) -> str | None:
        for name, valkey in self._valkeys:
            if valkey.process is not None and valkey.process.poll() is not None:
                return f"the {name} died (status {valkey.process.returncode})"
        for name, child in self._children:
            if child.poll() is not None and not self._drained(name, child):
                return f"the {name} died (status {child.returncode})"
        return None

    def _stop(self) -> None:
        """End echo and relay first, while the hub can tell their calls, then the hub, then what it uses."""
        helpers = [(helper.name, helper.process) for helper in (self._echo, self._relay) if helper.process is not None]
        hubs = [(name, child) for name, child in self._children if name.startswith("hub")]
        others = [(name, child) for name, child in reversed(self._children) if not name.startswith("hub")]
        # hubs together, and at once (SIGINT): there is no other hub to hand clients over to
        for group, number in ((helpers, signal.SIGTERM), (hubs, signal.SIGINT), *(([one], signal.SIGTERM) for one in others)):
            for _, child in group:
                if child.poll() is None:
                    child.send_signal(number)
            for name, child in group:
                try:
                    child.wait(_STOP_TIMEOUT)
                except subprocess.TimeoutExpired:
                    print(f"kloudtalk: the {name} does not end; killing it", file=sys.stderr, flush=True)
                    child.kill()
                    child.wait()
        for _, valkey in reversed(self._valkeys):
            valkey.stop()
        if self._held is not None:
            self._held.close()
        if self._lock is not None:
            self._lock.close()


def _metrics_at(settings: Settings, place: int) -> Settings:
    """The settings of one child: each has a metrics port of its own."""
    return replace(settings, metrics_port=settings.metrics_port and settings.metrics_port + place)


def embedded_stores(settings: Settings) -> Settings:
    """The settings with the URLs of the stores that ``serve`` runs in the data folder, for a command beside it. Raises ``ServeError``."""
    folder = settings.data_dir.absolute()
    if settings.redis_url is None:
        settings = replace(settings, redis_url=EmbeddedValkey(folder / "valkey", persistent=True).url)
    if settings.address_book_redis_url is None:
        settings = replace(settings, address_book_redis_url=EmbeddedValkey(folder / "address-book", persistent=False).url)
    if settings.keyholder_secret is None:
        if not (folder / "keyholder.secret").exists():
            raise ServeError(f"{folder} is not the folder of a `kloudtalk serve`: say --data-dir, or set keyholder_secret")
        settings = replace(settings, keyholder_secret=_kept_secret(folder / "keyholder.secret"))
    if settings.keyholder_url is None:
        settings = replace(settings, keyholder_url=f"unix:{socket_path(folder / 'keyholder.sock')}")
    return settings


def _kept_secret(path: Path) -> str:
    """A secret made at the first start and kept in a file that only its owner may read."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        secret = path.read_text().strip()
        if len(secret) < 32:
            raise ServeError(f"{path} does not hold a secret; remove it to make a new one") from None
        return secret
    secret = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    return secret
