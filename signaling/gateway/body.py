"""Reads a request's body: so many bytes at most, and for so long at most."""

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from signaling.wire.errors import ErrorCode, Refused

BODY_TIMEOUT: Final = 60.0
"""Seconds that a body has to arrive, whatever its size: a picture over a slow uplink does, and who dawdles holds no connection for long."""


async def read_body(request: web.Request, most: int) -> bytes:
    """The body. Never more than ``most`` bytes of it are kept in memory.

    Raises ``Refused``: ``too_large``, or ``malformed`` when it did not come in time or the client went away in the middle.
    """
    if request.content_length is not None and request.content_length > most:
        raise Refused(ErrorCode.TOO_LARGE)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.content.iter_chunked(65_536):
                body += chunk
                if len(body) > most:
                    raise Refused(ErrorCode.TOO_LARGE)
    except TimeoutError:
        raise Refused(ErrorCode.MALFORMED, f"the body did not come within {BODY_TIMEOUT:.0f} s") from None
    except (ConnectionError, web.RequestPayloadError, HttpProcessingError):
        raise Refused(ErrorCode.MALFORMED, "the body did not come whole") from None
    return bytes(body)
