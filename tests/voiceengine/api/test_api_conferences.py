"""Acceptance cases 65 and 67: conferences (with a stand-in for call control)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import pytest_twisted

from voiceengine.api.ports import ChangeConference
from voiceengine.errors import CallControlError
from voiceengine.store.rows import ConferenceRow, RecordingRow, new_sid

pytestmark = pytest.mark.loopback

Api = Any


def child_path(api: Api) -> str:
    return f"/restcomm/2012-04-24/Accounts/{api.child.sid}"


@pytest_twisted.ensureDeferred
async def test_a_conference_is_shown_as_the_reference_says(api: Api) -> None:
    row = api.rooms.open(api.admin.sid, date_created=1489572657.0, date_updated=1489572933.0)
    base = f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/Conferences/{row.sid}"
    shown = (await api.get(f"~/Conferences/{row.sid}.json")).json
    xml = (await api.get(f"~/Conferences/{row.sid}")).xml[0]

    assert list(shown.items()) == [
        ("sid", row.sid),
        ("date_created", "Wed, 15 Mar 2017 10:10:57 +0000"),
        ("date_updated", "Wed, 15 Mar 2017 10:15:33 +0000"),
        ("account_sid", api.admin.sid),
        ("status", "RUNNING_MODERATOR_PRESENT"),
        ("api_version", "2012-04-24"),
        ("friendly_name", "room1"),
        ("uri", f"{base}.json"),
        ("subresource_uris", {"participants": f"{base}/Participants.json"}),
    ]
    assert xml.tag == "Conference"
    assert " ".join(item.tag for item in xml) == (
        "Sid DateCreated DateUpdated AccountSid Status ApiVersion FriendlyName Uri SubresourceUris"
    )
    assert xml.find("SubresourceUris/Participants").text == f"{base}/Participants"


@pytest_twisted.ensureDeferred
async def test_conferences_are_listed_oldest_first_and_filtered(api: Api) -> None:
    day = 86400.0
    for number, (name, status) in enumerate(
        [("a", "COMPLETED"), ("b", "RUNNING_MODERATOR_ABSENT"), ("a", "RUNNING_MODERATOR_PRESENT")]
    ):
        api.rooms.open(
            api.admin.sid, name, status=status, date_created=number * day, date_updated=number * day
        )
    api.rooms.open(api.child.sid, "c")

    async def names(query: str) -> list[str]:
        found = (await api.get(f"~/Conferences.json?{query}")).json
        return [item["friendly_name"] for item in found["conferences"]]

    assert await names("") == ["a", "b", "a"]
    assert await names("SortBy=DateCreated:desc&PageSize=1") == ["a"]
    assert await names("SortBy=FriendlyName:desc") == ["b", "a", "a"]
    assert await names("FriendlyName=b") == ["b"]
    assert await names("FriendlyName=B") == []
    assert await names("Status=COMPLETED") == ["a"]
    assert await names("Status=running_moderator_absent") == ["b"]
    assert await names("DateCreated=1970-01-02") == ["b", "a"]
    assert await names("DateUpdated=1970-01-02") == ["a", "b"]
    assert await names("SubAccounts=true&FriendlyName=c") == ["c"]
    page = (await api.get("~/Conferences.json?PageSize=2&Page=1&FriendlyName=a")).json
    assert (page["total"], page["num_pages"], page["start"], page["end"]) == (2, 1, "2", "2")
    assert (await api.get("~/Conferences.json?Page=9")).code == 400
    assert (await api.get("~/Conferences.json?DateCreated=soon")).code == 400
    root = (await api.get("~/Conferences.xml?FriendlyName=b")).xml[0]
    assert (root.tag, root[0].tag, root.attrib["total"]) == ("Conferences", "Conference", "1")


@pytest_twisted.ensureDeferred
async def test_other_methods_on_conferences_are_405(api: Api) -> None:
    row = api.rooms.open(api.admin.sid)
    for method in ("POST", "PUT", "DELETE"):
        assert (await api.ask(method, "~/Conferences.json")).code == 405
    for method in ("PUT", "DELETE"):
        assert (await api.ask(method, f"~/Conferences/{row.sid}.json")).code == 405
        assert (await api.ask(method, f"~/Conferences/{row.sid}/Participants.json")).code == 405


@pytest_twisted.ensureDeferred
async def test_a_conference_is_ended(api: Api) -> None:
    row = api.rooms.open(api.admin.sid)
    ended = await api.post(f"~/Conferences/{row.sid}.json", {"Status": "Completed"})

    assert (ended.code, ended.json["status"]) == (200, "COMPLETED")
    assert api.rooms.changed == [(row.sid, ChangeConference(end=True))]
    again = await api.post(f"~/Conferences/{row.sid}.json", {"Status": "completed"})
    assert (again.code, again.json["message"]) == (410, "The conference is already completed.")


@pytest_twisted.ensureDeferred
async def test_a_conference_hears_an_announcement_and_is_recorded(api: Api) -> None:
    row = api.rooms.open(api.admin.sid)
    path = f"~/Conferences/{row.sid}.json"
    spoken = await api.post(path, {"AnnounceUrl": "http://app/a", "AnnounceMethod": "get"})
    for value in ("true", "false"):
        assert (await api.post(path, {"Record": value})).code == 200

    assert (spoken.code, spoken.json["status"]) == (200, "RUNNING_MODERATOR_PRESENT")
    assert [change for _, change in api.rooms.changed] == [
        ChangeConference(announce_url="http://app/a", announce_method="GET"),
        ChangeConference(record=True),
        ChangeConference(record=False),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, 'A conference is changed by "Status=completed"'),
        ({"AnnounceMethod": "GET"}, 'A conference is changed by "Status=completed"'),
        ({"Status": "stopped"}, "Status must be completed."),
        ({"AnnounceUrl": "bell.wav"}, "AnnounceUrl must be an absolute http or https URL."),
        ({"AnnounceUrl": "http://a/", "AnnounceMethod": "PUT"}, "AnnounceMethod must be GET or POST."),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_conference_cannot_be_changed_so(api: Api, data: dict[str, str], message: str) -> None:
    answer = await api.post(f"~/Conferences/{api.rooms.open(api.admin.sid).sid}.json", data)

    assert answer.code == 400
    assert answer.json["message"].startswith(message)
    assert api.rooms.changed == []


@pytest_twisted.ensureDeferred
async def test_recordings_of_a_conference_are_a_bare_list(api: Api) -> None:
    row = api.rooms.open(api.admin.sid)
    for room in (row.sid, new_sid("CF")):
        recording = RecordingRow(
            sid=new_sid("RE"),
            account_sid=api.admin.sid,
            call_sid=new_sid("CA"),
            conference_sid=room,
            duration=2.0,
        )
        api.store.recordings.save(recording)
    found = (await api.get(f"~/Conferences/{row.sid}/Recordings.json")).json

    assert [item["conference_sid"] for item in found] == [row.sid]


@pytest_twisted.ensureDeferred
async def test_recordings_of_another_account_are_not_shown_with_the_conference_nor_with_the_call(
    api: Api,
) -> None:
    """A client may be in the room of another account; what each of both records is its own."""
    room, call = api.rooms.open(api.child.sid), api.call()
    api.store.calls.save(call)
    sids = []
    for owner in (api.admin.sid, api.child.sid):
        sids.append(new_sid("RE"))
        recording = RecordingRow(
            sid=sids[-1], account_sid=owner, call_sid=call.sid, conference_sid=room.sid, duration=2.0
        )
        api.store.recordings.save(recording)
    of_room = (await api.get(f"{child_path(api)}/Conferences/{room.sid}/Recordings.json")).json
    of_call = (await api.get(f"~/Calls/{call.sid}/Recordings.json")).json

    assert [item["sid"] for item in of_call] == sids[:1]
    assert [item["sid"] for item in of_room] == sids[1:]
    assert (await api.get(f"~/Calls/{call.sid}/Recordings/{sids[1]}.json")).code == 404


@pytest_twisted.ensureDeferred
async def test_conferences_of_others_are_403_and_unknown_ones_404(api: Api) -> None:
    room, call = api.rooms.open(api.admin.sid), api.call()
    api.rooms.enter(room, call)

    async def codes(path: str, **more: Any) -> set[int]:
        return {
            (await api.get(f"{path}.json", **more)).code,
            (await api.post(f"{path}.json", {"Status": "completed"}, **more)).code,
            (await api.get(f"{path}/Recordings.json", **more)).code,
            (await api.get(f"{path}/Participants.json", **more)).code,
            (await api.post(f"{path}/Participants.json", {"From": "a", "To": "b"}, **more)).code,
            (await api.get(f"{path}/Participants/{call.sid}.json", **more)).code,
            (await api.post(f"{path}/Participants/{call.sid}.json", {"Mute": "true"}, **more)).code,
            (await api.ask("DELETE", f"{path}/Participants/{call.sid}.json", **more)).code,
        }

    assert await codes(f"~/Conferences/{room.sid}", by=None) == {401}
    assert await codes(f"~/Conferences/{room.sid}", by=api.child) == {403}
    assert await codes(f"{child_path(api)}/Conferences/{room.sid}", by=api.child) == {403}
    assert await codes(f"{child_path(api)}/Conferences/{room.sid}") == {403}
    assert await codes(f"~/Conferences/{new_sid('CF')}") == {404}
    assert await codes("~/Conferences/nonsense") == {404}
    assert await codes(f"~/Conferences/{call.sid}") == {404}
    assert await codes(f"/2012-04-24/Accounts/{new_sid('AC')}/Conferences/{room.sid}") == {404}
    await api.store.accounts.update(attrs.evolve(api.child, status="suspended"))
    assert await codes(f"{child_path(api)}/Conferences/{room.sid}", by=api.child) == {403}
    own = api.rooms.open(api.child.sid)
    path = f"{child_path(api)}/Conferences/{own.sid}/Participants.json"
    dialed = await api.post(path, {"From": "a", "To": "b"})
    assert (dialed.code, dialed.json["message"]) == (403, "Provided Account is not active")


@pytest_twisted.ensureDeferred
async def test_a_developer_may_moderate(api: Api) -> None:
    await api.store.accounts.update(attrs.evolve(api.child, role="Developer"))
    row, call = api.rooms.open(api.child.sid), api.call(account_sid=api.child.sid)
    api.rooms.enter(row, call)
    path = f"{child_path(api)}/Conferences/{row.sid}"

    assert (await api.get(f"{child_path(api)}/Conferences.json", by=api.child)).json["total"] == 1
    assert (await api.ask("DELETE", f"{path}/Participants/{call.sid}.json", by=api.child)).code == 204
    assert (await api.post(f"{path}.json", {"Status": "completed"}, by=api.child)).code == 200


@pytest_twisted.ensureDeferred
async def test_errors_of_a_conference_keep_status_and_text(api: Api) -> None:
    row = api.rooms.open(api.admin.sid)
    api.rooms.failure = CallControlError("The room is gone.", status=410, code=1100)
    expected = {"message": "The room is gone.", "code": 1100, "status": 410}
    path = f"~/Conferences/{row.sid}"

    assert (await api.get(f"{path}/Participants.json")).json == expected
    assert (await api.post(f"{path}.json", {"Record": "true"})).json == expected


@pytest_twisted.ensureDeferred
async def test_an_engine_without_conferences_says_so(roomless_api: Api) -> None:
    api = roomless_api
    row = api.rooms.open(api.admin.sid)
    over = api.rooms.open(api.admin.sid, status="COMPLETED")
    answer = await api.post(f"~/Conferences/{row.sid}.json", {"Status": "completed"})

    assert (answer.code, answer.json["message"]) == (
        503,
        "Live conferences are not available in this engine.",
    )
    assert (await api.get(f"~/Conferences/{row.sid}/Participants.json")).code == 503
    assert (await api.get("~/Conferences.json")).json["total"] == 2
    assert (await api.get(f"~/Conferences/{over.sid}/Participants.json")).json["total"] == 0


@pytest_twisted.ensureDeferred
async def test_conferences_and_participants_in_the_shape_of_twilio(api: Api) -> None:
    base = f"/2010-04-01/Accounts/{api.admin.sid}/Conferences"
    for status in (
        "RUNNING_INITIALIZING",
        "RUNNING_MODERATOR_ABSENT",
        "RUNNING_MODERATOR_PRESENT",
        "COMPLETED",
    ):
        row = ConferenceRow(sid=new_sid("CF"), account_sid=api.admin.sid, friendly_name="r", status=status)
        api.store.conferences.save(row)
    shown = (await api.get(f"{base}.json")).json

    assert [row["status"] for row in shown["conferences"]] == [
        "init",
        "in-progress",
        "in-progress",
        "completed",
    ]
    for status, total in (("in-progress", 2), ("init", 1), ("completed", 1), ("nothing", 0)):
        assert (await api.get(f"{base}.json", params={"Status": status})).json["total"] == total
    participants = (await api.get(f"{base}/{shown['conferences'][1]['sid']}/Participants.json")).json
    assert (participants["participants"], participants["next_page_uri"]) == ([], None)
    data = {"From": "a", "To": "bob", "Muted": "true"}
    answer = await api.post(f"{base}/{shown['conferences'][1]['sid']}/Participants.json", data)
    called = answer.json
    assert (answer.code, called["status"], called["label"], called["muted"]) == (201, "queued", None, True)
    assert called["uri"].endswith(f"/Participants/{called['call_sid']}.json")
    assert not {"sid", "end_conference_on_enter"} & set(called)


@pytest_twisted.ensureDeferred
async def test_recordings_of_a_conference_one_by_one(api: Api) -> None:
    row = ConferenceRow(sid=new_sid("CF"), account_sid=api.admin.sid, friendly_name="r")
    api.store.conferences.save(row)
    one = RecordingRow(
        sid=new_sid("RE"),
        account_sid=api.admin.sid,
        call_sid=new_sid("CA"),
        conference_sid=row.sid,
        duration=1.0,
    )
    other = RecordingRow(sid=new_sid("RE"), account_sid=api.admin.sid, call_sid=new_sid("CA"), duration=1.0)
    api.store.recordings.save(one)
    api.store.recordings.save(other)
    base = f"~/Conferences/{row.sid}/Recordings"

    assert (await api.get(f"{base}/{one.sid}.json")).json["sid"] == one.sid
    assert (await api.get(f"{base}/{other.sid}.json")).code == 404
    assert (await api.post(f"{base}/{one.sid}.json", {"Status": "paused"})).code == 400
    assert (await api.ask("DELETE", f"{base}/{one.sid}.json")).code == 200
    assert (await api.get(f"{base}.json")).json == []
