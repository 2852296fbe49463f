"""What operators' open pages cost a hub: ``python -m bench.pages``. Live calls that do nothing, and none, one or ten pages that follow them.

A page is its stream of live updates (``GET /v1/admin/stream``), read as a browser does. There is no peer.
"""

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import aiohttp
import pyotp

from bench.processes import cpu_seconds, end_on_signals, report, say
from bench.service import acquaint, seed, serving
from bench.soak import Couple, Person, Totals
from signaling.wire.admin.access import SESSION_COOKIE
from signaling.wire.admin.operations import OPERATIONS_EVENTS

_PASSWORD: Final = "a horse, a battery & 3 staples"


async def _session(url: str, folder: Path) -> dict[str, str]:
    """An operator of this service who has signed in: the header that says so."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "signaling", "admin", "create", "ada", "--invite", "--data-dir", str(folder), stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    said, _ = await process.communicate()
    who = {"operator": "ada", "code": said.decode().split()[0]}
    async with aiohttp.ClientSession(url) as http:
        async with http.post("/v1/admin/enrolment", json=who) as answer:
            secret = (await answer.json())["totp_secret"]
        more = {"password": _PASSWORD, "totp_code": pyotp.TOTP(secret).now()}
        async with http.put("/v1/admin/enrolment", json=who | more) as answer:
            answer.raise_for_status()
            return {"Cookie": f"{SESSION_COOKIE}={answer.cookies[SESSION_COOKIE].value}"}


class _Page:
    """One open page; ``bytes``: what it was sent."""

    def __init__(self) -> None:
        self.bytes = 0

    async def follow(self, http: aiohttp.ClientSession, url: str, session: dict[str, str]) -> None:
        async with http.get(url + OPERATIONS_EVENTS.path, headers=session, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            answer.raise_for_status()
            async for some in answer.content.iter_any():
                self.bytes += len(some)


async def measure(folder: Path, calls: int, seconds: float) -> dict[str, Any]:
    """The whole run; the report."""
    data = folder / "data"
    people = await seed(data, 2 * calls)
    pairs = [(people[2 * i], people[2 * i + 1]) for i in range(calls)]
    async with serving(data) as service, aiohttp.ClientSession() as http:
        await acquaint(data, pairs)
        session = await _session(service.url, data)
        say(f"{calls} calls")
        for number, (one, other) in enumerate(pairs):
            persons = Person(one, 2 * number), Person(other, 2 * number + 1)
            for person in persons:
                await person.join(service)
            await Couple(*persons, service, http, Totals()).up()
        found: list[dict[str, Any]] = []
        for pages in (0, 1, 10):
            open_pages = [_Page() for _ in range(pages)]
            tasks = [asyncio.create_task(page.follow(http, service.url, session)) for page in open_pages]
            try:
                await asyncio.sleep(3.0)  # what a page is sent first is not what it costs while it is open
                before, sent = (cpu_seconds([service.hub]), cpu_seconds(service.valkeys)), sum(page.bytes for page in open_pages)
                await asyncio.sleep(seconds)
                after = cpu_seconds([service.hub]), cpu_seconds(service.valkeys)
                if any(task.done() for task in tasks):
                    raise RuntimeError("a page was closed")
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            found.append(
                {
                    "pages": pages,
                    "hub_percent_of_a_core": round(100 * (after[0] - before[0]) / seconds, 2),
                    "valkey_percent_of_a_core": round(100 * (after[1] - before[1]) / seconds, 2),
                    "kilobytes_a_second": round((sum(page.bytes for page in open_pages) - sent) / seconds / 1000, 1),
                }
            )
            say(str(found[-1]))
    return {
        "metric": f"what one open page of an operator costs the hub while {calls} calls go on",
        "ours": round(found[1]["hub_percent_of_a_core"] - found[0]["hub_percent_of_a_core"], 2),
        "peer": None,
        "ratio": None,
        "unit": "percent of a core",
        "runs": found,
    }


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="What operators' open pages cost a hub.")
    parser.add_argument("--calls", type=int, default=200, help="live calls (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each line is measured (default: %(default)s)")
    options = parser.parse_args()
    end_on_signals()
    folder = Path(tempfile.mkdtemp(prefix="kloudtalk-pages-"))
    try:
        report(asyncio.run(measure(folder, options.calls, options.seconds)))
    except (RuntimeError, OSError, aiohttp.ClientError, KeyboardInterrupt) as error:
        say(f"bench.pages: {str(error) or type(error).__name__}")
        return 1
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
