"""``kloudtalk check``: reaches every configured store and service, one line each."""

import asyncio
import functools
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from media.control import RelayDirectory
from media.options import parse_ports, parse_tcp_port
from media.plane import Address
from media.process import open_listeners, open_sockets
from signaling.contacts.discovery import Discovery
from signaling.privacy.api import policies
from signaling.push.configured import make_senders
from signaling.push.vapid import Vapid
from signaling.settings import Settings
from signaling.storage.persistence import check_not_persistent
from signaling.storage.redis import any_redis_client, redis_client
from signaling.storage.sql import Database
from signaling.wire.errors import Refused
from turn_config.probe import probe
from turn_config.urls import parse_url


async def run_checks(settings: Settings) -> bool:
    """Print one line per thing that is configured; True when all is well."""
    checks: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("settings", _settings),
        ("policy", lambda: _policy(settings)),
        ("database", lambda: _database(settings)),
    ]
    checks.append(("redis", lambda: _redis(settings.redis_url, persistent=True)))
    checks.append(("address books", lambda: _redis(settings.address_book_redis_url, persistent=False)))
    checks.append(("key-holder", lambda: _keyholder(settings)))
    checks.append(("codes", lambda: delivery(settings)))
    checks.append(("pushes", lambda: pushes(settings)))
    checks.append(("ice", lambda: _ice(settings)))
    for text in (*settings.stun_urls, *settings.turn_urls):
        checks.append((text, functools.partial(_server, text, settings)))
    checks.append(("relay", lambda: _relay(settings)))
    well = True
    for name, check in checks:
        try:
            async with asyncio.timeout(10):
                line = await check()
            print(f"ok      {name}: {line}")
        except Exception as error:
            well = False
            # a URL in an exception's text may hold a password
            text = error.message if isinstance(error, Refused) else str(error) if "://" not in str(error) else type(error).__name__
            print(f"FAILED  {name}: {text or type(error).__name__}")
    return well


async def _settings() -> str:
    return "valid"


async def _policy(settings: Settings) -> str:
    policies(settings.policy_version, settings.policy_file)
    return f"version {settings.policy_version}"


async def _database(settings: Settings) -> str:
    if settings.database_url is None:
        return f"SQLite in {_writable(settings.data_dir)}"
    database = Database(settings.database_url)
    try:
        await database.ping()
    finally:
        await database.close()
    return f"{database.engine.dialect.name} answers"


def _writable(folder: Path) -> Path:
    """The folder, or the nearest one above that exists. Raises ``PermissionError``."""
    import os

    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{there} cannot be written to")
    return folder


async def _redis(url: str | None, *, persistent: bool) -> str:
    if url is None:
        return "embedded Valkey" + ("" if persistent else ", which does not persist")
    client = any_redis_client(url) if persistent else redis_client(url)
    try:
        await client.ping()
        if isinstance(client, Redis) and not persistent:
            await check_not_persistent(client)
    finally:
        await client.aclose()
    return "answers" if persistent else "answers, and does not persist"


async def _keyholder(settings: Settings) -> str:
    if settings.keyholder_url is None:
        return "started by serve"
    if settings.keyholder_secret is None:
        raise ValueError("keyholder_secret is needed with keyholder_url")
    discovery = Discovery(url=settings.keyholder_url, secret=settings.keyholder_secret)
    try:
        await discovery.ping()
    finally:
        await discovery.close()
    return "answers"


async def delivery(settings: Settings) -> str:
    """How codes are sent; logs in at the mail server. Raises what aiosmtplib raises."""
    if settings.email_delivery == "smtp":
        import aiosmtplib

        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            use_tls=settings.smtp_tls == "tls",
            start_tls=settings.smtp_tls == "starttls",
            timeout=8,
        )
        async with client:
            if settings.smtp_username:
                await client.login(settings.smtp_username, settings.smtp_password or "")
    return f"phone by {settings.phone_delivery}, e-mail by {settings.email_delivery}"


async def pushes(settings: Settings) -> str:
    """Which kinds of push are configured."""
    senders = make_senders(settings, Vapid(b"", settings.push_contact))
    doubt = "; Apple's web push refuses a push_contact at localhost" if settings.push_contact.endswith("@localhost") else ""
    return f"{', '.join(sorted(senders))} (not reached from here){doubt}"


async def _ice(settings: Settings) -> str:
    if not settings.stun_urls and not settings.turn_urls:
        return "no STUN or TURN: calls work where a direct way exists, or over a relay"
    return f"{len(settings.stun_urls)} STUN and {len(settings.turn_urls)} TURN URLs"


async def _server(text: str, settings: Settings) -> str:
    """One STUN or TURN server, asked for what clients ask it for."""
    return await probe(parse_url(text), settings.turn_secret)


async def _relay(settings: Settings) -> str:
    """The relays that are there; where serve would start one, whether it could."""
    if settings.redis_url is not None:
        redis = any_redis_client(settings.redis_url)
        try:
            relays = await RelayDirectory(redis, lambda _pairs: None).relays()
        except (RedisError, OSError):
            return "not known: Redis does not answer"
        finally:
            await redis.aclose()
        if relays:
            return f"{len(relays)} running, {sum(r.pairs for r in relays)} of {sum(r.capacity for r in relays)} calls"
        if not settings.relay:
            return "none runs: calls have their direct ways and TURN"
    if not settings.relay:
        return "none: calls have their direct ways and TURN"
    sockets, public = open_sockets(settings.relay_addresses, parse_ports(settings.relay_ports))
    listeners: list[socket.socket] = []
    tcp: list[Address] = []
    try:
        ports = parse_tcp_port(settings.relay_tcp_port)
        if ports is not None:
            listeners, tcp = open_listeners(sockets, public, ports)
    finally:
        for bound in (*sockets, *listeners):
            bound.close()
    where = "started by serve, reached at " + ", ".join(f"{host} port {port}" for host, port in public)
    where += "; by TCP at " + ", ".join(f"{host} port {port}" for host, port in tcp) if tcp else "; not by TCP"
    if any(ipaddress.ip_address(host).is_global for host, _ in public):
        return where
    return where + " (only from the same network: behind a NAT, set relay_addresses to IP=PUBLIC)"
