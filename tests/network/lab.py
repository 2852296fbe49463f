"""A private internet made of network namespaces: two homes, each behind a NAT of its own, and servers that both reach.

    alice 10.1.0.2 ── NAT 25.0.0.11 ─┐
          10.3.0.2 ── NAT 25.0.0.13 ─┼─ core 25.0.0.1 ── server 25.0.0.10 (hub), 25.0.0.20 (TURN), 25.0.0.30 (relay)
    bob   10.2.0.2 ── NAT 25.0.0.12 ─┘

Alice's second network is down until she switches to it. Names are unique for each run, and everything is gone at the end, also after
Ctrl-C. The addresses of the "internet" belong to a network that is not on the real one; those for documentation would be refused by our
own TURN configuration, as they should be. Needs root, and Debian's iproute2, nftables and conntrack.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from tests.browser.namespace import enter

Home = Literal["alice", "bob"]
Nat = Literal["cone", "symmetric", "fullcone", "none"]
"""How a NAT maps and filters (RFC 4787). `cone`: endpoint-independent mapping, address-and-port-dependent filtering. `symmetric`: another
port for each destination. `fullcone`: everything that comes for the address goes inside. `none`: routed, no NAT."""
Firewall = Literal["open", "no_udp", "tcp443", "dead"]

HUB = "25.0.0.10"
TURN = "25.0.0.20"
RELAY = "25.0.0.30"
"""An address of its own: TCP 443 of the others is the web server's and coturn's."""
TURN_NAME = "turn.lab.test"
"""A name for it: Firefox refuses ``turns:`` with an address (it can check a certificate for a name only)."""
PUBLIC: dict[Home, str] = {"alice": "25.0.0.11", "bob": "25.0.0.12"}
"""What the world sees of each home."""
SECOND = "25.0.0.13"
"""What the world sees of Alice's second network."""

T = TypeVar("T")

_INSIDE: dict[str, str] = {"alice": "10.1.0", "bob": "10.2.0", "second": "10.3.0"}
_numbers = itertools.count()


class LabError(RuntimeError):
    """The lab cannot be built here; the message says why."""


