"""How verification codes reach people: console (demo), SMTP, HTTP SMS gateway."""

import ssl
import sys
import time
from email.message import EmailMessage
from typing import Protocol, TextIO

import aiohttp
import aiosmtplib

from signaling.telemetry.counting import HUMAN, Histogram

_TIMEOUT = 15.0
"""Seconds that a mail or SMS service may take."""


class DeliveryError(Exception):
    """The service that should carry the code did not take it. The message names the service's answer, never the receiver."""


class Delivery(Protocol):
    """Hands one code to one address (E.164 or e-mail)."""

    async def send(self, to: str, code: str) -> None:
        """Raises ``DeliveryError``."""

    async def close(self) -> None:
        """Free connections."""


class CountedDelivery:
    """Another delivery, with what becomes of its codes counted."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self.seconds = Histogram(HUMAN)
        """Until the service has taken a code."""
        self.failed = 0
        """Codes that it did not take."""

    async def send(self, to: str, code: str) -> None:
        """As the other's. Raises ``DeliveryError``."""
        began = time.monotonic()
        try:
            await self._delivery.send(to, code)
        except DeliveryError:
            self.failed += 1
            raise
        self.seconds.observe(time.monotonic() - began)

    async def close(self) -> None:
        """Close the other."""
        await self._delivery.close()


def text_of(server_name: str, code: str) -> str:
    """The message that the user reads."""
    return f"{code} is your {server_name} code. It works for 10 minutes. Do not give it to anyone."


class ConsoleDelivery:
    """Prints codes on the server's terminal: for trying the product out, where the operator is the user."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    async def send(self, to: str, code: str) -> None:
        """Print one line: ``code 123456 for +4930…``."""
        print(f"code {code} for {to}", file=self._stream or sys.stdout, flush=True)

    async def close(self) -> None:
        """Nothing to free."""


class SmtpDelivery:
    """Mails codes through a mail server (RFC 5321, submission by RFC 6409)."""

    def __init__(
        self, *, host: str, port: int, username: str | None, password: str | None, sender: str, tls: str, server_name: str
    ) -> None:
        self._options = {
            "hostname": host,
            "port": port,
            "username": username,
            "password": password,
            "use_tls": tls == "tls",
            "start_tls": tls == "starttls",
            "tls_context": ssl.create_default_context() if tls != "none" else None,
            "timeout": _TIMEOUT,
        }
        self._sender = sender
        self._server_name = server_name

    async def send(self, to: str, code: str) -> None:
        """Hand over one mail. Raises ``DeliveryError``."""
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = to
        message["Subject"] = f"{code} is your {self._server_name} code"
        message.set_content(text_of(self._server_name, code))
        try:
            await aiosmtplib.send(message, **self._options)  # type: ignore[arg-type]
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise DeliveryError(type(error).__name__) from error

    async def close(self) -> None:
        """Nothing is kept open between mails."""


class HttpSmsDelivery:
    """Posts ``{"to", "text"}`` as JSON to an SMS gateway; any 2xx answer means taken."""

    def __init__(self, *, url: str, authorization: str | None, server_name: str) -> None:
        self._url = url
        self._headers = {"Authorization": authorization} if authorization else {}
        self._server_name = server_name
        self._session: aiohttp.ClientSession | None = None

    async def send(self, to: str, code: str) -> None:
        """Hand over one text. Raises ``DeliveryError``."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        body = {"to": to, "text": text_of(self._server_name, code)}
        try:
            async with self._session.post(self._url, json=body, headers=self._headers, allow_redirects=False) as response:
                if not 200 <= response.status < 300:
                    raise DeliveryError(f"the SMS gateway answered {response.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise DeliveryError(type(error).__name__) from error

    async def close(self) -> None:
        """Close the connections to the gateway."""
        if self._session is not None:
            await self._session.close()
