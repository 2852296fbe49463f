"""Ending background tasks."""

import asyncio
from typing import Any, Final

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
