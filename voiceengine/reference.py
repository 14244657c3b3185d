"""The reference pages of settings and metrics, made from the code.

`python -m voiceengine.reference` writes them into docs/reference; a test compares the pages with the code.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from twisted.internet.task import Clock

from rcml.ports import CallStatus, Direction, FetchFailure
from voiceengine.app import Engine
from voiceengine.config import Codec, HostPort, Listener, NumberRange, PortRange, Settings, sections
from voiceengine.gauges import register_gauges
from voiceengine.metrics import STATES, Metrics

PREFIX = "voiceengine_"

SIP_EVENTS: Mapping[str, str] = {
    "received": "messages of phones and trunks",
    "malformed": "messages that could not be read, or whose headers were not valid",
    "dropped": "malformed messages that could not even be answered",
    "too_large": "datagrams longer than `sip.max_message_bytes`",
    "unframed": "TCP streams that were closed because they could not be cut into messages",
    "connections_refused": "TCP connections beyond `sip.max_connections`",
    "slow_readers": "TCP connections that were closed because the peer did not read",
    "send_failed": "datagrams that the kernel refused to send",
    "wrong_credentials": "INVITEs and REGISTERs with wrong credentials, or of somebody else",
    "messages_refused": "MESSAGEs beyond those that may wait for an answer at once",
    "strange_tokens": "requests that belong to no dialog of this engine (the ACK of a challenge among them)",
    "stray_responses": "responses that nothing waited for",
    "internal_malformed": "messages of media workers that could not be used; always a defect",
}
"""Values of the label `event`; a test compares them with the code."""

LABELS: Mapping[tuple[str, str], list[str]] = {
    ("calls", "state"): list(STATES),
    ("calls_started", "direction"): [direction.value for direction in Direction],
    ("calls_ended", "status"): [status.value for status in CallStatus if status.terminal],
    ("fetch_seconds", "result"): ["ok", "timeout", "cancelled", *(f.value for f in FetchFailure)],
    ("sip_events", "event"): list(SIP_EVENTS),
}

_SETTINGS_HEAD = """\
# Settings

This page is made from `voiceengine/sections.py` by `python -m voiceengine.reference`; do not edit it.

A value is taken from the first of these that names it:

1. the command line: the options of `voiceengine serve`, or `--set section.key=value`;
2. the environment: `VOICEENGINE_SECTION__KEY`, for example `VOICEENGINE_MEDIA__MAX_LEGS=100`;
3. the TOML file given with `--config`;
4. the default.

Lists are written as JSON in the environment and with `--set`: `--set 'sip.trunks=["192.0.2.0/24"]'`. A key
that does not exist and a value that is not allowed end the start with a message that names key, value, origin
and what is allowed. `voiceengine config` prints the settings in effect and where each comes from; passwords
are masked. Settings are read once, at the start.
"""

_METRICS_HEAD = """\
# Metrics

This page is made from the code by `python -m voiceengine.reference`; do not edit it.

