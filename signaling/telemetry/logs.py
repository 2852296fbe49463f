"""The log: one JSON object a line, or lines to read on a terminal. Modules log with ``logging``; structlog makes the lines.

A line has ``time`` (UTC), ``level``, ``process``, ``logger``, ``event``, and, where there is one, the ``request`` or the ``call`` that it belongs to. It never has
the text of an exception, which could repeat what a user sent or what a database holds: type and frames say where to look.
"""

import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, Literal, TextIO

import msgspec
import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name

from signaling.telemetry.context import REQUEST
from signaling.telemetry.redaction import redacted

Format = Literal["auto", "json", "text"]

_OURS: Final = ("signaling", "media", "turn_config")
_EXTRAS: Final = ("call", "stage", "reason")
"""What modules may add to a line (``extra=``) beside its text."""
_FRAMES: Final = 20
"""Frames of an exception that are told: the innermost."""

Event = MutableMapping[str, Any]


def configure(role: str, level: str, form: Format = "auto", stream: TextIO | None = None) -> None:
    """Send what this process logs to ``stream`` (default: standard error)."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(role, text=form == "text" or (form == "auto" and stream.isatty())))
    root = logging.getLogger()
    for before in tuple(root.handlers):
        root.removeHandler(before)
    root.addHandler(handler)
    logging.captureWarnings(True)
    set_levels(level)


def set_levels(level: str) -> None:
    """Our own log at ``level``; libraries at warnings, whatever is set: below that they log requests, addresses and SQL parameters."""
    logging.getLogger().setLevel(logging.WARNING)
    for ours in _OURS:
        logging.getLogger(ours).setLevel(level.upper())


def formatter(role: str, *, text: bool) -> ProcessorFormatter:
    """Lines out of records."""

    def of_process(_logger: Any, _method: str, event: Event) -> Event:
        event["process"] = role
        request = REQUEST.get()
        if request:
            event["request"] = request
        return event

    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            add_log_level,
            add_logger_name,
            of_process,
            ExtraAdder(allow=_EXTRAS),
        ],
        processors=[
            _others_redacted,
            _frames,
            ProcessorFormatter.remove_processors_meta,
            _readable(sys.stderr.isatty()) if text else _json,
        ],
    )


def _others_redacted(_logger: Any, _method: str, event: Event) -> Event:
    if not str(event.get("logger", "")).startswith(_OURS):
        event["event"] = redacted(str(event["event"]))
    return event


def _frames(_logger: Any, _method: str, event: Event) -> Event:
    """``exc_info`` as the exception's type and where it was, without its text."""
    event.pop("stack_info", None)
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if not info or info[0] is None:
        return event
    event["exception"] = info[0].__name__
    event["frames"] = [
        f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno} {frame.name}" for frame in extract_tb(info[2])[-_FRAMES:]
    ]
    return event


def _json(_logger: Any, _method: str, event: Event) -> str:
    ordered = {key: event.pop(key) for key in ("time", "level", "process", "logger", "event") if key in event}
    return msgspec.json.encode(ordered | dict(event), enc_hook=str).decode()


def _readable(colors: bool) -> Any:
    """Time, level, logger, text, then what else there is; frames below, one a line."""

    def render(_logger: Any, _method: str, event: Event) -> str:
        level = str(event.pop("level", "info"))
        begin, end = (_COLORS.get(level, ""), "\x1b[0m") if colors else ("", "")
        frames = "".join(f"\n    {frame}" for frame in event.pop("frames", ()))
        head = (
            f"{event.pop('time')} {begin}{level.upper():7}{end} {event.pop('process')} {event.pop('logger')}: {event.pop('event')}"
        )
        return head + "".join(f" {key}={value}" for key, value in event.items()) + frames

    return render


_COLORS: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m", "debug": "\x1b[2m"}
