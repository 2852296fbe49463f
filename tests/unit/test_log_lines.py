"""Lines of the log: readable by machines and people, without the text of exceptions, and looked at by the scanner of all tests."""

import asyncio
import io
import json
import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.telemetry import logs
from signaling.telemetry.context import REQUEST, new_request
from signaling.telemetry.redaction import redacted
from tests.log_scanner import LogScanner, findings


@pytest.fixture
def said():
    """A stream that gets every line; the loggers are as before afterwards."""
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in ("signaling", "media", "turn_config")]
    before, levels = list(root.handlers), [logger.level for logger in (root, *ours)]
    root.handlers = []
    yield io.StringIO()
    root.handlers = before
    logging.captureWarnings(False)
    for logger, level in zip((root, *ours), levels, strict=True):
        logger.setLevel(level)


def test_a_line_is_one_json_object_with_what_it_belongs_to(said):
    logs.configure("hub", "info", stream=said)
    token = REQUEST.set("")
    request = new_request()
    logging.getLogger("signaling.calls").info("call %s", "ended", extra={"call": "abc", "stage": "ended", "secret": "x"})
    REQUEST.reset(token)
    logging.getLogger("signaling.calls").debug("not at this level")
    logging.getLogger("aiohttp.access").info("nor this")
    (line,) = said.getvalue().splitlines()
    fields = json.loads(line)
    assert fields.pop("time").endswith("Z")
    assert fields == {
        "level": "info", "process": "hub", "logger": "signaling.calls", "event": "call ended",
        "request": request, "call": "abc", "stage": "ended",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_told_without_its_text_and_where_it_was(said, form):
    logs.configure("hub", "info", form, stream=said)
    try:
        raise ValueError("the number +4915112345678 of ada@example.org")
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    text = said.getvalue()
    assert "ValueError" in text
    assert "test_an_exception_is_told_without_its_text" in text
    assert "4915112345678" not in text
    assert "ada" not in text


def test_libraries_do_not_choose_what_is_written(said):
    logs.configure("relay", "debug", stream=said)
    logging.getLogger("aiohttp.server").warning("bad request from %s by %s", "203.0.113.7", "ada@example.org")
    assert "bad request from [address] by [e-mail]" in said.getvalue()


def test_on_a_terminal_lines_are_for_reading(said):
    said.isatty = lambda: True
    logs.configure("hub", "info", stream=said)
    logging.getLogger("signaling.calls").warning("late", extra={"call": "abc"})
    line = said.getvalue()
    assert not line.startswith("{")
    assert "WARNING" in line
    assert "hub signaling.calls: late call=abc" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail ada@example.org now", "mail [e-mail] now"),
        ("call +49 30 901820 or +4930901820", "call [number] or [number]"),
        ("from 203.0.113.7 and 127.0.0.1", "from [address] and 127.0.0.1"),
        ("from 2001:db8::7 there", "from [address] there"),
        ("redis://user:password@host:6379/0", "//[user]@host:6379/0"),
        ("token kQ3mZx9vB1nL7pR5tY2wE8uI4oA6sD0fGhJcVbNmXzQ gone", "token [token] gone"),
        ("3 of 17 in 0.5 s at 12:30:45", "3 of 17 in 0.5 s at 12:30:45"),
    ],
)
def test_redaction(text, expected):
    assert redacted(text) == expected


@given(st.text(max_size=200))
def test_redaction_takes_any_text_and_is_done_once(text):
    assert redacted(redacted(text)) == redacted(text)


def test_requests_at_the_same_time_have_their_own_ids():
    async def request() -> bool:
        mine = new_request()
        await asyncio.sleep(0)
        return REQUEST.get() == mine

    async def both() -> list[bool]:
        return await asyncio.gather(*(asyncio.create_task(request()) for _ in range(5)))

    assert all(asyncio.run(both()))


# --- the scanner of all tests ------------------------------------------------------------------------------------------------


def test_the_scanner_finds_what_a_logger_of_ours_says(tmp_path):
    scanner = LogScanner(tmp_path)
    logger = logging.Logger("signaling.calls", logging.DEBUG)
    logger.addHandler(scanner)
    logger.debug("call of %s", "kQ3mZx9vB1nL7pR5tY2wEg", extra={"call": "kQ3mZx9vB1nL7pR5tY2wEg"})
    logger.info("fine", extra={"call": "kQ3mZx9vB1nL7pR5tY2wEg"})
    (found,) = scanner.take()
    assert "identifier: kQ3mZx9vB1nL7pR5tY2wEg" in found
    assert scanner.take() == []


def test_the_scanner_finds_what_a_child_says(tmp_path, monkeypatch):
    scanner = LogScanner(tmp_path)
    monkeypatch.setenv("KT_STDERR_COPIES", str(tmp_path))
    subprocess.run(
        [sys.executable, "-c", "import sys; print('to +4915112345678', file=sys.stderr)"], check=True, capture_output=True
    )
    (found,) = scanner.take()
    assert "+4915112345678" in found


def test_ids_of_calls_and_requests_may_stand_in_a_line_and_nothing_else_of_the_kind():
    allowed = {
        "time": "2026-11-25T01:02:03.123456Z",
        "event": "call",
        "call": "kQ3mZx9vB1nL7pR5tY2wEg",
        "request": "0123456789abcdef",
    }
    assert findings(json.dumps(allowed)) == []
    assert findings(json.dumps(allowed | {"account": "kQ3mZx9vB1nL7pR5tY2wEg"}))
