"""The stock Twilio library for Python, with nothing but another base URL, against a real engine."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
import treq
from harness import EngineProcess
from pytest_twisted import ensureDeferred
from session import run
from sipphone import Phone
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client
from twisted.internet.threads import deferToThread
from waiting import eventually, reactor
from world import World, case, element

pytestmark = pytest.mark.loopback

T = TypeVar("T")

FROM = "+15550042"
HOLD = '<Pause length="30"/>'
RANGES = '[{"first": "+15125550100", "last": "+15125550149", "region": "TX", "rate_center": "AUSTIN"}]'


@pytest.fixture(scope="module")
def carrier() -> Iterator[Phone]:
    """Where messages to numbers go."""
    phone = run(lambda: Phone(("127.0.0.1", 9), "carrier").open())
    yield phone
    run(phone.close)


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess], carrier: Phone) -> EngineProcess:
    """An engine with numbers to take and a way out."""
    found = engines(
        f"sip.outbound_proxy.uri=sip:127.0.0.1:{carrier.port}",
        f"numbers.ranges={RANGES}",
        "media.spare_workers=1",
    )
    carrier.engine = found.address("udp")
    return found


class Program:
    """A program that uses the library, in a thread as it blocks."""

    def __init__(self, world: World) -> None:
        rest = world.rest
        self.client = Client(rest.account_sid, rest.auth_token)
        self.client.api.base_url = rest.root

    async def __call__(self, work: Callable[[Client], T]) -> T:
        found: T = await deferToThread(work, self.client)
        return found

    async def refused(self, work: Callable[[Client], object]) -> TwilioRestException:
        """The exception that something raises."""
        try:
            found = await deferToThread(work, self.client)
        except TwilioRestException as error:
            return error
        raise AssertionError(f"no exception, but {found}")

    async def until(self, work: Callable[[Client], T], good: Callable[[T], bool], what: str) -> T:
        """Ask until the answer is good."""
        return await eventually(lambda: self(work), good, 5.0, what)


async def talking(world: World, program: Program, user: str) -> tuple[Any, Any]:
    """A call of the program to a phone that answered it; the call, and the phone's side."""
    phone = await world.phone(user)
    made = await program(
        lambda client: client.calls.create(to=phone.uri, from_=FROM, twiml=f"<Response>{HOLD}</Response>")
    )
    side = await phone.offered()
    side.ring()
    side.answer()
    await side.answered()
    found = await program.until(
        lambda client: client.calls(made.sid).fetch(),
        lambda call: call.status == "in-progress",
        "the call is in progress",
    )
    return found, side


# ---------------------------------------------------------------- calls


@case
async def test_a_call_is_created_with_a_url_and_read(world: World) -> None:
    program, phone = Program(world), await world.phone("twurl")
    url = world.script("voice", world.play(440, 0.5))
    status = world.script("status", "")
    made = await program(
        lambda client: client.calls.create(
            to=phone.uri,
            from_=FROM,
            url=url,
            method="GET",
            status_callback=status,
            status_callback_event=["initiated", "completed"],
            timeout=20,
        )
    )
    assert (made.status, made.direction, made._from, made.to) == ("queued", "outbound-api", FROM, "twurl")
    assert isinstance(made.date_created, datetime.datetime)
    assert made.uri == f"/2010-04-01/Accounts/{world.rest.account_sid}/Calls/{made.sid}.json"
    assert (made.end_time, made.duration, made.parent_call_sid) == (None, None, None)
    side = await phone.offered()
    side.ring()
    side.answer()
    assert (await world.asked("voice")).method == "GET"
    await side.over()
    found = await program.until(
        lambda client: client.calls(made.sid).fetch(), lambda call: call.status == "completed", "it is over"
    )

    assert isinstance(found.start_time, datetime.datetime)
    assert found.end_time >= found.start_time
    assert found.duration in ("0", "1")
    assert set(found.subresource_uris) >= {"notifications", "recordings"}
    assert [
        s.form["StatusCallbackEvent"] for s in (await world.asked("status"), await world.asked("status", 2))
    ] == [
        "initiated",
        "completed",
    ]


