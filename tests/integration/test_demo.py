"""The README's first command, as a newcomer runs it: from the files alone, with nothing of the tests' environment."""

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

import aiohttp

from tests.integration.test_serve import ROOT, ready


def copy_of_the_project(target: Path) -> None:
    """What git has or would take, as it is now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


async def test_the_demo_comes_up_from_a_copy_with_what_its_own_files_install(tmp_path):
    copy = tmp_path / "-".join(["a folder with a long name"] * 4)  # longer than the path of a unix socket may be
    copy_of_the_project(copy)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KLOUDTALK_") and k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    process = await asyncio.create_subprocess_exec(
        "scripts/demo",
        "--port",
        "0",
        cwd=copy,
        env={**environment, "KLOUDTALK_RELAY_PORTS": "0"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        url = await ready(process, seconds=420)
        async with aiohttp.ClientSession() as http:
            async with http.get(url) as page:
                assert "<title>KloudTalk" in await page.text()
            async with http.get(url + "/operator/") as page:
                assert page.status == 200
            async with http.get(url + "/v1/server") as answer:
                assert (await answer.json())["protocol"] == "kloudtalk.v1"
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
        async with asyncio.timeout(40):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
