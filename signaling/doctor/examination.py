"""The whole examination: everything that can be looked at from this machine, at the same time."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace
from redis.exceptions import RedisError

from media.control import RelayDirectory
from signaling import checks
from signaling.contacts.discovery import Discovery
from signaling.doctor import machine, stores
from signaling.doctor.finding import Diagnosis, Finding, Grade, Trouble, concern
from signaling.settings import Settings
from signaling.storage.redis import any_redis_client
from signaling.supervisor import ServeError, embedded_stores
from signaling.telemetry.health import reason
from signaling.wire.errors import Refused
from turn_config.probe import ProbeError, probe
from turn_config.urls import parse_url

_TIMEOUT: Final = 12.0
"""Seconds that one check may take."""
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

Look = Callable[[], Awaitable[str]]
"""Answers a line when all is well. Raises ``Trouble``, or whatever went wrong."""


async def examine(settings: Settings, *, certificates: Sequence[Path] = (), url: str | None = None) -> Diagnosis:
    """Look at everything. Never raises."""
    looks: list[tuple[str, Look]] = [("settings", functools.partial(_settings, settings))]
    there, away = _with_stores(settings)
    if away is None:
        looks += [
            ("redis", functools.partial(stores.redis, there)),
            ("address book", functools.partial(stores.address_book, there)),
            ("key-holder", functools.partial(_keyholder, there)),
            ("relays", functools.partial(_relays, there)),
            ("clock", functools.partial(stores.clock, there)),
        ]
    else:
        looks.append(("stores", functools.partial(_never_started, away)))
    looks += [
        ("database", functools.partial(stores.database, there)),
        ("disk", functools.partial(machine.disk, there)),
        ("open files", functools.partial(machine.files, there)),
        ("port", functools.partial(machine.port, there)),
        ("metrics port", functools.partial(machine.metrics_port, there)),
        ("relay ports", functools.partial(machine.relay_ports, there)),
        ("receive buffers", functools.partial(machine.buffers, there)),
        ("codes", functools.partial(_codes, there)),
        ("pushes", functools.partial(_pushes, there)),
        ("ways for media", functools.partial(_ways, there)),
    ]
    looks += [(server, functools.partial(_server, server, there)) for server in (*there.stun_urls, *there.turn_urls)]
    looks += [(str(path), functools.partial(machine.certificate_file, path)) for path in certificates]
    if url is not None:
        looks.append((url, functools.partial(machine.public_url, url)))
    findings = await asyncio.gather(*(_look(name, look) for name, look in looks))
    return Diagnosis(well=all(finding.grade is not Grade.FAILED for finding in findings), findings=list(findings))


async def _look(name: str, look: Look) -> Finding:
    try:
        async with asyncio.timeout(_TIMEOUT):
            return Finding(name, Grade.OK, await look())
    except Trouble as trouble:
        return Finding(name, trouble.grade, trouble.detail, trouble.advice)
    except Exception as error:
        return Finding(name, Grade.FAILED, reason(error), "the log of the process concerned says more")


def _with_stores(settings: Settings) -> tuple[Settings, str | None]:
    """The settings with the URLs of what ``serve`` runs; None, or why they are not known."""
    try:
        return embedded_stores(replace(settings, data_dir=settings.data_dir.absolute())), None
    except ServeError as error:
        return settings, str(error)


async def _never_started(why: str) -> str:
    raise concern(
        f"not looked at: {why}",
        "start the service (`kloudtalk serve`), or name its stores: redis_url, address_book_redis_url, keyholder_url, keyholder_secret",
    )


async def _settings(settings: Settings) -> str:
    if settings.host not in _LOOPBACK and not settings.trusted_proxies:
        raise concern(
            f"listens on {settings.host} without a reverse proxy in trusted_proxies",
            "browsers give the microphone to pages over TLS only; with a proxy, name it in trusted_proxies, or all clients share one limit",
        )
    return "valid"


async def _keyholder(settings: Settings) -> str:
    discovery = Discovery(url=settings.keyholder_url or "", secret=settings.keyholder_secret or "")
    try:
        await discovery.ping()
    except Refused as refused:
        raise Trouble(refused.message, "is it up at keyholder_url, and has it the hubs' keyholder_secret?") from None
    finally:
        await discovery.close()
    return "answers, and has the same secret"


async def _relays(settings: Settings) -> str:
    client = any_redis_client(settings.redis_url or "")
    try:
        found = await RelayDirectory(client, lambda _pairs: None).relays()
    except (RedisError, OSError):
        raise concern("not known: Redis does not answer", "see redis") from None
    finally:
        await client.aclose()
    if not found:
        raise Trouble(
            "none has given a sign of life in the last seconds",
            "start one (`kloudtalk relay`, or relay = true for `serve`); is its clock right, and its Redis this one?",
        )
    pairs, capacity = sum(relay.pairs for relay in found), sum(relay.capacity for relay in found)
    if pairs > 0.8 * capacity:
        raise concern(f"{pairs} of {capacity} calls", "start another relay, or raise relay_capacity")
    return f"{len(found)} alive, {pairs} of {capacity} calls"


async def _codes(settings: Settings) -> str:
    try:
        how = await checks.delivery(settings)
    except Exception as error:
        raise Trouble(
            f"the mail server does not do ({type(error).__name__})",
            "smtp_host, smtp_port, smtp_tls, smtp_username and smtp_password",
        ) from None
    if "console" in (settings.phone_delivery, settings.email_delivery):
        raise concern(how, "codes are printed on the terminal: set phone_delivery and email_delivery before others register")
    return how


async def _pushes(settings: Settings) -> str:
    kinds = await checks.pushes(settings)
    if settings.push_contact.endswith("@localhost"):
        raise concern(kinds.partition(";")[0], "set push_contact to an address of yours: Apple's service refuses localhost")
    return kinds


async def _ways(settings: Settings) -> str:
    if not settings.turn_urls and not settings.relay:
        raise concern("neither TURN nor a relay", "some networks let no direct way through: run a relay, or set turn_urls")
    if not any(parse_url(url).scheme == "turns" for url in settings.turn_urls):
        raise concern(
            "no TURN over TLS",
            "networks that let only TLS through need it: `kloudtalk turn-config`, then turns:HOST:443 in turn_urls",
        )
    return f"{len(settings.stun_urls)} STUN, {len(settings.turn_urls)} TURN" + (", a relay" if settings.relay else "")


async def _server(text: str, settings: Settings) -> str:
    try:
        return await probe(parse_url(text), settings.turn_secret)
    except ProbeError as error:
        raise Trouble(
            str(error), "`kloudtalk turn-config` writes a configuration for coturn; its secret must be turn_secret"
        ) from None