@case
async def test_calls_are_listed_page_by_page_and_filtered(world: World) -> None:
    program, phone = Program(world), await world.phone("twlist")
    sender = "+15550043"
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
    made = [
        await program(lambda client: client.calls.create(to=phone.uri, from_=sender, twiml="<Response/>"))
        for _ in range(5)
    ]
    sids = [call.sid for call in reversed(made)]
    await phone.offered(5)

    assert [c.sid for c in await program(lambda client: client.calls.list(from_=sender))] == sids
    paged = await program(lambda client: list(client.calls.stream(from_=sender, page_size=2)))
    assert [c.sid for c in paged] == sids
    limited = await program(lambda client: client.calls.list(from_=sender, page_size=2, limit=3))
    assert [c.sid for c in limited] == sids[:3]
    page = await program(lambda client: client.calls.page(from_=sender, page_size=4))
    assert len(list(page)) == 4
    rest = await program(lambda client: page.next_page())
    assert [c.sid for c in rest] == sids[4:]
    assert await program(lambda client: rest.next_page()) is None
    back = await program(lambda client: rest.previous_page())
    assert [c.sid for c in back] == sids[:4]
    after = before + datetime.timedelta(minutes=30)
    for options, count in (
        ({"start_time_after": before}, 5),
        ({"start_time_after": after}, 0),
        ({"start_time_before": before}, 0),
        ({"start_time_before": after}, 5),
        ({"to": "twlist"}, 5),
        ({"to": "nobody"}, 0),
        ({"status": "completed"}, 0),
    ):
        found = await program(lambda client, o=options: client.calls.list(from_=sender, **o))
        assert len(found) == count, options
    for call in made:
        await program(lambda client, sid=call.sid: client.calls(sid).update(status="canceled"))
    await program.until(
        lambda client: client.calls.list(from_=sender, status="canceled"),
        lambda found: len(found) == 5,
        "all are canceled",
    )
    for call in made:
        assert await program(lambda client, sid=call.sid: client.calls(sid).delete()) is True
    assert await program(lambda client: client.calls.list(from_=sender)) == []


@case
async def test_a_live_call_is_redirected_and_ended(world: World) -> None:
    program = Program(world)
    call, side = await talking(world, program, "twlive")
    play = world.play(700, 0.4)
    await program(lambda client: client.calls(call.sid).update(twiml=f"<Response>{play}{HOLD}</Response>"))
    await side.hears(700)
    url = world.script("next", HOLD)
    await program(lambda client: client.calls(call.sid).update(url=url, method="GET"))
    assert (await world.asked("next")).method == "GET"
    error = await program.refused(lambda client: client.calls(call.sid).delete())
    assert error.status == 409
    await program(lambda client: client.calls(call.sid).update(status="completed"))
    await side.over()
    await program.until(
        lambda client: client.calls(call.sid).fetch(), lambda c: c.status == "completed", "it is over"
    )
    error = await program.refused(lambda client: client.calls(call.sid).update(status="completed"))
    assert (error.status, error.code) == (410, 1100)
    assert await program(lambda client: client.calls(call.sid).delete()) is True
    assert (await program.refused(lambda client: client.calls(call.sid).fetch())).status == 404


@case
async def test_a_live_call_is_recorded_and_the_recording_fetched(world: World) -> None:
    program = Program(world)
    call, side = await talking(world, program, "twrec")
    made = await program(lambda client: client.calls(call.sid).recordings.create(recording_channels="dual"))
    assert (made.call_sid, made.status) == (call.sid, "in-progress")
    side.hum(500, 1.0)
    listed = await program(lambda client: client.calls(call.sid).recordings.list())
    assert [r.sid for r in listed] == [made.sid]
    for status in ("paused", "in-progress", "stopped"):
        await program(lambda client, s=status: client.calls(call.sid).recordings(made.sid).update(status=s))
    found = await program.until(
        lambda client: client.recordings(made.sid).fetch(), lambda r: r.status == "completed", "it is whole"
    )
    assert found.channels == 2
    assert found.duration is not None
    assert found.duration.isdigit()
    listed = await program(lambda client: client.recordings.list(call_sid=call.sid))
    assert [r.sid for r in listed] == [made.sid]
    wav = f"{world.rest.root}{found.uri.removesuffix('.json')}.wav"
    response = await treq.get(wav, persistent=False, reactor=reactor)
    assert response.code == 200
    assert (await treq.content(response))[:4] == b"RIFF"
    assert found.media_url == wav.removesuffix(".wav") or found.media_url == wav
    assert await program(lambda client: client.recordings(made.sid).delete()) is True
    assert (await program.refused(lambda client: client.recordings(made.sid).fetch())).status == 404
    await program(lambda client: client.calls(call.sid).update(status="completed"))
    await side.over()


