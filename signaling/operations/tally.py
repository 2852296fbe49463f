"""Counts of calls that ended, in spans of five minutes: how many, why, over which rung, how fast they were set up. Pure.

They are what the figures on the operators' page are made of. Countries, by the calling code of the caller's number, are counted by the hour and
shown only where enough people stand behind them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from signaling.calls.machine import Call
from signaling.calls.trace import rung_of, set_up
from signaling.wire.messages import Reason

SPAN: Final = 300
"""Seconds of one span."""
SLOWEST: Final = (100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000)
"""Milliseconds: upper bounds of the buckets of set-up times; 20 s is when the machine gives up."""
WORKED: Final = "connected"
"""Calls in which media flowed at both ends."""
BROKE: Final = "not_connected"
"""Calls that were taken, and in which it never did."""


class Ended(Struct, frozen=True):
    """What is counted of one call."""

    at: float
    """When it ended, in seconds since 1970."""
    reason: Reason
    caller: str
    """The account; only to be counted once, and not at all when it objects."""
    code: str
    """Calling code of the caller's number, without the plus."""
    connected: bool
    taken: bool
    set_up: int | None
    """Milliseconds."""
    rung: str | None


def ended(call: Call) -> Ended:
    """What is counted of a call that has ended. Raises ``ValueError`` for one that goes on."""
    if call.reason is None or call.ended_at is None:
        raise ValueError("the call has not ended")
    return Ended(
        at=call.ended_at,
        reason=call.reason,
        caller=call.caller,
        code=calling_code(call.caller_phone),
        connected=call.connected_at is not None,
        taken=call.callee_device is not None,
        set_up=set_up(call.created_at, call.connected_at, call.trail),
        rung=rung_of(call.trail),
    )


def calling_code(phone: str) -> str:
    """The country calling code (E.164) of a number; ``""`` when it has none that is assigned."""
    for length in (1, 2, 3):
        code = phone[1 : 1 + length]
        if code.isdigit() and int(code) in COUNTRY_CODE_TO_REGION_CODE:
            return code
    return ""


def region_of(code: str) -> str:
    """The main country or territory of a calling code, ISO 3166-1 alpha-2; ``ZZ`` for none."""
    regions = COUNTRY_CODE_TO_REGION_CODE.get(int(code)) if code else None
    return regions[0] if regions else "ZZ"


def span_of(at: float) -> int:
    """The number of the span that a time is in."""
    return int(at // SPAN)


def fields_of(call: Ended) -> list[str]:
    """What a call is counted under: names of a span's counters."""
    fields = [f"reason:{call.reason}"]
    if call.connected:
        fields.append(WORKED)
    elif call.taken:
        fields.append(BROKE)
    if call.set_up is not None:
        fields.append(f"set_up:{_bucket(call.set_up)}")
    if call.connected:
        fields.append(f"rung:{call.rung or 'unknown'}")
    return fields


def by_span(calls: Iterable[Ended]) -> dict[int, Counter[str]]:
    """Counters of each span."""
    names: dict[int, list[str]] = {}
    for call in calls:
        names.setdefault(span_of(call.at), []).extend(fields_of(call))
    return {span: Counter(counted) for span, counted in names.items()}


def _bucket(milliseconds: int) -> int:
    return next((bound for bound in SLOWEST if milliseconds <= bound), SLOWEST[-1])


class Figures(Struct, frozen=True):
    """What the counters of some spans say."""

    calls: int
    connected: int
    not_connected: int
    reasons: dict[str, int]
    rungs: dict[str, int]
    set_up: dict[int, int]
    """Calls by the upper bound of their set-up time, in milliseconds."""

    @property
    def success(self) -> float | None:
        """Of the calls that were taken, the share in which media flowed; None when there were none."""
        return share(self.connected, self.not_connected)


def share(good: int, bad: int) -> float | None:
    """The good ones' share of all; None when there are none."""
    return round(good / (good + bad), 4) if good + bad else None


def figures(spans: Iterable[Mapping[str, int]]) -> Figures:
    """Sums up counters."""
    total: Counter[str] = Counter()
    for span in spans:
        total.update(span)
    reasons = _under(total, "reason:")
    return Figures(
        calls=sum(reasons.values()),
        connected=total[WORKED],
        not_connected=total[BROKE],
        reasons=reasons,
        rungs=_under(total, "rung:"),
        set_up={int(bound): number for bound, number in _under(total, "set_up:").items()},
    )


def _under(total: Mapping[str, int], prefix: str) -> dict[str, int]:
    found = {name.removeprefix(prefix): number for name, number in total.items() if name.startswith(prefix)}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def percentile(buckets: Mapping[int, int], part: float) -> int | None:
    """About how many milliseconds ``part`` (0 to 1) of the set-ups took at most, evenly spread within a bucket; None when there are none."""
    total = sum(buckets.values())
    if not total:
        return None
    wanted, below = part * total, 0
    for lower, bound in zip((0, *SLOWEST), SLOWEST, strict=False):
        number = buckets.get(bound, 0)
        if number and below + number >= wanted:
            return round(lower + (bound - lower) * (wanted - below) / number)
        below += number
    return SLOWEST[-1]


def grouped(counts: Sequence[tuple[str, int, int, int]], shown: Iterable[str]) -> list[tuple[str, int, int]]:
    """Calls that connected and that did not, by calling code: of each of ``shown``, and of all others together under ``""``.

    Args:
        counts: code, people, connected, not connected.
        shown: codes behind which enough people stand.
    """
    named = frozenset(shown)
    groups: dict[str, list[int]] = {}
    for code, _, good, bad in counts:
        group = groups.setdefault(code if code in named else "", [0, 0])
        group[0] += good
        group[1] += bad
    return sorted(((code, good, bad) for code, (good, bad) in groups.items()), key=lambda g: (-g[1] - g[2], g[0]))
