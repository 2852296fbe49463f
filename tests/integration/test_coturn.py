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

from tests.coturn_files import own_files
from tests.integration.test_serve import run
from turn_config.coturn import coturn_configuration, denied_peers
from turn_config.credentials import make_credential
from turn_config.probe import ProbeError, probe
from turn_config.urls import parse_url

SECRET = "5" * 40
METADATA = ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254")
"""AWS, Google, Azure, Oracle and others; AWS' containers; Alibaba; Oracle; Azure's own service; AWS and Google in IPv6."""
OUTSIDE = {
    4: ("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
        "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255"),
    6: ("2001:200::", "2001:4860:4860::8888", "2003::1", "2600::1", "2a00::1", "3ffe::1"),
}  # fmt: skip
"""The public internet, most of it right beside what is denied."""


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
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(file), *own_files(folder), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
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
    try:
        transport, received = await create_turn_endpoint(Received, (host, port), name, credential.password)
    except stun.TransactionFailed as refused:
        if refused.response.error_code not in (401, 437):
            raise
        # coturn 4.6 refuses one good credential in a hundred or so; one that is not good, it refuses again
        transport, received = await create_turn_endpoint(Received, (host, port), name, credential.password)
    yield transport, received
    await transport._TurnTransport__inner_protocol.delete()


async def refusal(transport, method: stun.Method, peer: str, **attributes) -> int:
    """Ask to relay to a peer; answers the error code, 0 for none. Nothing is sent to the peer."""
    message = stun.Message(method, stun.Class.REQUEST)
    message.attributes |= attributes | {"XOR-PEER-ADDRESS": (peer, 9)}
    try:
        await transport._TurnTransport__inner_protocol.request_with_retry(message)
    except stun.TransactionFailed as failed:
        return failed.response.error_code
    return 0


async def refusals(transport, peers) -> dict[tuple[str, str], int]:
    """Both ways in which a client says where it wants to send (RFC 8656, sections 10 and 12), for each peer."""
    codes = {}
    for number, peer in enumerate(peers):
        codes[peer, "permission"] = await refusal(transport, stun.Method.CREATE_PERMISSION, peer)
        codes[peer, "channel"] = await refusal(transport, stun.Method.CHANNEL_BIND, peer, **{"CHANNEL-NUMBER": 0x4000 + number})
    return codes


def inside(version: int) -> list[str]:
    """The ends and the middle of every range that is denied, its addresses that end in zeros, and the metadata services of clouds."""
    found = [ends for text in denied_peers() for ends in [tuple(map(ipaddress.ip_address, text.split("-")))]]
    peers = {
        first + (int(last) - int(first)) * part // 2 for first, last in found if first.version == version for part in (0, 1, 2)
    }
    if version == 6:
        peers |= {ipaddress.IPv6Address(int(peer) >> bits << bits) for peer in peers for bits in (8, 16, 24)} - {
            ipaddress.IPv6Address(0)
        }
    peers |= {address for address in map(ipaddress.ip_address, METADATA) if address.version == version}
    return [str(peer) for peer in sorted(peers, key=int)]


@contextlib.asynccontextmanager
async def coturn_of_the_command(folder, listening: str, *more: str):
    """coturn with what the command wrote; gives its port and the secret."""
    port, file = free_port(), folder / "turnserver.conf"
    where = ("--realm", "talk.example", "--listening", listening, "--port", str(port), "--output", str(file))
    status, said = await run("turn-config", *where, *more)
    assert status == 0, said
    async with started(folder, file):
        yield port, re.search(r'turn_secret = "([^"]{32,})"', said)[1]


async def test_a_credential_of_the_hub_relays(tmp_path):
    loop = asyncio.get_running_loop()
    echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    async with coturn(tmp_path, loopback_peers=True) as port, allocation(port) as (transport, received), asyncio.timeout(10):
        transport.sendto(b"a packet of sound", echo.get_extra_info("sockname"))
        assert await received.data.get() == b"a packet of sound"
    echo.close()


