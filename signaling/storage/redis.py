"""Redis clients by URL: one server, Sentinel, or Cluster; and scripts that run on all three."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

AnyRedis = Redis | RedisCluster
"""A client of one server (or of the master that Sentinel names), or of a cluster."""

_TIMEOUT: Final = 5.0
_CONNECT_TIMEOUT: Final = 2.0
"""Seconds. A client that says quickly when Redis does not answer, rather than hold a call up."""

_CONNECTIONS: Final = 64
"""Connections of one client: far more than a hub has commands under way at a time."""
_PATIENCE: Final = 10
"""Seconds to wait for one of them."""

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")


class RedisUrlError(ValueError):
    """The URL is none of those that ``redis_client`` takes; the message says why and holds no password."""


def redis_client(url: str) -> Redis:
    """A client of one server, or of the master of a Sentinel group.

    ``redis://HOST:PORT/DB``, ``rediss://…``, ``unix:///PATH``, or ``redis+sentinel://[:PASSWORD@]HOST:PORT[,HOST:PORT…]/MASTER``.
    Raises ``RedisUrlError``.
    """
    parts = urlsplit(url)
    if parts.scheme == "redis+sentinel":
        name = parts.path.strip("/")
        if not name:
            raise RedisUrlError("redis+sentinel:// needs the name of the master as its path")
        sentinel = Sentinel(_hosts(parts.netloc, 26379), socket_timeout=_CONNECT_TIMEOUT)  # type: ignore[no-untyped-call]
        database = int(parse_qs(parts.query).get("db", ["0"])[0])
        master: Redis = sentinel.master_for(name, db=database, password=parts.password, **_options())
        return master
    if parts.scheme not in SCHEMES or parts.scheme == "redis+cluster":
        raise RedisUrlError(f"a Redis URL here begins with {', '.join(SCHEMES[:4])}")
    # who finds every connection in use waits for one, rather than be told that Redis does not answer
    pool = BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, timeout=_PATIENCE, **_options())
    return Redis.from_pool(pool)


def any_redis_client(url: str) -> AnyRedis:
    """As ``redis_client``, and ``redis+cluster://[:PASSWORD@]HOST:PORT[,HOST:PORT…]`` besides. Raises ``RedisUrlError``."""
    parts = urlsplit(url)
    if parts.scheme != "redis+cluster":
        return redis_client(url)
    nodes = [ClusterNode(host, port) for host, port in _hosts(parts.netloc, 6379)]
    return RedisCluster(
        startup_nodes=nodes,
        password=parts.password,
        socket_timeout=_TIMEOUT,
        socket_connect_timeout=_CONNECT_TIMEOUT,
        protocol=2,
    )


def _options() -> dict[str, Any]:
    return {
        "socket_timeout": _TIMEOUT,
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "retry": Retry(NoBackoff(), 1),
        "protocol": 2,
    }


def _hosts(netloc: str, port: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for part in netloc.rpartition("@")[2].split(","):
        host, _, number = part.rpartition(":") if ":" in part.rpartition("]")[2] else (part, "", str(port))
        if not host or not number.isdigit():
            raise RedisUrlError("a Redis URL names hosts as HOST:PORT, separated by commas")
        found.append((host.strip("[]"), int(number)))
    return found


_digests: dict[str, str] = {}


async def run_script(redis: AnyRedis, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    """Run a Lua script by its digest; the text is sent only to a server that does not know it yet."""
    digest = _digests.get(script)
    if digest is None:
        digest = _digests[script] = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    try:
        return await redis.execute_command("EVALSHA", digest, len(keys), *keys, *arguments)
    except NoScriptError:
        return await redis.execute_command("EVAL", script, len(keys), *keys, *arguments)
