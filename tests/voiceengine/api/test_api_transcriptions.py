"""Transcriptions: the resource, and what a Record with `transcribe` leaves there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import pytest_twisted

from media.legs import RecordingReport
from rcml.ports import RecordSpec
from voiceengine.calls.call_recordings import CallRecordings
from voiceengine.store.rows import TranscriptionRow, new_sid

pytestmark = pytest.mark.loopback

Api = Any
BASE = "~/Transcriptions"


def transcription(api: Api, text: str, created: float, **changes: Any) -> TranscriptionRow:
    values: dict[str, Any] = {
        "sid": new_sid("TR"),
        "account_sid": api.admin.sid,
        "recording_sid": new_sid("RE"),
        "duration": 14.70275,
        "transcription_text": text,
        "date_created": created,
        "date_updated": created,
    }
    row = TranscriptionRow(**{**values, **changes})
    api.store.transcriptions.save(row)
    return row


@pytest_twisted.ensureDeferred
async def test_a_transcription_is_shown_and_removed(api: Api) -> None:
    row = transcription(api, "hello", 1383150513.0)
    shown = await api.get(f"{BASE}/{row.sid}.json")

    assert shown.json == {
        "sid": row.sid,
        "date_created": "Wed, 30 Oct 2013 16:28:33 +0000",
        "date_updated": "Wed, 30 Oct 2013 16:28:33 +0000",
        "account_sid": api.admin.sid,
        "status": "completed",
        "recording_sid": row.recording_sid,
        "duration": "14.70275",
        "transcription_text": "hello",
        "price": "0.0",
        "price_unit": "USD",
        "uri": f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/Transcriptions/{row.sid}.json",
    }
    xml = (await api.get(f"{BASE}/{row.sid}.xml")).xml[0]
    assert (xml.tag, " ".join(item.tag for item in xml)) == (
        "Transcription",
        (
            "Sid DateCreated DateUpdated AccountSid Status RecordingSid Duration TranscriptionText Price "
            "PriceUnit Uri"
        ),
    )
    child = f"/2012-04-24/Accounts/{api.child.sid}/Transcriptions/{row.sid}.json"
    assert (await api.get(child)).code == 403
    assert (await api.ask("DELETE", child)).code == 403
    deleted = await api.ask("DELETE", f"{BASE}/{row.sid}.json")
    assert (deleted.code, deleted.raw) == (200, b"")
    assert (await api.ask("DELETE", f"{BASE}/{row.sid}.json")).code == 404
    assert (await api.get(f"{BASE}/{row.sid}.json")).code == 404
    assert (await api.get(f"{BASE}/short.json")).code == 404
    assert (await api.post(f"{BASE}.json")).code == 405


@pytest_twisted.ensureDeferred
async def test_transcriptions_are_filtered_and_paged(api: Api) -> None:
    for at, text in ((86400.0, "100% sure"), (2 * 86400.0, "hello"), (3 * 86400.0 - 1, "hello again")):
        transcription(api, text, at)
    transcription(api, "below", 5 * 86400.0, account_sid=api.child.sid)

    async def texts(query: str) -> list[str]:
        answer = await api.get(f"{BASE}.json?{query}")
        assert answer.code == 200, answer.text
        return [row["transcription_text"] for row in answer.json["transcriptions"]]

    assert await texts("") == ["hello again", "hello", "100% sure"]
    assert await texts("SubAccounts=true&PageSize=1") == ["below"]
    assert await texts("TranscriptionText=hello") == ["hello again", "hello"]
    assert await texts("TranscriptionText=%25") == ["100% sure"]
    assert await texts("StartTime=1970-01-03") == ["hello again", "hello"]
    assert await texts("EndTime=1970-01-03") == ["hello again", "hello", "100% sure"]
    assert await texts("StartTime=1970-01-02&EndTime=1970-01-02T12:00:00") == ["100% sure"]
    page = (await api.get(f"{BASE}.json?PageSize=2&TranscriptionText=hello")).json
    assert (page["num_pages"], page["total"], page["end"]) == (1, 2, "1")
    assert page["next_page_uri"].endswith("&TranscriptionText=hello")
    listed = (await api.get(f"{BASE}.xml?PageSize=2")).xml[0]
    assert (listed.tag, listed.get("total"), len(listed)) == ("Transcriptions", "3", 2)
    assert (await api.get(f"{BASE}.json?Page=9")).code == 400
    assert (await api.get(f"{BASE}.json?StartTime=now")).code == 400


@pytest_twisted.ensureDeferred
async def test_a_developer_reads_transcriptions_only(api: Api) -> None:
    await api.store.accounts.update(attrs.evolve(api.child, role="Developer"))
    row = transcription(api, "hello", 1.0, account_sid=api.child.sid)
    path = f"/2012-04-24/Accounts/{api.child.sid}/Transcriptions/{row.sid}.json"

    assert (await api.get(path, by=api.child)).code == 200
    assert (await api.ask("DELETE", path, by=api.child)).code == 403


@pytest_twisted.ensureDeferred
async def test_a_transcription_that_a_document_asks_for_fails_without_an_engine(api: Api) -> None:
    journal: list[str] = []
    context: Any = SimpleNamespace(
        store=api.store, recordings=api.folder, api_url="http://host/v", wall=lambda: 1000.0
    )
    call: Any = SimpleNamespace(
        sid=new_sid("CA"),
        row=SimpleNamespace(account_sid=api.admin.sid),
        records=SimpleNamespace(journal=lambda event, **_: journal.append(event)),
    )
    recordings = CallRecordings(context, call)
    sid, _ = recordings.new(RecordSpec(max_seconds=60, silence_seconds=5, finish_keys="#", beep=False))
    report = RecordingReport(recording=sid, path="", seconds=2.5, end="silence", digit="", heard=True)
    await recordings.made(sid, report)
    recordings.transcribe(sid)
    recordings.transcribe(new_sid("RE"))
    listed = (await api.get(f"{BASE}.json")).json["transcriptions"]
    recording = await api.store.recordings.get(sid)

    assert [(row["status"], row["recording_sid"], row["duration"]) for row in listed] == [
        ("failed", sid, "2.5")
    ]
    assert listed[0]["transcription_text"] == ""
    assert recording.transcription == "not-configured"


@pytest_twisted.ensureDeferred
async def test_the_library_of_twilio_reads_transcriptions(api: Api) -> None:
    row = transcription(api, "hello", 1383150513.0)
    transcription(api, "again", 1383150514.0, status="failed")

    def use(client: Any) -> None:
        found = client.transcriptions.list(page_size=1)
        assert [item.transcription_text for item in found] == ["again", "hello"]
        one = client.transcriptions(row.sid).fetch()
        assert (one.recording_sid, one.duration, one.status) == (row.recording_sid, "14.70275", "completed")
        assert one.date_created.year == 2013
        assert client.transcriptions(row.sid).delete()

    await api.by_twilio(use)
    assert await api.store.transcriptions.get(row.sid) is None
