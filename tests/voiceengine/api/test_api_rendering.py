"""Long lists are rendered in turns, and look like short ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from voiceengine.api.notifications import NOTIFICATION
from voiceengine.api.paging import Paged
from voiceengine.api.rendering import ROWS, encode_in_turns
from voiceengine.api.representation import Many, Render, encode
from voiceengine.store.rows import NotificationRow, new_sid

pytestmark = pytest.mark.unit

ROW_COUNTS = (0, 1, ROWS, ROWS + 1, 3 * ROWS, 3 * ROWS + 7)


def content(count: int, paged: bool) -> Any:
    rows = [
        NotificationRow(
            sid=new_sid("NO"), account_sid="AC1", log=1, error_code=number, message_text=f'<é "{number}">'
        )
        for number in range(count)
    ]
    if not paged:
        return Many(NOTIFICATION, rows)
    return Paged(
        representation=NOTIFICATION, rows=rows, page=0, page_size=1000, total=count, path="/Accounts/AC1/N&N"
    )


class Turns(Clock):
    """Counts what waits for a later turn of the reactor."""

    count = 0

    def callLater(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return super().callLater(*args, **kwargs)


def rendered(body: Any, render: Render) -> tuple[tuple[bytes, str], int]:
    """The body, and how often the reactor had a turn meanwhile."""
    clock, found = Turns(), []
    Deferred.fromCoroutine(encode_in_turns(body, render, clock)).addCallback(found.append)
    clock.advance(0)
    return found[0], clock.count


@pytest.mark.parametrize("twilio", [False, True])
@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("count", ROW_COUNTS)
def test_the_same_is_said_in_turns(count: int, paged: bool, twilio: bool) -> None:
    body = content(count, paged)
    as_json = Render(format="json", prefix="/p", base_url="http://h", twilio=twilio)
    as_xml = Render(format="xml", prefix="/p", base_url="http://h", twilio=twilio)

    (text, kind), turns = rendered(body, as_json)
    assert json.loads(text) == json.loads(encode(body, as_json)[0])
    assert list(json.loads(text)) == list(json.loads(encode(body, as_json)[0]))
    assert (kind, turns) == ("application/json", max(0, -(-count // ROWS) - 1))
    assert rendered(body, as_xml)[0] == encode(body, as_xml)
