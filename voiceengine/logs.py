"""Logs: one line an event, as key=value text or as JSON, made by structlog from Twisted's events."""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO

import structlog
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    globalLogBeginner,
)
from zope.interface import implementer

_FIELD = re.compile(r"\{(\w+)\}")
_OWN = {
    "log_format",
    "log_level",
    "log_namespace",
    "log_logger",
    "log_source",
    "log_time",
    "log_system",
    "log_trace",
}
_NOISY = ("twisted.protocols.amp", "twisted.internet", "twisted.web")


def _printable(value: Any) -> Any:
    """Text without control characters: what a stranger sent must not drive the terminal of who reads it."""
    if isinstance(value, str) and not value.isprintable():
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return value


@implementer(ILogObserver)
class Lines:
    """Writes events to a stream.

    The event name is the first word of the format; the fields that the format names follow as key=value.
    """

    def __init__(self, stream: TextIO, *, as_json: bool = False) -> None:
        self._as_json = as_json
        renderer: Any = (
            structlog.processors.JSONRenderer()
            if as_json
            else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
        )
        self._logger = structlog.wrap_logger(
            structlog.PrintLogger(stream),
            processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), renderer],
            wrapper_class=structlog.BoundLogger,
        )

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        level: Any = event.get("log_level")
        name = level.name if level is not None else "info"
        form = event.get("log_format") or ""
        fields = {key: event.get(key) for key in _FIELD.findall(form) if key not in _OWN}
        title = form.split(" ", 1)[0] or "message"
        if not form and event.get("log_text"):
            title = str(event["log_text"])
        if not self._as_json:  # JSON escapes by itself
            fields = {key: _printable(value) for key, value in fields.items()}
        failure = event.get("log_failure")
        if failure is not None:
            fields["error"] = str(failure.value) or failure.type.__name__
            fields["traceback"] = failure.getTraceback()
        namespace = event.get("log_namespace", "")
        if namespace.startswith("twisted") or namespace in ("", "-"):
            title = (form.format(**{k: event.get(k) for k in _FIELD.findall(form)}) if form else title)[:300]
            fields.pop("traceback", None) if failure is None else None
        self._logger.msg(title, level=name, **fields)


@implementer(ILogFilterPredicate)
class Quiet:
    """Keeps out what libraries say about every connection."""

    def __call__(self, event: LogEvent) -> Any:
        """Decide about one event."""
        return _quiet(event)


def _quiet(event: LogEvent) -> Any:
    level: Any = event.get("log_level")
    if event.get("log_namespace", "").startswith(_NOISY) and level is not None and level < LogLevel.warn:
        return PredicateResult.no
    if (
        event.get("log_namespace", "") in ("log_legacy", "stdout")
        and level is not None
        and level < LogLevel.warn
    ):
        return PredicateResult.no
    return PredicateResult.maybe


def begin(level: str = "info", *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Start logging for the process."""
    threshold = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    observer = FilteringLogObserver(Lines(stream or sys.stderr, as_json=as_json), [Quiet(), threshold])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