async def test_nobody_with_a_good_credential_is_refused_when_many_come_as_soon_as_it_is_up(tmp_path):
    async with coturn(tmp_path) as port, contextlib.AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(allocation(port, user=f"{number:016x}")) for number in range(60)))


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
    async with (
        coturn_of_the_command(tmp_path, "127.0.0.1") as (port, secret),
        allocation(port, secret=secret) as (transport, _),
        asyncio.timeout(60),
    ):
        codes = await refusals(transport, inside(4))
        assert len(codes) > 2 * 3 * 14
        assert {peer: code for peer, code in codes.items() if code != 403} == {}
        assert set((await refusals(transport, OUTSIDE[4])).values()) == {0}


async def test_nobody_relays_tcp(tmp_path, monkeypatch):
    async with coturn_of_the_command(tmp_path, "127.0.0.1") as (port, secret), allocation(port, secret=secret):
        credential = make_credential(secret, user="0123456789abcdef", expires_at=int(time.time()) + 600)
        for wanted in (aioice.turn.UDP_TRANSPORT, aioice.turn.TCP_TRANSPORT):  # TCP (RFC 6062) could reach what has no UDP
            monkeypatch.setattr(aioice.turn, "UDP_TRANSPORT", wanted)
            asking = create_turn_endpoint(Received, ("127.0.0.1", port), credential.username, credential.password, transport="tcp")
            if wanted == aioice.turn.TCP_TRANSPORT:
                with pytest.raises(stun.TransactionFailed) as refused:
                    await asking
                assert refused.value.response.error_code == 442  # RFC 8656, section 7.2: unsupported
            else:
                transport, _ = await asking
                await transport._TurnTransport__inner_protocol.delete()


async def test_nobody_sends_more_than_the_cap(tmp_path):
    """Ten times what an allocation may: some gets through, about the cap; and all of it where the cap is higher."""
    shares = {}
    for cap in (20_000, 2_000_000):
        folder = tmp_path / str(cap)
        folder.mkdir()
        loop = asyncio.get_running_loop()
        sink, arrived = await loop.create_datagram_endpoint(Received, local_addr=("127.0.0.1", 0))
        async with (
            coturn(folder, loopback_peers=True, max_bps=cap) as port,
            allocation(port) as (transport, _),
            asyncio.timeout(20),
        ):
            peer = sink.get_extra_info("sockname")
            transport.sendto(b"first", peer)
            await arrived.data.get()
            began, sent = loop.time(), 0
            while loop.time() - began < 3:
                transport.sendto(bytes(1000), peer)
                sent += 1
                await asyncio.sleep(0.005)
            took = loop.time() - began
            # what is answered after them came after them
            assert await refusal(transport, stun.Method.CREATE_PERMISSION, "127.0.0.1") == 0
        sink.close()
        shares[cap] = arrived.data.qsize() * 1000 / took
        assert sent * 1000 / took > 100_000
    assert 5_000 < shares[20_000] < 40_000
    assert shares[2_000_000] > 95_000


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
    async with (
        coturn_of_the_command(tmp_path, "::1") as (port, secret),
        allocation(port, host="::1", secret=secret) as (transport, _),
        asyncio.timeout(60),
    ):
        assert transport.get_extra_info("sockname")[0] == "::1"
        codes = await refusals(transport, inside(6))
        assert len(codes) > 2 * 3 * 13
        # an IPv4-mapped one is none of the allocation's family to coturn (443), which is as good
        assert {peer: code for peer, code in codes.items() if code not in (403, 443)} == {}
        assert {peer for (peer, _), code in codes.items() if code == 443} <= {
            peer for peer in inside(6) if peer.startswith("::ffff:")
        }
        assert set((await refusals(transport, OUTSIDE[6])).values()) == {0}


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
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in ("turndb", "pid")) == ["turnserver.conf"]
