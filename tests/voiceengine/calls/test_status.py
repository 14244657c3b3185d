"""What the end of a call means, and which status may follow which."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcml.ports import CallStatus
from voiceengine.calls.status import can_change, final_status

pytestmark = pytest.mark.unit

LIVE = [CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS]
FINAL = [status for status in CallStatus if status not in LIVE]


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"answered": True, "code": 200}, CallStatus.COMPLETED),
        ({"answered": True, "code": 500, "lost": True}, CallStatus.COMPLETED),
        ({"answered": True, "code": 486, "wanted": CallStatus.CANCELED}, CallStatus.COMPLETED),
        ({"answered": False, "code": 487}, CallStatus.CANCELED),
        ({"answered": False, "code": 486}, CallStatus.BUSY),
        ({"answered": False, "code": 600}, CallStatus.BUSY),
        ({"answered": False, "code": 603}, CallStatus.BUSY),
        ({"answered": False, "code": 404}, CallStatus.FAILED),
        ({"answered": False, "code": 503}, CallStatus.FAILED),
        ({"answered": False, "code": 408}, CallStatus.FAILED),
        ({"answered": False, "code": 0}, CallStatus.FAILED),
        ({"answered": False, "code": 500, "lost": True}, CallStatus.FAILED),
        ({"answered": False, "code": 486, "lost": True}, CallStatus.FAILED),
        ({"answered": False, "code": 487, "wanted": CallStatus.NO_ANSWER}, CallStatus.NO_ANSWER),
        ({"answered": False, "code": 603, "wanted": CallStatus.CANCELED}, CallStatus.CANCELED),
        ({"answered": False, "code": 404, "wanted": CallStatus.NOT_FOUND}, CallStatus.NOT_FOUND),
        ({"answered": False, "code": 500, "lost": True, "wanted": CallStatus.BUSY}, CallStatus.BUSY),
    ],
)
def test_the_end_of_a_call_has_this_status(how: dict[str, Any], status: CallStatus) -> None:
    assert final_status(**how) is status


@given(
    answered=st.booleans(),
    code=st.integers(0, 699),
    lost=st.booleans(),
    wanted=st.none() | st.sampled_from(FINAL),
)
def test_the_end_is_always_final(answered: bool, code: int, lost: bool, wanted: CallStatus | None) -> None:
    assert final_status(answered=answered, code=code, lost=lost, wanted=wanted).terminal


def test_terminal_states() -> None:
    assert [status for status in CallStatus if not status.terminal] == LIVE


@pytest.mark.parametrize("current", CallStatus)
@pytest.mark.parametrize("new", CallStatus)
def test_a_status_goes_forward_only(current: CallStatus, new: CallStatus) -> None:
    forward = current in LIVE and (new in FINAL or LIVE.index(new) > LIVE.index(current))

    assert can_change(current, new) is forward