# ---------------------------------------------------------------- conferences


@case
async def test_a_conference_and_its_participants(world: World) -> None:
    program, name = Program(world), "twilio room"
    number = await world.number(element("Dial", element("Conference", name)))
    first, second = await world.answered(number), await world.answered(number)
    rooms = await program.until(
        lambda client: client.conferences.list(friendly_name=name, status="in-progress"),
        lambda found: len(found) == 1,
        "the room is there",
    )
    room = await program(lambda client: client.conferences(rooms[0].sid).fetch())
    assert (room.friendly_name, room.status) == (name, "in-progress")
    assert "participants" in room.subresource_uris
    people = await program.until(
        lambda client: client.conferences(room.sid).participants.list(),
        lambda found: len(found) == 2,
        "both are in the room",
    )
    paged = await program(lambda client: client.conferences(room.sid).participants.list(page_size=1))
    assert [p.call_sid for p in paged] == [p.call_sid for p in people]
    sid = people[0].call_sid

    phone = await world.phone("twpart")
    made = await program(
        lambda client: client.conferences(room.sid).participants.create(
            from_=FROM, to=phone.uri, early_media=False, end_conference_on_exit=False
        )
    )
    side = await phone.offered()
    side.ring()
    side.answer()
    await program.until(
        lambda client: client.conferences(room.sid).participants.list(),
        lambda found: made.call_sid in [p.call_sid for p in found],
        "the third is in the room",
    )

    def change(**values: Any) -> Callable[[Client], Any]:
        return lambda client: client.conferences(room.sid).participants(sid).update(**values)

    assert (await program(change(muted=True))).muted is True
    assert (await program(change(hold=True))).hold is True
    found = await program(lambda client: client.conferences(room.sid).participants(sid).fetch())
    assert (found.muted, found.hold, found.call_sid) == (True, True, sid)
    changed = await program(change(muted=False, hold=False))
    assert (changed.muted, changed.hold) == (False, False)
    third = made.call_sid
    assert await program(lambda client: client.conferences(room.sid).participants(third).delete()) is True
    await side.over()
    ended = await program(lambda client: client.conferences(room.sid).update(status="completed"))
    assert ended.sid == room.sid
    await first.over()
    await second.over()
    await program.until(
        lambda client: client.conferences(room.sid).fetch(), lambda c: c.status == "completed", "it is over"
    )


# ---------------------------------------------------------------- numbers and applications


@case
async def test_incoming_phone_numbers(world: World) -> None:
    program = Program(world)
    offered = await program(
        lambda client: client.available_phone_numbers("US").local.list(area_code=512, limit=5)
    )
    assert len(offered) == 5
    assert (offered[0].iso_country, offered[0].region) == ("US", "TX")
    assert offered[0].capabilities["voice"] is True
    url = world.script("voice", HOLD)
    made = []
    for number in offered[:3]:
        text = number.phone_number
        made.append(
            await program(
                lambda client, t=text: client.incoming_phone_numbers.create(
                    phone_number=t, voice_url=url, friendly_name="twilio numbers"
                )
            )
        )
    assert [n.phone_number for n in made] == [n.phone_number for n in offered[:3]]
    assert made[0].capabilities["voice"] is True
    again = await program(lambda client: client.available_phone_numbers("US").local.list(limit=50))
    assert not {n.phone_number for n in again} & {n.phone_number for n in made}
    error = await program.refused(
        lambda client: client.incoming_phone_numbers.create(phone_number=made[0].phone_number)
    )
    assert error.status == 400

    listed = await program(
        lambda client: client.incoming_phone_numbers.list(friendly_name="twilio numbers", page_size=2)
    )
    assert {n.sid for n in listed} == {n.sid for n in made}
    sid = made[0].sid
    changed = await program(
        lambda client: client.incoming_phone_numbers(sid).update(friendly_name="renamed", voice_url="")
    )
    assert (changed.friendly_name, changed.voice_url) == ("renamed", None)
    found = await program(lambda client: client.incoming_phone_numbers(sid).fetch())
    assert (found.friendly_name, found.voice_method) == ("renamed", "POST")
    bought = await program(lambda client: client.incoming_phone_numbers.create(area_code="512"))
    assert bought.phone_number.startswith("+1512")
    for number in (*made, bought):
        assert await program(lambda client, s=number.sid: client.incoming_phone_numbers(s).delete()) is True
    assert (await program.refused(lambda client: client.incoming_phone_numbers(sid).fetch())).status == 404


