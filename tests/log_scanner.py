"""Everything that any test has any hub, relay, key-holder or client log is looked at for personal data (P17), at debug level.

In the test's own process a handler takes each record as the product would write it; children keep what they say on standard error in files
(``child_logs/sitecustomize.py``). A test during which something was found fails with the line.
"""

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from signaling.telemetry.logs import formatter
from tests.personal_data import suspicious

_CHILD = Path(__file__).parent / "child_logs"
_IDS = ("call", "request", "time")
"""Keys of a line whose values are no personal data: a call's random name, a request's, the time."""

_MEANT = 'turn_secret = "'
"""How the line begins in which ``kloudtalk turn-config`` hands a new secret to whoever called it: no log."""


def findings(line: str) -> list[str]:
    """What looks like personal data in one line of a log."""
    if line.startswith(_MEANT) or not any(character.isdigit() or character == "@" for character in line):
        return []
    if line.startswith("{"):
        try:
            fields = json.loads(line)
        except ValueError:
            return suspicious(line)
        return suspicious(json.dumps({key: value for key, value in fields.items() if key not in _IDS}, ensure_ascii=False))
    return suspicious(line)


class LogScanner(logging.Handler):
    """Looks at records when they are made, and at children's files when asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.setFormatter(formatter("test", text=False))
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._found: list[str] = []
        self._looked = 0

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self._look(line)

    def _look(self, line: str) -> None:
        self._looked += 1
        found = findings(line)
        if found:
            self._found.append(f"{', '.join(found)}\n  in: {line}")

    def take(self) -> list[str]:
        """What was found since the last time."""
        for entry in os.scandir(self._folder):
            path = Path(entry.path)
            begin = self._read.get(path, 0)
            if entry.stat().st_size > begin:
                with path.open("rb") as file:
                    file.seek(begin)
                    data = file.read()
                whole = data.rfind(b"\n") + 1  # the rest of a line comes with the next look
                self._read[path] = begin + whole
                for line in data[:whole].decode(errors="replace").splitlines():
                    self._look(line)
        found, self._found = self._found, []
        return found


_scanner: LogScanner | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Begin, in each process that runs tests."""
    global _scanner
    folder = Path(tempfile.mkdtemp(prefix="kt-stderr-"))
    _scanner = LogScanner(folder)
    os.environ["KT_STDERR_COPIES"] = str(folder)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_CHILD), *filter(None, [os.environ.get("PYTHONPATH")])])
    logging.getLogger().addHandler(_scanner)
    for ours in ("signaling", "media", "turn_config"):
        logging.getLogger(ours).setLevel(logging.DEBUG)


def pytest_unconfigure() -> None:
    """End."""
    global _scanner
    if _scanner is not None:
        logging.getLogger().removeHandler(_scanner)
        shutil.rmtree(_scanner._folder, ignore_errors=True)
        _scanner = None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """After a test and its fixtures: what was logged meanwhile."""
    outcome = yield
    if call.when == "teardown" and _scanner is not None:
        found = _scanner.take()
        if found:
            report = outcome.get_result()
            report.outcome = "failed"
            report.longrepr = "personal data in a log (tests/log_scanner.py):\n" + "\n".join(found[:10])
