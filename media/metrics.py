"""The metrics of a relay, for prometheus_client: read when somebody asks, out of what the data plane counts anyway.

Nothing of a single call is told: how calls were is told in sums, once each has ended.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from media.relay import Direction, Relay

_DROPS: Final = frozenset({"forwarded", "stun", "held"})
"""Of what the gate counts, what it did not drop."""


class RelayMetrics:
    """Reads a relay. Implements ``prometheus_client.registry.Collector``."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._loss = Histogram(
            "kloudtalk_relay_loss_ratio",
            "Share of a device's packets that did not arrive at the relay, when its call has ended.",
            buckets=(0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
            registry=None,
        )
        self._jitter = Histogram(
            "kloudtalk_relay_jitter_seconds",
            "Jitter of a device's packets at the relay (RFC 3550), when its call has ended.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2),
            registry=None,
        )
        self._mos = Histogram(
            "kloudtalk_relay_mos",
            "Opinion that people would have of one way of a call (1 to 4.5), when it has ended.",
            buckets=(1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.2, 4.4),
            registry=None,
        )
        relay.on_release.append(self._released)

    def _released(self, _name: str, sides: tuple[Direction, Direction]) -> None:
        for side in sides:
            if side.expected:
                self._loss.observe(side.lost / side.expected)
                self._jitter.observe(side.jitter)
                if side.mos is not None:
                    self._mos.observe(side.mos)

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are fixed."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Everything, as it stands."""
        relay = self._relay
        yield GaugeMetricFamily("kloudtalk_relay_calls", "Calls that the relay carries.", value=len(relay))
        yield GaugeMetricFamily("kloudtalk_relay_capacity_calls", "Calls that it can carry.", value=relay.capacity)
        yield GaugeMetricFamily("kloudtalk_relay_draining", "1 while the relay takes no new call.", value=float(relay.draining))
        legs = GaugeMetricFamily("kloudtalk_relay_legs", "Legs of the calls, by whether the device is there.", labels=("state",))
        connected, waiting = relay.legs()
        legs.add_metric(("connected",), connected)
        legs.add_metric(("waiting",), waiting)
        yield legs
        counts = relay.counts().as_dict()
        yield CounterMetricFamily(
            "kloudtalk_relay_packets_forwarded", "Packets of calls that went through.", value=counts["forwarded"]
        )
        yield CounterMetricFamily("kloudtalk_relay_stun_messages", "STUN messages that were handed to ICE.", value=counts["stun"])
        yield CounterMetricFamily("kloudtalk_relay_pairs", "Calls that the relay has taken.", value=relay.taken)
        yield GaugeMetricFamily(
            "kloudtalk_relay_tcp_connections", "TCP connections of devices that no UDP reaches.", value=relay.connections
        )
        drops = CounterMetricFamily(
            "kloudtalk_relay_gate_drops",
            "Datagrams (tcp_refused, tcp_late, tcp_garbled: connections) that the relay did not let through, by why.",
            labels=("reason",),
        )
        for reason, number in counts.items():
            if reason not in _DROPS:
                drops.add_metric((reason,), number)
        yield drops
        for one in (self._loss, self._jitter, self._mos):
            yield from one.collect()
