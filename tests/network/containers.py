"""Runs a compose file without a container engine: each service in namespaces of its own, from this machine's files and Debian's packages.

What is the same as with an engine: command, environment, user, mounts, read-only root, names and addresses on a private network, the order
of ``depends_on``, the health checks, a clean end by SIGTERM. What is not: the images. KloudTalk's is stood in for by this checkout, with the
environment, user and entry point that the ``Dockerfile`` gives it; those of others by the same programs from Debian. Needs root.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
_numbers = itertools.count()
_START = 60.0
_STOP = 20.0


@dataclass(frozen=True)
class Image:
    """What stands in for an image: what its configuration sets, and where its programs and files are on this machine."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    binds: dict[str, Path] = field(default_factory=dict)
    """Files of the image: path in the container, path here."""
    prepare: tuple[str, ...] = ()
    """What the image's entry point does before the command, as the image's user."""


def from_dockerfile(text: str, copied: dict[str, Path]) -> Image:
    """What the last stage of a ``Dockerfile`` says. ``copied``: where this machine has what it copies, by source path."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    user = "0:0"
    binds: dict[str, Path] = {}
    for line in text[text.rindex("\nFROM ") :].replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word == "ENV":
            name, _, value = rest.partition("=")
            environment[name] = value
        elif word == "USER":
            user = rest
        elif word == "ENTRYPOINT":
            entrypoint = tuple(json.loads(rest))
        elif word == "CMD":
            command = tuple(json.loads(rest))
        elif word == "COPY":
            source, target = rest.split()[-2:]
            binds[target] = copied[source]
    return Image(entrypoint, command, environment, user, binds)


class ComposeError(RuntimeError):
    """A service did not start, or did not become healthy; the message has what it said."""


class Project:
    """The services of a compose file (as ``docker-compose config`` resolves it), started in the order that it asks for."""

    def __init__(
        self, services: dict[str, Any], images: dict[str, Image], folder: Path, *, path: str, names: dict[str, str]
    ) -> None:
        """``images``: by the name before the colon. ``path``: further folders for programs, before the image's own PATH. ``names``: what
        else services are known as, by name.
        """
        self._services, self._images, self._folder, self._path, self._names = services, images, folder, path, names
        self._prefix = f"ktc{os.getpid()}x{next(_numbers)}-"
        self._addresses: dict[str, str] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    # --- networks ---------------------------------------------------------------------------------------------------------------

    def namespace(self, service: str) -> str:
        """The network namespace of a service; those with ``network_mode: host`` share one, the machine's."""
        return self._prefix + ("host" if self._services[service].get("network_mode") == "host" else service)

    def address(self, service: str) -> str:
        """Its address on the private network."""
        return self._addresses[service]

    def build(self) -> None:
        """Make the networks: a bridge, and on it each service and the machine itself."""
        _ip("netns", "add", self._prefix + "bridge")
        _ip("-n", self._prefix + "bridge", "link", "add", "br0", "type", "bridge")
        _ip("-n", self._prefix + "bridge", "link", "set", "br0", "up")
        self._addresses["host"] = "172.28.0.1"
        free = (f"172.28.0.{number}" for number in range(101, 250))
        for name, service in self._services.items():
            if service.get("network_mode") != "host":
                wanted = (service.get("networks") or {}).get("default") or {}
                self._addresses[name] = wanted.get("ipv4_address") or next(free)
        for number, (name, address) in enumerate(self._addresses.items()):
            space = self._prefix + name
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", f"v{number}", "netns", self._prefix + "bridge")
            _ip("-n", self._prefix + "bridge", "link", "set", f"v{number}", "master", "br0", "up")
            _ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")

    # --- services ---------------------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Start all services. Raises ``ComposeError``."""
        waiting = dict(self._services)
        while waiting:
            ready = [name for name in waiting if all(need not in waiting for need in self._needs(name))]
            if not ready:
                raise ComposeError(f"services wait for each other: {', '.join(waiting)}")
            for name in ready:
                for need, condition in self._needs(name).items():
                    self._await(need, condition)
                self._start(name)
                del waiting[name]
        for name, service in self._services.items():
            if "healthcheck" in service:
                self._await(name, "service_healthy")

    def _needs(self, name: str) -> dict[str, str]:
        needs = self._services[name].get("depends_on") or {}
        return {need: how["condition"] for need, how in needs.items() if need in self._services}

    def _image(self, name: str) -> Image:
        return self._images[self._services[name]["image"].partition(":")[0]]

    def _start(self, name: str) -> None:
        service, image = self._services[name], self._image(name)
        command = [*image.entrypoint, *(service.get("command") or image.command)]
        prepared = not image.prepare or (self._folder / f"{name}.prepared").exists()
        if not prepared:
            done = self._in_container(name, list(image.prepare))
            if done.wait(_START):
                raise ComposeError(f"{name} could not be prepared: {self.log(name)}")
            (self._folder / f"{name}.prepared").touch()
        self._running[name] = self._in_container(name, command)

    def _in_container(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a service, in a container of its own."""
        service, image = self._services[name], self._image(name)
        mounts: list[tuple[str, str, str]] = [("bind-ro", str(source), target) for target, source in image.binds.items()]
        for volume in service.get("volumes") or ():
            source, target, *options = volume.split(":")
            if not source.startswith("/"):
                source = str(self._folder / "volumes" / source)
                Path(source).mkdir(parents=True, exist_ok=True)
                os.chown(source, *(int(part) for part in self._user(name).split(":")))
            mounts.append(("bind-ro" if "ro" in options else "bind", source, target))
        mounts += [("tmpfs", "", target) for target in service.get("tmpfs") or ()]
        hosts = [f"{address} {host}" for host, address in self._addresses.items() if host != "host"]
        hosts += [f"{self._addresses[service]} {host}" for host, service in self._names.items()]
        plan = {
            "base": str(self._folder / f"{name}.{next(_numbers)}"),
            "readable": [str(ROOT), str((ROOT / ".venv" / "bin" / "python").resolve())],
            "mounts": mounts,
            "hosts": "\n".join(["127.0.0.1 localhost", *hosts, ""]),
            "read_only": bool(service.get("read_only")),
            "user": self._user(name),
            "environment": self._environment(name),
            "command": command,
        }
        with self.log_file(name).open("ab") as file:
            return subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{self.namespace(name)}", "--"),
                    *("unshare", "--mount", "--propagation", "private", "--"),
                    *(sys.executable, "-I", str(Path(__file__).with_name("container.py")), json.dumps(plan)),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def _user(self, name: str) -> str:
        return str(self._services[name].get("user") or self._image(name).user)

    def _environment(self, name: str) -> dict[str, str]:
        environment = {"HOME": "/tmp", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"} | self._image(name).environment
        environment |= {key: str(value) for key, value in (self._services[name].get("environment") or {}).items()}
        environment["PATH"] = f"{self._path}:{environment['PATH']}"
        return environment

    def _beside(self, name: str, command: tuple[str, ...]) -> list[str]:
        """A command in the container of a service that runs, as its user and with its environment (``docker compose exec``)."""
        user, group = self._user(name).split(":")
        return [
            *("nsenter", "--target", str(self._running[name].pid), "--mount", "--net", "--root", "--wd=/", "--"),
            *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--"),
            *("env", "-i", *(f"{key}={value}" for key, value in self._environment(name).items()), *command),
        ]

    def _await(self, name: str, condition: str) -> None:
        process = self._running[name]
        deadline = time.monotonic() + _START
        while True:
            if condition == "service_completed_successfully":
                if process.poll() == 0:
                    return
            elif condition == "service_started" or (process.poll() is None and self.healthy(name)):
                return
            if time.monotonic() > deadline or (process.poll() not in (None, 0)):
                raise ComposeError(f"{name} is not {condition} (status {process.poll()}): {self.log(name)}")
            time.sleep(0.1)

    def healthy(self, name: str) -> bool:
        """Run its health check."""
        test = self._services[name]["healthcheck"]["test"]
        assert test[0] == "CMD", test
        return self.run(name, *test[1:])[0] == 0

    def run(self, name: str, *command: str) -> tuple[int, str]:
        """Run a command beside a service, in its container: status and output."""
        done = subprocess.run(
            self._beside(name, command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return done.returncode, done.stdout.decode(errors="replace")

    @contextlib.contextmanager
    def talking(self, name: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command beside a service, in its container, with pipes to and from it."""
        with (
            self.log_file(name, "err").open("ab") as errors,
            subprocess.Popen(self._beside(name, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def volume(self, name: str) -> Path:
        """Where the files of a named volume are."""
        return self._folder / "volumes" / name

    def stop(self, name: str) -> int:
        """SIGTERM, and its exit status."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ComposeError(f"{name} does not end on SIGTERM: {self.log(name)}") from None

    def start(self, name: str) -> None:
        """Start one again, and wait until it is healthy."""
        self._start(name)
        if "healthcheck" in self._services[name]:
            self._await(name, "service_healthy")

    def log_file(self, name: str, kind: str = "log") -> Path:
        """Where it is written what it says."""
        return self._folder / f"{name}.{kind}"

    def log(self, name: str, kind: str = "log") -> str:
        """The end of what it has said."""
        return self.log_file(name, kind).read_text(errors="replace")[-4000:]

    def down(self) -> None:
        """End everything that runs, and take the networks away."""
        for process in self._running.values():
            process.kill()
            process.wait()
        for name in ["bridge", *self._addresses]:
            subprocess.run(["ip", "netns", "delete", self._prefix + name], check=False, stderr=subprocess.DEVNULL)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def resolved(file: Path, environment: Path) -> dict[str, Any]:
    """The compose file, validated against the compose specification and with its variables filled in, as ``docker-compose config`` gives it.

    Raises ``ComposeError`` with what is wrong with it.
    """
    import yaml

    command = ["docker-compose", "--file", str(file), "--env-file", str(environment), "config"]
    clean = {"PATH": os.environ["PATH"], "HOME": "/"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean, cwd=file.parent)
    if done.returncode:
        raise ComposeError(done.stderr)
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


@contextlib.contextmanager
def project(
    services: dict[str, Any], images: dict[str, Image], folder: Path, *, path: str, names: dict[str, str]
) -> Iterator[Project]:
    """A project that is up; all of it is gone at the end."""
    if os.geteuid() or shutil.which("unshare") is None:
        raise ComposeError("namespaces need root")
    made = Project(services, images, folder, path=path, names=names)
    try:
        made.build()
        made.up()
        yield made
    finally:
        made.down()
