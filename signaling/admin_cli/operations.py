"""What goes on, on a command line: figures, live calls and those that ended, hubs and relays; and what is done about it."""

import argparse
import sys
import time
from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from signaling.admin_cli import show
from signaling.admin_cli.client import AdminClient, AdminError
from signaling.wire.admin import operations

SIDES = ("caller", "callee")


async def figures(client: AdminClient, options: argparse.Namespace) -> Struct | None:
    """How calls went."""
    answer: operations.CallFigures = await client.ask("operations.figures", query={"hours": str(options.hours)})
    return answer


async def ended(client: AdminClient, options: argparse.Namespace) -> Struct | None:
    """A page of calls that ended."""
    query = {"before": options.before, "reason": options.why, "account": options.account}
    answer: operations.EndedCalls = await client.ask(
        "operations.ended", query={name: str(value) for name, value in query.items() if value is not None}
    )
    return answer


async def end_call(client: AdminClient, options: argparse.Namespace) -> Struct | None:
    """End a call."""
    await client.ask("operations.end_call", operations.Reasoned(options.reason), call=options.call)
    return None


async def drain_hub(client: AdminClient, options: argparse.Namespace) -> Struct | None:
    """Drain a hub."""
    await client.ask("operations.drain_hub", operations.Reasoned(options.reason), hub=options.hub)
    return None


async def drain_relay(client: AdminClient, options: argparse.Namespace) -> Struct | None:
    """Drain a relay."""
    await client.ask("operations.drain_relay", operations.Reasoned(options.reason), relay=options.relay)
    return None


async def watch(client: AdminClient, options: argparse.Namespace) -> Struct | None:
    """Print what changes, as it changes: one line of JSON for each event, until the service ends it. Raises ``AdminError``."""
    seen = 0
    async for name, data in client.follow(options.call):
        sys.stdout.write(msgspec.json.encode({"event": name, "data": msgspec.Raw(data)}).decode() + "\n")
        sys.stdout.flush()
        seen += 1
        if seen == options.events:
            return None
    raise AdminError("the service ended it: watch again")


def lasting(milliseconds: int | UnsetType) -> str:
    """A length of time for people."""
    if milliseconds is UNSET:
        return "-"
    return f"{milliseconds} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.0f} s"


def percent(share: float | UnsetType) -> str:
    """A share for people."""
    return "-" if share is UNSET else f"{100 * share:.1f} %"


def _clock(milliseconds: int) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(milliseconds / 1000)) + f".{milliseconds % 1000:03d}"


def figures_text(answer: operations.CallFigures) -> str:
    """Figures for people."""
    lines = [
        f"last {answer.hours} h: {answer.calls} calls; {answer.connected} connected, {answer.not_connected} were taken and did not",
        f"success {percent(answer.success)}; set-up {lasting(answer.set_up_p50)} (half), {lasting(answer.set_up_p95)} (95 %)",
    ]
    for title, counts in (("why they ended", answer.reasons), ("way of the media", answer.rungs)):
        if counts:
            ranked = sorted(counts.items(), key=lambda pair: -pair[1])
            lines.append(f"{title}: " + ", ".join(f"{name} {number}" for name, number in ranked))
    for country in answer.countries:
        where = f"+{country.code} {country.region}" if country.code else "all others"
        lines.append(f"{where}: {country.connected} connected, {country.not_connected} not")
    return "\n".join(lines)


def calls_text(calls: Sequence[operations.CallSummary]) -> str:
    """Calls for people."""
    return show.table(calls, ("call", "started_at", "stage", "reason", "set_up", "rung", "relay", "caller", "callee"))


def live_text(answer: operations.LiveCalls) -> str:
    """Live calls for people."""
    more = "" if answer.total <= len(answer.calls) else f"\n… {answer.total} in all"
    return (calls_text(answer.calls) or "no call goes on") + more


def ended_text(answer: operations.EndedCalls) -> str:
    """Ended calls for people."""
    more = "" if answer.next is UNSET else f"\n… more with --before {answer.next}"
    return (calls_text(answer.calls) or "none") + more


def call_text(detail: operations.CallDetail) -> str:
    """A call with its time line, and how it was heard, for people."""
    lines = [show.fields(detail.call), ""]
    for line in detail.timeline:
        side = "" if line.side is UNSET else f" {SIDES[line.side]}"
        more = [str(value) for value in (line.rung, line.relay) if value is not UNSET]
        more += [] if line.mos is UNSET else [f"opinion score {line.mos:.1f}"]
        lines.append(f"{_clock(line.at)}  +{line.at - detail.call.started_at:>7} ms  {line.what}{side} {' '.join(more)}".rstrip())
    for number, name in enumerate(SIDES):
        points = [point for point in detail.quality if point.side == number]
        if points:
            scores = [point.mos for point in points if point.mos is not UNSET]
            score = f"opinion score {min(scores):.1f} to {max(scores):.1f}, " if scores else ""
            worst = max(point.loss for point in points), round(1000 * max(point.jitter for point in points))
            lines.append(f"from the {name}: {score}loss up to {percent(worst[0])}, jitter up to {worst[1]} ms")
    return "\n".join(lines)


def hubs_text(answer: operations.Overview) -> str:
    """Hubs for people."""
    return show.table(answer.hubs, ("hub", "name", "version", "devices", "calls", "cpu", "lag", "memory", "draining", "this"))


def relays_text(answer: operations.Overview) -> str:
    """Relays for people."""
    columns = ("relay", "name", "calls", "capacity", "legs", "packets", "dropped", "cpu", "lag")
    return show.table(answer.relays, columns) or "no relay is alive"


def overview_text(answer: operations.Overview) -> str:
    """How the service does, for people."""
    stages = ", ".join(f"{number} {stage}" for stage, number in answer.stages.items()) or "none"
    head = f"{answer.devices} devices; live calls: {stages}"
    return f"{head}\n\nhubs\n{hubs_text(answer)}\n\nrelays\n{relays_text(answer)}"
