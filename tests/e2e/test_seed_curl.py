"""The `curl` commands of the documents that the API was specified by, run as they are written there.

They stand in `tests/data/seed_curl.txt`, to the letter. Only what a reader fills in is filled in: host, sids,
credentials and the URL of the callback. The commands whose URL has a `&` outside of quotes would be torn
apart by a shell (it would run what stands before in the background); they are cut into words as a shell does
it, and `curl` is run with these words: that is what the documents mean. All others are pasted into `bash`.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from harness import ROOT, EngineProcess
from pytest_twisted import ensureDeferred
from session import run
from sipphone import Phone
from twisted.internet.utils import getProcessOutputAndValue
from waiting import eventually, reactor, stays
from world import World

pytestmark = pytest.mark.loopback

COMMANDS = (ROOT / "tests" / "data" / "seed_curl.txt").read_text("utf-8").strip().split("\n\n")
DATE = re.compile(r"[A-Z][a-z]{2}, [1-9]\d? [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}")
CURL = 'curl() { command curl -sS -o "$OUT" -w "%{http_code} %{content_type}" "$@"; }\n'

MESSAGE = {
    **dict.fromkeys(("sid", "date_created", "date_updated", "account_sid", "from", "to", "body"), str),
    **dict.fromkeys(("status", "direction", "api_version", "uri"), str),
}
"""Keys and types of a message, as the documents show it."""
SENT = {**MESSAGE, "date_sent": str, "num_segments": int}
PAGE = {
    **dict.fromkeys(("page", "num_pages", "page_size", "total", "limit"), int),
    **dict.fromkeys(("start", "end", "uri", "first_page_uri", "previous_page_uri"), str),
    **dict.fromkeys(("next_page_uri", "last_page_uri"), str),
    "messages": list,
}
APPLICATION = {
    **dict.fromkeys(("sid", "date_created", "date_updated", "friendly_name", "account_sid"), str),
    **dict.fromkeys(("api_version", "uri", "rcml_url", "kind"), str),
    "voice_caller_id_lookup": bool,
}


@attrs.frozen
class Answer:
    """What `curl` got."""

    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        assert self.content_type == "application/json", self
        return json.loads(self.body)


@pytest.fixture(scope="module")
def carrier() -> Iterator[Phone]:
    """The provider: where messages to numbers go."""
    phone = run(lambda: Phone(("127.0.0.1", 9), "carrier").open())
    yield phone
    run(phone.close)


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess], carrier: Phone) -> EngineProcess:
    """An engine with a provider."""
    found = engines(f"sip.outbound_proxy.uri=sip:127.0.0.1:{carrier.port}", "media.spare_workers=1")
    carrier.engine = found.address("udp")
    return found


class Reader:
    """Somebody who reads the documents and pastes their commands into a terminal."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.out = folder / "body"
        self.callback = world.script("callback", "")
        self.sids = {"APPLICATION_SID": "", "MESSAGE_SID": ""}

    def command(self, *words: str, without: tuple[str, ...] = ()) -> str:
        """The only command with all of these words and none of those."""
        found = [c for c in COMMANDS if all(w in c for w in words) and not any(w in c for w in without)]
        assert len(found) == 1, found
        return found[0]

    def filled(self, command: str) -> str:
        """With the places that a reader fills in."""
        rest = self.world.rest
        known = {
            "https://mycompany.restcomm.com": rest.root,
            "/ACCOUNT_SID": f"/{rest.account_sid}",
            "YourAccountSid:YourAuthToken": f"{rest.account_sid}:{rest.auth_token}",
            "http://status.callback.url": self.callback,
            **self.sids,
        }
        for place, value in known.items():
            command = command.replace(place, value)
        return command

    async def paste(self, command: str) -> Answer:
        """Run a command."""
        text = self.filled(command)
        words = shlex.split(text.replace("\\\n", " "))
        self.out.unlink(missing_ok=True)
        if any("&" in word for word in words):
            program, arguments = "curl", ["-sS", "-o", str(self.out), "-w", "%{http_code} %{content_type}"]
            arguments += words[1:]
        else:
            program, arguments = "bash", ["-c", CURL + text]
        path = shutil.which(program)
        assert path is not None
        environment = {"OUT": str(self.out), "PATH": "/usr/local/bin:/usr/bin:/bin", "no_proxy": "*"}
        out, problems, code = await getProcessOutputAndValue(
            path, arguments, env=environment, reactor=reactor
        )
        assert code == 0, problems
        status, _, content_type = out.decode().partition(" ")
        body = self.out.read_bytes() if self.out.exists() else b""
        return Answer(int(status), content_type, body)


