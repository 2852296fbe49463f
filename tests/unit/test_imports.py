"""Imports run one way (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FEATURES = ("accounts", "calls", "contacts", "operations", "operators", "plans", "presence", "privacy", "push", "support")
PURE = (
    "calls/machine.py", "calls/trace.py", "calls/policy.py", "calls/pair.py", "gateway/frames.py", "cluster/messages.py", "presence/rules.py", "accounts/rules.py", "accounts/certificates.py", "contacts/oprf.py",
    "gateway/rate.py", "gateway/origin.py", "gateway/admission.py", "limits/rules.py", "limits/script.py", "push/rules.py", "push/encryption.py", "privacy/request_rules.py", "privacy/proof.py", "plans/rules.py",
    "telemetry/counting.py",
    "operators/roles.py", "operators/reasons.py",
)  # fmt: skip
IO = ("aiohttp", "asyncio", "redis", "sqlalchemy", "socket", "time", "random", "secrets", "os", "pathlib", "subprocess")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def test_wire_imports_nothing_of_ours_but_wire():
    for path in modules("signaling/wire"):
        assert [n for n in imports(path) if within(n, "signaling") and not within(n, "signaling.wire")] == [], path
        if path.name != "schema.py":
            assert [n for n in imports(path) if within(n, *IO)] == [], path


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_have_no_io_clock_or_randomness(name):
    path = ROOT / "signaling" / name
    assert [n for n in imports(path) if within(n, *IO)] == []
    # the group that the OPRF computes in is libsodium's: a library that is loaded, and pure from then on
    allowed = ("signaling.wire", "signaling.calls.machine", "signaling.accounts.certificates", "signaling.contacts.ristretto255")
    packages = {name.rpartition(".")[0] for name in allowed}
    assert [n for n in imports(path) if within(n, "signaling") and not within(n, *allowed) and n not in packages] == []


@pytest.mark.parametrize("feature", FEATURES)
def test_features_meet_by_services_never_by_stores(feature):
    others = [f for f in FEATURES if f != feature]
    for path in modules(f"signaling/{feature}"):
        for name in imports(path):
            assert not any(within(name, f"signaling.{o}") and "store" in name for o in others), (path, name)
            assert not any(within(name, f"signaling.{o}.api") for o in FEATURES), (path, name)
            assert not within(name, "signaling.app", "signaling.cli", "signaling.supervisor"), (path, name)


def test_services_do_not_know_the_gateway_but_for_what_a_request_is():
    allowed = ("signaling.gateway.request", "signaling.gateway.admin_request", "signaling.gateway.body", "signaling.gateway.rate")
    for feature in FEATURES:
        for path in modules(f"signaling/{feature}"):
            assert [
                n for n in imports(path) if n != "signaling.gateway" and within(n, "signaling.gateway") and not within(n, *allowed)
            ] == [], path


def test_features_count_and_know_nothing_of_who_reads():
    for folder in (*FEATURES, "gateway", "storage", "cluster"):
        for path in modules(f"signaling/{folder}"):
            found = [n for n in imports(path) if n != "signaling.telemetry" and within(n, "signaling.telemetry")]
            assert [n for n in found if not within(n, "signaling.telemetry.counting", "signaling.telemetry.context")] == [], path


def test_only_app_wires():
    for path in modules("signaling"):
        if path.name not in ("cli.py", "local.py", "app.py"):
            assert not any(within(n, "signaling.app") for n in imports(path)), path


def test_the_hub_does_not_know_its_client_library():
    for path in modules("signaling"):
        if "client" not in path.parts and path.name != "cli.py":  # the command `kloudtalk echo` runs a client
            assert not any(within(n, "signaling.client") for n in imports(path)), path


@pytest.mark.parametrize("package", ["turn_config", "media"])
def test_turn_config_and_the_relay_do_not_know_the_hub(package):
    for path in modules(package):
        assert not any(within(n, "signaling") for n in imports(path)), path


@pytest.mark.parametrize("name", ["ladder.py", "sdp.py"])
def test_the_client_s_pure_modules_have_no_io_clock_or_randomness(name):
    assert [n for n in imports(ROOT / "signaling/client" / name) if within(n, *IO, "signaling", "media", "aiortc")] == []


def test_only_the_echo_s_audio_needs_aiortc():
    for path in modules("media"):
        assert path.name == "echo.py" or not any(within(n, "aiortc", "av", "media.echo") for n in imports(path)), path


@pytest.mark.parametrize("name", ["rtp.py", "quality.py", "gate.py", "options.py", "levels.py"])
def test_the_relay_s_pure_modules_have_no_io_clock_or_randomness(name):
    found = imports(ROOT / "media" / name)
    assert [n for n in found if within(n, *IO)] == []
    assert [n for n in found if within(n, "media") and not within(n, "media.rtp")] == []
