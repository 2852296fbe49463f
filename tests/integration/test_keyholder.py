"""The key-holder as a real process on a unix socket, and the hub's client of it (P08)."""

import asyncio
import os
import signal
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from signaling.contacts import oprf
from signaling.contacts.discovery import Discovery
from signaling.contacts.keyholder import EvaluateRequest, KeyHolder, load_or_make_key
from signaling.wire import base64url
from signaling.wire.errors import ErrorCode, Refused

RUN = (
    "import asyncio, sys, pathlib; from signaling.contacts.keyholder import run_keyholder; "
    "asyncio.run(run_keyholder(url=sys.argv[1], secret='s3cret', key_file=pathlib.Path(sys.argv[2]), budget=3, refill_per_day=1))"
)


def blinded(number: str = "+4930901820") -> str:
    return base64url.encode(oprf.blind(number.encode(), os.urandom(64))[1])


@pytest.fixture
async def keyholder():
    with tempfile.TemporaryDirectory(prefix="kt-kh-") as name:
        folder = Path(name)
        url = f"unix:{folder / 's'}"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, url, str(folder / "key"))
        client = Discovery(url=url, secret="s3cret")
        async with asyncio.timeout(20):
            while True:
                try:
                    await client.ping()
                    break
                except Refused:
                    await asyncio.sleep(0.02)
        yield process, client, url, folder
        await client.close()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_tokens_are_those_of_the_key_and_the_files_are_the_owners_only(keyholder):
    _, client, _, folder = keyholder
    key = (folder / "key").read_bytes()
    assert await client.token_of("+4930901820") == base64url.encode(oprf.evaluate(key, b"+4930901820"))
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "s").stat().st_mode) & 0o077 == 0


async def test_the_budget_is_per_account_and_says_when_to_come_back(keyholder):
    _, client, _, _ = keyholder
    assert (await client.evaluate("A" * 22, [blinded(), blinded()])).remaining == 1
    with pytest.raises(Refused) as caught:
        await client.evaluate("A" * 22, [blinded(), blinded()])
    assert caught.value.code is ErrorCode.BUDGET_SPENT
    assert 80_000 < caught.value.retry_after <= 86_400
    assert (await client.evaluate("B" * 22, [blinded()])).remaining == 2


async def test_another_secret_and_a_bad_element_are_refused(keyholder):
    _, client, url, _ = keyholder
    other = Discovery(url=url, secret="wrong")
    with pytest.raises(Refused, match="secret") as caught:
        await other.evaluate("A" * 22, [blinded()])
    assert caught.value.code is ErrorCode.UNAVAILABLE
    await other.close()
    with pytest.raises(Refused) as caught:
        await client.evaluate("A" * 22, [base64url.encode(bytes(32))])
    assert caught.value.code is ErrorCode.INVALID


async def test_sigterm_ends_it_cleanly_and_the_client_says_unavailable(keyholder):
    process, client, _, folder = keyholder
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert not (folder / "s").exists()
    with pytest.raises(Refused) as caught:
        await client.token_of("+4930901820")
    assert caught.value.code is ErrorCode.UNAVAILABLE


async def test_the_key_outlives_a_restart_and_an_open_file_is_refused(tmp_path):
    path = tmp_path / "key"
    assert load_or_make_key(path) == load_or_make_key(path)
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod"):
        load_or_make_key(path)


def test_a_bad_element_costs_no_budget(clock):
    holder = KeyHolder(oprf.derive_key(b"k" * 32, b""), budget=2, refill_per_day=86_400, clock=clock)
    with pytest.raises(oprf.InvalidElement):
        holder.evaluate(EvaluateRequest("A" * 22, [blinded(), base64url.encode(bytes(32))]))
    assert holder.evaluate(EvaluateRequest("A" * 22, [blinded(), blinded()])).remaining == 0
    clock.advance(1)
    assert holder.evaluate(EvaluateRequest("A" * 22, [blinded()])).elements