@case
async def test_applications(world: World) -> None:
    program = Program(world)
    url = world.script("voice", HOLD)
    made = await program(
        lambda client: client.applications.create(friendly_name="twilio application", voice_url=url)
    )
    assert (made.friendly_name, made.voice_url, made.voice_caller_id_lookup) == (
        "twilio application",
        url,
        False,
    )
    more = [
        await program(lambda client, n=n: client.applications.create(friendly_name=f"twilio more {n}"))
        for n in range(3)
    ]
    listed = await program(lambda client: client.applications.list(page_size=2))
    assert {made.sid, *(one.sid for one in more)} <= {one.sid for one in listed}
    named = await program(lambda client: client.applications.list(friendly_name="twilio application"))
    assert [one.sid for one in named] == [made.sid]
    changed = await program(
        lambda client: client.applications(made.sid).update(
            friendly_name="other", voice_caller_id_lookup=True
        )
    )
    assert (changed.friendly_name, changed.voice_caller_id_lookup) == ("other", True)
    assert (await program(lambda client: client.applications(made.sid).fetch())).friendly_name == "other"
    for one in (made, *more):
        assert await program(lambda client, s=one.sid: client.applications(s).delete()) is True
    assert (await program.refused(lambda client: client.applications(made.sid).fetch())).status == 404


# ---------------------------------------------------------------- accounts, usage, errors


@case
async def test_accounts(world: World) -> None:
    program = Program(world)
    own = world.rest.account_sid
    made = await program(lambda client: client.api.accounts.create(friendly_name="twilio sub"))
    assert (made.friendly_name, made.status, made.owner_account_sid) == ("twilio sub", "active", own)
    found = await program(lambda client: client.api.accounts(made.sid).fetch())
    assert (found.sid, found.type) == (made.sid, "Full")
    listed = await program(lambda client: client.api.accounts.list(page_size=1))
    assert made.sid in [account.sid for account in listed]
    changed = await program(lambda client: client.api.accounts(made.sid).update(friendly_name="renamed"))
    assert changed.friendly_name == "renamed"
    below = Client(made.sid, made.auth_token)
    below.api.base_url = world.rest.root
    assert await deferToThread(lambda: below.calls.list()) == []
    suspended = await program(lambda client: client.api.accounts(made.sid).update(status="suspended"))
    assert suspended.status == "suspended"
    try:
        await deferToThread(
            lambda: below.calls.create(to="sip:a@127.0.0.1:9", from_=FROM, twiml="<Response/>")
        )
    except TwilioRestException as error:
        assert error.status == 403
        assert "Provided Account is not active" in error.msg
    else:
        raise AssertionError("a suspended account may call")
    closed = await program(lambda client: client.api.accounts(made.sid).update(status="closed"))
    assert closed.status == "closed"


@case
async def test_usage_records(world: World) -> None:
    program = Program(world)
    number = await world.number("<Hangup/>")
    call = await world.answered(number)
    await call.over()
    await world.row(number)
    found = await program(lambda client: client.usage.records.list(category="calls"))

    assert [record.category for record in found] == ["calls"]
    assert int(found[0].count) >= 1
    assert found[0].count_unit == "calls"
    daily = await program(lambda client: client.usage.records.daily.list(category="calls-inbound", limit=20))
    today = datetime.datetime.now(datetime.UTC).date()
    assert abs((daily[-1].start_date - today).days) <= 1


