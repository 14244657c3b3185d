"""Acceptance cases 65 to 67: participants of conferences (with a stand-in for call control)."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from lxml import etree

from voiceengine.api.ports import ChangeParticipant
from voiceengine.errors import CallControlError
from voiceengine.store.rows import new_sid

pytestmark = pytest.mark.loopback

Api = Any


def child_path(api: Api) -> str:
    return f"/restcomm/2012-04-24/Accounts/{api.child.sid}"


@pytest_twisted.ensureDeferred
async def test_a_participant_is_shown_as_the_reference_says(api: Api) -> None:
    row = api.rooms.open(api.admin.sid)
    call = api.call(date_created=1489572657.0, date_updated=1489572933.0)
    api.rooms.enter(row, call, muted=True, end_conference_on_exit=True)
    shown = (await api.get(f"~/Conferences/{row.sid}/Participants/{call.sid}.json")).json
    xml = (await api.get(f"~/Conferences/{row.sid}/Participants/{call.sid}")).xml[0]

    assert list(shown.items()) == [
        ("sid", call.sid),
        ("conference_sid", row.sid),
        ("date_created", "Wed, 15 Mar 2017 10:10:57 +0000"),
        ("date_updated", "Wed, 15 Mar 2017 10:15:33 +0000"),
        ("account_sid", api.admin.sid),
        ("muted", True),
        ("hold", False),
        ("start_conference_on_enter", True),
        ("end_conference_on_enter", True),
        ("uri", f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/Calls/{call.sid}.json"),
        ("end_conference_on_exit", True),
        ("call_sid", call.sid),
    ]
    assert xml.tag == "Call"
    assert " ".join(item.tag for item in xml) == (
        "Sid ConferenceSid DateCreated DateUpdated AccountSid Muted Hold StartConferenceOnEnter "
        "EndConferenceOnEnter Uri EndConferenceOnExit CallSid"
    )
    assert (xml.find("Muted").text, xml.find("Hold").text) == ("true", "false")


@pytest_twisted.ensureDeferred
async def test_participants_are_listed_in_the_order_they_came(api: Api) -> None:
    row = api.rooms.open(api.admin.sid)
    calls = [api.call() for _ in range(3)]
    for call in calls:
        api.rooms.enter(row, call)
    found = (await api.get(f"~/Conferences/{row.sid}/Participants.json")).json
    page = (await api.get(f"~/Conferences/{row.sid}/Participants.json?PageSize=2")).json

    assert found["total"] == 3
    assert [item["sid"] for item in found["calls"]] == [call.sid for call in calls]
    assert (page["start"], page["end"], len(page["calls"])) == ("0", "1", 2)
    uri = f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/Conferences/{row.sid}/Participants"
    assert page["next_page_uri"] == f"{uri}?Page=1&PageSize=2&AfterSid={calls[1].sid}"
    assert (await api.get(f"~/Conferences/{row.sid}/Participants.json?Page=1")).code == 400
    root = (await api.get(f"~/Conferences/{row.sid}/Participants")).xml[0]
    assert (root.tag, root.attrib["total"], [item.tag for item in root]) == ("Calls", "3", ["Call"] * 3)


@pytest_twisted.ensureDeferred
async def test_a_finished_conference_has_no_participants(api: Api) -> None:
    row = api.rooms.open(api.admin.sid, status="COMPLETED")
    found = (await api.get(f"~/Conferences/{row.sid}/Participants.json")).json
    one = f"~/Conferences/{row.sid}/Participants/{new_sid('CA')}.json"

    assert (found["calls"], found["total"], found["start"], found["end"]) == ([], 0, "0", "0")
    assert (await api.get(one)).code == 404
    assert (await api.post(one, {"Mute": "true"})).code == 410
    assert (await api.ask("DELETE", one)).code == 410
    dialed = await api.post(f"~/Conferences/{row.sid}/Participants.json", {"From": "a", "To": "b"})
    assert dialed.code == 410


@pytest_twisted.ensureDeferred
async def test_a_participant_is_muted_by_either_name(api: Api) -> None:
    row, call = api.rooms.open(api.admin.sid), api.call()
    api.rooms.enter(row, call)
    path = f"~/Conferences/{row.sid}/Participants/{call.sid}.json"
    answers = [
        await api.post(path, data)
        for data in ({"Mute": "true"}, {"Mute": "false"}, {"Muted": "true"}, {"Mute": "no", "Muted": "no"})
    ]

    assert [answer.code for answer in answers] == [200] * 4
    assert [answer.json["muted"] for answer in answers] == [True, False, True, False]


@pytest_twisted.ensureDeferred
async def test_a_participant_is_held_announced_to_and_changed(api: Api) -> None:
    row, call = api.rooms.open(api.admin.sid), api.call()
    api.rooms.enter(row, call)
    path = f"~/Conferences/{row.sid}/Participants/ID{'0' * 32}-{call.sid}.json"
    everything = {
        "Hold": "true",
        "HoldUrl": "http://app/h",
        "HoldMethod": "GET",
        "AnnounceUrl": "http://app/a",
        "AnnounceMethod": "GET",
        "EndConferenceOnExit": "true",
    }
    changed = await api.post(path, everything)
    resumed = await api.post(path, {"Hold": "false"})

    assert (changed.json["hold"], changed.json["end_conference_on_exit"]) == (True, True)
    assert (resumed.json["hold"], resumed.json["end_conference_on_exit"]) == (False, True)
    assert api.rooms.participants_changed == [
        (
            row.sid,
            call.sid,
            ChangeParticipant(
                hold=True,
                hold_url="http://app/h",
                hold_method="GET",
                announce_url="http://app/a",
                announce_method="GET",
                end_conference_on_exit=True,
            ),
        ),
        (row.sid, call.sid, ChangeParticipant(hold=False)),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, 'A participant is changed by "Mute=true|false"'),
        ({"Mute": "true", "Muted": "false"}, "Mute and Muted mean the same; give one of them."),
        ({"HoldUrl": "http://a/"}, "HoldUrl needs Hold=true."),
        ({"HoldUrl": "http://a/", "Hold": "false"}, "HoldUrl needs Hold=true."),
        ({"Hold": "true", "HoldUrl": "music"}, "HoldUrl must be an absolute http or https URL."),
        ({"Hold": "true", "HoldMethod": "PUT"}, "HoldMethod must be GET or POST."),
        ({"AnnounceUrl": "/bell"}, "AnnounceUrl must be an absolute http or https URL."),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_participant_cannot_be_changed_so(api: Api, data: dict[str, str], message: str) -> None:
    row, call = api.rooms.open(api.admin.sid), api.call()
    api.rooms.enter(row, call)
    answer = await api.post(f"~/Conferences/{row.sid}/Participants/{call.sid}.json", data)

    assert answer.code == 400
    assert answer.json["message"].startswith(message)
    assert api.rooms.participants_changed == []


@pytest_twisted.ensureDeferred
async def test_a_participant_is_taken_out(api: Api) -> None:
    row, call = api.rooms.open(api.admin.sid), api.call()
    api.rooms.enter(row, call)
    path = f"~/Conferences/{row.sid}/Participants/{call.sid}.json"
    removed = await api.ask("DELETE", path)

    assert (removed.code, removed.raw) == (204, b"")
    assert (await api.ask("DELETE", path)).code == 404
    assert (await api.get(path)).code == 404
    assert (await api.post(path, {"Mute": "true"})).code == 404
    assert (await api.get(f"~/Conferences/{row.sid}/Participants/nonsense.json")).code == 404


@pytest_twisted.ensureDeferred
async def test_somebody_is_called_into_the_room(api: Api) -> None:
    row = api.rooms.open(api.admin.sid, 'R&D "<room>"')
    path = f"~/Conferences/{row.sid}/Participants"
    plain = await api.post(f"{path}.json", {"From": "alice", "To": "client:bob?X-A=1"})
    everything = {
        "From": "alice",
        "To": "+15105550100",
        "Timeout": "20",
        "StatusCallback": "http://app/s",
        "StatusCallbackMethod": "GET",
        "StatusCallbackEvent": ["answered", "completed"],
        "EndConferenceOnExit": "true",
        "StartConferenceOnEnter": "false",
        "Beep": "false",
        "Muted": "true",
        "Record": "true",
    }
    full = await api.post(f"{path}.json", everything)

    assert (plain.code, full.code) == (200, 200)
    first, second = api.control.created
    assert (first.to, first.url, first.timeout, first.record) == ("client:bob", None, 60, False)
    assert first.headers == (("X-A", "1"),)
    room = etree.fromstring(first.rcml).find("Dial/Conference")
    assert room.text == row.friendly_name
    assert dict(room.attrib) == {
        "muted": "false",
        "beep": "true",
        "startConferenceOnEnter": "true",
        "endConferenceOnExit": "false",
    }
    assert (second.timeout, second.record, second.status_callback) == (20, True, "http://app/s")
    assert second.status_callback_events == {"answered", "completed"}
    assert dict(etree.fromstring(second.rcml).find("Dial/Conference").attrib) == {
        "muted": "true",
        "beep": "false",
        "startConferenceOnEnter": "false",
        "endConferenceOnExit": "true",
    }
    shown = full.json
    assert (shown["call_sid"], shown["conference_sid"]) == (shown["sid"], row.sid)
    assert (shown["muted"], shown["start_conference_on_enter"], shown["end_conference_on_exit"]) == (
        True,
        False,
        True,
    )
    assert (await api.get(f"~/Calls/{shown['sid']}.json")).json["status"] == "queued"
    api.control.devices = 2
    assert len((await api.post(f"{path}.json", {"From": "a", "To": "b"})).json) == 2
    assert [item.tag for item in (await api.post(path, {"From": "a", "To": "b"})).xml[0]] == ["Call", "Call"]


@pytest_twisted.ensureDeferred
async def test_calls_into_a_room_have_the_errors_of_calls(api: Api) -> None:
    path = f"~/Conferences/{api.rooms.open(api.admin.sid).sid}/Participants.json"
    wrong: list[tuple[dict[str, str], str]] = [
        ({"To": "b"}, "From can not be null."),
        ({"From": "a"}, "To can not be null."),
        ({"From": "a", "To": "b", "Timeout": "x"}, "Timeout must be a whole number from 1 to 600."),
        ({"From": "a", "To": "b", "Beep": "loud"}, "Beep must be true, false, onenter or onexit."),
    ]
    for data, message in wrong:
        answer = await api.post(path, data)
        assert (answer.code, answer.json["message"]) == (400, message)
    assert api.control.created == []
    api.control.failure = CallControlError("The SIP Client b is not registered", status=404, code=1001)
    assert (await api.post(path, {"From": "a", "To": "b"})).code == 404
