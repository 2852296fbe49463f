"""Processes under measurement: starting them, reading their CPU and memory from ``/proc``, ending them by pid."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds of one CPU tick of ``/proc/<pid>/stat`` (proc(5)): the resolution of every CPU figure."""


def say(text: str) -> None:
    """One line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def report(result: Mapping[str, Any]) -> None:
    """The result, as the last line of stdout."""
    print(json.dumps(result), flush=True)


def end_on_signals() -> None:
    """Have SIGTERM end this process as Ctrl-C does: through every ``finally``, so that what was started is ended. Once: a second
    signal must not cut that short.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/<pid>/stat`` after the command name: index 0 is the state, 1 the parent, 11 utime, 12 stime."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found.extend(parents.get(parent, ()))
    return found


def parent(pid: int) -> int:
    """The process that started this one; 0 when it has ended."""
    try:
        return int(_stat(pid)[1])
    except OSError:
        return 0


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes so far, in seconds. Raises ``OSError`` when one has ended."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK


def rss_bytes(pid: int) -> int:
    """Resident memory of one process, in bytes (``VmRSS``, proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"process {pid} has no VmRSS")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, *, cores: set[int] | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with its output in ``log``; at the end it and its descendants are ended, by pid."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(env or {})}
        )
    if cores:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(process.pid, cores)
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here, then whatever of its descendants is left."""
    children = family(process.pid)[1:] if process.poll() is None else []
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        with contextlib.suppress(OSError):
            # A descendant that outlived its parent was adopted by init; any other process with that pid is not ours.
            if int(_stat(child)[1]) == 1:
                os.kill(child, signal.SIGKILL)


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 30, *, host: str = "127.0.0.1") -> None:
    """Wait until something listens. Raises ``RuntimeError`` with the end of the log when the process ends or takes too long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 0.5):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not listen on port {port}:\n{log.read_text(errors='replace')[-2000:]}")
