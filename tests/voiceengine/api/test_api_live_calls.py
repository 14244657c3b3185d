"""Operations on live calls, recording on demand, and modifications that move or mute a call."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import pytest_twisted
from lxml import etree

from voiceengine.api.ports import (
    GatherInput,
    HoldCall,
    PlayAudio,
    ReferCall,
    ResumeCall,
    SayText,
    StartRecording,
)
from voiceengine.errors import CallControlError
from voiceengine.store.rows import RecordingRow, new_sid

pytestmark = pytest.mark.loopback

Api = Any

OPERATIONS: list[tuple[str, dict[str, str], object]] = [
    ("Say", {"Text": "hello\nthere"}, SayText(text="hello\nthere")),
    (
        "Say",
        {"Text": "a", "Voice": "Woman", "Language": "pt-BR", "Loop": "3"},
        SayText(text="a", voice="woman", language="pt-br", loop=3),
    ),
    ("Play", {"Url": "https://app/a.wav"}, PlayAudio(url="https://app/a.wav")),
    ("Play", {"Url": "https://app/a.wav", "Loop": "2"}, PlayAudio(url="https://app/a.wav", loop=2)),
    ("Gather", {"Action": "http://app/g"}, GatherInput(action="http://app/g")),
    (
        "Gather",
        {
            "Input": "DTMF",
            "StatusCallback": "http://app/s",
            "Method": "get",
            "Timeout": "9",
            "FinishOnKey": "",
            "NumDigits": "4",
            "Text": "your code",
            "Language": "de",
        },
        GatherInput(
            status_callback="http://app/s",
            method="GET",
            timeout=9,
            finish_on_key="",
            num_digits=4,
            text="your code",
            language="de",
        ),
    ),
    (
        "Gather",
        {"Action": "http://app/g", "Url": "http://app/p.wav", "FinishOnKey": "*#"},
        GatherInput(action="http://app/g", url="http://app/p.wav", finish_on_key="*#"),
    ),
    ("Hold", {}, HoldCall()),
    (
        "Hold",
        {"HoldMusic": "http://app/m.wav", "Action": "http://app/h", "Method": "GET"},
        HoldCall(music="http://app/m.wav", action="http://app/h", method="GET"),
    ),
    ("Resume", {}, ResumeCall()),
    ("Resume", {"Action": "http://app/r", "Method": "GET"}, ResumeCall(action="http://app/r", method="GET")),
    ("Refers", {"To": "sip:bob@example.com;user=phone"}, ReferCall(to="sip:bob@example.com;user=phone")),
    (
        "Refers",
        {"To": "+1 (510) 555-0100", "Action": "http://app/t", "Method": "GET"},
        ReferCall(to="+15105550100", action="http://app/t", method="GET"),
    ),
]

WRONG = [
    ("Say", {}, "Text can not be null."),
    ("Say", {"Text": "  "}, "Text can not be null."),
    ("Say", {"Text": "a" * 5001}, "Text must not be longer than 5000 characters."),
    ("Say", {"Text": "a\0"}, "Text must not contain control characters."),
    ("Say", {"Text": "a", "Voice": "robot"}, "Voice must be man or woman."),
    ("Say", {"Text": "a", "Language": "xx"}, "Language must be a language of Say"),
    ("Say", {"Text": "a", "Loop": "0"}, "Loop must be a whole number from 1 to 1000."),
    ("Play", {}, "Url can not be null."),
    ("Play", {"Url": "/a.wav"}, "Url must be an absolute http or https URL."),
    ("Play", {"Url": "file:///etc/passwd"}, "Url must be an absolute http or https URL."),
    ("Play", {"Url": "http://a/", "Loop": "often"}, "Loop must be a whole number"),
    ("Gather", {}, "Action or StatusCallback can not be null."),
    ("Gather", {"Action": "here"}, "Action must be an absolute http or https URL."),
    ("Gather", {"Action": "http://a/", "Input": "fax"}, "Input must be dtmf."),
    ("Gather", {"Action": "http://a/", "Timeout": "0"}, "Timeout must be a whole number from 1 to 600."),
    ("Gather", {"Action": "http://a/", "NumDigits": "0"}, "NumDigits must be a whole number from 1 to 4096."),
    ("Gather", {"Action": "http://a/", "FinishOnKey": "x"}, "FinishOnKey must be up to 12 characters"),
    ("Gather", {"Action": "http://a/", "Text": "a", "Url": "http://b/"}, "Text and Url both name the prompt"),
    ("Gather", {"Action": "http://a/", "Method": "PUT"}, "Method must be GET or POST."),
    ("Hold", {"HoldMusic": "silence"}, "HoldMusic must be an absolute http or https URL."),
    ("Hold", {"Method": "PUT"}, "Method must be GET or POST."),
    ("Resume", {"Action": "x"}, "Action must be an absolute http or https URL."),
    ("Refers", {}, "To can not be null."),
    ("Refers", {"To": "bob"}, "To must be a SIP URI (sip:user@host) or a number."),
    ("Refers", {"To": "sip:bob@x>\t"}, "To must not contain control characters."),
    ("Refers", {"To": "sip:b>ob@x"}, "To must be a SIP URI (sip:user@host) or a number."),
    ("Refers", {"To": "+"}, "To must be a SIP URI (sip:user@host) or a number."),
]


def child_path(api: Api) -> str:
    return f"/restcomm/2012-04-24/Accounts/{api.child.sid}"


@pytest.mark.parametrize(("name", "data", "expected"), OPERATIONS)
@pytest_twisted.ensureDeferred
async def test_an_operation_reaches_the_call(
    api: Api, name: str, data: dict[str, str], expected: object
) -> None:
    row = api.call()
    answer = await api.post(f"~/Calls/{row.sid}/{name}.json", data)

    assert answer.code == 200
    assert answer.json == (await api.get(f"~/Calls/{row.sid}.json")).json
    assert api.control.operated == [(row.sid, expected)]


@pytest.mark.parametrize(("name", "data", "message"), WRONG)
@pytest_twisted.ensureDeferred
async def test_a_wrong_parameter_is_named(api: Api, name: str, data: dict[str, str], message: str) -> None:
    answer = await api.post(f"~/Calls/{api.call().sid}/{name}.json", data)

    assert (answer.code, answer.json["status"]) == (400, 400)
    assert answer.json["message"].startswith(message)
    assert api.control.operated == []


@pytest.mark.parametrize("words", ["speech", "dtmf speech", "Speech,dtmf"])
@pytest_twisted.ensureDeferred
async def test_speech_is_not_recognised(api: Api, words: str) -> None:
    path = f"~/Calls/{api.call().sid}/Gather.json"
    answer = await api.post(path, {"Input": words, "Action": "http://app/g"})

    assert answer.json == {
        "message": "Speech recognition is not configured; Input must be dtmf.",
        "code": 1002,
        "status": 400,
    }


@pytest_twisted.ensureDeferred
async def test_an_operation_answers_xml_too(api: Api) -> None:
    row = api.call()
    call = (await api.post(f"~/Calls/{row.sid}/Say", {"Text": "hi"})).xml[0]

    assert (call.tag, call.find("Sid").text) == ("Call", row.sid)


@pytest.mark.parametrize("name", ["Say", "Play", "Gather", "Hold", "Resume", "Refers", "Recordings"])
@pytest_twisted.ensureDeferred
async def test_calls_that_cannot_be_operated(api: Api, name: str) -> None:
    data = {"Text": "a", "Url": "http://a/", "Action": "http://a/", "To": "123"}
    if name == "Gather":
        del data["Text"]
    over, ringing, foreign = api.call(status="completed"), api.call(status="ringing"), api.call()
    gone = await api.post(f"~/Calls/{over.sid}/{name}.json", data)
    early = await api.post(f"~/Calls/{ringing.sid}/{name}.json", data)

    assert (gone.code, gone.json["code"]) == (410, 1100)
    assert (early.code, early.json["code"]) == (409, 1103)
    assert (await api.post(f"~/Calls/{new_sid('CA')}/{name}.json", data)).code == 404
    assert (await api.post(f"~/Calls/nonsense/{name}.json", data)).code == 404
    child = child_path(api)
    assert (await api.post(f"{child}/Calls/{foreign.sid}/{name}.json", data, by=api.child)).code == 403
    assert (await api.post(f"~/Calls/{foreign.sid}/{name}.json", data, by=api.child)).code == 403
    assert (await api.post(f"~/Calls/{foreign.sid}/{name}.json", data, by=None)).code == 401
    if name != "Recordings":
        assert (await api.get(f"~/Calls/{foreign.sid}/{name}.json")).code == 405
    api.control.failure = CallControlError("No media worker is free.", status=503, code=1000)
    busy = await api.post(f"~/Calls/{foreign.sid}/{name}.json", data)
    assert busy.json == {"message": "No media worker is free.", "code": 1000, "status": 503}


@pytest.mark.parametrize("name", ["Say", "Recordings"])
@pytest_twisted.ensureDeferred
async def test_a_suspended_account_gets_nothing_new(api: Api, name: str) -> None:
    row = api.call(account_sid=api.child.sid)
    await api.store.accounts.update(attrs.evolve(api.child, status="suspended"))
    answer = await api.post(f"{child_path(api)}/Calls/{row.sid}/{name}.json", {"Text": "a"})

    assert (answer.code, answer.json["message"]) == (403, "Provided Account is not active")
    # Its parent may still end the call.
    assert (await api.post(f"{child_path(api)}/Calls/{row.sid}.json", {"Status": "completed"})).code == 200


# ---------------------------------------------------------------- modification


@pytest_twisted.ensureDeferred
async def test_a_call_is_muted_and_unmuted(api: Api) -> None:
    row = api.call()
    for value in ("true", "False"):
        assert (await api.post(f"~/Calls/{row.sid}.json", {"Mute": value})).code == 200

    assert [change.mute for _, change in api.control.modified] == [True, False]


@pytest_twisted.ensureDeferred
async def test_the_connected_leg_moves_along_when_asked(api: Api) -> None:
    path = f"~/Calls/{api.call().sid}.json"
    for value in ("true", "false"):
        await api.post(path, {"Url": "http://app/2", "Mute": "true", "MoveConnectedCallLeg": value})

    found = [(change.url, change.mute, change.move_connected_leg) for _, change in api.control.modified]
    assert found == [("http://app/2", True, True), ("http://app/2", True, False)]


@pytest_twisted.ensureDeferred
async def test_moving_a_leg_alone_is_no_instruction(api: Api) -> None:
    assert (await api.post(f"~/Calls/{api.call().sid}.json", {"MoveConnectedCallLeg": "true"})).code == 409


@pytest_twisted.ensureDeferred
async def test_a_call_is_moved_into_a_room(api: Api) -> None:
    path, name = f"~/Calls/{api.call().sid}.json", "R&D <room> \u00fc"
    room = api.rooms.open(api.admin.sid, name)
    by_name = await api.post(path, {"FriendlyName": f" {name} ", "MoveConnectedCallLeg": "true"})
    by_sid = await api.post(path, {"ConferenceSid": room.sid})

    assert (by_name.code, by_sid.code) == (200, 200)
    for _, change in api.control.modified:
        assert etree.fromstring(change.rcml).findtext("Dial/Conference") == name
    assert [change.move_connected_leg for _, change in api.control.modified] == [True, False]


@pytest_twisted.ensureDeferred
async def test_a_room_that_is_over_unknown_or_foreign(api: Api) -> None:
    path = f"~/Calls/{api.call().sid}.json"
    over = api.rooms.open(api.admin.sid, status="COMPLETED")
    foreign = api.rooms.open(api.child.sid)
    sids = [over.sid, foreign.sid, new_sid("CF"), "nonsense", "CA" + foreign.sid[2:]]

    codes = [(await api.post(path, {"ConferenceSid": sid})).code for sid in sids]
    assert codes == [410, 403, 404, 404, 404]
    assert api.control.modified == []


# ---------------------------------------------------------------- recordings


@pytest_twisted.ensureDeferred
async def test_a_call_is_recorded_from_now_on(api: Api) -> None:
    row = api.call()
    answer = await api.post(f"~/Calls/{row.sid}/Recordings.json")
    everything = {
        "RecordingChannels": "Dual",
        "MaxLength": "30",
        "PlayBeep": "true",
        "RecordingStatusCallback": "http://app/r",
        "RecordingStatusCallbackMethod": "GET",
    }
    second = await api.post(f"~/Calls/{row.sid}/Recordings.json", everything)

    assert (answer.code, second.code) == (200, 200)
    assert (answer.json["call_sid"], answer.json["status"], answer.json["channels"]) == (
        row.sid,
        "in-progress",
        1,
    )
    assert "duration" not in answer.json and "conference_sid" not in answer.json
    assert second.json["channels"] == 2
    assert [asked for _, asked in api.control.recorded] == [
        StartRecording(),
        StartRecording(
            max_seconds=30,
            channels=2,
            beep=True,
            status_callback="http://app/r",
            status_callback_method="GET",
        ),
    ]
    assert len((await api.get(f"~/Calls/{row.sid}/Recordings.json")).json) == 2
    one = f"~/Calls/{row.sid}/Recordings/{answer.json['sid']}"
    assert (await api.get(f"{one}.json")).json == answer.json
    assert (await api.get(one)).xml[0].find("Status").text == "in-progress"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"RecordingChannels": "stereo"}, "RecordingChannels"),
        ({"MaxLength": "0"}, "MaxLength"),
        ({"MaxLength": "long"}, "MaxLength"),
        ({"RecordingStatusCallback": "r"}, "RecordingStatusCallback"),
        ({"RecordingStatusCallbackMethod": "PUT"}, "RecordingStatusCallbackMethod"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_recording_cannot_be_asked_for_so(api: Api, data: dict[str, str], name: str) -> None:
    answer = await api.post(f"~/Calls/{api.call().sid}/Recordings.json", data)

    assert (answer.code, answer.json["message"].partition(" ")[0]) == (400, name)


@pytest_twisted.ensureDeferred
async def test_a_recording_is_paused_resumed_and_stopped(api: Api) -> None:
    row = api.call()
    sid = (await api.post(f"~/Calls/{row.sid}/Recordings.json")).json["sid"]
    path = f"~/Calls/{row.sid}/Recordings/{sid}.json"
    shown = [
        (await api.post(path, {"Status": status})).json for status in ("paused", "in-progress", "Stopped")
    ]

    assert [item["status"] for item in shown] == ["paused", "in-progress", "completed"]
    assert shown[-1]["duration"] == "1.0"
    assert (await api.post(path, {"Status": "paused"})).code == 404
    for data in ({}, {"Status": "completed"}):
        assert (await api.post(path, data)).json["message"] == (
            "Status must be stopped, paused or in-progress."
        )


@pytest_twisted.ensureDeferred
async def test_a_recording_of_another_call_is_not_found(api: Api) -> None:
    row, other, over = api.call(), api.call(), api.call(status="completed")
    sid = (await api.post(f"~/Calls/{other.sid}/Recordings.json")).json["sid"]

    assert (await api.get(f"~/Calls/{row.sid}/Recordings/{sid}.json")).code == 404
    assert (await api.post(f"~/Calls/{row.sid}/Recordings/{sid}.json", {"Status": "stopped"})).code == 404
    assert (await api.get(f"~/Calls/{row.sid}/Recordings/nonsense.json")).code == 404
    assert (await api.post(f"~/Calls/{over.sid}/Recordings/{sid}.json", {"Status": "stopped"})).code == 410
    by_child = await api.get(f"~/Calls/{other.sid}/Recordings/{sid}.json", by=api.child)
    assert by_child.code == 403


@pytest_twisted.ensureDeferred
async def test_a_recording_that_goes_on_has_no_media_and_stays(api: Api) -> None:
    sid = (await api.post(f"~/Calls/{api.call().sid}/Recordings.json")).json["sid"]
    (api.folder / f"{sid}.wav").write_bytes(b"RIFF")
    refused = await api.ask("DELETE", f"~/Recordings/{sid}.json")

    assert (await api.get(f"~/Recordings/{sid}.wav", by=None)).code == 404
    assert (refused.code, refused.json["status"]) == (409, 409)
    assert (await api.get(f"~/Recordings/{sid}.json")).json["status"] == "in-progress"
    xml = (await api.get(f"~/Recordings/{sid}")).xml[0]
    assert " ".join(item.tag for item in xml) == (
        "Sid DateCreated DateUpdated AccountSid CallSid Duration ApiVersion Uri FileUri Status Channels"
    )
    assert xml.find("Duration").text is None


@pytest_twisted.ensureDeferred
async def test_new_fields_of_a_recording_follow_the_specified_ones(api: Api) -> None:
    room = new_sid("CF")
    row = RecordingRow(
        sid=new_sid("RE"),
        account_sid=api.admin.sid,
        call_sid=new_sid("CA"),
        conference_sid=room,
        duration=1.5,
    )
    api.store.recordings.save(row)
    shown = (await api.get(f"~/Recordings/{row.sid}.json")).json

    assert " ".join(shown) == (
        "sid date_created date_updated account_sid call_sid duration api_version uri file_uri "
        "status channels conference_sid"
    )
    assert (shown["status"], shown["channels"], shown["conference_sid"]) == ("completed", 1, room)
    assert (await api.get(f"~/Recordings.json?ConferenceSid={room}")).json["total"] == 1
    assert (await api.get(f"~/Recordings.json?ConferenceSid={new_sid('CF')}")).json["total"] == 0


@pytest_twisted.ensureDeferred
async def test_who_may_operate_a_call_may_record_it(api: Api) -> None:
    await api.store.accounts.update(attrs.evolve(api.child, role="ProvisioningAgent"))
    row = api.call(account_sid=api.child.sid)
    child = child_path(api)
    started = await api.post(f"{child}/Calls/{row.sid}/Recordings.json", by=api.child)
    removed = await api.ask("DELETE", f"{child}/Recordings/{started.json['sid']}.json", by=api.child)

    assert started.code == 200
    assert (removed.code, removed.json["message"]) == (
        403,
        "The role ProvisioningAgent does not allow this on Recordings.",
    )


@pytest_twisted.ensureDeferred
async def test_recordings_of_a_call_in_the_shape_of_twilio_and_their_removal(api: Api) -> None:
    call = api.call()
    base = f"/2010-04-01/Accounts/{api.admin.sid}/Calls/{call.sid}/Recordings"
    started = await api.post(f"{base}.json", {"RecordingChannels": "dual"})
    live = await api.ask("DELETE", f"{base}/{started.json['sid']}.json")
    stopped = await api.post(f"{base}/Twilio.CURRENT.json", {"Status": "stopped"})
    nothing = await api.post(f"{base}/Twilio.CURRENT.json", {"Status": "stopped"})
    listed = (await api.get(f"{base}.json")).json
    removed = await api.ask("DELETE", f"{base}/{started.json['sid']}.json")

    assert (started.code, started.json["status"], started.json["channels"]) == (201, "in-progress", 2)
    assert (live.code, nothing.code) == (409, 404)
    assert (stopped.json["sid"], stopped.json["status"]) == (started.json["sid"], "completed")
    assert (listed["total"], listed["next_page_uri"], len(listed["recordings"])) == (1, None, 1)
    assert (removed.code, removed.raw) == (204, b"")
    assert (await api.get(f"~/Calls/{call.sid}/Recordings.json")).json == []
