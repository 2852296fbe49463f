"""Whether a STUN or TURN server works: a binding, or a real allocation with real credentials, as a client makes it."""

import asyncio
import os
import socket
import ssl
import time
from typing import Final

from aioice import stun
from aioice.turn import create_turn_endpoint

from turn_config.credentials import make_credential
from turn_config.urls import ServerUrl

_LIFETIME: Final = 120
"""Seconds for which the credential of a probe holds."""


class ProbeError(Exception):
    """It does not work; the message says why, for the operator."""


class _Nothing(asyncio.DatagramProtocol):
    """What comes over an allocation that nobody uses."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        """The allocation is deleted."""
        self.ended.set()


async def probe(url: ServerUrl, secret: str | None, *, timeout: float = 8.0, tls: ssl.SSLContext | None = None) -> str:
    """Ask the server for what clients will ask it for. Answers what it gave. Raises ``ProbeError``.

    Args:
        url: the server.
        secret: shared with it; needed for TURN.
        timeout: seconds.
        tls: for servers with a certificate of a private authority.
    """
    try:
        async with asyncio.timeout(timeout):
            return await (_bind(url) if url.scheme == "stun" else _allocate(url, secret or "", tls))
    except TimeoutError:
        raise ProbeError(f"no answer within {timeout:.0f} s: is the port open, also in the firewall?") from None
    except stun.TransactionTimeout:
        raise ProbeError("no answer: is the port open, also in the firewall?") from None
    except stun.TransactionFailed as failed:
        raise ProbeError(_refusal(failed.response.error_code)) from None
    except ssl.SSLCertVerificationError as error:
        raise ProbeError(f"its certificate is not one that browsers accept: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise ProbeError(f"TLS does not work: {error.reason or 'no handshake'}") from None
    except socket.gaierror:
        raise ProbeError("its name has no address") from None
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else "every address of its name refuses, or the connection was closed"
        raise ProbeError(f"it cannot be reached: {why}") from None


async def _allocate(url: ServerUrl, secret: str, tls: ssl.SSLContext | None) -> str:
    credential = make_credential(secret, user="check", expires_at=int(time.time()) + _LIFETIME)
    transport, nothing = await create_turn_endpoint(
        _Nothing,
        (await _resolve(url), url.port) if url.transport == "udp" else (url.host, url.port),
        credential.username,
        credential.password,
        ssl=(tls or ssl.create_default_context()) if url.scheme == "turns" else None,
        transport=url.transport,
    )
    host, _ = transport.get_extra_info("sockname")
    transport.close()
    await nothing.ended.wait()
    return f"allocates at {host}"


async def _bind(url: ServerUrl) -> str:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[stun.Message] = loop.create_future()

    class Binding(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _address: object) -> None:
            try:
                message = stun.parse_message(data)
            except Exception:  # whatever it was, it was no answer
                return
            if message.transaction_id == request.transaction_id and not answer.done():
                answer.set_result(message)

        def error_received(self, exc: Exception) -> None:
            if not answer.done():
                answer.set_exception(exc)

    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    transport, _ = await loop.create_datagram_endpoint(Binding, remote_addr=(await _resolve(url), url.port))
    try:
        while not answer.done():
            transport.sendto(bytes(request))
            await asyncio.wait([answer], timeout=0.5)
        message = await answer
    finally:
        transport.close()
    if message.message_class is not stun.Class.RESPONSE:
        raise ProbeError(_refusal(message.error_code))
    return "answers"


async def _resolve(url: ServerUrl) -> str:
    found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_DGRAM)
    return str(found[0][4][0])


def _refusal(code: int | None) -> str:
    if code == 401:
        return "it refuses our credential (401): is turn_secret its static-auth-secret, and are both clocks right?"
    if code == 486:
        return "its quota is used up (486)"
    if code == 508:
        return "it has no port left to relay from (508)"
    return f"it refuses (code {code})"
