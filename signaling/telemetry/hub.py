"""The metrics of a hub, out of what its parts have counted. No label holds anything about a person: each has a few fixed values."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client.metrics_core import Metric

from signaling.accounts.delivery import CountedDelivery
from signaling.calls.counts import CallCounts
from signaling.gateway.counts import RestCounts, SocketCounts
from signaling.storage.latency import Latency
from signaling.telemetry.families import counter, counters, gauge, gauges, histogram, histograms
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import Stage
from signaling.wire.rest import Channel

_CODE_ENDPOINTS: Final = ("registration.verify", "account.finish_change")
"""Where people hand in the codes that they were sent."""
_CODE_RESULTS: Final = ("ok", ErrorCode.CODE_WRONG, ErrorCode.CODE_EXPIRED, ErrorCode.CODE_SPENT)
_LIMITS: Final = (ErrorCode.RATE_LIMITED, ErrorCode.BUDGET_SPENT, ErrorCode.TOO_MANY_CALLS)
"""What is said to who asks too often, or for too much."""


class Sockets(Protocol):
    """The sockets of a hub (``gateway/socket.py``)."""

    counts: SocketCounts

    def __len__(self) -> int:
        """Authenticated sockets."""

    @property
    def sockets(self) -> int:
        """All sockets."""

    @property
    def draining(self) -> bool:
        """Whether the hub is about to end."""


class Calls(Protocol):
    """The calls of a hub (``calls/service.py``)."""

    refused: dict[ErrorCode, int]

    def stages(self) -> dict[Stage, int]:
        """Live calls by stage."""


class Nodes(Protocol):
    """The hubs that are alive (``cluster/nodes.py``)."""

    others: frozenset[str]


@dataclass(frozen=True, eq=False)
class HubMetrics:
    """Reads them. Implements ``prometheus_client.registry.Collector``."""

    sockets: Sockets
    rest: RestCounts
    calls: Calls
    counts: CallCounts
    nodes: Nodes
    stores: Mapping[str, Latency]
    """By name: ``redis``, ``address_book``, ``sql``."""
    delivery: Mapping[Channel, CountedDelivery]
    pushes: Mapping[tuple[str, str], int]
    legs: Mapping[str, int]
    """Legs of relays that devices asked for, by what came of it."""

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are fixed, and known to be different from the others'."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Everything, as it stands."""
        yield from self._edge()
        yield from self._calls()
        yield from self._stores()
        yield from self._messages()

    def _edge(self) -> Iterable[Metric]:
        sockets, counts = self.sockets, self.sockets.counts
        yield gauge("kloudtalk_sockets", "WebSockets that stand, signed in or not yet.", sockets.sockets)
        yield gauge("kloudtalk_devices_connected", "Devices that are signed in.", len(sockets))
        yield gauge("kloudtalk_hub_draining", "1 while the hub hands its clients over to other hubs.", float(sockets.draining))
        yield gauge("kloudtalk_hubs_alive", "Hubs that are alive, this one included.", 1 + len(self.nodes.others))
        yield counter("kloudtalk_sockets_opened", "WebSockets that were opened.", counts.opened)
        closed = {(str(code),): number for code, number in counts.closed.items()}
        yield counters("kloudtalk_sockets_closed", "WebSockets that the hub closed, by close code.", ("code",), closed)
        received = {(str(kind.__struct_config__.tag),): number for kind, number in counts.received.items()}
        yield counters("kloudtalk_messages_received", "Messages of clients that were read, by type.", ("type",), received)
        yield counter("kloudtalk_messages_sent", "Messages to clients.", counts.sent)
        said_no = Counter(counts.refused) + Counter(self.calls.refused)
        refused = {(str(code),): number for code, number in said_no.items()}
        yield counters("kloudtalk_messages_refused", "Messages of clients that were refused, by error code.", ("code",), refused)
        yield histogram("kloudtalk_hello_seconds", "Time from a client's hello to its sync.", counts.hello)
        requests = {(endpoint, str(outcome)): number for (endpoint, outcome), number in self.rest.requests.items()}
        yield counters(
            "kloudtalk_http_requests",
            "REST requests, by endpoint and outcome (ok or an error code).",
            ("endpoint", "outcome"),
            requests,
        )
        yield histogram("kloudtalk_http_request_seconds", "Time that a REST request takes.", self.rest.seconds)
        limited: Counter[tuple[str, ...]] = Counter()
        for (endpoint, outcome), number in self.rest.requests.items():
            if outcome in _LIMITS:
                limited[endpoint, str(outcome)] += number
        for code in _LIMITS:
            limited["websocket_message", str(code)] += said_no[code]
        yield counters("kloudtalk_limited", "What was refused because of a limit, by where and which.", ("where", "code"), limited)

    def _calls(self) -> Iterable[Metric]:
        counts = self.counts
        live = {(str(stage),): number for stage, number in self.calls.stages().items()}
        yield gauges(
            "kloudtalk_calls",
            "Live calls that this hub looks after, by stage; a call between two hubs is at both.",
            ("stage",),
            live,
        )
        reached = {(str(stage),): number for stage, number in counts.stages.items()}
        yield counters("kloudtalk_calls_reached", "Calls that reached a stage, counted by one hub each.", ("stage",), reached)
        yield counters("kloudtalk_calls_ended", "Calls that ended, by why and in which stage.", ("reason", "stage"), counts.ended)
        yield histogram("kloudtalk_call_ring_delay_seconds", "Time from an invite until a device of the callee rings.", counts.ring)
        yield histogram(
            "kloudtalk_call_audio_delay_seconds", "Time from an accept until both devices say that media flows.", counts.audio
        )
        yield histogram("kloudtalk_call_duration_seconds", "Time that calls were connected.", counts.talk)
        yield counters(
            "kloudtalk_media_ways",
            "Devices at which media flow, by the way: for the first time, or moved.",
            ("when", "rung"),
            counts.rungs,
        )
        legs = {(outcome,): number for outcome, number in self.legs.items()}
        yield counters("kloudtalk_relay_legs_asked", "Legs of relays that devices asked for, by outcome.", ("outcome",), legs)

    def _stores(self) -> Iterable[Metric]:
        stores = {(name,): latency.seconds for name, latency in self.stores.items()}
        yield histograms("kloudtalk_store_seconds", "Time until a store has answered.", ("store",), stores)
        failed = {(name,): float(latency.failed) for name, latency in self.stores.items()}
        yield counters("kloudtalk_store_failures", "Commands that a store did not answer.", ("store",), failed)

    def _messages(self) -> Iterable[Metric]:
        sent = {(str(channel),): delivery.seconds for channel, delivery in self.delivery.items()}
        yield histograms(
            "kloudtalk_code_delivery_seconds", "Time until the service has taken a verification code.", ("channel",), sent
        )
        failed = {(str(channel),): float(delivery.failed) for channel, delivery in self.delivery.items()}
        yield counters(
            "kloudtalk_code_delivery_failures", "Verification codes that the service did not take.", ("channel",), failed
        )
        checks = {
            (str(result),): float(sum(self.rest.requests.get((endpoint, result), 0) for endpoint in _CODE_ENDPOINTS))
            for result in _CODE_RESULTS
        }
        yield counters("kloudtalk_code_checks", "Verification codes that people handed in, by result.", ("result",), checks)
        pushes = {(str(kind), str(result)): number for (kind, result), number in self.pushes.items()}
        yield counters("kloudtalk_pushes", "Pushes, by kind and what became of them.", ("kind", "result"), pushes)
