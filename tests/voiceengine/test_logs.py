"""Log lines as text and as JSON."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import FilteringLogObserver, Logger, LogLevel, LogLevelFilterPredicate, LogPublisher
from twisted.python.failure import Failure

import voiceengine
from voiceengine.logs import Lines, Quiet

pytestmark = pytest.mark.unit
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"


class World:
    def __init__(self, *, as_json: bool = False, level: str = "info") -> None:
        self.stream = io.StringIO()
        self.publisher = LogPublisher()
        self.problems: list[Any] = []
        threshold = LogLevelFilterPredicate(LogLevel.levelWithName(level))
        self.publisher.addObserver(
            FilteringLogObserver(Lines(self.stream, as_json=as_json), [Quiet(), threshold])
        )
        self.publisher.addObserver(self._watch)
        self.log = self.logger("voiceengine.calls.call")

    def _watch(self, event: Any) -> None:
        if event.get("log_namespace") == "twisted.logger._observer":
            self.problems.append(event)

    def logger(self, namespace: str) -> Logger:
        return Logger(namespace=namespace, observer=self.publisher)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def as_json() -> World:
    return World(as_json=True)


def test_an_event_is_a_name_and_its_fields(world: World) -> None:
    world.log.info("call_ended call={call} code={code}", call="CA1", code=486, hidden="x")

    (line,) = world.lines
    assert re.match(STAMP, line)
    assert "call_ended" in line
    assert "call=CA1" in line
    assert "code=486" in line
    assert "[info" in line
    assert "hidden" not in line


def test_an_event_in_json(as_json: World) -> None:
    as_json.log.warn("call_ended call={call} took={took}", call="Ä\n", took=0.5)

    (line,) = as_json.lines
    found = json.loads(line)
    assert re.fullmatch(STAMP, found.pop("timestamp"))
    assert found == {"event": "call_ended", "level": "warn", "call": "Ä\n", "took": 0.5}


@pytest.mark.parametrize("value", ["a\nb", "a\r\nadmin_logged_in call=CA2", "\x1b[31mred"])
def test_a_value_cannot_make_another_line(world: World, value: str) -> None:
    """Values come from other people: From users, reasons, URLs."""
    world.log.info("refused user={user}", user=value)

    (line,) = world.lines
    assert "\x1b" not in line


@pytest.mark.parametrize("value", [None, b"\xff", object(), {"a": b"x"}, ["x"], Path("/a"), float("nan")])
def test_any_value_can_be_logged(value: object) -> None:
    for as_json in (False, True):
        world = World(as_json=as_json)
        world.log.info("event_name value={value}", value=value)

        assert len(world.lines) == 1
        assert not world.problems


def test_a_failure_has_its_error_and_traceback(world: World, as_json: World) -> None:
    for each in (world, as_json):
        try:
            raise ValueError("broken")
        except ValueError:
            each.log.failure("flow_failed call={call}", failure=Failure(), call="CA1")

    assert "flow_failed" in world.lines[0]
    assert "call=CA1" in world.text
    assert "broken" in world.text
    assert "Traceback" in world.text
    (line,) = as_json.lines
    found = json.loads(line)
    assert (found["event"], found["level"], found["call"]) == ("flow_failed", "critical", "CA1")
    assert found["error"] == "broken"
    assert "ValueError: broken" in found["traceback"]


def test_an_error_without_text_is_named(as_json: World) -> None:
    as_json.log.failure("x", failure=Failure(KeyError()))

    assert json.loads(as_json.text)["error"] == "KeyError"


def test_a_traceback_shows_no_values(world: World) -> None:
    def check(password: str) -> None:
        raise RuntimeError("no")

    try:
        check("s3cret-" + "value")
    except RuntimeError:
        world.log.failure("x", failure=Failure())

    assert "s3cret-value" not in world.text


def test_the_level_is_respected() -> None:
    world = World(level="warn")
    for name in ("debug", "info", "warn", "error"):
        getattr(world.log, name)(f"{name}_event")

    assert [line.split()[-1] for line in world.lines] == ["warn_event", "error_event"]


def test_libraries_are_quiet_below_warnings(world: World) -> None:
    for namespace in ("twisted.web.http", "twisted.internet.protocol", "log_legacy", "twisted.protocols.amp"):
        world.logger(namespace).info("connection {n}", n=1)
        world.logger(namespace).warn("trouble {n}", n=2)

    assert len(world.lines) == 4
    assert sum("trouble 2" in line for line in world.lines) == 3
    assert "connection" not in world.text


def test_a_sentence_of_a_library_is_kept_whole(world: World) -> None:
    world.logger("twisted.internet.defer").error("Unhandled error in {what} {n}", what="Deferred", n=3)

    assert "Unhandled error in Deferred 3" in world.text


def formats() -> list[str]:
    """All formats that the engine logs with."""
    folder = Path(voiceengine.__file__).parent
    call = re.compile(r'log\.(?:debug|info|warn|error|failure|critical)\(\s*"([^"]*)"')
    paths = [*folder.rglob("*.py"), *(folder.parent / "media").rglob("*.py")]
    return [form for path in paths for form in call.findall(path.read_text("utf-8"))]


def test_no_line_of_the_engine_names_a_secret() -> None:
    """Nothing that is called like a secret may be among the fields."""
    names = {name for form in formats() for name in re.findall(r"\{(\w+)\}", form)}

    assert len(names) > 20
    assert {name for name in names if re.search(r"pass|token|secret|auth|ha1|digit", name)} == set()


def test_the_fields_of_the_engine_can_be_rendered() -> None:
    """These names belong to the loggers themselves."""
    names = {name for form in formats() for name in re.findall(r"\{(\w+)\}", form)}

    assert names & {"event", "level", "method_name", "self", "format", "timestamp", "failure"} == set()


def test_events_have_names_in_snake_case() -> None:
    assert [form for form in formats() if not re.match(r"[a-z0-9]+(_[a-z0-9]+)*( |$)", form)] == []


def test_logging_of_a_process_begins_once() -> None:
    program = (
        "from voiceengine import logs\n"
        "from twisted.logger import Logger\n"
        "logs.begin('info', as_json=True)\n"
        "Logger(namespace='voiceengine.x').info('hello name={name}', name='n')\n"
        "Logger(namespace='voiceengine.x').debug('hidden')\n"
        "print('standard output is left alone')\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=20,
        cwd=Path(voiceengine.__file__).parents[1],
        check=True,
    )

    assert found.stdout == "standard output is left alone\n"
    (line,) = found.stderr.splitlines()
    assert json.loads(line)["event"] == "hello"
