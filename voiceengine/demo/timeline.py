"""A readable timeline of a call, from the softphone's events and the engine's journal; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

Fields = Mapping[str, Any]


@attrs.frozen
class Line:
    """One line: wall time in seconds, who did it, and what."""

    at: float
    who: str
    what: str


def _path(url: str) -> str:
    parts = urlsplit(url)
    return parts.path or url


def _requested(fields: Fields) -> str:
    told = dict(fields.get("parameters") or ())
    shown = [
        f"{name}={told[name]}" for name in ("CallStatus", "Digits", "RecordingDuration") if told.get(name)
    ]
    return f"{fields['method']} {_path(fields['url'])}  {' '.join(shown)}".rstrip()


def _prompt(fields: Fields) -> str:
    label = str(fields["label"])
    what = f"plays {_path(label)}" if label.startswith("http") else f'says "{label}"'
    return f"{what} ({fields['seconds']:.1f} s)"


_JOURNAL: Mapping[str, tuple[str, Callable[[Fields], str]]] = {
    "call_created": ("engine", lambda f: f"call from {f['from']} to {f['to']}"),
    "status": ("engine", lambda f: f"status {f['status']}"),
    "document_requested": ("web", _requested),
    "document_failed": ("web", lambda f: f"failed: {f['message']}"),
    "prompt": ("prompt", _prompt),
    "gather_result": ("engine", lambda f: f"Gather ended ({f['end']}), {f['digits']} digit(s)"),
    "recording_stored": ("engine", lambda f: f"recording {f['sid']} stored, {f['seconds']:.1f} s"),
    "notification": ("engine", lambda f: f"notification {f['code']}: {f['message']}"),
    "leg_ended": (
        "engine",
        lambda f: f"call over, {f.get('rx_packets', 0)} packets received, {f.get('rx_lost', 0)} lost",
    ),
}

_EVENTS: Mapping[str, Callable[[Fields], str]] = {
    "registered": lambda f: f"registered ({f.get('code')} after {f.get('ms')} ms)",
    "calling": lambda f: f"sends INVITE {f['to']}",
    "provisional": lambda f: f"receives {f.get('code')} {f.get('reason')}",
    "answered": lambda f: f"is answered after {f.get('after_ms')} ms",
    "digit_sent": lambda f: f"presses {f.get('digit')}",
    "ended": lambda f: f"call ended by {f.get('by')} side ({f.get('code')} {f.get('reason')})",
    "error": lambda f: f"error: {f.get('message')}",
}


def describe_journal(at: float, name: str, fields: Fields) -> Line | None:
    """A line for an event of a call's journal; None for what only its author would read."""
    found = _JOURNAL.get(name)
    return Line(at, found[0], found[1](fields)) if found is not None else None


def describe_event(at: float, event: Fields) -> Line | None:
    """A line for an event of the softphone."""
    tell = _EVENTS.get(str(event["event"]))
    return Line(at, "phone", tell(event)) if tell is not None else None


def render(lines: Iterable[Line]) -> str:
    """The timeline as text; times count from the first line."""
    rows = list(lines)
    if not rows:
        return "nothing happened"
    start = rows[0].at
    return "\n".join(f"{row.at - start:7.2f} s  {row.who:<7} {row.what}" for row in rows)
