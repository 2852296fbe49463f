"""Web push: RFC 8030, with the content of RFC 8291 and the identification of RFC 8292."""

import os
import ssl
import time
from collections.abc import Callable

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec

from signaling.push.encryption import encrypt
from signaling.push.resolver import PublicResolver
from signaling.push.rules import Outcome, Result, of_status
from signaling.push.sender import TIMEOUT, Wake
from signaling.push.store import Subscription
from signaling.push.vapid import Vapid
from signaling.wire import base64url


class WebPush:
    """Web push services.

    Args:
        allow_private: also send to addresses that are not public: a push service of the operator's own.
        tls: trust for the services' certificates; None: the machine's.
    """

    def __init__(
        self,
        vapid: Vapid,
        *,
        allow_private: bool = False,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._vapid, self._clock = vapid, clock
        self._allow_private, self._tls = allow_private, tls
        self._http: aiohttp.ClientSession | None = None

    async def send(self, to: Subscription, ttl: float, wake: Wake = Wake.CALL) -> Outcome:
        """Try once."""
        if to.p256dh is None or to.auth is None:
            return Outcome(Result.GONE)
        body = encrypt(
            wake.payload,
            p256dh=base64url.decode(to.p256dh),
            auth=base64url.decode(to.auth),
            salt=os.urandom(16),
            key=ec.generate_private_key(ec.SECP256R1()),
        )
        headers = {
            "Authorization": self._vapid.header(to.endpoint, self._clock()),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(max(0, int(ttl))),
            "Urgency": wake.urgency,
            "Topic": wake.value,  # a newer one takes the place of one that was not delivered
        }
        try:
            # a redirect could lead where the endpoint may not; the answer's body is of no interest
            async with self._session().post(to.endpoint, data=body, headers=headers, allow_redirects=False) as answer:
                return of_status(answer.status, answer.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return Outcome(Result.AGAIN, why=type(error).__name__)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            connector = aiohttp.TCPConnector(
                resolver=None if self._allow_private else PublicResolver(),
                limit=64,
                ssl=self._tls if self._tls is not None else True,
            )
            self._http = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._http

    async def close(self) -> None:
        """Close connections."""
        if self._http is not None:
            await self._http.close()
