"""A real service as an operator starts it: ``kloudtalk serve`` in a process of its own, its address and codes read off its terminal."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


class Service:
    """A running service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.log: list[str] = []
        self._codes: dict[str, str] = {}
        self._news = asyncio.Condition()

    async def read(self, line: str) -> None:
        """Take one line of the terminal."""
        self.log.append(line)
        match = re.fullmatch(r"code (\d{6}) for (\S+)\s*", line)
        if match:
            async with self._news:
                self._codes[match[2]] = match[1]
                self._news.notify_all()

    async def code(self, recipient: str) -> str:
        """Wait for the code that was sent to a number or an address, and take it."""
        async with asyncio.timeout(15), self._news:
            await self._news.wait_for(lambda: recipient in self._codes)
            return self._codes.pop(recipient)


@contextlib.asynccontextmanager
async def serve(folder: Path, **environment: str) -> AsyncIterator[Service]:
    """Run ``kloudtalk serve`` with its data in ``folder``."""
    if not (ROOT / "web/demo/dist/index.html").exists():
        raise RuntimeError("the web demo is not built: scripts/build-web")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "signaling",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(folder),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        service: Service | None = None
        said = ""
        async with asyncio.timeout(40):
            while service is None:
                line = (await process.stdout.readline()).decode()
                said += line
                if not line:
                    raise RuntimeError(f"the service ended before it was ready: {said}")
                match = re.search(r"open (http://\S+) in a browser", line)
                if match:
                    service = Service(match[1])

        async def follow(running: Service) -> None:
            assert process.stdout is not None
            async for line in process.stdout:
                await running.read(line.decode())

        reader = asyncio.create_task(follow(service))
        yield service
        assert process.returncode is None, "the service died: " + "".join(service.log)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await process.wait()
            await reader
        assert process.returncode == 0, "".join(service.log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
