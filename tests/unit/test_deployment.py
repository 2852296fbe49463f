"""The files to deploy from name what there is: settings, commands, ports, paths."""

import argparse
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from signaling.cli import parser
from signaling.settings_loader import load_settings, names

ROOT = Path(__file__).parent.parent.parent
OPERATING = ROOT / "docs" / "operating"
UNITS = sorted((OPERATING / "systemd").glob("*.service"))
KUBERNETES = OPERATING / "kubernetes" / "kloudtalk.yaml"
FILES = [ROOT / "Dockerfile", ROOT / "docker-compose.yml", *UNITS, KUBERNETES]


class Strict(yaml.SafeLoader):
    """Two members of one name are an error, as they are to Compose."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if key.value != "<<"]
        assert len(names) == len(set(names)), f"twice: {sorted(name for name in set(names) if names.count(name) > 1)}"
        return super().construct_mapping(node, deep)


def objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(KUBERNETES.read_text()))


def pods() -> dict[str, dict[str, Any]]:
    """Pod specifications, by the name of what makes them."""
    return {made["metadata"]["name"]: made["spec"]["template"]["spec"] for made in objects() if "template" in made.get("spec", {})}


@pytest.mark.parametrize(
    "file", [ROOT / "docker-compose.yml", KUBERNETES, OPERATING / "prometheus.yml"], ids=lambda file: file.name
)
def test_nothing_is_said_twice(file):
    assert list(yaml.load_all(file.read_text(), Strict))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_variable_is_a_setting(file):
    named = set(re.findall(r"\bKLOUDTALK_([A-Z0-9_]+)\b", file.read_text())) - {"CONFIG"}
    assert {name.lower() for name in named} - set(names()) == set()


def test_the_example_environment_has_what_the_compose_file_asks_for_and_no_more():
    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    given = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert given == asked


def test_the_settings_of_each_compose_service_are_valid():
    values = {"DOMAIN": "talk.example.org", "PUBLIC_IP": "192.0.2.1", "POSTGRES_PASSWORD": "p"}
    text = re.sub(r"\$\{([A-Z_]+)(?::-([^}]*))?[^}]*\}", lambda m: values.get(m[1], m[2] if m[2] is not None else "x" * 32),
                  (ROOT / "docker-compose.yml").read_text())  # fmt: skip
    checked = 0
    for service in yaml.safe_load(text)["services"].values():
        environment = {
            name: str(value) for name, value in (service.get("environment") or {}).items() if name.startswith("KLOUDTALK_")
        }
        load_settings(environment)
        checked += bool(environment)
    assert checked >= 4


def test_commands_are_commands():
    known = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)).choices
    for unit in UNITS:
        command = re.search(r"^ExecStart=\S+/kloudtalk (.+)$", unit.read_text(), re.MULTILINE)
        assert command is not None, unit
        parser().parse_args(command[1].replace("%i", "8440").split())
    for pod in pods().values():
        assert pod["containers"][0]["args"][0] in known
    for service in yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values():
        if service["image"].startswith("kloudtalk:"):
            assert service["command"][0] in known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_the_units(unit, tmp_path):
    copy = tmp_path / unit.name.replace("@", "@8440")
    copy.write_text(unit.read_text().replace("/opt/kloudtalk/bin/kloudtalk", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if copy.name in line]
    assert ours == [], done.stderr


def test_kubernetes_objects_fit_together():
    made = objects()
    kinds = {(one["kind"], one["metadata"]["name"]) for one in made}
    assert len(kinds) == len(made)
    for name, pod in pods().items():
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in (container[kind] for kind in ("readinessProbe", "livenessProbe") if kind in container):
                assert probe["httpGet"]["port"] in ports, name
                assert probe["httpGet"]["path"] in ("/readyz", "/healthz")
            for source in container.get("envFrom", []):
                for kind, reference in source.items():
                    assert ({"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind], reference["name"]) in kinds
            volumes = {volume["name"] for volume in pod["volumes"]} | {
                claim["metadata"]["name"]
                for one in made if one["metadata"]["name"] == name
                for claim in one["spec"].get("volumeClaimTemplates", [])
            }  # fmt: skip
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    for one in made:
        if one["kind"] == "Service":
            app = one["spec"]["selector"]["app"]
            ports = {port["name"] for port in itertools.chain.from_iterable(c["ports"] for c in pods()[app]["containers"])}
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports


def test_what_prometheus_reads_are_services_of_the_compose_file():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    scraped = yaml.safe_load((OPERATING / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0]["targets"]
    ours = {name for name, one in services.items() if one["image"].startswith("kloudtalk:") and name != "turn-config"}
    assert {target.partition(":")[0] for target in scraped} == ours
    dashboard = json.loads((OPERATING / "grafana-dashboard.json").read_text())
    assert dashboard["panels"]


def test_only_the_proxy_and_media_can_be_reached_from_outside():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    public = {name: [port for port in one.get("ports", []) if not port.startswith("127.0.0.1:")] for name, one in services.items()}
    assert {name: ports for name, ports in public.items() if ports} == {
        "proxy": ["80:80", "443:443"],
        "relay": ["8441:8441/udp", "8441:8441/tcp"],
    }


def test_every_alert_has_a_checklist():
    rules = yaml.safe_load((OPERATING / "prometheus-rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    headings = re.findall(r"^### (.+)$", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE)
    assert {name for heading in headings for name in heading.split(", ")} >= alerts


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_links_between_documents_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
