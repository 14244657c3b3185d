"""Announcements and the files that are served without credentials."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from voiceengine.errors import CallControlError
from voiceengine.store.rows import new_sid

pytestmark = pytest.mark.loopback

Api = Any
PREFIX = "/restcomm/2012-04-24"


def path_of(body: Any) -> str:
    return str(body["file_uri"]).removeprefix("https://host")


@pytest_twisted.ensureDeferred
async def test_a_text_is_spoken_and_its_audio_served_to_anybody(api: Api) -> None:
    made = await api.post(
        "~/Announcements.json", {"Text": "Hello\nworld", "Gender": "Woman", "Language": "fr"}
    )
    body = made.json
    audio = await api.get(path_of(body), by=None)

    assert made.code == 200
    assert list(body) == [
        "sid",
        "date_created",
        "account_sid",
        "gender",
        "language",
        "text",
        "uri",
        "file_uri",
    ]
    assert re.fullmatch(r"AN[0-9a-f]{32}", body["sid"])
    assert (body["gender"], body["language"], body["text"]) == ("woman", "fr", "Hello\nworld")
    assert body["uri"] == f"{PREFIX}/Accounts/{api.admin.sid}/Announcements/{body['sid']}.json"
    assert re.fullmatch(rf"https://host/restcomm/cache/{api.admin.sid}/[0-9a-f]{{32}}\.wav", body["file_uri"])
    assert api.spoken == [("Hello\nworld", "woman", "fr")]
    assert (audio.code, audio.header("Content-Type"), audio.raw) == (200, "audio/x-wav", b"RIFFHello\nworld")


@pytest_twisted.ensureDeferred
async def test_a_part_of_the_audio_can_be_asked_for(api: Api) -> None:
    path = path_of((await api.post("~/Announcements.json", {"Text": "Hello"})).json)
    part = await api.get(path, by=None, headers={"Range": "bytes=4-6"})
    head = await api.ask("HEAD", path, by=None)

    assert (part.code, part.raw) == (206, b"Hel")
    assert part.header("Content-Range") == "bytes 4-6/9"
    assert (head.code, head.header("Content-Length"), head.raw) == (200, "9", b"")
    assert (await api.post(path, by=None)).code == 405


@pytest_twisted.ensureDeferred
async def test_defaults_and_xml(api: Api) -> None:
    made = await api.post("~/Announcements", {"Text": "Hello"})
    found = made.xml.find("Announcement")

    assert api.spoken == [("Hello", "man", "en")]
    assert [child.tag for child in found] == [
        "Sid",
        "DateCreated",
        "AccountSid",
        "Gender",
        "Language",
        "Text",
        "Uri",
        "FileUri",
    ]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "Text can not be null."),
        ({"Text": "  \n"}, "Text must contain something to say."),
        ({"Text": "x", "Gender": "robot"}, "Gender must be man or woman."),
        ({"Text": "x", "Language": "e" * 17}, "Language must not be longer than 16 characters."),
        ({"Text": "x" * 100_000}, "Text has 100000 characters; at most"),
    ],
)
async def test_what_cannot_be_spoken_is_refused(api: Api, form: Any, message: str) -> None:
    found = await api.post("~/Announcements.json", form)

    assert found.code == 400
    assert found.json["message"].startswith(message)
    assert api.spoken == []


@pytest_twisted.ensureDeferred
async def test_a_failure_of_speech_leaves_nothing(api: Api) -> None:
    api.mute = CallControlError("The text cannot be spoken: no voice.", status=500)
    found = await api.post("~/Announcements.json", {"Text": "Hello"})

    assert (found.code, found.json["message"]) == (500, "The text cannot be spoken: no voice.")
    assert (await api.get("~/Announcements.json")).json["total"] == 0
    assert not list(api.cache.rglob("*.wav"))


@pytest_twisted.ensureDeferred
async def test_announcements_are_listed_read_and_removed(api: Api) -> None:
    first, second = [(await api.post("~/Announcements.json", {"Text": text})).json for text in ("one", "two")]
    listed = (await api.get("~/Announcements.json")).json

    assert listed["total"] == 2
    assert {item["sid"] for item in listed["announcements"]} == {first["sid"], second["sid"]}
    assert (await api.get("~/Announcements.json?Text=tw")).json["announcements"] == [second]
    one = f"~/Announcements/{first['sid']}.json"
    assert (await api.get(one)).json == first
    assert (await api.ask("DELETE", one)).code == 200
    assert (await api.get(one)).code == 404
    assert (await api.get(path_of(first), by=None)).code == 404
    assert (await api.get(path_of(second), by=None)).code == 200


@pytest_twisted.ensureDeferred
async def test_announcements_of_others_are_403_and_unknown_ones_404(api: Api) -> None:
    sid = (await api.post("~/Announcements.json", {"Text": "one"})).json["sid"]
    own = f"{PREFIX}/Accounts/{api.child.sid}/Announcements"

    for method in ("GET", "DELETE"):
        assert (await api.ask(method, f"~/Announcements/{sid}.json", by=api.child)).code == 403
        assert (await api.ask(method, f"{own}/{sid}.json", by=api.child)).code == 403
        assert (await api.ask(method, f"{own}/{new_sid('AN')}.json", by=api.child)).code == 404
    assert (await api.get("~/Announcements.json", by=None)).code == 401


@pytest_twisted.ensureDeferred
async def test_no_path_leads_out_of_the_cache(api: Api) -> None:
    file = path_of((await api.post("~/Announcements.json", {"Text": "one"})).json)
    name = file.rpartition("/")[2]
    (api.cache / "secret.wav").write_bytes(b"secret")
    account = f"/restcomm/cache/{api.admin.sid}"

    for path in (
        "/restcomm/cache",
        account,
        f"{account}/",
        f"{account}/..%2fsecret.wav",
        f"{account}/%2e%2e/secret.wav",
        "/restcomm/cache/secret.wav",
        f"/restcomm/cache/..%2fcache%2f{api.admin.sid}/{name}",
        f"/restcomm/cache/{api.child.sid}/{name}",
        f"{account}/{name}%00",
        f"{account}/{name}/more",
        f"{account}/{name.upper()}",
    ):
        assert (await api.get(path, by=None)).code == 404, path


@pytest_twisted.ensureDeferred
async def test_the_files_of_a_closed_account_are_gone_for_the_world(api: Api) -> None:
    made = await api.post(f"{PREFIX}/Accounts/{api.child.sid}/Announcements.json", {"Text": "one"})
    path = path_of(made.json)

    assert (await api.get(path, by=None)).code == 200
    await api.store.accounts.update(attrs.evolve(api.child, status="closed"))
    assert (await api.get(path, by=None)).code == 404


@pytest_twisted.ensureDeferred
async def test_an_engine_that_does_not_speak_says_so(roomless_api: Api) -> None:
    assert (await roomless_api.post("~/Announcements.json", {"Text": "one"})).code == 503
    assert (await roomless_api.get(f"/restcomm/cache/{roomless_api.admin.sid}/a.wav", by=None)).code == 404


@pytest_twisted.ensureDeferred
async def test_nothing_is_kept_for_an_account_that_was_closed_while_it_was_spoken(api: Api) -> None:
    path = f"{PREFIX}/Accounts/{api.child.sid}"
    closing: list[Deferred[Any]] = []

    class Spoken(list[Any]):
        def append(self, said: Any) -> None:
            row = attrs.evolve(api.child, status="closed")
            closing.append(Deferred.fromCoroutine(api.store.accounts.update(row)))

    api.spoken = Spoken()
    answer = await api.post(f"{path}/Announcements.json", {"Text": "x"})

    assert (answer.code, answer.json["message"]) == (403, "Provided Account is not active")
    assert (await api.get(f"{path}/Announcements.json")).json["total"] == 0
    assert not (api.cache / api.child.sid).exists()
    await closing[0]
