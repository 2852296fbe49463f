"""A real coturn with our configuration: it takes the hub's credentials, and relays to nothing inside."""

import asyncio
import contextlib
import datetime
import ipaddress
import re
import shutil
import socket
import ssl
import time
import warnings

import aioice.turn
import pytest
from aioice import stun
from aioice.turn import create_turn_endpoint
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.test_serve import run
from turn_config.coturn import coturn_configuration
from turn_config.credentials import make_credential
from turn_config.probe import ProbeError, probe
from turn_config.urls import parse_url

SECRET = "5" * 40


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.asynccontextmanager
async def coturn(folder, **more):
    """A running coturn; gives its port."""
    port = free_port()
    file = folder / "turnserver.conf"
    options = {"secret": SECRET, "realm": "talk.example", "listening": ["127.0.0.1"], "port": port} | more
    file.write_text(coturn_configuration(**options))
    async with started(folder, file):
        yield port


@contextlib.asynccontextmanager
async def started(folder, file):
    """coturn, with a configuration."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed (scripts/test installs it)")
    files = ("--pidfile", str(folder / "pid"), "--userdb", str(folder / "db"))
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(file), *files, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
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
async def allocation(
    port: int, *, lasts: int = 600, secret: str = SECRET, host: str = "127.0.0.1", username=..., user="0123456789abcdef"
):
    credential = make_credential(secret, user=user, expires_at=int(time.time()) + lasts)
    name = credential.username if username is ... else username
    transport, received = await create_turn_endpoint(Received, (host, port), name, credential.password)
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


async def test_no_credential_and_another_realm_are_refused(tmp_path, monkeypatch):
    async with coturn(tmp_path) as port:
        with pytest.raises(stun.TransactionFailed) as refused:
            async with allocation(port, username=None):
                pass
        assert refused.value.response.error_code == 401
        make_key = aioice.turn.make_integrity_key
        monkeypatch.setattr(
            aioice.turn, "make_integrity_key", lambda name, _realm, password: make_key(name, "other.example", password)
        )
        with pytest.raises(stun.TransactionFailed) as refused:
            async with allocation(port):
                pass
        assert refused.value.response.error_code == 401


async def test_while_a_secret_is_replaced_credentials_of_both_hold(tmp_path):
    async with coturn(tmp_path, secret="7" * 40, previous_secret=SECRET) as port:
        async with allocation(port, secret="7" * 40), allocation(port, secret=SECRET):
            pass
        with pytest.raises(stun.TransactionFailed):
            async with allocation(port, secret="8" * 40):
                pass


async def test_one_credential_has_as_many_allocations_as_its_quota(tmp_path):
    async with coturn(tmp_path, user_quota=2) as port, allocation(port, user="one"), allocation(port, user="one"):
        with pytest.raises(stun.TransactionFailed) as refused:
            async with allocation(port, user="one"):
                pass
        assert refused.value.response.error_code == 486
        async with allocation(port, user="another"):
            pass


async def test_all_together_have_as_many_as_theirs(tmp_path):
    async with coturn(tmp_path, total_quota=2) as port, allocation(port, user="one"), allocation(port, user="two"):
        with pytest.raises(stun.TransactionFailed) as refused:
            async with allocation(port, user="three"):
                pass
        assert refused.value.response.error_code == 486


async def test_nobody_relays_into_the_operator_s_network_by_ipv6(tmp_path, monkeypatch):
    family = (0x0017, "REQUESTED-ADDRESS-FAMILY", stun.pack_unsigned, stun.unpack_unsigned)  # RFC 8656, section 18.6
    monkeypatch.setitem(stun.ATTRIBUTES_BY_NAME, family[1], family)
    request = aioice.turn.TurnClientUdpProtocol.request

    async def asking_for_ipv6(self, message):
        if message.message_method is stun.Method.ALLOCATE:
            message.attributes = {"REQUESTED-ADDRESS-FAMILY": 0x02000000} | message.attributes
        return await request(self, message)

    monkeypatch.setattr(aioice.turn.TurnClientUdpProtocol, "request", asking_for_ipv6)
    inside = (
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:a00:1::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    )
    async with coturn(tmp_path, listening=["::1"]) as port, allocation(port, host="::1") as (transport, _):
        assert transport.get_extra_info("sockname")[0] == "::1"
        codes = {peer: await bind(transport, 0x4001 + number, peer) for number, peer in enumerate(inside)}
        # an IPv4-mapped one is none of the allocation's family to coturn (443), which is as good
        assert {peer: code for peer, code in codes.items() if code not in (403, 443)} == {}
        assert await bind(transport, 0x4100, "2001:4860:4860::8888") == 0


def certificate(folder):
    """A certificate for 127.0.0.1 and its key, and what a client needs to trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "talk.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "c.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "k.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {"certificate": str(folder / "c.pem"), "private_key": str(folder / "k.pem")}, ssl.create_default_context(
        cafile=folder / "c.pem"
    )


