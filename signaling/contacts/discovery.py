"""The hub's client of the key-holder."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable

import aiohttp
import msgspec

from signaling.contacts import oprf
from signaling.contacts.keyholder import EvaluateAnswer, EvaluateRequest
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode, Refused
from signaling.wire.rest import Evaluated


class Discovery:
    """Asks the key-holder.

    Args:
        url: ``unix:/path`` or ``http://host:port``.
        secret: shared with the key-holder.
    """

    def __init__(self, *, url: str, secret: str, token_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._path = url.removeprefix("unix:") if url.startswith("unix:") else None
        self._base = "http://keyholder" if self._path else url.rstrip("/")
        self._secret = secret.encode()
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._token_bytes = token_bytes
        self._session: aiohttp.ClientSession | None = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.UnixConnector(self._path) if self._path else aiohttp.TCPConnector()
            self._session = aiohttp.ClientSession(
                connector=connector, headers=self._headers, timeout=aiohttp.ClientTimeout(total=10, connect=2)
            )
        return self._session

    async def evaluate(self, phone: str, blinded: list[str]) -> Evaluated:
        """Evaluate a user's blinded elements, on the budget of the user's number: who deletes an account and registers again has no new one.

        The key-holder sees a keyed hash of the number. Raises ``Refused`` (``invalid``, ``budget_spent``, ``unavailable``).
        """
        answer = await self._ask(EvaluateRequest(self._holder(phone), blinded))
        return Evaluated(evaluated=answer.elements, remaining=answer.remaining)

    def _holder(self, phone: str) -> str:
        digest = hmac.digest(self._secret, b"kloudtalk/v1 discovery budget\0" + phone.encode(), hashlib.sha256)
        return base64url.encode(digest[:16])

    async def token_of(self, e164: str) -> str:
        """The discovery token of a number that its holder has proven. The number is blinded: the key-holder does not see it."""
        message = e164.encode()
        scalar, blinded = await asyncio.to_thread(oprf.blind, message, self._token_bytes(64))
        answer = await self._ask(EvaluateRequest("", [base64url.encode(blinded)]))
        output = await asyncio.to_thread(oprf.finalize, message, scalar, base64url.decode(answer.elements[0]))
        return base64url.encode(output)

    async def ping(self) -> None:
        """Reach the key-holder with the secret. Raises ``Refused(unavailable)``, with a message that says what is wrong."""
        _, blinded = oprf.blind(b"ping", self._token_bytes(64))
        await self._ask(EvaluateRequest("", [base64url.encode(blinded)]))

    async def _ask(self, request: EvaluateRequest) -> EvaluateAnswer:
        try:
            async with self._client().post(f"{self._base}/evaluate", data=msgspec.json.encode(request)) as response:
                if response.status == 422:
                    raise Refused(ErrorCode.INVALID, "a blinded element is not a ristretto255 element")
                if response.status == 401:
                    raise Refused(ErrorCode.UNAVAILABLE, "the key-holder has another secret")
                if response.status not in (200, 429):
                    raise Refused(ErrorCode.UNAVAILABLE, "the key-holder does not answer as it should", retry_after=1.0)
                answer = msgspec.json.decode(await response.read(), type=EvaluateAnswer)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError):
            raise Refused(ErrorCode.UNAVAILABLE, "the key-holder does not answer", retry_after=1.0) from None
        if answer.retry_after:
            raise Refused(ErrorCode.BUDGET_SPENT, retry_after=answer.retry_after)
        if len(answer.elements) != len(request.elements):
            raise Refused(ErrorCode.UNAVAILABLE, "the key-holder does not answer as it should")
        return answer

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
