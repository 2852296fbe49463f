"""Readiness means something: what is taken away is named, and only what nothing goes without takes the hub out of service."""

import os
import signal
import time
from contextlib import AsyncExitStack

import aiohttp

from signaling.storage.embedded import EmbeddedValkey
from signaling.telemetry.health import KEPT, Report
from tests.integration.hub_fixture import running_hub, running_keyholder


async def look(hub) -> Report:
    """A report that is not an old one."""
    hub.hub.health._at = -KEPT
    return await hub.hub.health.report()


def failed(report: Report) -> set[str]:
    return {finding.name for finding in report.checks if not finding.ok}


async def status(hub) -> int:
    async with aiohttp.ClientSession() as http, http.get(hub.url + "/readyz") as answer:
        return answer.status


async def test_each_store_that_goes_away_is_named_and_the_answer_comes_in_time(tmp_path):
    state, book = EmbeddedValkey(tmp_path / "state", persistent=True), EmbeddedValkey(tmp_path / "book", persistent=False)
    try:
        state.start()
        book.start()
        async with AsyncExitStack() as stack:
            holder = AsyncExitStack()
            socket = await holder.enter_async_context(running_keyholder(tmp_path))
            stack.push_async_callback(holder.aclose)
            database = f"sqlite+aiosqlite:///{tmp_path}/hub.db"
            hub = await stack.enter_async_context(
                running_hub(tmp_path, socket, database_url=database, redis_url=state.url, book_url=book.url)
            )
            # no relay runs here: calls go on by direct ways
            report = await look(hub)
            assert (report.ready, failed(report)) == (True, {"relay"})

            await hub.hub.book_redis.config_set("appendonly", "yes")  # P07: whoever turns persistence on is told
            report = await look(hub)
            assert (report.ready, failed(report)) == (True, {"relay", "address_book"})
            assert "P07" in next(finding.detail for finding in report.checks if finding.name == "address_book")
            await hub.hub.book_redis.config_set("appendonly", "no")

            await holder.aclose()
            report = await look(hub)
            assert (report.ready, failed(report)) == (True, {"relay", "keyholder"})

            os.kill(state.process.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                report = await look(hub)
                assert time.monotonic() - began < 10
                assert (report.ready, failed(report)) == (False, {"relay", "keyholder", "redis", "clock"})
                assert await status(hub) == 503
            finally:
                os.kill(state.process.pid, signal.SIGCONT)
            report = await look(hub)
            assert report.ready
            assert await status(hub) == 200
    finally:
        book.stop()
        state.stop()
