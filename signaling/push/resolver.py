"""Names of push services become public addresses only: checked at the moment of connecting, so that no name can change in between."""

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from signaling.push.rules import is_public


class PublicResolver(AbstractResolver):
    """Resolves as usual, and leaves out what is not on the public internet. Raises ``OSError`` when nothing is left."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Addresses of a host."""
        found = await self._inner.resolve(host, port, family)
        public = [one for one in found if is_public(ipaddress.ip_address(one["host"].partition("%")[0]))]
        if not public:
            raise OSError(None, "the name has no public address")
        return public

    async def close(self) -> None:
        """Close what resolves."""
        await self._inner.close()
