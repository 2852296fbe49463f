"""Finds personal data where none should be: in logs, files, keys, memory. For any suite.

``Person`` knows one person's data and finds its traces in bytes, however the number is written. ``suspicious`` knows nobody, and names what
looks like a number, an address, an IP address or a secret in text.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import phonenumbers
from redis.asyncio import Redis

from signaling.client.client import Client

_LOOKS_LIKE = {
    "phone number": re.compile(r"(?<![\w.+-])\+[1-9]\d{7,14}(?!\d)"),
    "e-mail address": re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"),
    "IP address": re.compile(r"(?<![\w.])(?!127\.|0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}(?![\w.])"),
    "bearer token or key": re.compile(r"(?<![\w/-])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*\d)[A-Za-z0-9_-]{43}(?![\w-])"),
    "identifier": re.compile(r"(?<![\w/-])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*\d)[A-Za-z0-9_-]{22}(?![\w-])"),
    "six-digit code": re.compile(r"\bcode \d{6}\b"),
}


def suspicious(text: str) -> list[str]:
    """What looks like personal data, as ``kind: match``."""
    return [f"{kind}: {match[0]}" for kind, pattern in _LOOKS_LIKE.items() for match in pattern.finditer(text)]


@dataclass(frozen=True)
class Person:
    """Everything by which one person could be known again.

    Args:
        texts: what must not be found, each at least six characters long.
    """

    texts: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, client: Client, *more: str) -> "Person":
        """A signed-in client's account, device, keys, tokens and number; ``more``: e-mail, names, texts that it stored."""
        profile = client.profile
        assert profile is not None
        number = phonenumbers.parse(profile.phone)
        written = {
            phonenumbers.format_number(number, how)
            for how in (phonenumbers.PhoneNumberFormat.E164, phonenumbers.PhoneNumberFormat.NATIONAL)
        }
        written |= {profile.phone.removeprefix("+"), str(number.national_number)}
        leaf = profile.certificate.leaf
        known = {profile.account, profile.device, profile.token, profile.certificate.identity_key, leaf.signing_key}
        return cls(frozenset(text for text in (*written, *known, *profile.tokens.values(), *more) if len(text) >= 6))

    def traces(self, data: bytes) -> list[str]:
        """Which of the texts are in the data: as UTF-8, as UTF-16, or as hexadecimal."""
        return sorted(
            text
            for text in self.texts
            if any(form in data for form in (text.encode(), text.encode("utf-16-le"), text.encode().hex().encode()))
        )


def on_disk(folder: Path, person: Person) -> dict[str, list[str]]:
    """Traces in every file below a folder, by file."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(folder))] = person.traces(path.read_bytes())
        except FileNotFoundError:
            continue  # a file that was replaced while we looked
    return {name: traces for name, traces in found.items() if traces}


async def in_redis(redis: Redis, person: Person) -> dict[str, list[str]]:
    """Traces in every key and value, by key."""
    found: dict[str, list[str]] = {}
    async for key in redis.scan_iter(count=1000):
        traces = person.traces(key + b"\n" + (await _value(redis, key)))
        if traces:
            found[key.decode(errors="replace")] = traces
    return found


async def _value(redis: Redis, key: bytes) -> bytes:
    # DUMP compresses: the values are read as they are
    match (await redis.type(key)).decode():
        case "string":
            return await redis.get(key) or b""
        case "hash":
            return b"\n".join(part for pair in (await redis.hgetall(key)).items() for part in pair)
        case "set":
            return b"\n".join(await redis.smembers(key))
        case "list":
            return b"\n".join(await redis.lrange(key, 0, -1))
        case "zset":
            return b"\n".join(await redis.zrange(key, 0, -1))
        case "stream":
            return b"\n".join(part for _, fields in await redis.xrange(key) for pair in fields.items() for part in pair)
        case "none":
            return b""  # its time ran out since the keys were listed
        case other:
            raise AssertionError(f"a type of key that is not looked into: {other}")


def in_memory(pid: int, needles: Iterable[bytes]) -> dict[bytes, int]:
    """How often each needle is in a process's readable memory (Linux, as its owner or root)."""
    counts = dict.fromkeys(needles, 0)
    for region in _regions(pid):
        for needle in counts:
            counts[needle] += region.count(needle)
    return counts


def _regions(pid: int) -> Iterator[bytes]:
    with (Path("/proc") / str(pid) / "maps").open() as maps, (Path("/proc") / str(pid) / "mem").open("rb", 0) as memory:
        for line in maps:
            addresses, permissions = line.split()[:2]
            if "r" not in permissions or "[v" in line:
                continue
            start, end = (int(part, 16) for part in addresses.split("-"))
            try:
                memory.seek(start)
                yield memory.read(end - start)
            except OSError:  # a guard page
                continue
