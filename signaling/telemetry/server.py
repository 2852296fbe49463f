"""What a process tells its operators, on an address of its own: ``/metrics``, ``/healthz``, ``/readyz`` with details."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import prometheus_client
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from signaling.tasks import end_tasks
from signaling.telemetry.families import gauge, gauges, registry
from signaling.telemetry.health import Health
from signaling.telemetry.lag import LoopLag

log = logging.getLogger(__name__)

_RETRY: Final = 5.0
"""Seconds until the next try to listen: the process that had the port before may be about to end."""

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class HealthMetrics:
    """What the checks found last, as metrics."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are fixed."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """See ``prometheus_client.registry.Collector``."""
        report = self._health.last
        if report is not None:
            yield gauge("kloudtalk_ready", "1 when the process can do its work.", float(report.ready))
            found = {(finding.name,): float(finding.ok) for finding in report.checks}
            yield gauges("kloudtalk_check_ok", "1 for each check that found nothing wrong.", ("check",), found)


def application(metrics: CollectorRegistry, health: Health) -> web.Application:
    """The interface for operators. Nothing on it changes anything."""

    async def exposition(request: web.Request) -> web.Response:
        await health.report()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics), headers={"Content-Type": content_type})

    async def ready(_request: web.Request) -> web.Response:
        report = await health.report()
        body = msgspec.json.format(msgspec.json.encode(report), indent=2)
        return web.Response(status=200 if report.ready else 503, body=body, content_type="application/json")

    app = web.Application(client_max_size=1024)
    app.router.add_get("/metrics", exposition)
    app.router.add_get("/healthz", lives)
    app.router.add_get("/readyz", ready)
    return app


async def lives(_request: web.Request) -> web.Response:
    """``/healthz``: that it answers at all is the answer: the event loop turns."""
    return web.Response(text="ok\n", headers={"Cache-Control": "no-store"})


class Ready:
    """``/readyz`` for those who are no operators (a load balancer on the public port): yes or no, and no reasons."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def handle(self, _request: web.Request) -> web.Response:
        """200 or 503."""
        ready = (await self._health.report()).ready
        return web.Response(
            status=200 if ready else 503, text="ready\n" if ready else "not ready\n", headers={"Cache-Control": "no-store"}
        )


@asynccontextmanager
async def telling(role: str, *collectors: Collector, health: Health, host: str, port: int) -> AsyncIterator[CollectorRegistry]:
    """Serve an application for operators meanwhile. ``port`` 0: on none. A port that is taken is tried again: calls matter more than metrics."""
    lag = LoopLag()
    lag.start()
    metrics = registry(role, lag, HealthMetrics(health), *collectors)
    serving = asyncio.get_running_loop().create_task(_serve(metrics, health, host, port)) if port else None
    try:
        yield metrics
    finally:
        lag.close()
        if serving is not None:
            await end_tasks(serving)


async def _serve(metrics: CollectorRegistry, health: Health, host: str, port: int) -> None:
    runner = web.AppRunner(application(metrics, health), access_log=None, shutdown_timeout=1.0, handle_signals=False)
    await runner.setup()
    said = False
    try:
        while True:
            try:
                await web.TCPSite(runner, host, port).start()
                break
            except OSError as error:
                if not said:
                    log.warning("metrics: port %d cannot be used (%s); trying on", port, error.strerror or "no such address")
                    said = True
                await asyncio.sleep(_RETRY)
        await asyncio.get_running_loop().create_future()
    finally:
        await runner.cleanup()
