"""Metric families of prometheus_client out of what was counted; and the parts that every process has."""

import asyncio
import platform
from collections.abc import Iterable, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

import signaling
from signaling.telemetry.counting import Histogram
from signaling.telemetry.lag import LoopLag

Labels = TypeVar("Labels", bound=tuple[str, ...])
"""Values of labels, in the order of their names."""


def counter(name: str, text: str, value: float) -> Metric:
    """One counter without labels; its samples get ``_total`` behind the name."""
    return CounterMetricFamily(name, text, value=value)


def counters(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, float]) -> Metric:
    """A counter for each set of labels."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauge(name: str, text: str, value: float) -> Metric:
    """One gauge without labels."""
    return GaugeMetricFamily(name, text, value=value)


def gauges(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, float]) -> Metric:
    """A gauge for each set of labels."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def histogram(name: str, text: str, value: Histogram) -> Metric:
    """One histogram without labels."""
    return HistogramMetricFamily(name, text, buckets=value.cumulative(), sum_value=value.sum)


def histograms(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, Histogram]) -> Metric:
    """A histogram for each set of labels."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value.cumulative(), value.sum)
    return family


class ProcessMetrics:
    """What every process tells: its version, and how late its event loop is."""

    def __init__(self, role: str, lag: LoopLag) -> None:
        self._role, self._lag = role, lag

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are fixed."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """See ``prometheus_client.registry.Collector``."""
        versions = {"version": signaling.__version__, "python": platform.python_version(), "role": self._role}
        yield InfoMetricFamily("kloudtalk_build", "Version of what runs here.", value=versions)
        yield gauge("kloudtalk_event_loop_tasks", "Tasks of asyncio that have not ended.", float(len(asyncio.all_tasks())))
        yield histogram(
            "kloudtalk_event_loop_lag_seconds", "How much later than asked for the event loop ran what was due.", self._lag.seconds
        )


def registry(role: str, lag: LoopLag, *collectors: Collector) -> CollectorRegistry:
    """All metrics of one process."""
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    GCCollector(registry=found)
    for one in (ProcessMetrics(role, lag), *collectors):
        found.register(one)
    return found
