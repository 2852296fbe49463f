"""A task that takes a cancellation for an error, as one around redis-py may, is ended all the same."""

import asyncio

import pytest

import media.tasks
import signaling.tasks


@pytest.mark.parametrize("end_tasks", [signaling.tasks.end_tasks, media.tasks.end_tasks])
async def test_tasks_end_even_if_they_swallow_the_first_cancellation(end_tasks):
    swallowed = asyncio.Event()

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed.is_set():
                    raise
                swallowed.set()

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end_tasks(*tasks)
    assert all(task.done() for task in tasks)
    await end_tasks(*tasks)
