"""Redis clients by URL: one server, Sentinel, or Cluster; and scripts that run on all three."""

import hashlib
import time
from collections.abc import Awaitable, Sequence
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from signaling.storage.latency import Latency

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


_WAITS: Final = frozenset({"BLPOP", "BLMPOP"})
"""Commands that wait for something to come: how long says nothing about the store."""


def _broken(error: RuntimeError) -> Exception:
    """What uvloop raises when something is written to a connection that was closed a moment ago, as what it is. redis-py knows no such
    error, for asyncio has none, and would hand it on to those who expect a store that does not answer.
    """
    return RedisConnectionError("the connection was closed") if "closed" in str(error) else error


async def _timed(latency: Latency, command: Any, work: Awaitable[Any]) -> Any:
    began = time.perf_counter()
    try:
        answer = await work
    except ResponseError:
        latency.seconds.observe(time.perf_counter() - began)  # it has answered: no
        raise
    except RuntimeError as error:
        latency.failed += 1
        raise _broken(error) from error
    except Exception:
        latency.failed += 1
        raise
    if command not in _WAITS:
        latency.seconds.observe(time.perf_counter() - began)
    return answer


class _MeasuredPipeline(Pipeline):
    latency: Latency

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        found: list[Any] = await _timed(self.latency, "", super().execute(raise_on_error))
        return found


class MeasuredRedis(Redis):
    """A client that counts how long commands and pipelines take."""

    @cached_property
    def latency(self) -> Latency:
        """What was counted."""
        return Latency()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's."""
        return await _timed(self.latency, args[0], super().execute_command(*args, **options))  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """As redis-py's."""
        pipe = _MeasuredPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipe.latency = self.latency
        return pipe


class _MeasuredClusterPipeline(ClusterPipeline):
    latency: Latency

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        found: list[Any] = await _timed(self.latency, "", super().execute(raise_on_error, allow_redirections))
        return found


class MeasuredCluster(RedisCluster):
    """The same for a cluster. A pipeline has been answered when every node that it is for has."""

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:
        """As redis-py's."""
        pipe = _MeasuredClusterPipeline(self, transaction)  # type: ignore[abstract]  # as redis-py does itself
        pipe.latency = self.latency
        return pipe

    @cached_property
    def latency(self) -> Latency:
        """What was counted."""
        return Latency()

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """As redis-py's."""
        return await _timed(self.latency, args[0], super().execute_command(*args, **kwargs))


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
        master: Redis = sentinel.master_for(name, redis_class=MeasuredRedis, db=database, password=parts.password, **_options())
        return master
    if parts.scheme not in SCHEMES or parts.scheme == "redis+cluster":
        raise RedisUrlError(f"a Redis URL here begins with {', '.join(SCHEMES[:4])}")
    # who finds every connection in use waits for one, rather than be told that Redis does not answer
    pool = BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, timeout=_PATIENCE, **_options())
    return MeasuredRedis.from_pool(pool)


def any_redis_client(url: str) -> AnyRedis:
    """As ``redis_client``, and ``redis+cluster://[:PASSWORD@]HOST:PORT[,HOST:PORT…]`` besides. Raises ``RedisUrlError``."""
    parts = urlsplit(url)
    if parts.scheme != "redis+cluster":
        return redis_client(url)
    nodes = [ClusterNode(host, port) for host, port in _hosts(parts.netloc, 6379)]
    return MeasuredCluster(
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
