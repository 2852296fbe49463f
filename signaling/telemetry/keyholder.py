"""The metrics of a key-holder."""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from signaling.contacts.keyholder import KeyHolderCounts
from signaling.telemetry.families import counter, histogram


@dataclass(frozen=True, eq=False)
class KeyHolderMetrics:
    """Implements ``prometheus_client.registry.Collector``."""

    counts: KeyHolderCounts

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are fixed."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Everything, as it stands."""
        counts = self.counts
        yield counter("kloudtalk_keyholder_evaluations", "Blinded numbers that were evaluated.", counts.evaluated)
        yield counter("kloudtalk_keyholder_refused", "Requests over the budget of a user.", counts.refused)
        yield counter("kloudtalk_keyholder_unauthenticated", "Requests without the secret.", counts.unauthenticated)
        yield counter("kloudtalk_keyholder_invalid", "Requests that cannot be read.", counts.invalid)
        yield histogram("kloudtalk_keyholder_seconds", "Time that an evaluation takes.", counts.seconds)
