"""The servers of the lab: the service with or without its relay, and coturn with our own hardened configuration, TLS included."""

import asyncio
import contextlib
import datetime
import os
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.browser.namespace import command
from tests.browser.service import Service, serve
from tests.coturn_files import own_files
from tests.network.lab import HUB, RELAY, TURN, TURN_NAME, Lab
from turn_config.coturn import coturn_configuration

SECRET: Final = "lab" * 14
ORIGIN: Final = f"http://{HUB}:443"
"""The service is at 443, which is all that the strictest firewall of the lab lets through."""
RELAY_PORTS: Final = (8441, 8456)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority for one run, and a certificate of it for the TURN server."""

    authority: Path
    certificate: Path
    key: Path


def make_authority(folder: Path) -> Authority:
    """Write the PEM files."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    until = now + datetime.timedelta(days=2)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the lab's authority")])

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        return made.serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(until)

    ca = build(ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "turn")])
    leaf = build(name, key.public_key()).add_extension(x509.SubjectAlternativeName([x509.DNSName(TURN_NAME)]), critical=False)
    made = Authority(folder / "authority.pem", folder / "turn.pem", folder / "turn.key")
    made.authority.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    made.certificate.write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


@contextlib.asynccontextmanager
async def turn_server(lab: Lab, folder: Path, authority: Authority) -> AsyncIterator[asyncio.subprocess.Process]:
    """coturn at ``TURN``: UDP and TCP at 3478, TLS at 443."""
    program = shutil.which("turnserver")
    if program is None:
        raise RuntimeError("the network tests need Debian's coturn: apt-get install coturn")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "turnserver.conf"
    file.write_text(
        coturn_configuration(
            secret=SECRET,
            realm="lab.example",
            listening=[TURN],
            tls_port=443,
            certificate=str(authority.certificate),
            private_key=str(authority.key),
        )
    )
    for readable in (folder, authority.key):
        os.chmod(readable, 0o755)
    process = await asyncio.create_subprocess_exec(
        *command(lab.namespace("server")),
        program,
        "-c",
        str(file),
        *own_files(folder),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            while not _listens(lab):
                assert process.returncode is None, "coturn ended"
                await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _listens(lab: Lab) -> bool:
    def connect() -> bool:
        try:
            socket.create_connection((TURN, 443), timeout=0.2).close()
        except OSError:
            return False
        return True

    return lab.inside("server", connect)


@contextlib.asynccontextmanager
async def service(lab: Lab, folder: Path, *, turn: bool, relay: bool, **settings: str) -> AsyncIterator[Service]:
    """The service at ``ORIGIN``. Started again with the same folder it knows the same people. ``settings``: more of its environment."""
    more = dict(settings)
    if turn:
        more["KLOUDTALK_STUN_URLS"] = f"stun:{TURN}:3478"
        urls = (f"turn:{TURN}:3478?transport=udp", f"turn:{TURN}:3478?transport=tcp", f"turns:{TURN_NAME}:443?transport=tcp")
        more["KLOUDTALK_TURN_URLS"] = ",".join(urls)
        more["KLOUDTALK_TURN_SECRET"] = SECRET
    async with serve(
        folder,
        namespace=lab.namespace("server"),
        port=443,
        KLOUDTALK_HOST=HUB,
        KLOUDTALK_RELAY="true" if relay else "false",
        KLOUDTALK_RELAY_ADDRESSES=RELAY,
        KLOUDTALK_RELAY_TCP_PORT="443",
        KLOUDTALK_RELAY_PORTS=f"{RELAY_PORTS[0]}-{RELAY_PORTS[1]}",
        **more,
    ) as running:
        yield running


def relay_processes(lab: Lab) -> list[int]:
    """The relays that run in the lab."""
    found = []
    for pid in lab.processes("server"):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"signaling" in words and b"relay" in words:
                found.append(pid)
    return found
