"""What programs do to live calls, with calls that are played by the test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import DeferredLock

from rcml.interpreter import Source
from rcml.ports import CallStatus
from voiceengine.calls.live import LiveControl
from voiceengine.calls.pair import Pair
from voiceengine.calls.requests import ModifyCall
from voiceengine.errors import CallControlError

pytestmark = pytest.mark.unit


def live_call(sid: str, account_sid: str, ran: list[Source]) -> Any:
    """A call in progress to a number of another account, which notes the documents that it runs."""

    async def switch(source: Source) -> None:
        ran.append(source)

    return SimpleNamespace(
        sid=sid,
        row=SimpleNamespace(account_sid=account_sid),
        conference_account_sid="AC-number",
        lock=DeferredLock(),
        leg=SimpleNamespace(ended=False, answered=True, taps=[]),
        status=CallStatus.IN_PROGRESS,
        joined=None,
        watcher=None,
        switch=switch,
    )


@pytest_twisted.ensureDeferred
async def test_a_document_of_a_program_enters_conferences_of_its_own_account() -> None:
    """A call to a number of another account is in that one's rooms by that one's documents only."""
    ran: list[Source] = []
    call, context = live_call("CA1", "AC-caller", ran), cast(Any, None)
    await LiveControl(context, {"CA1": call}).modify("CA1", ModifyCall(rcml="<Response/>"))

    assert call.conference_account_sid == "AC-caller"
    assert [source.text for source in ran] == ["<Response/>"]


@pytest_twisted.ensureDeferred
async def test_a_connected_leg_of_another_account_is_not_moved() -> None:
    """A transfer may have joined them; the other account would pay for what the document dials."""
    ran: list[Source] = []
    one, other = live_call("CA1", "AC1", ran), live_call("CA2", "AC2", ran)
    context: Any = SimpleNamespace(pool=SimpleNamespace(new_bridge=lambda: None))
    one.joined = other.joined = Pair(context, one, other)
    change = ModifyCall(rcml="<Response/>", move_connected_leg=True)
    with pytest.raises(CallControlError, match="another account") as refused:
        await LiveControl(context, {"CA1": one}).modify("CA1", change)

    assert refused.value.status == 403
    assert ran == []
    assert not one.joined.over
