"""``kloudtalk serve`` and ``check`` as an operator runs them: real processes, real signals."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from signaling.storage.migrate import revisions
from tests.conftest import redis_client

ROOT = Path(__file__).parent.parent.parent


@contextlib.asynccontextmanager
async def kloudtalk(*arguments: str, **environment: str):
    """A running command; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "signaling",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={k: v for k, v in os.environ.items() if not k.startswith("KLOUDTALK_")} | environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(*arguments: str, **environment: str) -> tuple[int, str]:
    async with kloudtalk(*arguments, **environment) as process:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        return process.returncode, output.decode()


async def ready(process, seconds: float = 40) -> str:
    """The address, once it is printed."""
    async with asyncio.timeout(seconds):
        said = []
        while line := (await process.stdout.readline()).decode():
            if "is ready: open " in line:
                return line.split("open ")[1].split()[0]
            said.append(line)
    raise AssertionError(f"it ended before it was ready: {''.join(said[-20:])}")


def children_of(pid: int) -> dict[int, str]:
    """Pids of a process's children, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_serve_needs_no_configuration_and_a_signal_ends_all_of_it(tmp_path, how):
    async with kloudtalk("serve", "--port", "0", "--data-dir", str(tmp_path / "d")) as process:
        url = await ready(process)
        async with aiohttp.ClientSession() as http, http.get(url + "/v1/server") as answer:
            assert (await answer.json())["protocol"] == "kloudtalk.v1"
        children = children_of(process.pid)
        names = [
            name for name in ("hub", "keyholder", "relay") if any(f"signaling {name}" in command for command in children.values())
        ]
        assert names == ["hub", "keyholder", "relay"]
        assert sum("valkey" in command for command in children.values()) == 2
        assert (tmp_path / "d").stat().st_mode & 0o077 == 0
        assert list((tmp_path / "d" / "address-book").glob("*.rdb")) == []
        process.send_signal(how)
        async with asyncio.timeout(20):
            rest, _ = await process.communicate()
        assert process.returncode == 0
        assert b"stopping" in rest
        assert not any(alive(pid) for pid in children)


@pytest.mark.parametrize(("which", "name"), [("signaling hub", "hub"), ("signaling keyholder", "key-holder"), ("valkey", "valkey")])
async def test_when_a_child_dies_it_says_so_ends_the_others_and_fails(tmp_path, which, name):
    async with kloudtalk("serve", "--port", "0", "--data-dir", str(tmp_path / "d")) as process:
        await ready(process)
        children = children_of(process.pid)
        os.kill(next(pid for pid, command in children.items() if which in command), signal.SIGKILL)
        async with asyncio.timeout(30):
            rest, _ = await process.communicate()
        assert process.returncode == 1
        assert f"{name} died" in rest.decode()
        assert not any(alive(pid) for pid in children)


async def has_relay(url: str) -> bool:
    """Whether a relay has announced itself."""
    redis = redis_client(url)
    found = bool(await redis.hlen("relays"))
    await redis.aclose()
    return found


async def test_a_relay_that_dies_is_started_again_and_calls_go_on_without(tmp_path):
    valkey = f"unix://{tmp_path / 'd' / 'valkey' / 's'}"
    async with kloudtalk("serve", "--port", "0", "--data-dir", str(tmp_path / "d"), KLOUDTALK_RELAY_PORTS="0") as process:
        url = await ready(process)
        first = {pid for pid, command in children_of(process.pid).items() if "signaling relay" in command}
        async with asyncio.timeout(20):
            while not await has_relay(valkey):  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.05)
        os.kill(first.pop(), signal.SIGKILL)
        async with asyncio.timeout(20):
            while b"the relay ended" not in await process.stdout.readline():
                pass
            while not any("signaling relay" in command for command in children_of(process.pid).values()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        async with aiohttp.ClientSession() as http, http.get(url + "/v1/server") as answer:
            assert answer.status == 200
        process.terminate()
        async with asyncio.timeout(20):
            await process.communicate()
        assert process.returncode == 0


async def test_the_echo_answers_once_the_hub_does(tmp_path):
    async with kloudtalk("serve", "--port", "0", "--data-dir", str(tmp_path / "d"), KLOUDTALK_RELAY="false") as process:
        url = await ready(process)
        async with asyncio.timeout(30), aiohttp.ClientSession() as http:
            while True:
                async with http.get(url + "/v1/echo") as answer:
                    if answer.status == 200 and (await answer.json())["online"]:
                        break
                await asyncio.sleep(0.1)
        process.terminate()
        async with asyncio.timeout(20):
            await process.communicate()
        assert process.returncode == 0


async def test_without_a_relay_none_is_started(tmp_path):
    async with kloudtalk(
        "serve", "--port", "0", "--data-dir", str(tmp_path / "d"), KLOUDTALK_RELAY="false", KLOUDTALK_ECHO="false"
    ) as process:
        await ready(process)
        assert not any("signaling relay" in command for command in children_of(process.pid).values())


async def test_when_serve_itself_is_killed_nothing_is_left(tmp_path):
    async with kloudtalk("serve", "--port", "0", "--data-dir", str(tmp_path / "d")) as process:
        await ready(process)
        children = children_of(process.pid)
        process.kill()
        await process.wait()
        async with asyncio.timeout(20):
            while any(alive(pid) for pid in children):  # noqa: ASYNC110 - the kernel tells nobody but the parent
                await asyncio.sleep(0.05)


async def test_two_serves_cannot_share_a_folder_and_data_outlives_a_restart(tmp_path):
    folder = str(tmp_path / "d")
    async with kloudtalk("serve", "--port", "0", "--data-dir", folder) as process:
        await ready(process)
        status, said = await run("serve", "--port", "0", "--data-dir", folder)
        assert status == 1
        assert "another kloudtalk serve" in said
        key = (tmp_path / "d" / "discovery.key").read_bytes()
        process.terminate()
        await process.communicate()
    async with kloudtalk("serve", "--port", "0", "--data-dir", folder) as process:
        await ready(process)
        assert (tmp_path / "d" / "discovery.key").read_bytes() == key


async def test_check_prints_a_line_for_each_thing(tmp_path):
    status, said = await run("check", "--data-dir", str(tmp_path))
    assert status == 0, said
    assert [line.split()[0] for line in said.splitlines()] == ["ok"] * len(said.splitlines())
    for thing in ("settings", "policy", "database", "redis", "address books", "key-holder", "codes", "ice"):
        assert f"ok      {thing}: " in said


async def test_check_names_what_it_cannot_reach(tmp_path):
    status, said = await run(
        "check",
        "--data-dir",
        str(tmp_path),
        KLOUDTALK_REDIS_URL="redis://user:hunter2@127.0.0.1:1/0",
        KLOUDTALK_DATABASE_URL="postgresql+asyncpg://user:hunter2@127.0.0.1:1/x",
        KLOUDTALK_POLICY_VERSION="1999-1",
    )
    assert status == 1
    assert [line.split()[1] for line in said.splitlines() if line.startswith("FAILED")] == ["policy:", "database:", "redis:"]
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"KLOUDTALK_PORT": "many"}, "port"),
        ({"KLOUDTALK_PORT": "70000"}, "port"),
        ({"KLOUDTALK_NONSENSE": "1"}, "KLOUDTALK_NONSENSE"),
        ({"KLOUDTALK_EMAIL_DELIVERY": "pigeon"}, "email_delivery"),
        ({"KLOUDTALK_EMAIL_DELIVERY": "smtp"}, "smtp_host"),
        ({"KLOUDTALK_TURN_URLS": "turn:x"}, "turn_secret"),
        ({"KLOUDTALK_TURN_URLS": "turn:x", "KLOUDTALK_TURN_SECRET": "short"}, "turn_secret"),
        ({"KLOUDTALK_TURN_URLS": "turns:x?transport=udp"}, "turn_urls"),
        ({"KLOUDTALK_STUN_URLS": "stun:x:99999"}, "stun_urls"),
        ({"KLOUDTALK_STUN_URLS": "eu=stun:x", "KLOUDTALK_TURN_REGION": "us"}, "turn_region"),
        ({"KLOUDTALK_STUN_URLS": "eu=stun:x", "KLOUDTALK_TURN_REGION": "Eu"}, "turn_region"),
        ({"KLOUDTALK_ORIGINS": "example.org"}, "origins"),
        ({"KLOUDTALK_RELAY_ADDRESSES": "talk.example"}, "relay_addresses"),
        ({"KLOUDTALK_RELAY_ADDRESSES": "0.0.0.0"}, "relay_addresses"),
        ({"KLOUDTALK_RELAY_PORTS": "9000-8000"}, "relay_ports"),
        ({"KLOUDTALK_RELAY_PORTS": "many"}, "relay_ports"),
        ({"KLOUDTALK_RELAY_TCP_PORT": "70000"}, "relay_tcp_port"),
        ({"KLOUDTALK_RELAY_TCP_PORT": "on"}, "relay_tcp_port"),
        ({"KLOUDTALK_RELAY_CAPACITY": "0"}, "relay_capacity"),
        ({"KLOUDTALK_CONFIG": "/nowhere.toml"}, "/nowhere.toml"),
    ],
)
async def test_a_wrong_setting_is_named(environment, named, tmp_path):
    status, said = await run("serve", "--data-dir", str(tmp_path), **environment)
    assert status == 2
    assert said.startswith("kloudtalk: ")
    assert named in said
    assert "Traceback" not in said


async def test_it_does_not_start_with_a_policy_of_another_version(tmp_path):
    status, said = await run("serve", "--port", "0", "--data-dir", str(tmp_path / "d"), KLOUDTALK_POLICY_VERSION="1999-1")
    assert status == 1
    assert "policy_version and the policy's text belong together" in said
    assert "Traceback" not in said
    assert "is ready" not in said


async def test_settings_come_from_a_file_and_the_environment_wins(tmp_path):
    file = tmp_path / "kloudtalk.toml"
    file.write_text('server_name = "From the file"\nport = 1\n')
    folder = str(tmp_path / "d")
    async with (
        kloudtalk("serve", "--config", str(file), "--data-dir", folder, KLOUDTALK_PORT="0") as process,
        aiohttp.ClientSession() as http,
        http.get(await ready(process) + "/v1/server") as answer,
    ):
        assert (await answer.json())["name"] == "From the file"


async def test_help_reads_well():
    status, said = await run("serve", "--help")
    assert status == 0
    assert "Needs no configuration" in " ".join(said.split())
    assert "--data-dir" in said


async def test_migrate_brings_the_schema_back_and_forward_and_refuses_what_it_does_not_know(tmp_path):
    assert await run("migrate", KLOUDTALK_DATA_DIR=str(tmp_path)) == (0, f"the database is at revision {revisions()[-1]}\n")
    code, output = await run("migrate", "--to", "0001", KLOUDTALK_DATA_DIR=str(tmp_path))
    assert (code, output) == (0, "the database is at revision 0001\n")
    code, output = await run("migrate", "--to", "9999", KLOUDTALK_DATA_DIR=str(tmp_path))
    assert code == 1
    assert "there is no revision 9999" in output
    code, output = await run("migrate", KLOUDTALK_DATABASE_URL="postgresql+asyncpg://kloudtalk:secret@127.0.0.1:1/none")
    assert code == 1
    assert "secret" not in output


async def test_a_hub_that_is_drained_is_started_again_while_the_other_serves(tmp_path):
    async with kloudtalk("serve", "--workers", "2", "--port", "0", "--data-dir", str(tmp_path / "data")) as process:
        await ready(process)

        def hubs() -> set[int]:
            return {pid for pid, line in children_of(process.pid).items() if "signaling hub" in line}

        first = hubs()
        assert len(first) == 2
        os.kill(min(first), signal.SIGTERM)
        async with asyncio.timeout(40):
            while len(hubs() - {min(first)}) != 2:  # noqa: ASYNC110 - processes tell nobody
                await asyncio.sleep(0.05)
        assert max(first) in hubs()
        assert process.returncode is None
