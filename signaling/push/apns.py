"""Apple's devices: APNs by HTTP/2, with httpx (``kloudtalk[mobile]``) and tokens signed by the operator's key.

By httpx and not by a library for APNs: the one for asyncio ends its connection on an empty DATA frame (RFC 9113, section 6.1).
"""

import json
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import jwt

from signaling.push.rules import Outcome, Result, of_status
from signaling.push.sender import TIMEOUT, Wake
from signaling.push.store import Subscription

PRODUCTION: Final = "https://api.push.apple.com"
SANDBOX: Final = "https://api.sandbox.push.apple.com"
_TOKEN_KEPT: Final = 2_400.0
"""Seconds for which a token is used: Apple refuses those over an hour, and more than one in 20 minutes."""
_GONE: Final = ("BadDeviceToken", "DeviceTokenNotForTopic", "ExpiredToken", "Unregistered")


class AppleNotifications:
    """APNs, by token-based authentication. A topic that ends with ``.voip`` wakes the app by PushKit, any other shows an alert.

    Args:
        key: the PKCS #8 signing key, PEM.
        key_id: its id.
        team_id: the team that it belongs to.
        topic: the app's bundle id.
        url: of the service.
    """

    def __init__(
        self,
        *,
        key: str,
        key_id: str,
        team_id: str,
        topic: str,
        url: str = PRODUCTION,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key, self._key_id, self._team_id, self._topic, self._url = key, key_id, team_id, topic, url
        self._tls, self._clock = tls, clock
        self._voip = topic.endswith(".voip")
        self._token = (0.0, "")
        self._http: httpx.AsyncClient | None = None

    async def send(self, to: Subscription, ttl: float, wake: Wake = Wake.CALL) -> Outcome:
        """Try once."""
        if self._voip and wake is not Wake.CALL:
            return Outcome(Result.REFUSED, why="a PushKit push must be a call")  # Apple stops waking apps that show none
        alert = {Wake.CALL: "INCOMING_CALL", Wake.SUPPORT: "SUPPORT_ANSWERED"}[wake]
        aps: dict[str, Any] = {} if self._voip else {"alert": {"loc-key": alert}, "sound": "default"}
        headers = {
            "authorization": f"bearer {self._signed()}",
            "apns-topic": self._topic,
            "apns-push-type": "voip" if self._voip else "alert",
            "apns-priority": "10",
            "apns-expiration": str(int(self._clock() + ttl)),
            "apns-collapse-id": wake.value,
        }
        try:
            answer = await self._client().post(
                f"/3/device/{to.endpoint}", json={"aps": aps, **json.loads(wake.payload)}, headers=headers
            )
        except httpx.HTTPError as error:
            return Outcome(Result.AGAIN, why=type(error).__name__)
        if answer.status_code == 200:
            return Outcome(Result.SENT)
        why = _reason(answer)
        if answer.status_code == 410 or why in _GONE:
            return Outcome(Result.GONE)
        outcome = of_status(answer.status_code, answer.headers.get("retry-after"))
        # a 404 here is a path that Apple does not know, not a device
        return Outcome(Result.REFUSED if outcome.result is Result.GONE else outcome.result, outcome.after, why)

    def _signed(self) -> str:
        now = self._clock()
        made, token = self._token
        if not made <= now < made + _TOKEN_KEPT:
            token = jwt.encode({"iss": self._team_id, "iat": int(now)}, self._key, algorithm="ES256", headers={"kid": self._key_id})
            self._token = now, token
        return token

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            tls = self._tls if self._tls is not None else True
            self._http = httpx.AsyncClient(
                base_url=self._url, http1=False, http2=True, verify=tls, timeout=TIMEOUT, trust_env=False
            )
        return self._http

    async def close(self) -> None:
        """Close connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()


def _reason(answer: httpx.Response) -> str:
    """Apple's word for a refusal, or the status."""
    try:
        reason = answer.json()["reason"]
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)
    return reason[:64] if isinstance(reason, str) and reason.isalnum() else str(answer.status_code)
