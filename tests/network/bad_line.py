"""A bad line between two namespaces: frames are delayed, delayed unevenly, and lost. Kernels without ``sch_netem`` need it done here.

Usage: ``bad_line.py NAMESPACE NAMESPACE DELAY JITTER LOSS``: seconds each way, and a share. Makes a device ``lan`` in both and says ``ready``.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import struct
import subprocess
import sys
from typing import Final

_TUNSETIFF: Final = 0x400454CA
_TAP: Final = 0x0002 | 0x1000  # IFF_TAP, IFF_NO_PI
_ARP: Final = b"\x08\x06"


def tap(namespace: str) -> int:
    """A TAP device named ``lan`` in a namespace; its file descriptor stays ours."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    temporary = f"kt{os.getpid()}{random.randrange(10_000)}"[:15]
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", temporary.encode(), _TAP))
    subprocess.run(["ip", "link", "set", temporary, "netns", namespace, "name", "lan"], check=True)
    return descriptor


def carry(loop: asyncio.AbstractEventLoop, source: int, target: int, *, delay: float, jitter: float, loss: float) -> None:
    """Carry what can be read from ``source`` to ``target``. Jitter reorders, as it does on a wireless line."""

    def write(frame: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(target, frame)

    for _ in range(64):
        try:
            frame = os.read(source, 2048)
        except OSError:
            return
        if frame[12:14] == _ARP:
            write(frame)
        elif random.random() >= loss:
            loop.call_later(delay + random.uniform(0, jitter), write, frame)


def main() -> None:
    """Run until killed."""
    first, second = sys.argv[1:3]
    delay, jitter, loss = (float(word) for word in sys.argv[3:6])
    loop = asyncio.new_event_loop()
    ends = tap(first), tap(second)
    for source, target in (ends, ends[::-1]):
        loop.add_reader(source, lambda s=source, t=target: carry(loop, s, t, delay=delay, jitter=jitter, loss=loss))
    print("ready", flush=True)
    loop.run_forever()


if __name__ == "__main__":
    main()
