"""What goes on, wired: figures, loads, the view and the actions of one hub."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from signaling import __version__
from signaling.calls.machine import Call
from signaling.calls.relays import RelayService
from signaling.calls.samples import HeardSamples
from signaling.calls.service import CallService
from signaling.calls.traces import Traces
from signaling.cluster.service import Cluster
from signaling.operations.actions import OperationsActions
from signaling.operations.figures import FigureKeeper
from signaling.operations.hubs import HubLoads
from signaling.operations.view import OperationsView
from signaling.storage.redis import AnyRedis
from signaling.storage.sql import Database


class Operations:
    """``start`` before use, ``close`` after. ``finished`` takes each call that this hub ended.

    Args:
        pseudonym: what stands for an account.
        devices: how many devices are connected here.
        draining: whether this hub is about to end.
        drain: ends it as SIGTERM does.
    """

    def __init__(
        self,
        *,
        redis: AnyRedis,
        database: Database,
        cluster: Cluster,
        calls: CallService,
        relays: RelayService,
        traces: Traces,
        heard: HeardSamples,
        pseudonym: Callable[[str], str],
        devices: Callable[[], int],
        draining: Callable[[], bool],
        drain: Callable[[], object],
    ) -> None:
        self._figures = FigureKeeper(redis=redis, database=database, clock=cluster.time)
        self._loads = HubLoads(
            redis=redis, node=cluster.node, version=__version__, devices=devices, calls=calls.placed_here, draining=draining
        )
        self.view = OperationsView(
            calls=calls,
            traces=traces,
            cluster=cluster,
            relays=relays,
            heard=heard,
            figures=self._figures,
            loads=self._loads,
            pseudonym=pseudonym,
            clock=cluster.time,
        )
        self.actions = OperationsActions(stop=calls.stop, cluster=cluster, relays=relays.directory, drain_this=drain)

    def finished(self, call: Call) -> None:
        """A call ended here."""
        self._figures.take(call)

    def watched(self, call: str | None) -> dict[str, Callable[[], Awaitable[Struct]]]:
        """What the live updates send (``gateway/admin_stream.py``)."""
        reads: dict[str, Callable[[], Awaitable[Struct]]] = {"overview": self.view.overview, "calls": self.view.live}
        if call is not None:
            reads["call"] = lambda: self.view.call(call)
        return reads

    def start(self) -> None:
        """Begin to count, and to say how much there is to do."""
        self._figures.start()
        self._loads.start()

    async def close(self) -> None:
        """Count what is left; stop."""
        await self._loads.close()
        await self._figures.close()

    async def written(self) -> None:
        """Wait until what has ended is counted. Raises the stores' errors."""
        await self._figures.write()
