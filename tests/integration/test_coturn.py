"""A real coturn with our configuration: it takes the hub's credentials, and relays to nothing inside."""

import asyncio
import contextlib
import shutil
import socket
import time

import pytest
from aioice import stun
from aioice.turn import create_turn_endpoint

from turn_config.coturn import coturn_configuration
from turn_config.credentials import make_credential

SECRET = "5" * 40


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.asynccontextmanager
async def coturn(folder, **more):
    """A running coturn; gives its port."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed (scripts/test installs it)")
    port = free_port()
    file = folder / "turnserver.conf"
    file.write_text(coturn_configuration(secret=SECRET, realm="talk.example", listening=["127.0.0.1"], port=port, **more))
    files = ("--pidfile", str(folder / "pid"), "--userdb", str(folder / "db"))
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(file), *files, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield port
        assert process.returncode is None
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class Received(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.data: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data, _address) -> None:
        self.data.put_nowait(data)


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data, address) -> None:
        self.transport.sendto(data, address)


@contextlib.asynccontextmanager
async def allocation(port: int, *, lasts: int = 600, secret: str = SECRET):
    credential = make_credential(secret, user="0123456789abcdef", expires_at=int(time.time()) + lasts)
    transport, received = await create_turn_endpoint(Received, ("127.0.0.1", port), credential.username, credential.password)
    yield transport, received
    await transport._TurnTransport__inner_protocol.delete()


async def bind(transport, channel: int, peer: str) -> int:
    """Ask for a channel to a peer; answers the error code, 0 for none. Nothing is sent to the peer."""
    try:
        await transport._TurnTransport__inner_protocol.channel_bind(channel, (peer, 9))
    except stun.TransactionFailed as failed:
        return failed.response.error_code
    return 0


async def test_a_credential_of_the_hub_relays(tmp_path):
    loop = asyncio.get_running_loop()
    echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    async with coturn(tmp_path, loopback_peers=True) as port, allocation(port) as (transport, received), asyncio.timeout(10):
        transport.sendto(b"a packet of sound", echo.get_extra_info("sockname"))
        assert await received.data.get() == b"a packet of sound"
    echo.close()


async def test_an_expired_or_forged_credential_is_refused(tmp_path):
    async with coturn(tmp_path) as port:
        async with allocation(port):
            pass
        for wrong in ({"lasts": -5}, {"secret": "6" * 40}):
            with pytest.raises(stun.TransactionFailed) as refused:
                async with allocation(port, **wrong):
                    pass
            assert refused.value.response.error_code == 401


async def test_nobody_relays_into_the_operator_s_network(tmp_path):
    inside = (
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.5.5",
        "192.168.0.1",
        "224.0.0.1",
        "240.0.0.1",
    )
    async with coturn(tmp_path) as port, allocation(port) as (transport, _):
        codes = {peer: await bind(transport, 0x4001 + number, peer) for number, peer in enumerate(inside)}
        assert codes == dict.fromkeys(inside, 403)
        assert await bind(transport, 0x4100, "8.8.8.8") == 0


async def test_what_coturn_logs_is_nothing(tmp_path):
    async with coturn(tmp_path) as port, allocation(port):
        pass
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in ("db", "pid")) == ["turnserver.conf"]
