"""Background tasks: loops that go on whatever happens, and the end of tasks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from signaling.defects import frames_only

log = logging.getLogger(__name__)

_AGAIN: Final = 0.5
"""Seconds until a task is cancelled once more."""


async def end_tasks(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks, and wait until they have ended.

    Once is not enough: in Python 3.11 a cancellation that meets ``asyncio.timeout`` running out (redis-py reads within one) becomes a
    ``TimeoutError``, and a task that goes on after errors goes on after that, too.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)


async def steady(name: str, work: Callable[[], Awaitable[None]], *, again: float = 1.0) -> None:
    """Run a loop that must not end before its hub does: an error that it does not expect is logged as a defect, and the loop begun anew.

    Args:
        name: of the loop, for the log.
        work: the loop; when it returns, this does.
        again: seconds until it is begun anew.
    """
    while True:
        try:
            return await work()
        except Exception as error:
            log.error("%s: defect %s; going on", name, type(error).__name__, exc_info=frames_only(error))
        await asyncio.sleep(again)
