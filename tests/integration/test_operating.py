"""What is given to operators fits what the processes tell: metrics, rules, dashboard."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.personal_data import suspicious
from tests.redis_servers import free_port

ROOT = Path(__file__).parents[2]
OPERATING = ROOT / "docs" / "operating"
_NAME = re.compile(r"\b(?:kloudtalk|process|python)_[a-z0-9_]+\b")


@dataclass
class Running:
    """A `kloudtalk serve`. ``metrics``: what its key-holder, relay and hub told, by role."""

    url: str
    folder: Path
    ports: dict[str, int]
    metrics: dict[str, str]


def read(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    folder, first = tmp_path_factory.mktemp("serve"), free_port()
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
        ports = {"keyholder": first, "relay": first + 1, "hub": first + 2}
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
        assert json.loads(read(running.ports[role], "/readyz"))["ready"]
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