@pytest.fixture
def reader(world: World, tmp_path: Path) -> Reader:
    """A reader."""
    return Reader(world, tmp_path)


def has_shape(found: dict[str, Any], shape: dict[str, type]) -> bool:
    """Whether all documented keys are there with the documented types, and the dates as they are written."""
    wrong = {key: found.get(key) for key, kind in shape.items() if type(found.get(key)) is not kind}
    assert not wrong, f"{wrong} in {found}"
    dates = [found[key] for key in ("date_created", "date_updated") if key in shape]
    assert all(DATE.fullmatch(date) for date in dates), dates
    return True


async def message(world: World, sid: str, status: str) -> dict[str, Any]:
    """The record of a message, once it has a status."""

    async def read() -> Any:
        return (await world.rest.get(f"SMS/Messages/{sid}.json")).json

    found: dict[str, Any] = await eventually(
        read, lambda row: row["status"] == status, 5.0, f"message {sid} is {status}"
    )
    return found


def test_there_are_eleven_commands() -> None:
    assert len(COMMANDS) == len(set(COMMANDS)) == 11
    assert all(command.startswith("curl -X ") for command in COMMANDS)


@ensureDeferred
async def test_an_account_is_read(reader: Reader) -> None:
    answer = await reader.paste(reader.command("-X GET", "/ACCOUNT_SID.json"))

    assert answer.status == 200
    assert answer.json["sid"] == reader.world.rest.account_sid
    assert answer.json["status"] == "active"


@ensureDeferred
async def test_a_message_is_sent_to_a_number_and_its_way_is_told(reader: Reader, carrier: Phone) -> None:
    before = len(carrier.texts)
    answer = await reader.paste(reader.command("-X POST", "To=13216549878"))
    row = answer.json

    assert answer.status == 200
    assert has_shape(row, MESSAGE)
    assert (row["from"], row["to"], row["body"]) == ("19876543212", "13216549878", "Test SMS")
    assert (row["status"], row["direction"], row["api_version"]) == ("sending", "outbound-api", "2012-04-24")
    assert row["uri"].endswith(f"/Accounts/{row['account_sid']}/SMS/Messages/{row['sid']}.json")
    assert "num_segments" not in row
    text = await carrier.text(before + 1)
    assert text.body == b"Test SMS"
    assert text.uri.startswith("sip:13216549878@")
    seen = [await reader.world.asked("callback", number) for number in (1, 2)]
    assert [one.form["MessageStatus"] for one in seen] == ["sent", "delivered"]
    assert {one.method for one in seen} == {"POST"}
    for one in seen:
        assert {key: one.form[key] for key in ("MessageSid", "AccountSid", "From", "To", "Body")} == {
            "MessageSid": row["sid"],
            "AccountSid": row["account_sid"],
            "From": "19876543212",
            "To": "13216549878",
            "Body": "Test SMS",
        }
        assert "ErrorCode" not in one.form

    reader.sids["MESSAGE_SID"] = row["sid"]
    found = (await reader.paste(reader.command("MESSAGE_SID"))).json
    assert has_shape(found, SENT)
    assert (found["sid"], found["status"], found["num_segments"]) == (row["sid"], "delivered", 1)
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z", found["date_sent"])
    assert found["error_code"] is None
    await stays(lambda: reader.world.count("callback") == 2, 0.4, "two callbacks")
    counters = (await reader.world.rest.get("Supervisor/metrics.json")).json["Metrics"]
    assert counters["TextMessageOutbound"] >= 1


