"""The WebSocket from the client's side: ``hello``, requests and their answers, reconnecting with jitter."""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import msgspec

from signaling.client.rest import ClientError
from signaling.tasks import end_tasks, steady
from signaling.wire.codec import decode_server, encode
from signaling.wire.errors import ErrorCode
from signaling.wire.messages import SUBPROTOCOL, CloseCode, Error, Hello, Ok, Request, ServerMessage, Sync

_ANSWER_TIMEOUT: Final = 10.0
"""Seconds that the hub has for an answer."""
_MAX_MESSAGE: Final = 64 * 2**20
"""Bytes of one message: a ``sync`` with every payload of every call is less."""


def backoff(attempt: int, jitter: float) -> float:
    """Seconds before the ``attempt``-th try (from 0): at most 0.25 s doubling to 15 s, and by ``jitter`` (0 to 1) down to half of it."""
    return min(15.0, 0.25 * 2.0 ** min(attempt, 10)) * (0.5 + jitter / 2)


class Socket:
    """Keeps one connection up until ``close``.

    Args:
        take: gets every message that is not the answer to a request, in order; ``sync`` first.
        revoked: called once when the hub does not know the session any more.
        replaced: called once when this device connected elsewhere.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        token: str,
        *,
        take: Callable[[ServerMessage], None],
        revoked: Callable[[], None] = lambda: None,
        replaced: Callable[[], None] = lambda: None,
    ) -> None:
        self._http = http
        self._url = url.rstrip("/") + "/v1/ws"
        self._token = token
        self._take = take
        self._revoked = revoked
        self._replaced = replaced
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._next = 0
        self._waiting: dict[int, asyncio.Future[Ok]] = {}
        self._online = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        self._task = asyncio.create_task(steady("client: socket", self._run))

    @property
    def connected(self) -> bool:
        """Whether there is a connection, and ``sync`` has come over it."""
        return self._online.is_set()

    async def online(self, timeout: float = 10.0) -> None:
        """Wait until ``sync`` has come. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout):
            await self._online.wait()

    async def request(self, kind: type[Request], **fields: Any) -> Ok:
        """Send one request, when there is a connection (again), and wait for its answer. Raises ``ClientError``."""
        try:
            await self.online(_ANSWER_TIMEOUT)
        except TimeoutError:
            raise ClientError(ErrorCode.UNAVAILABLE, "not connected") from None
        assert self._ws is not None  # noqa: S101
        number = self._next = self._next + 1
        future: asyncio.Future[Ok] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await self._ws.send_str(encode(kind(id=number, **fields)).decode())
            async with asyncio.timeout(_ANSWER_TIMEOUT):
                return await future
        except (ConnectionError, TimeoutError) as error:
            raise ClientError(ErrorCode.UNAVAILABLE, "no answer") from error
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """Close for good."""
        if self._task is not None:
            await end_tasks(self._task)

    async def _run(self) -> None:
        attempt = 0
        while True:
            try:
                async with self._http.ws_connect(
                    self._url, protocols=(SUBPROTOCOL,), heartbeat=20, max_msg_size=_MAX_MESSAGE
                ) as ws:
                    self._ws = ws
                    await ws.send_str(encode(Hello(id=0, token=self._token)).decode())
                    async for frame in ws:
                        if frame.type is aiohttp.WSMsgType.TEXT and not self._got(frame.data):
                            return
                        if self._online.is_set():
                            attempt = 0
                    if ws.close_code == CloseCode.REPLACED:
                        self._replaced()
                        return  # this device connected elsewhere: two must not push each other out for ever
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            finally:
                self._ws = None
                self._online.clear()
                for future in self._waiting.values():
                    if not future.done():
                        future.set_exception(ClientError(ErrorCode.UNAVAILABLE, "the connection was lost"))
            await asyncio.sleep(backoff(attempt, random.random()))  # noqa: S311 - jitter, no secret
            attempt += 1

    def _got(self, data: str) -> bool:
        """Take one frame; False when the session is over."""
        try:
            message = decode_server(data)
        except msgspec.DecodeError:
            return True  # of a newer hub: not ours to understand
        if isinstance(message, Ok):
            future = self._waiting.get(message.re)
            if future is not None and not future.done():
                future.set_result(message)
            return True
        if isinstance(message, Error):
            if not self._online.is_set() and message.code is ErrorCode.UNAUTHENTICATED:
                self._revoked()
                return False
            future = None if message.re is msgspec.UNSET else self._waiting.get(message.re)
            if future is not None and not future.done():
                wait = None if message.retry_after is msgspec.UNSET else message.retry_after
                devices = None if message.devices is msgspec.UNSET else message.devices
                future.set_exception(ClientError(message.code, message.message, retry_after=wait, devices=devices))
            return True
        if isinstance(message, Sync):
            self._online.set()
        self._take(message)
        return True