`GET /metrics` on the HTTP listener gives these values as Prometheus text, without credentials. Values of
labels come from fixed lists. A counter is exported with the suffix `_total`, a histogram as `_bucket`, `_sum`
and `_count`.
"""


# ---------------------------------------------------------------- settings


def settings_page() -> str:
    """Give the page of the settings as Markdown."""
    pages = [_section(name, model) for name, model in sections().items()]
    return "\n".join([_SETTINGS_HEAD, *pages, _section("numbers.ranges", NumberRange)])


def keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield dotted key and field of every setting."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _section(name: str, model: type[BaseModel]) -> str:
    about = (model.__doc__ or "").strip()
    lines = [f"## {name}", "", about, "", "| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for key, field in keys(model, f"{name}."):
        cells = (f"`{key}`", kind(field), f"`{_default(field)}`", _sentence(field.description or ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _sentence(text: str) -> str:
    """Text that begins with a capital letter, unless it begins with a form to be written so (`sip:...`)."""
    return f"{text if text.startswith('sip:') else text[:1].upper() + text[1:]}."


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "none, must be given"
    value = field.get_default(call_default_factory=True)
    return _toml(str(value) if isinstance(value, Path) else value)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def kind(field: FieldInfo) -> str:
    """Type and limits of a setting, in words."""
    if _port_range in _validators(field):
        return "two ports, 1024 to 65535"
    if _host_port in _validators(field):
        return "`HOST:PORT`"
    limits = []
    for limit in field.metadata:
        match limit:
            case annotated_types.Ge(ge=least):
                limits.append(f"at least {least}")
            case annotated_types.Gt(gt=below):
                limits.append(f"more than {below}")
            case annotated_types.Le(le=most):
                limits.append(f"at most {most}")
            case annotated_types.MinLen(min_length=count) if get_origin(field.annotation) is list:
                limits.append(f"at least {count} item{'s' if count > 1 else ''}")
            case annotated_types.MinLen(min_length=count):
                limits.append("not empty")
    return ", ".join([_words(field.annotation), *limits])


def _validators(field: FieldInfo) -> list[Any]:
    return [getattr(item, "func", None) for item in field.metadata]


def _function(annotated: Any) -> Any:
    return get_args(annotated)[1].func


_host_port, _port_range = _function(HostPort), _function(PortRange)


def _words(annotation: Any) -> str:
    if annotation is Listener:
        return "`udp://ADDRESS:PORT` or `tcp://ADDRESS:PORT`"
    if annotation is NumberRange:
        return "tables with the keys below"
    if get_origin(annotation) is list:
        return f"list of {_words(get_args(annotation)[0])}"
    if get_origin(annotation) is Annotated:
        return _words(get_args(annotation)[0])  # what its validator allows stands in the meaning
    if annotation is Codec or get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is dict:
        return "table of tables, each with the keys of `sip.outbound_proxy`"
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_words(part) for part in get_args(annotation))
    simple = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "path",
        type(None): "none",
    }
    return simple[annotation]


# ---------------------------------------------------------------- metrics


class Family(typing.NamedTuple):
    """One metric as Prometheus sees it."""

    name: str
    """Without the prefix, and without the suffix of a counter."""
    type: str
    labels: tuple[str, ...]
    text: str


def families() -> list[Family]:
    """All metrics of an engine that was not started."""
    engine = Engine(Clock(), Settings())
    register_gauges(engine)
    metrics: Metrics = engine.metrics
    metrics.gauges = [(name, text, lambda: 0.0) for name, text, _ in metrics.gauges]
    return sorted(_families(metrics))


def _families(metrics: Metrics) -> Iterator[Family]:
    for family in metrics.registry.collect():
        name = family.name.removeprefix(PREFIX)
        labels = tuple(label for metric, label in LABELS if metric == name)
        yield Family(name, family.type, labels, family.documentation)


def metrics_page() -> str:
    """Give the page of the metrics as Markdown."""
    lines = [_METRICS_HEAD, "| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for family in families():
        suffix = "_total" if family.type == "counter" else ""
        labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
        lines.append(f"| `{PREFIX}{family.name}{suffix}` | {family.type} | {labels} | {family.text}. |")
    lines += ["", "## Values of labels", ""]
    for (metric, label), values in LABELS.items():
        if label != "event":
            lines.append(f"- `{label}` of `{PREFIX}{metric}`: {', '.join(f'`{value}`' for value in values)}")
    lines += ["", "## Events of the SIP edge", "", "| `event` | What is counted |", "|---|---|"]
    lines += [f"| `{name}` | {_sentence(text)} |" for name, text in SIP_EVENTS.items()]
    return "\n".join([*lines, ""])


PAGES: Mapping[str, typing.Callable[[], str]] = {"settings.md": settings_page, "metrics.md": metrics_page}


def main(folder: Path) -> None:
    """Write the pages."""
    for name, render in PAGES.items():
        (folder / name).write_text(render(), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))

__all__ = ["LABELS", "PAGES", "SIP_EVENTS", "Family", "families", "keys", "kind", "main"]
