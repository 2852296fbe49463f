"""Asks the operators' API: by a token (``KLOUDTALK_ADMIN_TOKEN``), or by the session that ``kloudtalk admin login`` began."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import aiohttp
import msgspec
from msgspec import Struct

import signaling
from signaling.wire.admin.access import CSRF_HEADER, SESSION_COOKIE, SignedInOperator
from signaling.wire.admin.endpoints import ADMIN_ENDPOINTS
from signaling.wire.admin.operations import OPERATIONS_EVENTS
from signaling.wire.errors import ErrorCode
from signaling.wire.rest import ErrorBody

TOKEN_VARIABLE: Final = "KLOUDTALK_ADMIN_TOKEN"  # noqa: S105 - a variable's name
URL_VARIABLE: Final = "KLOUDTALK_ADMIN_URL"
DEFAULT_URL: Final = "http://127.0.0.1:8440"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)
_EVENT: Final = 1 << 20
"""Bytes of one event, about: 200 live calls are some 60 kB."""
_ENDPOINTS: Final = {endpoint.id: endpoint for endpoint in ADMIN_ENDPOINTS}
_HINTS: Final = {
    ErrorCode.UNAUTHENTICATED: f"run `kloudtalk admin login`, or set {TOKEN_VARIABLE}",
    ErrorCode.CSRF_TOKEN_WRONG: "run `kloudtalk admin login` again",
    ErrorCode.FORBIDDEN: "`kloudtalk admin me` says what you may do",
}


class AdminError(Exception):
    """The service said no, or does not answer; the message is for the person at the terminal."""


class SavedSession(Struct):
    """What ``login`` leaves for the commands after it; readable by its owner only."""

    url: str
    cookie: str
    csrf: str
    operator: str


class AdminClient:
    """One service. ``async with``. ``saved``: a session of this service, unless there is a token."""

    def __init__(self, url: str, *, token: str | None = None, saved: SavedSession | None = None) -> None:
        if not re.fullmatch(r"https?://[^/\s]+/?", url):
            raise AdminError("the address of the service is http://HOST:PORT or https://HOST")
        self.url = url.rstrip("/")
        self._token = token
        self.saved = None if token is not None or saved is None or saved.url != self.url else saved

    async def __aenter__(self) -> "AdminClient":
        agent = f"kloudtalk/{signaling.__version__}"
        self._http = aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": agent})
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _frames: TracebackType | None
    ) -> None:
        await self._http.close()

    async def ask(self, operation: str, body: Struct | None = None, query: dict[str, str] | None = None, **path: str) -> Any:
        """One operation: its answer as a Struct, a file's bytes, or None. Raises ``AdminError``."""
        endpoint = _ENDPOINTS[operation]
        headers = {"Content-Type": "application/json"} | self._proof()
        url = self.url + endpoint.path.format(**path)
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with self._http.request(endpoint.method, url, data=data, headers=headers, params=query) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._silent(error) from None
        if response.status >= 400:
            raise AdminError(_said(content, response.status))
        if SESSION_COOKIE in response.cookies:
            self._keep(response.cookies[SESSION_COOKIE].value, content)
        if endpoint.download is not None:
            return content
        try:
            return None if endpoint.answer is None else msgspec.json.decode(content, type=endpoint.answer)
        except msgspec.DecodeError:
            raise AdminError(f"{self.url} is not a KloudTalk service of this version") from None

    async def follow(self, call: str | None) -> AsyncIterator[tuple[str, bytes]]:
        """Live updates, and those of one call: an event's name and its data as JSON, until the service ends them. Raises ``AdminError``."""
        query = {} if call is None else {"call": call}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=60)
        try:
            async with self._http.get(
                self.url + OPERATIONS_EVENTS.path, params=query, headers=self._proof(), timeout=timeout, read_bufsize=_EVENT
            ) as response:
                if response.status >= 400:
                    raise AdminError(_said(await response.read(), response.status))
                name = ""
                async for line in response.content:
                    if line.startswith(b"event: "):
                        name = line.removeprefix(b"event: ").strip().decode()
                    elif line.startswith(b"data: "):
                        yield name, line.removeprefix(b"data: ").strip()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._silent(error) from None

    def _proof(self) -> dict[str, str]:
        """Headers that say who asks."""
        if self._token is not None:
            return {"Authorization": f"Bearer {self._token}"}
        if self.saved is None:
            return {}
        return {"Cookie": f"{SESSION_COOKIE}={self.saved.cookie}", CSRF_HEADER: self.saved.csrf}

    def _silent(self, error: Exception) -> AdminError:
        return AdminError(f"{self.url} does not answer ({type(error).__name__}): is the service running there? See --url")

    def _keep(self, cookie: str, content: bytes) -> None:
        if not cookie:
            self.saved = None
            return
        who = msgspec.json.decode(content, type=SignedInOperator)
        self.saved = SavedSession(self.url, cookie, who.csrf, who.operator)


def _said(content: bytes, status: int) -> str:
    try:
        error = msgspec.json.decode(content, type=ErrorBody)
    except msgspec.DecodeError:
        return f"the service answered with status {status}"
    wait = f" (in {error.retry_after:.0f} s)" if isinstance(error.retry_after, float) else ""
    hint = f": {_HINTS[error.code]}" if error.code in _HINTS else ""
    return f"{error.message}{wait}{hint}"


def session_file() -> Path:
    """Where a session is kept, by the XDG base directory specification."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "kloudtalk" / "admin.json"


def load_session() -> SavedSession | None:
    """The session that ``login`` left, if any."""
    try:
        return msgspec.json.decode(session_file().read_bytes(), type=SavedSession)
    except (OSError, msgspec.DecodeError):
        return None


def save_session(saved: SavedSession | None) -> None:
    """Keep it for the commands to come; None: forget it. Raises ``OSError``."""
    path = session_file()
    path.unlink(missing_ok=True)
    if saved is not None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, msgspec.json.encode(saved))


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read. Raises ``FileExistsError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
