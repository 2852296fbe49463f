"""The REST API from the client's side: typed by the same Structs that the hub uses."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from signaling.wire.errors import ErrorCode
from signaling.wire.rest import ENDPOINTS, ErrorBody

_MAX_ANSWER = 64 * 2**20
"""Bytes of one answer that is no file: the largest is an address book."""
_BY_ID = {endpoint.id: endpoint for endpoint in ENDPOINTS}


class ClientError(Exception):
    """What the hub refused, or ``unavailable`` when it could not be reached."""

    def __init__(
        self,
        code: ErrorCode,
        message: str = "",
        *,
        retry_after: float | None = None,
        tries_left: int | None = None,
        devices: list[str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}" if message else str(code))
        self.code = code
        self.retry_after = retry_after
        self.tries_left = tries_left
        self.devices = devices


class RestClient:
    """Asks one hub."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")

    async def ask(
        self,
        endpoint_id: str,
        body: Struct | None = None,
        *,
        token: str | None = None,
        query: Mapping[str, str] | None = None,
        path: Mapping[str, str] | None = None,
    ) -> Any:
        """Run one operation of ``wire/rest.py``; answers its Struct, a file's bytes, or None. Raises ``ClientError``."""
        endpoint = _BY_ID[endpoint_id]
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with self._http.request(
                endpoint.method,
                self._url + endpoint.path.format(**(path or {})),
                data=None if body is None else msgspec.json.encode(body),
                headers=headers,
                params=dict(query or {}),
                timeout=aiohttp.ClientTimeout(total=35),
                allow_redirects=False,  # nobody else is to get the token
            ) as response:
                content = bytearray()
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > _MAX_ANSWER and endpoint.download is None:  # a file may be as long as the user's data are
                        raise ClientError(ErrorCode.UNAVAILABLE, "the server's answer is too long")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClientError(ErrorCode.UNAVAILABLE, "the server cannot be reached") from error
        if response.status >= 300:
            raise _refusal(content)
        if endpoint.download is not None:
            return bytes(content)
        try:
            return None if endpoint.answer is None else msgspec.json.decode(content, type=endpoint.answer)
        except (msgspec.DecodeError, UnicodeError, RecursionError):  # a portal that wants to be clicked through, for example
            raise ClientError(ErrorCode.UNAVAILABLE, "the server's answer cannot be read") from None


def _refusal(content: bytes | bytearray) -> ClientError:
    try:
        body = msgspec.json.decode(content, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ClientError(ErrorCode.UNAVAILABLE, "the server's answer cannot be read")

    def known(value: Any) -> Any:
        return None if value is msgspec.UNSET else value

    return ClientError(
        body.code,
        body.message,
        retry_after=known(body.retry_after),
        tries_left=known(body.tries_left),
        devices=known(body.devices),
    )
