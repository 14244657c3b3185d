"""Sms and Email in calls (AC74; reference: Verbs, Sms and Email)."""

from __future__ import annotations

import pytest
from dialing import PATIENT, answers
from waiting import eventually
from world import World, case, element

pytestmark = pytest.mark.loopback

PASSWORD = "RestComm1234"


def sms(text: str, **attributes: object) -> str:
    """An Sms."""
    return element("Sms", text, **attributes)


async def status(world: World, sid: str, wanted: str) -> dict[str, object]:
    """The record of a message, once it has a status."""

    async def fetch() -> dict[str, object]:
        reply = await world.rest.get(f"SMS/Messages/{sid}.json")
        assert reply.status == 200, reply.body
        found: dict[str, object] = reply.json
        return found

    return await eventually(fetch, lambda row: row["status"] == wanted, PATIENT, f"{sid} is {wanted}")


@case
async def test_a_client_who_calls_gets_a_message_and_the_action_is_told(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(sms("Thanks, Zoë", action=action) + world.play(440, 5))
    alice = await world.registered("smsalice")
    call = alice.call(number, login=("smsalice", PASSWORD))
    await call.answered()
    text = await alice.text(within=PATIENT)
    seen = await world.asked("action", within=PATIENT)
    await call.over(PATIENT)

    assert text.body.decode() == "Thanks, Zoë"
    assert f"sip:{number}@" in text.get("From")
    assert seen.form["SmsSid"] == seen.form["MessageSid"]
    assert (seen.form["SmsStatus"], seen.form["MessageStatus"]) == ("sent", "sent")
    assert (seen.form["CallStatus"], seen.form["From"], seen.form["To"]) == (
        "in-progress",
        "smsalice",
        number,
    )
    row = await status(world, seen.form["SmsSid"], "delivered")
    assert row["direction"] == "outbound-reply"
    assert row["body"] == "Thanks, Zoë"


@case
async def test_the_document_goes_on_after_messages_that_arrived_and_that_did_not(world: World) -> None:
    bob = await world.registered("smsbob")
    document = sms("one", to="client:smsbob") + sms("lost", to="client:smsnobody") + sms("x", to="+15550099")
    number = await world.number(document + sms("two", to="client:smsbob") + "<Redirect>after</Redirect>")
    world.script("after", "<Hangup/>")
    call = await world.answered(number)
    await world.asked("after", within=PATIENT)
    await call.over(PATIENT)

    assert [text.body for text in bob.texts] == [b"one", b"two"]


@case
async def test_ac74_an_empty_message_is_an_error_and_the_call_gets_bye(world: World) -> None:
    action = world.script("action", "<Hangup/>")
    number = await world.number(sms(" ", action=action) + world.play(440, 5))
    call = await world.answered(number)
    await call.over(PATIENT)
    sid = await world.sid(number)
    notice = await world.rest.notified(14103, sid)

    assert str(notice["log"]) == "0"
    assert (await world.row(number))["status"] == "completed"
    assert world.count("action") == 0


@case
async def test_a_message_is_sent_when_the_caller_has_hung_up(world: World) -> None:
    bob = await world.registered("smsafter")
    action = world.script("action", world.play(440, 5) + sms("You called", to="client:smsafter"))
    number = await world.number(f'<Record action="{action}"/>')
    call = await world.answered(number)
    await call.sound(0.3, frequency=1000)
    await call.bye()
    text = await bob.text(within=PATIENT)

    assert text.body == b"You called"
    assert world.count("440hz-5s.wav") == 0


@case
async def test_on_a_call_that_was_created_over_rest_the_message_goes_to_the_called_party(
    world: World,
) -> None:
    carol = await world.registered("smscarol")
    url = world.script("voice", sms("Hello") + "<Hangup/>")
    await world.rest.start_call(From="+15550777", To="client:smscarol", Url=url)
    call = await answers(carol)
    text = await carol.text(within=PATIENT)
    await call.over(PATIENT)

    assert text.body == b"Hello"
    assert "sip:+15550777@" in text.get("From")


@case
async def test_without_a_mail_server_email_is_passed_over_with_a_warning(world: World) -> None:
    email = element("Email", "Text", to="a@example.org", **{"from": "b@example.org"})
    number = await world.number(email + "<Redirect>after</Redirect>")
    world.script("after", "<Hangup/>")
    call = await world.answered(number)
    await world.asked("after", within=PATIENT)
    await call.over(PATIENT)
    notice = await world.rest.notified(11001, await world.sid(number))

    assert str(notice["log"]) == "1"
