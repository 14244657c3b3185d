"""Acceptance cases 75 and 76: the media and the records of recordings, with ranges and conditions."""

from __future__ import annotations

import os
from typing import Any

import pytest
import pytest_twisted

from voiceengine.store.rows import RecordingRow, new_sid

pytestmark = pytest.mark.loopback

Api = Any

AUDIO = b"RIFF" + bytes(range(256)) * 400


def recording(api: Api, content: bytes = AUDIO, **changes: Any) -> RecordingRow:
    values: dict[str, Any] = {
        "sid": new_sid("RE"),
        "account_sid": api.admin.sid,
        "call_sid": new_sid("CA"),
        "duration": 14.70275,
        "date_created": 1489572657.0,
        "date_updated": 1489572667.0,
    }
    row = RecordingRow(**{**values, **changes})
    api.store.recordings.save(row)
    path = api.folder / f"{row.sid}.wav"
    path.write_bytes(content)
    os.utime(path, (1489572667.5, 1489572667.5))
    return row


@pytest_twisted.ensureDeferred
async def test_media_is_open_and_its_record_is_not(api: Api) -> None:
    row = recording(api)
    media = await api.get(f"~/Recordings/{row.sid}.wav", by=None)
    mount = await api.get(f"/2010-04-01/Accounts/{api.admin.sid}/Recordings/{row.sid}.wav", by=None)

    assert (media.code, media.header("Content-Type"), media.raw) == (200, "audio/x-wav", AUDIO)
    assert media.header("Accept-Ranges") == "bytes"
    assert media.header("Last-Modified") == "Wed, 15 Mar 2017 10:11:07 GMT"
    assert media.header("ETag").startswith(f'"{row.sid}-') and mount.raw == AUDIO
    assert (await api.get(f"~/Recordings/{new_sid('RE')}.wav", by=None)).code == 404
    assert (await api.get(f"~/Recordings/{row.sid}.mp4", by=None)).code == 404
    assert (await api.get(f"~/Recordings/{row.sid}.json", by=None)).code == 401


@pytest_twisted.ensureDeferred
async def test_ranges(api: Api) -> None:
    row = recording(api, b"RIFF0123456789")
    cases = [
        ("bytes=4-7", 206, b"0123", "bytes 4-7/14"),
        ("bytes=4-", 206, b"0123456789", "bytes 4-13/14"),
        ("bytes=-3", 206, b"789", "bytes 11-13/14"),
        ("bytes=-14", 206, b"RIFF0123456789", "bytes 0-13/14"),
        ("bytes=-99", 200, b"RIFF0123456789", ""),
        ("bytes=0-1, -99", 200, b"RIFF0123456789", ""),
        ("bytes=-0", 200, b"RIFF0123456789", ""),
        ("bytes=12-99", 206, b"89", "bytes 12-13/14"),
        ("bytes=14-", 416, b"", "bytes */14"),
        ("bytes=99-100", 416, b"", "bytes */14"),
        ("bytes=7-4", 200, b"RIFF0123456789", ""),
        ("lines=1-2", 200, b"RIFF0123456789", ""),
        ("bytes=" + "0-0," * 20 + "0-0", 200, b"RIFF0123456789", ""),
        ("bytes=\xff", 200, b"RIFF0123456789", ""),
    ]
    for wanted, code, content, said in cases:
        answer = await api.get(f"~/Recordings/{row.sid}.wav", by=None, headers={"Range": wanted})

        assert (answer.code, answer.raw, answer.header("Content-Range")) == (code, content, said), wanted
    several = await api.get(f"~/Recordings/{row.sid}.wav", by=None, headers={"Range": "bytes=0-3,12-13"})
    assert several.code == 206
    assert several.header("Content-Type").startswith("multipart/byteranges")
    assert b"\r\n\r\nRIFF\r\n" in several.raw and b"\r\n\r\n89\r\n" in several.raw


