"""What the hub's Redis client makes of a connection that is no more."""

import pytest
from redis.asyncio.cluster import ClusterPipeline
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from signaling.storage.redis import any_redis_client, redis_client, run_script

CLOSED = "unable to perform operation on <TCPTransport closed=True reading=False 0x1>; the handler is closed"


@pytest.fixture
async def client(state_url):
    redis = redis_client(state_url)
    await redis.ping()
    yield redis
    await redis.aclose()


def writing_raises(monkeypatch, text: str) -> None:
    async def send(self, *args, **kwargs):
        raise RuntimeError(text)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", send)


async def test_uvloops_error_of_a_closed_connection_is_one_of_a_store_that_does_not_answer(client, monkeypatch):
    writing_raises(monkeypatch, CLOSED)
    with pytest.raises(RedisError):
        await run_script(client, "return 1", ["k"], [])
    pipe = client.pipeline(transaction=False)
    pipe.get("k")
    with pytest.raises(RedisError):
        await pipe.execute()


async def test_other_errors_of_ours_are_not_hidden(client, monkeypatch):
    writing_raises(monkeypatch, "coroutine was never awaited")
    with pytest.raises(RuntimeError, match="never awaited"):
        await client.get("k")


async def test_a_clusters_pipeline_says_the_same(monkeypatch):
    async def execute(self, *args, **kwargs):
        raise RuntimeError(CLOSED)

    monkeypatch.setattr(ClusterPipeline, "execute", execute)
    redis = any_redis_client("redis+cluster://127.0.0.1:1")
    with pytest.raises(RedisError):
        await redis.pipeline().execute()
