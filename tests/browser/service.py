"""A real service as an operator starts it: ``kloudtalk serve`` in a process of its own, its address and codes read off its terminal."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.browser.namespace import command

ROOT = Path(__file__).parent.parent.parent


class Service:
    """A running service. ``stop`` and ``start`` run it anew on the same port, with what it kept."""

    def __init__(self, folder: Path, environment: dict[str, str], *, namespace: str | None = None, port: int = 0) -> None:
        self.url = ""
        self.log: list[str] = []
        self._folder, self._environment = folder, {"KLOUDTALK_ECHO": "false"} | environment
        self._port = str(port)
        self._namespace = namespace
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._codes: dict[str, str] = {}
        self._news = asyncio.Condition()

    async def start(self, **environment: str) -> None:
        """Start it, with more settings than before if any are given, and wait until it serves."""
        self._environment |= environment
        self._process = process = await asyncio.create_subprocess_exec(
            *command(self._namespace),
            sys.executable,
            "-m",
            "signaling",
            "serve",
            "--port",
            self._port,
            "--data-dir",
            str(self._folder),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self._environment, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        said = ""
        async with asyncio.timeout(40):
            while True:
                line = (await process.stdout.readline()).decode()
                said += line
                if not line:
                    raise RuntimeError(f"the service ended before it was ready: {said}")
                match = re.search(r"open (http://\S+) in a browser", line)
                if match:
                    break
        self.url = match[1]
        self._port = self.url.rsplit(":", 1)[1].rstrip("/")
        self._reader = asyncio.create_task(self._follow(process.stdout))

    async def stop(self) -> None:
        """End it as an operator does, and see that it ends well."""
        process, reader = self._process, self._reader
        assert process is not None
        assert reader is not None
        assert process.returncode is None, "the service died: " + "".join(self.log)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await process.wait()
            await reader
        assert process.returncode == 0, "".join(self.log)

    async def kill(self) -> None:
        """End it and all of its children at once, as a power cut does."""
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
        if self._reader is not None:
            await self._reader  # the children have let go of the terminal, so they are gone

    async def code(self, recipient: str) -> str:
        """Wait for the code that was sent to a number or an address, and take it."""
        async with asyncio.timeout(15), self._news:
            await self._news.wait_for(lambda: recipient in self._codes)
            return self._codes.pop(recipient)

    async def _follow(self, terminal: asyncio.StreamReader) -> None:
        async for raw in terminal:
            line = raw.decode()
            self.log.append(line)
            match = re.fullmatch(r"code (\d{6}) for (\S+)\s*", line)
            if match:
                async with self._news:
                    self._codes[match[2]] = match[1]
                    self._news.notify_all()


@contextlib.asynccontextmanager
async def serve(folder: Path, *, namespace: str | None = None, port: int = 0, **environment: str) -> AsyncIterator[Service]:
    """Run ``kloudtalk serve`` with its data in ``folder``, in a network namespace if one is named."""
    if not (ROOT / "web/demo/dist/index.html").exists():
        raise RuntimeError("the web demo is not built: scripts/build-web")
    service = Service(folder, environment, namespace=namespace, port=port)
    try:
        await service.start()
        yield service
        await service.stop()
    finally:
        await service.kill()
