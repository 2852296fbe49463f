"""The machine: room, limits, ports, certificates."""

import asyncio
import datetime
import errno
import os
import resource
import socket
import ssl
import stat
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from cryptography import x509

from media.options import parse_ports, parse_tcp_port
from media.plane import RECEIVE_BUFFER
from signaling.doctor.finding import Trouble, concern
from signaling.settings import Settings
from signaling.telemetry.health import LOW_DISK, free_bytes

_ROOM: Final = 2 << 30
"""Bytes that should be free."""
_FILES: Final = 4_096
"""File descriptors that a process should be allowed: each client takes one."""
_SOON: Final = datetime.timedelta(days=14)
"""Certificates should last so long still."""


async def disk(settings: Settings) -> str:
    """Room where the data folder is, and who may read that."""
    free = free_bytes(settings.data_dir)
    if free < LOW_DISK:
        raise Trouble(
            f"{free >> 20} MiB free for {settings.data_dir}", "free some room now: SQLite and the append-only file stop otherwise"
        )
    if settings.data_dir.exists():
        if not os.access(settings.data_dir, os.W_OK | os.X_OK):
            raise Trouble(f"{settings.data_dir} cannot be written to", "give it to the user that runs the service (chown)")
        loose = [path.name for path in _secrets(settings.data_dir) if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
        if loose:
            raise Trouble(
                f"others may read {', '.join(loose)} in {settings.data_dir}", "chmod 600 them, and ask yourself who has read them"
            )
    if free < _ROOM:
        raise concern(f"{free >> 20} MiB free for {settings.data_dir}", "make room before it is needed: 2 GiB at least")
    return f"{free >> 30} GiB free for {settings.data_dir}"


def _secrets(folder: Path) -> list[Path]:
    return [path for name in ("discovery.key", "keyholder.secret") if (path := folder / name).exists()]


async def files(_settings: Settings) -> str:
    """How many files a process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        raise concern(
            f"a process started as this one may open {soft} files (hard limit {hard}): so many clients at most",
            "raise it: LimitNOFILE=65536 in the systemd unit, ulimits in compose, `ulimit -n 65536` in a shell",
        )
    return "as many as are wanted" if soft == resource.RLIM_INFINITY else f"{soft} may be open at a time"


async def buffers(settings: Settings) -> str:
    """Whether a relay's sockets get the room that they ask for."""
    return _buffers() if settings.relay else "no relay here"


def _buffers() -> str:
    path = Path("/proc/sys/net/core/rmem_max")
    if not path.exists() or os.geteuid() == 0:
        return "enough"
    most = int(path.read_text())
    if most < RECEIVE_BUFFER:
        raise concern(
            f"a relay's sockets get {most >> 10} KiB",
            f"with many calls packets are lost: sysctl -w net.core.rmem_max={RECEIVE_BUFFER}",
        )
    return "enough"


async def port(settings: Settings) -> str:
    """The port for clients: ours, or free."""
    if settings.port == 0:
        return "any free one"
    return await _port(settings.host, settings.port, "port", ours="ok")


async def metrics_port(settings: Settings) -> str:
    """The port for operators: ours, or free."""
    if settings.metrics_port == 0:
        return "none: no metrics"
    if settings.metrics_host not in ("127.0.0.1", "::1", "localhost"):
        await _port(settings.metrics_host, settings.metrics_port, "metrics_port", ours="ok")
        raise concern(
            f"metrics are told on {settings.metrics_host}",
            "fine in a private network; make sure that the internet cannot reach them",
        )
    return await _port(settings.metrics_host, settings.metrics_port, "metrics_port", ours="ok")


async def _port(host: str, number: int, setting: str, *, ours: str) -> str:
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{reached}]" if ":" in reached else reached
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http,
            http.get(f"http://{shown}:{number}/healthz") as answer,
        ):
            if answer.status == 200 and (await answer.text()).strip() == ours:
                return f"{number}: KloudTalk answers there"
    except aiohttp.ClientConnectorError:
        return await asyncio.to_thread(_bindable, host, number, setting)
    except (aiohttp.ClientError, TimeoutError, OSError):
        pass
    raise Trouble(
        f"{number} is used by another program", f"find it with `ss -ltnp 'sport = :{number}'`, or choose another {setting}"
    )