@case
async def test_errors_are_exceptions_with_status_code_and_message(world: World) -> None:
    program = Program(world)
    error = await program.refused(lambda client: client.calls("CA" + "0" * 32).fetch())
    assert (error.status, error.code) == (404, 404)
    assert "was not found" in error.msg
    error = await program.refused(lambda client: client.calls.create(to="sip:a@127.0.0.1:9", from_=FROM))
    assert (error.status, error.code) == (400, 1000)
    assert "Url can not be null." in error.msg
    wrong = Client(world.rest.account_sid, "0" * 32)
    wrong.api.base_url = world.rest.root
    try:
        await deferToThread(lambda: wrong.calls("CA" + "0" * 32).fetch())
    except TwilioRestException as refused:
        assert refused.status == 401
    else:
        raise AssertionError("a wrong token is taken")


@case
async def test_notifications_caller_ids_queues_and_transcriptions(world: World) -> None:
    program = Program(world)
    number = await world.number("<Nonsense>")
    await (await world.call(number)).final()
    sid = await world.sid(number)
    notified = await program.until(
        lambda client: client.calls(sid).notifications.list(), lambda found: len(found) == 1, "a notification"
    )
    assert (notified[0].error_code, notified[0].log) == ("12100", "0")
    assert notified[0].more_info.endswith("/restcomm/errors/12100.html")
    account = world.rest.account_sid
    listed = await program(lambda client: client.api.accounts(account).notifications.list(page_size=1))
    assert notified[0].sid in [one.sid for one in listed]
    one = await program(lambda client: client.api.accounts(account).notifications(listed[0].sid).fetch())
    assert one.message_text

    added = await program(
        lambda client: client.validation_requests.create(phone_number="+15125550155", friendly_name="desk")
    )
    assert added.phone_number == "+15125550155"
    ids = await program(lambda client: client.outgoing_caller_ids.list(phone_number="+15125550155"))
    assert [(one.friendly_name, one.phone_number) for one in ids] == [("desk", "+15125550155")]
    renamed = await program(
        lambda client: client.outgoing_caller_ids(ids[0].sid).update(friendly_name="front desk")
    )
    assert renamed.friendly_name == "front desk"
    assert await program(lambda client: client.outgoing_caller_ids(ids[0].sid).delete()) is True
    assert await program(lambda client: client.transcriptions.list(limit=5)) == []


# ---------------------------------------------------------------- messages


@ensureDeferred
async def test_messages(world: World, carrier: Phone) -> None:
    program, status = Program(world), world.script("status", "")
    made = await program(
        lambda client: client.messages.create(
            to="+13216549878", from_="+19876543212", body="Hello", status_callback=status
        )
    )
    assert (made.body, made.direction, made.to) == ("Hello", "outbound-api", "+13216549878")
    assert made.status in ("queued", "sending")
    assert made.num_segments in (None, "0", "1")
    text = await carrier.text()
    assert text.body == b"Hello"
    found = await program.until(
        lambda client: client.messages(made.sid).fetch(), lambda m: m.status == "delivered", "it is delivered"
    )
    assert isinstance(found.date_sent, datetime.datetime)
    assert (found.num_segments, found.error_code) == ("1", None)
    seen = [(await world.asked("status", number)).form["MessageStatus"] for number in (1, 2)]
    assert seen == ["sent", "delivered"]

    more = [
        await program(
            lambda client, n=n: client.messages.create(
                to="+13216549879", from_="+19876543212", body=f"text {n}"
            )
        )
        for n in range(4)
    ]
    listed = await program(lambda client: client.messages.list(to="+13216549879", page_size=2))
    assert {message.sid for message in listed} == {message.sid for message in more}
    today = datetime.datetime.now(datetime.UTC)
    sent = await program(
        lambda client: client.messages.list(
            to="+13216549878", date_sent_after=today - datetime.timedelta(days=1)
        )
    )
    assert [message.sid for message in sent] == [made.sid]
    redacted = await program(lambda client: client.messages(made.sid).update(body=""))
    assert (redacted.sid, redacted.body, redacted.status) == (made.sid, "", "delivered")
    error = await program.refused(lambda client: client.messages(made.sid).update(body="other"))
    assert error.status == 400
    assert await program(lambda client: client.messages(made.sid).delete()) is True
    assert (await program.refused(lambda client: client.messages(made.sid).fetch())).status == 404
    error = await program.refused(lambda client: client.messages.create(to="+13216549878", from_="+1987"))
    assert error.status == 400
    assert "Body can not be null." in error.msg
    await carrier.text(5)
