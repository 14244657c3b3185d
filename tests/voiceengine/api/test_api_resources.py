"""Acceptance cases 68 to 77: clients, recordings and notifications."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs
import pytest
import pytest_twisted

from voiceengine.store.rows import Account, Application, NotificationRow, RecordingRow, new_sid

pytestmark = pytest.mark.loopback

Api = Any
ALICE = {"Login": "alice", "Password": "RestComm1234"}


def path_of(account: Account) -> str:
    return f"/2012-04-24/Accounts/{account.sid}"


@pytest_twisted.ensureDeferred
async def test_a_client_is_created_once(api: Api) -> None:
    first = await api.post("~/Clients.json", {**ALICE, "VoiceUrl": "http://app/", "VoiceMethod": "GET"})
    again = await api.post("~/Clients.json", {**ALICE, "VoiceUrl": "http://other/"})
    taken = await api.post(path_of(api.child) + "/Clients.json", ALICE)
    stored = api.store.clients.get(first.json["sid"])

    assert (first.code, first.json["status"], first.json["voice_method"]) == (200, "1", "GET")
    assert again.json == first.json
    assert taken.code == 409
    assert taken.json["message"].startswith(
        "A client with the same name was already created by another account."
    )
    assert first.json["password"] == hashlib.md5(b"alice:example.com:RestComm1234").hexdigest()
    assert stored.ha1_sha256 == hashlib.sha256(b"alice:example.com:RestComm1234").hexdigest()
    assert "RestComm1234" not in first.text
    assert api.changes == 1


@pytest_twisted.ensureDeferred
async def test_the_same_login_in_another_organization(api: Api) -> None:
    await api.store.accounts.update(attrs.evolve(api.child, organization_sid="OR" + "9" * 32))
    first = await api.post("~/Clients.json", ALICE)
    second = await api.post(path_of(api.child) + "/Clients.json", ALICE)

    assert (first.code, second.code) == (200, 200)
    assert first.json["sid"] != second.json["sid"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Login": "al@ice"}, "Login al@ice contains invalid character(s)"),
        ({"Login": "al?ice"}, "Login al?ice contains invalid character(s)"),
        ({"Login": "al ice"}, "Login al ice contains invalid character(s)"),
        ({"Login": "<alice>"}, "Login <alice> contains invalid character(s)"),
        ({"Login": ""}, "Login can not be null."),
        ({"Password": ""}, "Password can not be null."),
        ({"Password": "1234"}, "Password too weak"),
        (
            {"VoiceUrl": "nowhere"},
            "VoiceUrl must be an absolute http or https URL or a path that begins with /.",
        ),
        (
            {"VoiceUrl": "//evil/"},
            "VoiceUrl must be an absolute http or https URL or a path that begins with /.",
        ),
        ({"VoiceMethod": "PUT"}, "VoiceMethod must be GET or POST."),
        ({"VoiceApplicationSid": "PN1"}, "VoiceApplicationSid must be a sid that begins with AP."),
        (
            {"VoiceApplicationSid": "AP" + "0" * 32},
            "VoiceApplicationSid does not name an application of this account.",
        ),
        ({"FriendlyName": "x" * 65}, "FriendlyName must not be longer than 64 characters."),
        ({"Login": "a\r\nb"}, "Login must not contain control characters."),
    ],
)
@pytest_twisted.ensureDeferred
async def test_clients_that_cannot_be_created(api: Api, changes: dict[str, str], message: str) -> None:
    answer = await api.post("~/Clients.json", {**ALICE, **changes})

    assert (answer.code, answer.json["message"]) == (400, message)
    assert api.store.clients.all() == ()


@pytest_twisted.ensureDeferred
async def test_a_client_is_changed_and_removed(api: Api) -> None:
    sid = (await api.post("~/Clients.json", {**ALICE, "VoiceUrl": "/demo/x"})).json["sid"]
    application = new_sid("AP")
    await api.store.applications.add(
        Application(sid=application, account_sid=api.admin.sid, friendly_name="Menu")
    )
    changes = {
        "FriendlyName": "Alice B.",
        "Login": "ignored",
        "Password": "Other4Secret",
        "Status": "0",
        "VoiceUrl": "",
        "VoiceApplicationSid": application,
        "IsPushEnabled": "True",
    }
    changed = (await api.ask("PUT", f"~/Clients/{sid}.json", data=changes)).json
    again = (await api.post(f"~/Clients.json/{sid}", {"Status": "many", "VoiceApplicationSid": ""})).json

    assert (changed["friendly_name"], changed["login"], changed["status"]) == ("Alice B.", "alice", "0")
    assert changed["password"] == hashlib.md5(b"alice:example.com:Other4Secret").hexdigest()
    assert "voice_url" not in changed
    assert (changed["voice_application_sid"], list(changed)[-1]) == (application, "push_client_identity")
    assert (again["status"], "voice_application_sid" in again) == ("0", False)
    assert (await api.post(f"~/Clients/{sid}.json", {"Password": "1234"})).json[
        "message"
    ] == "Password too weak"
    assert [row["sid"] for row in (await api.get("~/Clients.json")).json] == [sid]
    assert (await api.get(f"{path_of(api.child)}/Clients/{sid}.json")).code == 403
    assert (await api.ask("DELETE", f"~/Clients/{sid}.json")).code == 200
    assert (await api.ask("DELETE", f"~/Clients/{sid}.json")).code == 404


@pytest_twisted.ensureDeferred
async def test_the_xml_of_a_client_and_its_list(api: Api) -> None:
    await api.post("~/Clients", ALICE)
    clients = (await api.get("~/Clients.xml")).xml[0]

    assert clients.tag == "Clients"
    assert " ".join([item.tag for item in clients[0]]) == (
        "Sid DateCreated DateUpdated AccountSid ApiVersion FriendlyName Login Password "
        "Password_Algorithm Status VoiceMethod VoiceFallbackMethod Uri PushClientIdentity"
    )


def recording(api: Api, content: bytes = b"", **changes: Any) -> RecordingRow:
    values: dict[str, Any] = {
        "sid": new_sid("RE"),
        "account_sid": api.admin.sid,
        "call_sid": new_sid("CA"),
        "duration": 14.70275,
    }
    row = RecordingRow(**{**values, **changes})
    api.store.recordings.add(row)
    if content:
        (api.folder / f"{row.sid}.wav").write_bytes(content)
    return row


@pytest_twisted.ensureDeferred
async def test_media_needs_no_credentials_and_knows_ranges(api: Api) -> None:
    row = recording(api, b"RIFF0123456789")
    media = await api.get(f"~/Recordings/{row.sid}.wav", by=None)
    part = await api.get(f"~/Recordings/{row.sid}.wav", by=None, headers={"Range": "bytes=4-7"})
    past = await api.get(f"~/Recordings/{row.sid}.wav", by=None, headers={"Range": "bytes=99-"})
    head = await api.ask("HEAD", f"~/Recordings/{row.sid}.wav", by=None)

    assert (media.code, media.header("Content-Type"), media.raw) == (200, "audio/x-wav", b"RIFF0123456789")
    assert (part.code, part.raw) == (206, b"0123")
    assert past.code == 416
    assert (head.code, head.raw, head.header("Content-Length")) == (200, b"", "14")
    assert (await api.get(f"~/Recordings/{new_sid('RE')}.wav", by=None)).code == 404
    assert (await api.get(f"~/Recordings/{row.sid}.mp4", by=None)).code == 404
    assert (await api.get(f"{path_of(api.child)}/Recordings/{row.sid}.wav", by=None)).code == 404
    assert (await api.get("~/Recordings/..%2f..%2fengine.db.wav", by=None)).code == 404
    assert (await api.get(f"~/Recordings/{row.sid}", by=None)).code == 401
    assert (await api.ask("DELETE", f"~/Recordings/{row.sid}.wav", by=None)).code == 405


@pytest_twisted.ensureDeferred
async def test_media_can_be_guarded(guarded_api: Api) -> None:
    api = guarded_api
    row = recording(api, b"RIFF")

    assert (await api.get(f"~/Recordings/{row.sid}.wav", by=None)).code == 401
    assert (await api.get(f"~/Recordings/{row.sid}.wav", by=api.child)).code == 403
    assert (await api.get(f"~/Recordings/{row.sid}.wav")).raw == b"RIFF"


@pytest_twisted.ensureDeferred
async def test_a_recording_is_shown_and_removed(api: Api) -> None:
    row, other = recording(api, b"RIFF"), recording(api)
    shown = (await api.get(f"~/Recordings/{row.sid}.json")).json
    before = (await api.get("~/Recordings.json")).json

    assert shown["duration"] == "14.70275"
    assert (
        shown["file_uri"]
        == f"https://host/restcomm/2012-04-24/Accounts/{api.admin.sid}/Recordings/{row.sid}.wav"
    )
    assert [item["sid"] for item in before["recordings"]] == [other.sid, row.sid]
    assert (await api.get(f"~/Recordings.json?CallSid={row.call_sid}")).json["total"] == 1
    deleted = await api.ask("DELETE", f"~/Recordings/{row.sid}.json")
    assert (deleted.code, deleted.raw) == (200, b"")
    assert (await api.get(f"~/Recordings/{row.sid}.json")).code == 404
    assert (await api.get(f"~/Recordings/{row.sid}.wav", by=None)).code == 404
    assert (await api.ask("DELETE", f"~/Recordings/{row.sid}.json")).code == 404
    assert (await api.get("~/Recordings.json")).json["total"] == 1
    assert list(api.folder.iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_notifications_are_filtered(api: Api) -> None:
    for code, text, log in ((12003, "no SMS application on 1235", 1), (21402, "not found: 100%", 0)):
        row = NotificationRow(
            sid=new_sid("NO"),
            account_sid=api.admin.sid,
            call_sid=new_sid("CA"),
            log=log,
            error_code=code,
            message_text=text,
            request_url="https://app.example.com/voice",
            date_created=float(code),
        )
        api.store.notifications.add(row)

    async def codes(query: str) -> list[int]:
        found = (await api.get(f"~/Notifications.json?{query}")).json["notifications"]
        return [item["error_code"] for item in found]

    assert await codes("ErrorCode=12003") == [12003]
    assert await codes("MessageText=100%25") == [21402]
    assert await codes("MessageText=_") == []
    assert await codes("RequestUrl=https://app.example.com/voice&SortBy=ErrorCode:asc") == [12003, 21402]
    assert await codes("Log=0") == [21402]
    assert await codes("EndTime=1970-01-01T05:00:00") == [12003]
    assert (await api.get("~/Notifications.json?ErrorCode=x")).code == 400
    shown = (await api.get(f"~/Notifications/{row.sid}.json")).json
    assert (shown["log"], shown["more_info"]) == (0, "https://host/restcomm/errors/21402.html")
    assert shown["message_date"].endswith("Z")
    assert (await api.get(f"~/Notifications/{new_sid('NO')}.json")).code == 404
    assert (await api.get(f"{path_of(api.child)}/Notifications/{row.sid}.json")).code == 403
    assert (await api.post("~/Notifications.json")).code == 405
