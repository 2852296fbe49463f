"""The example in the documents runs as it says."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from signaling.client.media import Listener, ToneTrack
from signaling.wire.messages import Stage
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import BOB, rung

ROOT = Path(__file__).parent.parent.parent
ROBOT = "+4915112345600"


async def example(hub, folder, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "docs/examples/place_call.py",
        "--server",
        hub.url,
        "--profile",
        str(folder / "profile.json"),
        *arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def said(process: asyncio.subprocess.Process, text: str) -> str:
    """Read until a text was printed."""
    heard = ""
    async with asyncio.timeout(30):
        while text not in heard:
            more = await process.stdout.read(200)
            assert more, heard
            heard += more.decode()
    return heard


async def test_the_example_registers_calls_and_is_heard(hub, tmp_path):
    async with AsyncExitStack() as stack:
        bob = await register(hub, BOB)
        stack.push_async_callback(bob.close)
        await bob.allow_phonebook()
        await bob.find({ROBOT: "Robot"})
        process = await example(hub, tmp_path, "--phone", ROBOT, "--email", "robot@kloudtalk.dev", "--call", BOB, "--seconds", "60")
        for recipient in (ROBOT, "robot@kloudtalk.dev"):
            await said(process, f"Code sent to {recipient}:")
            process.stdin.write(hub.codes[recipient].encode() + b"\n")
        heard = Listener()
        call = await rung(bob)
        await call.accept(track=ToneTrack(620), heard=heard)
        await heard.hears(440)
        assert call.safety_number() in await said(process, "safety number")
        await call.hangup()
        await call.reach(Stage.ENDED)
        assert "ended" in await said(process, "ended")
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        # the second time it knows who it is
        process = await example(hub, tmp_path, "--call", "+442079460099")
        assert "is not on this server" in await said(process, "server")
        async with asyncio.timeout(20):
            assert await process.wait() == 1
