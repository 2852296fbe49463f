"""The lab is what it says: a proof on a NAT that is none proves nothing."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.network.lab import HUB, PUBLIC, SECOND, TURN, Lab, lab

pytestmark = [pytest.mark.network, pytest.mark.xdist_group("lab")]


@pytest.fixture(scope="module")
def built() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture
def network(built: Lab) -> Iterator[Lab]:
    yield built
    for home in ("alice", "bob"):
        built.nat(home, "cone")
        built.firewall(home, "open")
        built.loss(home, 0)
        built.block(home, ())


def udp(network: Lab, name: str, address: str = "0.0.0.0") -> socket.socket:
    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, 0))
        made.settimeout(0.5)
        return made

    return network.inside(name, make)


def seen(sender: socket.socket, receiver: socket.socket, address: str) -> tuple[str, int]:
    """From where a datagram of the sender arrives. Raises ``TimeoutError``."""
    sender.sendto(b"?", (address, receiver.getsockname()[1]))
    return receiver.recvfrom(16)[1]


def test_a_cone_maps_alike_for_everyone_and_a_symmetric_nat_does_not(network: Lab) -> None:
    hub, turn = udp(network, "server", HUB), udp(network, "server", TURN)
    alice = udp(network, "alice")
    at_hub = seen(alice, hub, HUB)
    assert at_hub[0] == PUBLIC["alice"]
    assert seen(alice, turn, TURN) == at_hub
    network.nat("alice", "symmetric")
    alice = udp(network, "alice")
    at_hub = seen(alice, hub, HUB)
    assert at_hub[0] == PUBLIC["alice"]
    assert seen(alice, turn, TURN) != at_hub


def test_two_cones_can_be_punched_and_two_symmetric_nats_cannot(network: Lab) -> None:
    hub = udp(network, "server", HUB)
    for kind, through in (("cone", True), ("symmetric", False)):
        network.nat("alice", kind)  # type: ignore[arg-type]
        network.nat("bob", kind)  # type: ignore[arg-type]
        alice, bob = udp(network, "alice"), udp(network, "bob")
        where = seen(alice, hub, HUB), seen(bob, hub, HUB)
        arrived = []
        for _ in range(3):
            alice.sendto(b"!", where[1])
            bob.sendto(b"!", where[0])
            for side in (alice, bob):
                with contextlib.suppress(TimeoutError):
                    arrived.append(side.recvfrom(16))
        assert bool(arrived) is through, kind


def test_nobody_reaches_a_home_that_did_not_ask(network: Lab) -> None:
    hub, alice = udp(network, "server", HUB), udp(network, "alice")
    port = seen(alice, hub, HUB)[1]
    stranger = udp(network, "server", TURN)
    stranger.sendto(b"!", (PUBLIC["alice"], port))
    with pytest.raises(TimeoutError):
        alice.recvfrom(16)
    network.nat("alice", "fullcone")
    seen(alice, hub, HUB)
    stranger.sendto(b"!", (PUBLIC["alice"], alice.getsockname()[1]))
    assert alice.recvfrom(16)[0] == b"!"


def test_firewalls(network: Lab) -> None:
    def connects(port: int) -> bool:
        listener = network.inside("server", lambda: socket.create_server((HUB, port)))

        def connect() -> bool:
            try:
                socket.create_connection((HUB, port), timeout=0.5).close()
            except OSError:
                return False
            return True

        with listener:
            return network.inside("alice", connect)

    hub, alice = udp(network, "server", HUB), udp(network, "alice")
    for policy, datagrams, web, other in (
        ("open", True, True, True),
        ("no_udp", False, True, True),
        ("tcp443", False, True, False),
        ("dead", False, False, False),
    ):
        network.firewall("alice", policy)  # type: ignore[arg-type]
        passed = True
        try:
            seen(alice, hub, HUB)
        except TimeoutError:
            passed = False
        assert (passed, connects(443), connects(8000)) == (datagrams, web, other), policy


def test_another_network_has_another_address(network: Lab) -> None:
    hub = udp(network, "server", HUB)
    assert seen(udp(network, "alice"), hub, HUB)[0] == PUBLIC["alice"]
    network.switch_network()
    assert seen(udp(network, "alice"), hub, HUB)[0] == SECOND
    network.switch_back()
    assert seen(udp(network, "alice"), hub, HUB)[0] == PUBLIC["alice"]


def test_loss_and_a_bad_line(network: Lab) -> None:
    hub, bob = udp(network, "server", HUB), udp(network, "bob")
    hub.settimeout(0.2)

    def arrive(count: int) -> tuple[int, float]:
        delays = []
        for _ in range(count):
            began = time.monotonic()
            with contextlib.suppress(TimeoutError):
                seen(bob, hub, HUB)
                delays.append(time.monotonic() - began)
        return len(delays), max(delays, default=0.0)

    network.loss("bob", 50)
    assert 2 <= arrive(20)[0] <= 18
    network.loss("bob", 0)
    assert arrive(10)[0] == 10
    network.impair("bob", delay=0.03, jitter=0.03)
    arrived, slowest = arrive(20)
    assert arrived == 20
    assert slowest > 0.04
