"""A conference carried out on calls that are played by the test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from twisted.internet.task import Clock

from rcml.ports import CONFERENCE_EVENTS, CallbackSpec, ConferenceSpec
from voiceengine.calls.conference import MANY, Conference

pytestmark = pytest.mark.unit

CALLBACK = CallbackSpec(url="http://h/told", method="POST", events=CONFERENCE_EVENTS)
SPEC = ConferenceSpec(name="room")


class Quiet:
    """Takes whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class FakeCall(SimpleNamespace):
    """A call; notes whether it is watched."""

    __hash__ = object.__hash__

    def __init__(self, sid: str) -> None:
        self.watched: list[bool] = []
        leg = SimpleNamespace(
            media=None, ended=False, on_hold=False, held=False, watch_speech=self.watched.append
        )
        super().__init__(
            sid=sid,
            leg=leg,
            row=SimpleNamespace(muted=False),
            records=Quiet(),
            joined=None,
            save=lambda **_: None,
            watched=self.watched,
        )


def conference() -> Conference:
    clock = Clock()
    context: Any = SimpleNamespace(
        reactor=clock,
        wall=clock.seconds,
        pool=SimpleNamespace(new_bridge=lambda _: Quiet()),
        store=SimpleNamespace(conferences=Quiet()),
        assets=SimpleNamespace(beep="", alert=""),
        settings=SimpleNamespace(calls=SimpleNamespace(conference_lone_music=False, conference_seconds=60)),
        web=None,
    )
    made = Conference(context, "AC1", "room", lambda _: None)
    made.callbacks._running = True  # the application does not answer
    return made


def test_who_came_before_the_one_with_the_callback_is_watched_as_well() -> None:
    room = conference()
    first, second, third = (FakeCall(f"CA{number}") for number in range(3))
    room.join(first, SPEC)  # type: ignore[arg-type]
    assert first.watched == []
    room.join(second, attrs.evolve(SPEC, callback=CALLBACK))  # type: ignore[arg-type]
    room.join(third, SPEC)  # type: ignore[arg-type]
    assert [first.watched, second.watched, third.watched] == [[True]] * 3


def test_who_speaks_is_not_told_while_too_much_waits_and_the_rest_is() -> None:
    room = conference()
    call: Any = FakeCall("CA1")
    room.join(call, attrs.evolve(SPEC, callback=CALLBACK))
    for turn in range(2 * MANY):
        room.speaks(call, turn % 2 == 0)
    assert room.callbacks.waiting == MANY
    room.leave(call)
    assert room.callbacks.waiting == MANY + 2  # leave, end