@pytest_twisted.ensureDeferred
async def test_conditions_of_media(api: Api) -> None:
    row = recording(api)
    path = f"~/Recordings/{row.sid}.wav"
    tag = (await api.get(path, by=None)).header("ETag")
    modified, later = "Wed, 15 Mar 2017 10:11:07 GMT", "Wed, 15 Mar 2017 10:11:08 GMT"
    before = "Wed, 15 Mar 2017 10:11:06 GMT"
    cases = [
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": f'"x", W/{tag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": later}, 200),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": before}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-None-Match": tag, "Range": "bytes=0-3"}, 304),
        ({"If-Range": tag, "Range": "bytes=0-3"}, 206),
        ({"If-Range": '"x"', "Range": "bytes=0-3"}, 200),
    ]
    for headers, code in cases:
        for method in ("GET", "HEAD"):
            answer = await api.ask(method, path, by=None, headers=headers)
            expected = code if method == "GET" or code == 304 else 200
            assert (answer.code, answer.header("ETag")) == (expected, tag), headers
            assert (answer.raw == b"") == (code == 304 or method == "HEAD"), headers
    (api.folder / f"{row.sid}.wav").write_bytes(b"RIFF")
    assert (await api.get(path, by=None, headers={"If-None-Match": tag})).raw == b"RIFF"


@pytest_twisted.ensureDeferred
async def test_head_tells_the_length_and_sends_nothing(api: Api) -> None:
    row = recording(api)
    for path in (
        f"~/Recordings/{row.sid}.wav",
        f"~/Recordings/{row.sid}.json",
        "~/Calls",
        "~.json",
        "/healthz",
    ):
        whole, head = await api.get(path), await api.ask("HEAD", path)

        assert (head.code, head.raw) == (200, b"")
        assert head.header("Content-Length") == str(len(whole.raw))
        assert head.header("Content-Type") == whole.header("Content-Type")
    missing = await api.ask("HEAD", f"~/Recordings/{new_sid('RE')}.wav", by=None)
    assert (missing.code, missing.raw) == (404, b"")


@pytest_twisted.ensureDeferred
async def test_a_record_has_a_validator_that_changes_with_it(api: Api) -> None:
    row = recording(api)
    path = f"~/Recordings/{row.sid}.json"
    first = await api.get(path)
    again = await api.get(path, headers={"If-None-Match": first.header("ETag")})
    as_xml = await api.get(f"~/Recordings/{row.sid}.xml", headers={"If-None-Match": first.header("ETag")})
    since = await api.get(path, headers={"If-Modified-Since": first.header("Last-Modified")})
    recording(api, sid=row.sid, channels=2, date_updated=row.date_updated + 5)
    changed = await api.get(path, headers={"If-None-Match": first.header("ETag")})

    assert first.header("Last-Modified") == "Wed, 15 Mar 2017 10:11:07 GMT"
    assert first.header("Cache-Control") == "private, no-cache"
    assert (again.code, again.raw, since.code) == (304, b"", 304)
    assert (as_xml.code, changed.code, changed.json["channels"]) == (200, 200, 2)


@pytest_twisted.ensureDeferred
async def test_removing_a_recording_takes_record_and_media(api: Api) -> None:
    row, kept = recording(api), recording(api)
    removed = await api.ask("DELETE", f"~/Recordings/{row.sid}.json")

    assert (removed.code, removed.raw) == (200, b"")
    assert not (api.folder / f"{row.sid}.wav").exists()
    for path in (f"~/Recordings/{row.sid}.json", f"~/Recordings/{row.sid}.wav"):
        assert (await api.get(path)).code == 404
    found = (await api.get("~/Recordings.json")).json
    assert (found["total"], found["recordings"][0]["sid"]) == (1, kept.sid)


@pytest_twisted.ensureDeferred
async def test_recordings_in_the_shape_of_twilio(api: Api) -> None:
    row = recording(api, call_sid="CA" + "1" * 32)
    live = recording(api, call_sid="CA" + "1" * 32, status="in-progress", duration=0.0)
    base = f"/2010-04-01/Accounts/{api.admin.sid}/Recordings"
    found = (await api.get(f"{base}/{row.sid}.json")).json

    assert found["uri"] == f"{base}/{row.sid}.json"
    assert found["media_url"] == f"https://host{base}/{row.sid}.wav"
    assert (found["duration"], found["channels"], found["price"]) == ("15", 1, None)
    assert found["start_time"] == found["date_created"] == "Wed, 15 Mar 2017 10:10:57 +0000"
    assert (await api.get(f"{base}/{live.sid}.json")).json["duration"] is None
    for query, total in (
        ({"DateCreated": "2017-03-15"}, 2),
        ({"DateCreated>": "2017-03-16"}, 0),
        ({"DateCreated<": "2017-03-15"}, 2),
        ({"DateCreated": "2017-03-15T10:10:57Z"}, 2),
        ({"DateCreated": "2017-03-15T10:10:58Z"}, 0),
    ):
        assert (await api.get(f"{base}.json", params=query)).json["total"] == total, query
    assert (await api.ask("DELETE", f"{base}/{row.sid}.json")).code == 204