def _bindable(host: str, number: int, setting: str) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except PermissionError:
        raise Trouble(f"{number} is below 1024", f"choose a {setting} above, and put a reverse proxy in front") from None
    except OSError as error:
        why = "is used by another program" if error.errno == errno.EADDRINUSE else "cannot be listened on"
        raise Trouble(f"{host} port {number} {why}", f"choose another address or another {setting}") from None
    return f"{number}: free"


async def relay_ports(settings: Settings) -> str:
    """How many relays of this machine find a port."""
    if not settings.relay:
        return "no relay here"
    first, last = parse_ports(settings.relay_ports)
    free = [number for number in range(first, last + 1) if _udp_free(number)]
    if not free:
        raise concern(f"none of {settings.relay_ports} (UDP) is free", "one is needed per relay on this machine: widen relay_ports")
    return f"{len(free)} of {last - first + 1} UDP ports free; they must be open in the firewall{_tcp_port(settings, free[0])}"


def _tcp_port(settings: Settings, udp: int) -> str:
    ports = parse_tcp_port(settings.relay_tcp_port)
    if ports is None:
        return ""
    number = ports[0] or udp
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", number))
    except PermissionError:
        raise concern(
            f"TCP port {number} is below 1024", "let the relay use it (CAP_NET_BIND_SERVICE), or map it: PORT=443"
        ) from None
    except OSError:
        if settings.relay_addresses:  # it may be free on those
            return ""
        raise concern(f"TCP port {number} is used by another program", "choose another relay_tcp_port, or off") from None
    return f", and TCP port {number}"


def _udp_free(number: int) -> bool:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("0.0.0.0", number))
    except OSError:
        return False
    return True


async def certificate_file(path: Path) -> str:
    """A certificate in a PEM file."""
    return await asyncio.to_thread(_certificate, path)


def _certificate(path: Path) -> str:
    try:
        loaded = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise Trouble(f"{path} cannot be read ({error.strerror})", "does it exist, and may this user read it?") from None
    except ValueError:
        raise Trouble(f"{path} is no certificate in PEM", "name the file with the chain (fullchain.pem)") from None
    return _lasts(loaded.not_valid_after_utc)


async def public_url(url: str) -> str:
    """The service as its users reach it: name, certificate, readiness."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise concern("not https", "browsers give the microphone to secure pages only: put a reverse proxy with TLS in front")
    try:
        _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        raise Trouble(
            f"its certificate is not one that browsers accept: {error.verify_message}", "renew it, and serve its whole chain"
        ) from None
    except socket.gaierror:
        raise Trouble("its name has no address", "set its A and AAAA records") from None
    except OSError as error:
        raise Trouble(
            f"nobody answers ({error.strerror or type(error).__name__})", "is the reverse proxy up and port 443 open?"
        ) from None
    encoded = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    text = _lasts(x509.load_der_x509_certificate(encoded).not_valid_after_utc)
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
        http.get(url.rstrip("/") + "/readyz") as answer,
    ):
        if answer.status != 200:
            raise Trouble(
                f"answers {answer.status} to /readyz",
                "does the proxy reach the hubs? Their /readyz on the metrics address says more",
            )
    return text + "; ready"


def _lasts(until: datetime.datetime) -> str:
    left = until - datetime.datetime.now(datetime.UTC)
    if left <= datetime.timedelta(0):
        raise Trouble(f"the certificate expired on {until:%Y-%m-%d}", "renew it; certbot and Caddy do it by themselves")
    if left < _SOON:
        raise concern(f"the certificate expires on {until:%Y-%m-%d}", "does its renewal work? certbot renew --dry-run")
    return f"the certificate lasts until {until:%Y-%m-%d}"
