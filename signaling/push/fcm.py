"""Google's devices: Firebase Cloud Messaging, HTTP v1, with google-auth (``kloudtalk[mobile]``)."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from typing import Any

import aiohttp
from google.auth import exceptions as google_errors
from google.auth import transport as google_transport
from google.oauth2 import service_account

from signaling.push.rules import Outcome, Result, of_status
from signaling.push.sender import TIMEOUT, Wake
from signaling.push.store import Subscription


class _UrllibResponse(google_transport.Response):  # type: ignore[misc]
    def __init__(self, status: int, headers: Any, data: bytes) -> None:
        self._all = status, headers, data

    @property
    def status(self) -> int:
        return self._all[0]

    @property
    def headers(self) -> Any:
        return self._all[1]

    @property
    def data(self) -> bytes:
        return self._all[2]


class _UrllibRequest(google_transport.Request):  # type: ignore[misc]
    """How google-auth asks for its tokens: by the standard library, once an hour, in a thread."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls

    def __call__(
        self, url: str, method: str = "GET", body: bytes | None = None, headers: Any = None, timeout: float | None = None, **_: Any
    ) -> _UrllibResponse:
        request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)  # noqa: S310 - the operator's own file names it
        try:
            with urllib.request.urlopen(request, timeout=timeout or 10, context=self._tls) as answer:  # noqa: S310
                return _UrllibResponse(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return _UrllibResponse(error.code, error.headers, error.read())
        except OSError as error:
            raise google_errors.TransportError(error) from error


class FirebaseMessaging:
    """FCM, HTTP v1, as a service account.

    Args:
        credentials: the service account's JSON file, decoded.
        url: of the service.
    """

    def __init__(
        self, credentials: dict[str, Any], *, url: str = "https://fcm.googleapis.com", tls: ssl.SSLContext | None = None
    ) -> None:
        self._credentials: Any = service_account.Credentials.from_service_account_info(
            credentials, scopes=["https://www.googleapis.com/auth/firebase.messaging"]
        )
        self._url = f"{url}/v1/projects/{credentials['project_id']}/messages:send"
        self._tls = tls
        self._refreshing = asyncio.Lock()
        self._http: aiohttp.ClientSession | None = None

    async def send(self, to: Subscription, ttl: float, wake: Wake = Wake.CALL) -> Outcome:
        """Try once."""
        android = {"priority": wake.urgency.upper(), "ttl": f"{max(0, int(ttl))}s", "collapse_key": wake.value}
        message = {"message": {"token": to.endpoint, "data": json.loads(wake.payload), "android": android}}
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                async with self._refreshing:
                    if not self._credentials.valid:
                        await asyncio.to_thread(self._credentials.refresh, _UrllibRequest(self._tls))
                headers = {"Authorization": f"Bearer {self._credentials.token}"}
                async with self._session().post(self._url, json=message, headers=headers, allow_redirects=False) as answer:
                    if answer.status == 404 or (answer.status == 400 and b"UNREGISTERED" in await answer.content.read(4096)):
                        return Outcome(Result.GONE)
                    return of_status(answer.status, answer.headers.get("Retry-After"))
        except google_errors.GoogleAuthError as error:
            return Outcome(Result.AGAIN if error.retryable else Result.REFUSED, why=type(error).__name__)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Outcome(Result.AGAIN, why=type(error).__name__)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            connector = aiohttp.TCPConnector(limit=64, ssl=self._tls if self._tls is not None else True)
            self._http = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._http

    async def close(self) -> None:
        """Close connections."""
        if self._http is not None:
            await self._http.close()
