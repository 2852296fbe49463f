"""What is given to operators fits what the processes tell: metrics, rules, dashboard, ``kloudtalk doctor``."""

import datetime
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from signaling.doctor import stores
from signaling.doctor.examination import examine
from signaling.doctor.finding import Trouble, shown
from signaling.settings import Settings
from signaling.storage.migrate import migrate, revisions
from signaling.storage.sql import Database
from tests.personal_data import suspicious
from tests.redis_servers import quiet_port

ROOT = Path(__file__).parents[2]
OPERATING = ROOT / "docs" / "operating"
_NAME = re.compile(r"\b(?:kloudtalk|process|python)_[a-z0-9_]+\b")


@dataclass
class Running:
    """A `kloudtalk serve`. ``metrics``: what its key-holder, relay, hub and echo told, by role."""

    url: str
    folder: Path
    ports: dict[str, int]
    metrics: dict[str, str]


def read(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


def is_ready(port: int) -> bool:
    try:
        return bool(json.loads(read(port, "/readyz"))["ready"])
    except urllib.error.HTTPError as error:
        return error.code != 503


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    folder, first = tmp_path_factory.mktemp("serve"), quiet_port(4)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("KLOUDTALK_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "signaling", "serve", "--port", "0", "--data-dir", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment | {"KLOUDTALK_METRICS_PORT": str(first)},
    )
    try:
        assert process.stdout is not None
        said = ""
        while "is ready: open " not in (line := process.stdout.readline()):
            assert line, f"it ended before it was ready: {said}"
            said += line
        ports = {"keyholder": first, "relay": first + 1, "hub": first + 2, "echo": first + 3}
        metrics: dict[str, str] = {}
        for role, port in ports.items():
            while role not in metrics:
                try:
                    metrics[role] = read(port)
                except OSError:
                    assert process.poll() is None
        yield Running(line.split("open ")[1].split()[0], folder, ports, metrics)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def exposed(running: Running) -> set[str]:
    """Every name that a query can use, families without samples yet included."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}
    found: set[str] = set()
    for text in running.metrics.values():
        for family in text_string_to_metric_families(text):
            name = family.name.removesuffix("_info")
            found |= {name + suffix for suffix in suffixes.get(family.type, ("",))} | {s.name for s in family.samples}
    return found


def test_each_process_is_a_target_of_its_own(running):
    for role, text in running.metrics.items():
        assert f'role="{role}"' in text
        assert "kloudtalk_event_loop_lag_seconds_count" in text
        assert suspicious(text) == []
        while role == "echo" and not is_ready(running.ports[role]):
            time.sleep(0.1)  # its account is made when it comes for the first time
        assert is_ready(running.ports[role])
        assert read(running.ports[role], "/healthz") == "ok\n"


def test_rules_name_metrics_that_exist(running):
    named = set(_NAME.findall((OPERATING / "prometheus-rules.yml").read_text()))
    assert len(named) > 15
    assert named - exposed(running) == set()


def test_the_dashboard_names_metrics_that_exist(running):
    dashboard = json.loads((OPERATING / "grafana-dashboard.json").read_text())
    recorded = set(re.findall(r"record: (\S+)", (OPERATING / "prometheus-rules.yml").read_text()))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    expressions += [
        variable["query"]["query"] for variable in dashboard["templating"]["list"] if isinstance(variable["query"], dict)
    ]
    assert len(expressions) > 50
    for expression in expressions:
        used = set(re.findall(r"kloudtalk:[a-z0-9_:]+", expression))
        assert used <= recorded, expression
        assert set(_NAME.findall(re.sub(r"kloudtalk:\S+", "", expression))) <= exposed(running), expression
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_every_metric_is_on_the_dashboard_or_in_a_rule(running):
    shown = (OPERATING / "grafana-dashboard.json").read_text() + (OPERATING / "prometheus-rules.yml").read_text()
    ours = {family.name for text in running.metrics.values() for family in text_string_to_metric_families(text)}
    assert {name for name in ours if name.startswith("kloudtalk_") and name not in shown} == set()


def promtool(*arguments: str, stdin: str | None = None) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (scripts/test installs Debian's prometheus)")
    done = subprocess.run([tool, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_rules_metrics_and_the_dashboard_s_queries(running, tmp_path):
    promtool("check", "rules", str(OPERATING / "prometheus-rules.yml"))
    for text in running.metrics.values():
        promtool("check", "metrics", stdin=text)
    dashboard = json.loads((OPERATING / "grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    rules = [
        {"record": f"panel:{n}", "expr": query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")}
        for n, query in enumerate(queries)
    ]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # JSON is YAML
    promtool("check", "rules", str(file))


def test_alerts_fire_when_they_should_and_not_before():
    promtool("test", "rules", str(ROOT / "tests" / "operating" / "alerts.yml"))


def doctor(*arguments: str, **environment: str) -> tuple[int, dict[str, dict[str, str]], str]:
    """Exit status, findings by name, and all that was printed."""
    done = subprocess.run(
        [sys.executable, "-m", "signaling", "doctor", "--json", *arguments],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("KLOUDTALK_")} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = json.loads(done.stdout)["findings"] if done.stdout.startswith("{") else []
    return done.returncode, {finding["name"]: finding for finding in found}, done.stdout + done.stderr


def test_the_doctor_finds_a_running_service_well_and_says_what_is_not(running, tmp_path):
    here = {"KLOUDTALK_PORT": running.url.rsplit(":", 1)[1], "KLOUDTALK_METRICS_PORT": str(running.ports["keyholder"])}
    status, found, _ = doctor("--data-dir", str(running.folder), **here)
    assert status == 0, found
    for name in ("redis", "address book", "key-holder", "relays", "clock", "database", "port", "metrics port"):
        assert found[name]["grade"] == "ok", found[name]
    assert "does not persist" in found["address book"]["detail"]
    assert "KloudTalk answers there" in found["port"]["detail"]
    assert found["codes"]["grade"] == "warning"  # they are printed on the terminal

    expired, fine = certificate(tmp_path, "expired", -1), certificate(tmp_path, "fine", 90)
    soon, text = certificate(tmp_path, "soon", 5), tmp_path / "text"
    text.write_text("none")
    files = [argument for path in (expired, fine, soon, text, tmp_path / "no") for argument in ("--certificate", str(path))]
    loose = running.folder / "keyholder.secret"
    loose.chmod(0o644)
    status, found, output = doctor(
        "--data-dir", str(running.folder), *files,
        KLOUDTALK_PORT=str(running.ports["hub"]), KLOUDTALK_STUN_URLS="stun:127.0.0.1:9", KLOUDTALK_METRICS_PORT="0",
    )  # fmt: skip
    loose.chmod(0o600)
    assert status == 1
    assert {name: finding["grade"] for name, finding in found.items() if finding["grade"] != "ok"} == {
        str(expired): "failed", str(soon): "warning", str(text): "failed", str(tmp_path / "no"): "failed", "disk": "failed",
        "stun:127.0.0.1:9": "failed", "codes": "warning", "pushes": "warning", "ways for media": "warning",
    }  # fmt: skip
    assert all(finding.get("advice") for finding in found.values() if finding["grade"] != "ok")
    assert loose.read_text().strip() not in output


def certificate(folder: Path, name: str, days: int) -> Path:
    """A certificate that lasts for so many days from now."""
    now, key = datetime.datetime.now(datetime.UTC), ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "talk.example.org")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def test_the_doctor_of_a_folder_that_never_ran_says_how_to_start(tmp_path):
    status, found, _ = doctor(
        "--data-dir", str(tmp_path / "new"), KLOUDTALK_PORT=str(quiet_port()), KLOUDTALK_METRICS_PORT=str(quiet_port())
    )
    assert status == 0, found
    assert "kloudtalk serve" in found["stores"]["advice"]
    assert found["database"]["detail"] == "SQLite; made at the first start"
    assert "free" in found["port"]["detail"]


async def test_the_doctor_names_each_store_that_is_wrong_and_never_its_password(tmp_path, state_url, book_url):
    state, book = state_url, book_url
    listening = socket.create_server(("127.0.0.1", 0))
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/kloudtalk.db")
    await migrate(database, revisions()[0])
    await database.close()
    # the two stores confused, a key-holder that is not there, a program in the hub's place, an old schema, a Redis that refuses
    settings = Settings(
        data_dir=tmp_path, redis_url=state, address_book_redis_url=state, keyholder_url="unix:/nowhere/keyholder",
        keyholder_secret="s" * 32, port=listening.getsockname()[1], metrics_port=0, host="0.0.0.0",
    )  # fmt: skip
    found = {finding.name: finding for finding in (await examine(settings)).findings}
    assert "P07" in found["address book"].detail
    assert found["address book"].grade == found["key-holder"].grade == found["relays"].grade == found["port"].grade == "failed"
    assert (found["database"].grade, "migrate" in found["database"].advice) == ("warning", True)
    assert "trusted_proxies" in found["settings"].advice
    listening.close()
    away = replace(
        settings,
        redis_url="redis://u:secretpass@127.0.0.1:1",
        address_book_redis_url=book,
        database_url="postgresql+asyncpg://u:secretpass@127.0.0.1:1/x",
    )
    diagnosis = await examine(away)
    found = {finding.name: finding for finding in diagnosis.findings}
    assert found["redis"].grade == found["database"].grade == "failed"
    assert found["relays"].grade == found["clock"].grade == "warning"
    assert not diagnosis.well
    assert "secretpass" not in shown(diagnosis)
    assert "2 failed" not in shown(diagnosis).splitlines()[0]
    assert shown(diagnosis).splitlines()[-1].startswith(f"{len(found)} checks: ")


async def test_what_evicts_or_is_copied_is_named(book_redis, book_url, tmp_path):
    settings = Settings(
        data_dir=tmp_path, redis_url=book_url, address_book_redis_url=book_url, keyholder_url="unix:/x", keyholder_secret="s" * 32
    )
    assert "does not persist" in await stores.address_book(settings)
    await book_redis.config_set("maxmemory", "100mb")
    await book_redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(Trouble, match="drops address books"):
            await stores.address_book(settings)
    finally:
        await book_redis.config_set("maxmemory", "0")
        await book_redis.config_set("maxmemory-policy", "noeviction")