async def test_every_rung_of_the_ladder_allocates(tmp_path):
    files, trusting = certificate(tmp_path)
    tls, more = free_port(), free_port()
    async with coturn(tmp_path, tls_port=tls, more_ports=[more], **files) as port:
        for url in (f"turn:127.0.0.1:{port}?transport=udp", f"turn:127.0.0.1:{port}?transport=tcp", f"turns:127.0.0.1:{tls}",
                    f"turns:127.0.0.1:{more}?transport=tcp", f"turn:127.0.0.1:{more}?transport=udp"):  # fmt: skip
            assert await probe(parse_url(url), SECRET, tls=trusting) == "allocates at 127.0.0.1", url
        assert await probe(parse_url(f"stun:127.0.0.1:{port}"), None) == "answers"
        with pytest.raises(ProbeError, match="certificate"):
            await probe(parse_url(f"turns:127.0.0.1:{tls}"), SECRET)


async def test_old_tls_is_not_spoken(tmp_path):
    files, trusting = certificate(tmp_path)
    tls = free_port()
    trusting.maximum_version = ssl.TLSVersion.TLSv1_1
    trusting.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trusting.minimum_version = ssl.TLSVersion.TLSv1
    async with coturn(tmp_path, tls_port=tls, **files) as port, allocation(port):
        # coturn closes the connection, or leaves it to us to give up
        with pytest.raises(ProbeError, match=r"TLS does not work|closed|no answer"):
            await probe(parse_url(f"turns:127.0.0.1:{tls}"), SECRET, tls=trusting, timeout=2)
        trusting.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await probe(parse_url(f"turns:127.0.0.1:{tls}"), SECRET, tls=trusting) == "allocates at 127.0.0.1"


async def test_the_command_s_file_runs_and_check_says_of_each_url_whether_it_works(tmp_path):
    port, dead = free_port(), free_port()
    file = tmp_path / "turnserver.conf"
    status, said = await run(
        "turn-config", "--realm", "127.0.0.1", "--listening", "127.0.0.1", "--port", str(port), "--output", str(file)
    )  # fmt: skip
    assert status == 0
    assert file.stat().st_mode & 0o077 == 0
    assert "allow-loopback-peers" not in file.read_text()
    secret = re.search(r'turn_secret = "([^"]{32,})"', said)[1]
    async with started(tmp_path, file):
        up = [f"stun:127.0.0.1:{port}", f"turn:127.0.0.1:{port}?transport=udp", f"turn:127.0.0.1:{port}?transport=tcp"]
        settings = {"KLOUDTALK_STUN_URLS": up[0], "KLOUDTALK_TURN_URLS": ",".join(up[1:]), "KLOUDTALK_TURN_SECRET": secret}
        status, said = await run("check", "--data-dir", str(tmp_path), **settings)
        assert status == 0, said
        for url in up:
            assert f"ok      {url}: a" in said
        settings |= {"KLOUDTALK_TURN_URLS": f"{up[1]},turn:127.0.0.1:{dead}?transport=tcp", "KLOUDTALK_TURN_SECRET": "9" * 40}
        status, said = await run("check", "--data-dir", str(tmp_path), **settings)
        assert status == 1
        assert f"FAILED  {up[1]}: it refuses our credential (401)" in said
        assert f"FAILED  turn:127.0.0.1:{dead}?transport=tcp: it cannot be reached" in said
        assert "9" * 40 not in said


async def test_what_coturn_logs_is_nothing(tmp_path):
    async with coturn(tmp_path) as port, allocation(port):
        pass
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in ("db", "pid")) == ["turnserver.conf"]