@ensureDeferred
async def test_a_message_is_sent_to_a_client_without_callbacks(reader: Reader) -> None:
    alice = await reader.world.registered("alice8", "RestComm1234")
    answer = await reader.paste(reader.command("-X POST", "To=client:alice8"))
    row = answer.json

    assert answer.status == 200
    assert has_shape(row, MESSAGE)
    assert (row["to"], row["body"], row["status"]) == ("client:alice8", "Test SIP message", "sending")
    text = await alice.text()
    assert text.body == b"Test SIP message"
    assert "19876543212" in text.get("From")
    found = await message(reader.world, row["sid"], "delivered")
    assert found.get("num_segments") is None
    await stays(lambda: reader.world.count("callback") == 0, 0.4, "no callback")


@ensureDeferred
async def test_messages_are_listed_page_by_page_filtered_and_limited(reader: Reader) -> None:
    send = reader.command("-X POST", "To=13216549878")
    sids = [(await reader.paste(send)).json["sid"] for _ in range(11)]
    for sid in sids:
        await message(reader.world, sid, "delivered")
    answer = await reader.paste(reader.command("?Page=0&PageSize=10"))
    page = answer.json
    assert answer.status == 200
    assert has_shape(page, PAGE)
    assert (page["page"], page["page_size"], page["limit"]) == (0, 10, 10000)
    assert (page["start"], page["end"], page["previous_page_uri"]) == ("0", "9", "null")
    assert len(page["messages"]) == 10
    assert all(has_shape(row, SENT) for row in page["messages"] if not row["to"].startswith("client:"))
    assert "AfterSid=" + page["messages"][-1]["sid"] in page["next_page_uri"]

    limited = (await reader.paste(reader.command("PageSize=10&Limit=500"))).json
    assert has_shape(limited, PAGE)
    assert limited["limit"] == 500
    assert "Limit=500" in limited["first_page_uri"]
    assert limited["total"] == page["total"]

    # messages of June 2018: there are none, and that is no error
    filtered = await reader.paste(reader.command("StartTime=2018-05-30"))
    assert filtered.status == 200
    assert (filtered.json["total"], filtered.json["messages"]) == (0, [])
    assert (filtered.json["page"], filtered.json["page_size"]) == (0, 10)


@ensureDeferred
async def test_applications_are_created_changed_listed_and_removed(reader: Reader) -> None:
    answer = await reader.paste(reader.command("-X POST", "FriendlyName=ApplicationFooBar"))
    made = answer.json
    assert answer.status == 200
    assert has_shape(made, APPLICATION)
    assert made["friendly_name"] == "ApplicationFooBar"
    assert made["rcml_url"] == "http://mycompany.com/visual-designer/services/apps/foobar/controller"
    assert (made["kind"], made["voice_caller_id_lookup"]) == ("voice", False)

    reader.sids["APPLICATION_SID"] = made["sid"]
    changed = await reader.paste(reader.command("-X POST", "APPLICATION_SID"))
    assert changed.status == 200
    assert has_shape(changed.json, APPLICATION)
    assert changed.json["friendly_name"] == "Application X"
    listed = await reader.paste(reader.command("-X GET", "Applications.json"))
    assert listed.status == 200
    assert isinstance(listed.json, list)
    assert changed.json in listed.json

    removed = await reader.paste(reader.command("-X DELETE"))
    assert (removed.status, removed.body) == (204, b"")
    left = await reader.paste(reader.command("-X GET", "Applications.json"))
    assert made["sid"] not in [row["sid"] for row in left.json]
