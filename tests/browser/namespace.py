"""Linux network namespaces (namespaces(7)), from Python."""

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET: Final = 0x40000000


def enter(namespace: str, function: Callable[[], T]) -> T:
    """Run something in a named namespace: sockets that it makes stay there, wherever they are used later. Raises ``OSError``."""
    result: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with open(f"/run/netns/{namespace}") as file:
                if _libc.setns(file.fileno(), _CLONE_NEWNET):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number), namespace)
            result.append(function())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)  # a namespace is a thread's; this one ends with it
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return result[0]


def command(namespace: str | None) -> list[str]:
    """What goes before a command to run it in a namespace; nothing for none."""
    return [] if namespace is None else ["ip", "netns", "exec", namespace]
