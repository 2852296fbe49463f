"""Serves the built pages, the demo at ``/`` and the operators' at ``/operator/``, with a strict Content-Security-Policy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""On every page: nothing from other hosts, nothing inline, no framing, the microphone for this page only."""

OPERATOR_HEADERS: Final = HEADERS | {"Permissions-Policy": "microphone=(), camera=(), geolocation=()"}
"""On the operators' page."""

_NOT_BUILT: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>KloudTalk</title>"
    "<p>The server runs. The page is not built: <code>cd web &amp;&amp; npm ci &amp;&amp; npm run build</code>."
)


class Pages:
    """Static files of one folder, read once: a page is a handful of files. ``prefix``: where it is served."""

    def __init__(self, root: Path | None, *, prefix: str = "/", headers: Mapping[str, str] = HEADERS) -> None:
        self._prefix = prefix
        self._headers = headers
        self._files: dict[str, tuple[bytes, str]] = {}
        if root is not None and (root / "index.html").is_file():
            for path in sorted(root.rglob("*")):
                if path.is_file():
                    name = path.relative_to(root).as_posix()
                    self._files[name] = (path.read_bytes(), _TYPES.get(path.suffix, "application/octet-stream"))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any path below the prefix: the file, or the page for paths that are views of it."""
        name = request.path.removeprefix(self._prefix).lstrip("/")
        if not self._files:
            return web.Response(text=_NOT_BUILT, content_type="text/html", headers=self._headers)
        found = self._files.get(name)
        if found is None:
            if "." in name.rpartition("/")[2]:
                return web.Response(status=404, text="not found", headers=self._headers)
            found = self._files["index.html"]
            name = "index.html"
        body, content_type = found
        hashed = name.startswith("assets/")  # vite puts a hash of the content into these names
        cache = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return web.Response(body=body, headers={**self._headers, "Content-Type": content_type, "Cache-Control": cache})


async def to_operator_page(_request: web.Request) -> web.StreamResponse:
    """``/operator`` is ``/operator/``."""
    raise web.HTTPFound("/operator/")


_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