class Lab:
    """A lab that is up. Make one with ``lab()``."""

    def __init__(self) -> None:
        self.prefix = f"kt{os.getpid()}x{next(_numbers)}-"
        self._impaired: dict[Home, subprocess.Popen[bytes]] = {}

    def namespace(self, name: str) -> str:
        """The full name of ``alice``, ``bob``, ``server``, ``core``, or a NAT: ``nat-alice``, ``nat-bob``, ``nat-second``."""
        return self.prefix + name

    # --- what a test changes ----------------------------------------------------------------------------------------------------

    def nat(self, home: Home, kind: Nat) -> None:
        """Give a home's router another NAT; its mappings are forgotten."""
        names = (home, "second") if home == "alice" else (home,)
        for name in names:
            inside = f"{_INSIDE[name]}.2"
            post = {
                "cone": "oifname wan masquerade",
                "fullcone": "oifname wan masquerade",
                "symmetric": "oifname wan masquerade fully-random",
            }
            pre = f"iifname wan meta l4proto udp dnat to {inside}" if kind == "fullcone" else ""
            # a real router drops what comes for itself: the first check of the other side would make a mapping of the router's own
            # otherwise, collide with the one of the hole punch, and turn every cone into a symmetric NAT
            self._nft(
                f"nat-{name}",
                "nat",
                f"chain pre {{ type nat hook prerouting priority -100; {pre}\n}}\n"
                f"chain post {{ type nat hook postrouting priority 100; {post.get(kind, '')}\n}}\n"
                "chain own { type filter hook input priority 0; iifname wan meta l4proto { udp, tcp } ct state new drop; }\n",
            )
            if kind == "none":
                self._ip("core", "route", "replace", f"{_INSIDE[name]}.0/24", "via", _public(name))
            else:
                self._ip("core", "route", "replace", "blackhole", f"{_INSIDE[name]}.0/24")

    def firewall(self, home: Home, policy: Firewall) -> None:
        """Give a home's router another firewall; connections that it does not allow stop at once."""
        rules = {
            "open": "",
            "no_udp": "meta l4proto udp drop",
            "tcp443": "iifname lan tcp dport 443 accept; iifname wan tcp sport 443 accept; drop",
            "dead": "drop",
        }
        for name in (home, "second") if home == "alice" else (home,):
            self._nft(f"nat-{name}", "firewall", f"chain forward {{ type filter hook forward priority 0; {rules[policy]}\n}}\n")
            self._forget(name)

    def block(self, home: Home, addresses: tuple[str, ...], *, protocol: Literal["udp", "tcp"] | None = None) -> None:
        """Let nothing pass between a home and some addresses; with none, undo it."""
        which = f"meta l4proto {protocol} " if protocol else ""
        rules = "".join(f"{which}ip daddr {address} drop\n{which}ip saddr {address} drop\n" for address in addresses)
        self._nft(f"nat-{home}", "block", f"chain forward {{ type filter hook forward priority 5; {rules}\n}}\n")

    def shut(self, ports: tuple[int, int] | None) -> None:
        """Let nothing reach these ports of the servers (first, last), not even from one of them to another, nor the relay by TCP; None: undo it."""
        rule = (
            ""
            if ports is None
            else f"meta l4proto {{ udp, tcp }} th dport {ports[0]}-{ports[1]} drop\nip daddr {RELAY} tcp dport 443 drop"
        )
        self._nft("server", "shut", f"chain input {{ type filter hook input priority 5; {rule}\n}}\n")

    def loss(self, home: Home, percent: float) -> None:
        """Random loss of UDP at a home's router, both ways."""
        drop = f"meta l4proto udp numgen random mod 1000 < {round(percent * 10)} drop" if percent else ""
        self._nft(f"nat-{home}", "loss", f"chain forward {{ type filter hook forward priority 10; {drop}\n}}\n")

    def impair(self, home: Home, *, delay: float = 0.0, jitter: float = 0.0, loss: float = 0.0) -> None:
        """Put a bad line between a home and its router. ``delay`` and ``jitter`` in seconds each way, ``loss`` as a share of frames."""
        self._ip(f"nat-{home}", "link", "del", "lan")
        program = Path(__file__).with_name("bad_line.py")
        ends = self.namespace(home), self.namespace(f"nat-{home}")
        process = subprocess.Popen(
            [sys.executable, str(program), *ends, str(delay), str(jitter), str(loss)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._impaired[home] = process
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise LabError("the bad line did not come up (is /dev/net/tun there?)")
        self._address(home, home)

    def switch_network(self) -> None:
        """Alice leaves her network for her second one: another address, another NAT."""
        self._ip("alice", "link", "set", "lan", "down")
        self._ip("alice", "link", "set", "lan2", "up")
        self._ip("alice", "route", "replace", "default", "via", f"{_INSIDE['second']}.1")

    def switch_back(self) -> None:
        """Alice is at her first network again."""
        self._ip("alice", "link", "set", "lan2", "down")
        self._ip("alice", "link", "set", "lan", "up")
        self._ip("alice", "route", "replace", "default", "via", f"{_INSIDE['alice']}.1")

    def unplug(self) -> None:
        """Alice has no network at all, and her machine knows it."""
        self._ip("alice", "link", "set", "lan", "down")

    def plug(self) -> None:
        """Alice's cable is in again."""
        self._ip("alice", "link", "set", "lan", "up")
        self._ip("alice", "route", "replace", "default", "via", f"{_INSIDE['alice']}.1")

    def inside(self, name: str, function: Callable[[], T]) -> T:
        """Run something in a namespace: sockets that it makes stay there, wherever they are used later."""
        return enter(self.namespace(name), function)

    def processes(self, name: str) -> list[int]:
        """What runs in a namespace."""
        return _inside(self.namespace(name))

    # --- building -----------------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Make everything. Raises ``LabError``."""
        if os.geteuid() != 0:
            raise LabError("network namespaces need root")
        for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("conntrack", "conntrack")):
            if shutil.which(program) is None:
                raise LabError(f"the network tests need Debian's {package}: apt-get install {package}")
        for name in ("core", "server", "nat-alice", "nat-bob", "nat-second", "alice", "bob"):
            self._ip(None, "netns", "add", self.namespace(name))
            hosts = self._files(name) / "hosts"  # `ip netns exec` puts it over /etc/hosts
            hosts.parent.mkdir(parents=True)
            hosts.write_text(f"127.0.0.1 localhost\n{TURN} {TURN_NAME}\n")
            self._ip(name, "link", "set", "lo", "up")
            self._sysctl(name, "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        self._ip("core", "link", "add", "core", "type", "bridge")
        self._ip("core", "link", "set", "core", "up")
        self._ip("core", "address", "add", "25.0.0.1/24", "dev", "core")
        # the internet swallows private addresses; a TURN server that got "unreachable" for a browser's 10.x candidate would give up
        for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"):
            self._ip("core", "route", "add", "blackhole", network)
        self._sysctl("core", "net.ipv4.ip_forward=1")
        for name in ("server", "nat-alice", "nat-bob", "nat-second"):
            self._cable(name, "wan", "core", name)
            self._ip("core", "link", "set", name, "master", "core")
            for address in (HUB, TURN, RELAY) if name == "server" else (_public(name.removeprefix("nat-")),):
                self._ip(name, "address", "add", f"{address}/24", "dev", "wan")
            self._ip(name, "route", "add", "default", "via", "25.0.0.1")
        for home, network, device in (("alice", "alice", "lan"), ("bob", "bob", "lan"), ("alice", "second", "lan2")):
            router = f"nat-{network}"
            self._cable(home, device, router, "lan")
            self._sysctl(router, "net.ipv4.ip_forward=1")
            self._ip(home, "address", "add", f"{_INSIDE[network]}.2/24", "dev", device)
            self._ip(router, "address", "add", f"{_INSIDE[network]}.1/24", "dev", "lan")
            if device == "lan":
                self._ip(home, "route", "add", "default", "via", f"{_INSIDE[network]}.1")
            else:
                self._ip(home, "link", "set", device, "down")
        for one in ("alice", "bob"):
            self.nat(one, "cone")  # type: ignore[arg-type]

    def destroy(self) -> None:
        """Undo everything; what still runs inside is ended."""
        for process in self._impaired.values():
            process.kill()
            process.wait()
        existing = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout.split()
        mine = [name for name in existing if name.startswith(self.prefix)]
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 3
            while (inside := [pid for name in mine for pid in _inside(name)]) and time.monotonic() < deadline:
                for pid in inside:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                time.sleep(0.05)
        for name in mine:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)

    def _files(self, name: str) -> Path:
        return Path("/etc/netns") / self.namespace(name)

    def _address(self, home: Home, network: str) -> None:
        self._ip(home, "address", "add", f"{_INSIDE[network]}.2/24", "dev", "lan")
        self._ip(f"nat-{home}", "address", "add", f"{_INSIDE[network]}.1/24", "dev", "lan")
        self._ip(home, "link", "set", "lan", "up")
        self._ip(f"nat-{home}", "link", "set", "lan", "up")
        self._ip(home, "route", "replace", "default", "via", f"{_INSIDE[network]}.1")

    def _cable(self, one: str, device: str, other: str, there: str) -> None:
        self._ip(
            None,
            "link",
            "add",
            device,
            "netns",
            self.namespace(one),
            "type",
            "veth",
            "peer",
            "name",
            there,
            "netns",
            self.namespace(other),
        )
        self._ip(one, "link", "set", device, "up")
        self._ip(other, "link", "set", there, "up")

    def _forget(self, name: str) -> None:
        command = ["ip", "netns", "exec", self.namespace(f"nat-{name}"), "conntrack", "-F"]
        subprocess.run(command, check=True, capture_output=True)

    def _nft(self, name: str, table: str, chains: str) -> None:
        text = f"table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n{chains}}}\n"
        command = ["ip", "netns", "exec", self.namespace(name), "nft", "-f", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"nft in {name}: {done.stderr}")
        if table == "nat":
            self._forget(name.removeprefix("nat-"))

    def _ip(self, name: str | None, *words: str) -> None:
        where = [] if name is None else ["-n", self.namespace(name)]
        done = subprocess.run(["ip", *where, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"ip {' '.join(words)}: {done.stderr.strip()}")

    def _sysctl(self, name: str, *settings: str) -> None:
        subprocess.run(["ip", "netns", "exec", self.namespace(name), "sysctl", "-qw", *settings], check=True, capture_output=True)


@contextlib.contextmanager
def lab() -> Iterator[Lab]:
    """A lab; everything of it is gone afterwards. Raises ``LabError`` when it cannot be built."""
    made = Lab()
    try:
        made.build()
        yield made
    finally:
        made.destroy()


def _public(name: str) -> str:
    return {"alice": PUBLIC["alice"], "bob": PUBLIC["bob"], "second": SECOND}[name]


def _inside(namespace: str) -> list[int]:
    found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]
