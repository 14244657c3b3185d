"""Conferences over REST: cases 65 to 67, and everything a program does to a room and to those in it."""

from __future__ import annotations

from typing import Any

import pytest
from rooms import ALERT, BEEP, HEARD, VOICES, Member, Room, all_hear_all, conference_is, hear, strengths
from sound import Samples, read_wav, tones
from waiting import eventually, now, pause, together
from webapp import Reply
from world import World, case

pytestmark = pytest.mark.loopback


async def gets(world: World, path: str, **query: str) -> Any:
    """What a path answers."""
    reply = await world.rest.get(path, **query)
    assert reply.status == 200, reply.body
    return reply.json


async def refused(world: World, path: str, **form: str) -> int:
    """Status of a POST that is refused."""
    return (await world.rest.post(path, **form)).status


# ---------------------------------------------------------------- cases 65 to 67


@case
async def test_rest65_two_callers_in_a_room_are_shown_in_lists(world: World) -> None:
    room = Room(world)
    guest = await room.member('startConferenceOnEnter="false"', speaks=False)
    row = await room.is_now("RUNNING_MODERATOR_ABSENT")
    moderator = await room.member('endConferenceOnExit="true" muted="true"', speaks=False)
    row = await room.is_now("RUNNING_MODERATOR_PRESENT")
    sid, account = row["sid"], world.engine.credentials["account_sid"]

    base = f"/restcomm/2012-04-24/Accounts/{account}"
    assert set(row) == {
        *("sid", "date_created", "date_updated", "account_sid", "status", "api_version", "friendly_name"),
        *("uri", "subresource_uris"),
    }
    assert row["account_sid"] == account
    assert row["api_version"] == "2012-04-24"
    assert row["friendly_name"] == room.name
    assert row["date_created"].endswith("+0000")
    assert row["uri"] == f"{base}/Conferences/{sid}.json"
    assert row["subresource_uris"] == {"participants": f"{base}/Conferences/{sid}/Participants.json"}

    listed = await gets(world, "Conferences.json", Status="running_moderator_present", PageSize="100")
    assert sid in [one["sid"] for one in listed["conferences"]]
    for status in ("COMPLETED", "RUNNING_MODERATOR_ABSENT"):
        listed = await gets(world, "Conferences.json", Status=status, FriendlyName=room.name)
        assert listed["conferences"] == []
        assert listed["total"] == 0

    found = await gets(world, f"Conferences/{sid}/Participants.json")
    assert found["total"] == 2
    assert [one["sid"] for one in found["calls"]] == [guest.sid, moderator.sid]
    one = found["calls"][1]
    assert one["conference_sid"] == sid
    assert one["call_sid"] == moderator.sid
    assert one["account_sid"] == account
    assert one["uri"] == f"{base}/Calls/{moderator.sid}.json"
    assert (one["muted"], one["hold"], one["start_conference_on_enter"]) == (True, False, True)
    assert one["end_conference_on_enter"] is one["end_conference_on_exit"] is True
    assert found["calls"][0]["end_conference_on_enter"] is False
    assert await gets(world, f"Conferences/{sid}/Participants/{moderator.sid}.json") == one
    page = await gets(world, f"Conferences/{sid}/Participants.json", PageSize="1", Page="1")
    assert [x["sid"] for x in page["calls"]] == [moderator.sid]


@case
async def test_rest65_the_same_in_xml(world: World) -> None:
    room = Room(world)
    member = await room.member("muted='true'", speaks=False)
    sid = await room.sid()
    text = (await world.rest.get(f"Conferences/{sid}")).body.decode()
    for part in (f"<Sid>{sid}</Sid>", "<Status>RUNNING_MODERATOR_PRESENT</Status>", "<SubresourceUris>"):
        assert part in text
    assert f"<FriendlyName>{room.name}</FriendlyName>" in text
    text = (await world.rest.get(f"Conferences/{sid}/Participants")).body.decode()
    for part in (f"<Sid>{member.sid}</Sid>", f"<ConferenceSid>{sid}</ConferenceSid>", "<Muted>true</Muted>"):
        assert part in text
    for part in ("<Hold>false</Hold>", "<StartConferenceOnEnter>true<", "<EndConferenceOnEnter>false<"):
        assert part in text
    assert "<Call>" in text


@case
async def test_rest66_mute_is_silence_and_unmute_restores(world: World) -> None:
    room = Room(world)
    first, second, third = members = await room.everybody(3)
    await all_hear_all(members)
    for form in ({"Mute": "true"}, {"Muted": "true"}):
        (name,) = form
        assert (await room.change(second, **form))["muted"] is True
        await hear({first: [third], second: [first, third], third: [first]})
        assert (await gets(world, f"Conferences/{await room.sid()}/Participants/{second.sid}.json"))[
            "muted"
        ] is True
        assert (await room.change(second, **{name: "false"}))["muted"] is False
        await all_hear_all(members)


@case
async def test_rest66_one_who_came_muted_may_be_unmuted(world: World) -> None:
    room = Room(world)
    first = await room.member()
    second = await room.member('muted="true"')
    await hear({first: [], second: [first]})
    await room.change(second, Mute="false")
    await all_hear_all([first, second])


@case
async def test_rest67_a_finished_conference_is_completed_and_empty(world: World) -> None:
    room = Room(world)
    members = await room.everybody(2)
    sid = await room.sid()
    await together([member.leave() for member in members])
    await conference_is(world, sid, "COMPLETED")
    found = await gets(world, f"Conferences/{sid}/Participants.json")
    assert found["calls"] == []
    assert (found["total"], str(found["start"]), str(found["end"])) == (0, "0", "0")
    assert await refused(world, f"Conferences/{sid}.json", Status="completed") == 410
    assert await refused(world, f"Conferences/{sid}.json", AnnounceUrl="http://127.0.0.1/x.wav") == 410
    assert await refused(world, f"Conferences/{sid}/Participants/{members[0].sid}.json", Mute="true") == 410
    reply = await world.rest.post(f"Conferences/{sid}/Participants.json", From="+1", To="sip:x@127.0.0.1:9")
    assert reply.status == 410
    assert (await world.rest.get(f"Conferences/{sid}/Participants/{members[0].sid}.json")).status == 404


# ---------------------------------------------------------------- hold


@case
async def test_one_who_is_put_on_hold_hears_music_and_is_not_heard(world: World) -> None:
    room = Room(world)
    first, second, third = members = await room.everybody(3)
    await all_hear_all(members)
    assert (await room.change(second, Hold="true"))["hold"] is True
    await second.music()
    await hear({first: [third], second: [], third: [first]})
    assert (await room.change(second, Hold="false"))["hold"] is False
    await all_hear_all(members)
    for member in members:
        member.hush()
    await second.silence()


@case
async def test_music_of_ones_own_while_on_hold(world: World) -> None:
    room = Room(world)
    _, second = members = await room.everybody(2)
    await all_hear_all(members)
    second.hush()
    begun = now()
    await room.change(second, Hold="true", HoldUrl=world.tone(2700, 0.5))
    await second.heard_tone(2700, 1.2, since=begun)
    document = world.script("hold", f'{world.play(2500, 0.4)}<Pause length="1"/>')
    begun = now()
    await room.change(second, Hold="true", HoldUrl=document, HoldMethod="GET")
    await second.heard_tone(2500, 0.3, since=begun)
    assert (await world.asked("hold")).method == "GET"
    await world.asked("hold", 2, within=8)
    await room.change(second, Hold="false")
    second.speak()
    await all_hear_all(members)


@case
async def test_hold_counts_more_than_mute_and_mute_is_still_there_afterwards(world: World) -> None:
    room = Room(world)
    first, second = await room.everybody(2)
    row = await room.change(second, Mute="true", Hold="true")
    assert (row["muted"], row["hold"]) == (True, True)
    await hear({first: [], second: []})
    await room.change(second, Hold="false")
    await hear({first: [], second: [first]})
    await room.change(second, Mute="false")
    await all_hear_all([first, second])


@case
async def test_one_who_waits_may_be_held_and_waits_again(world: World) -> None:
    room = Room(world)
    guest = await room.member(
        f'startConferenceOnEnter="false" waitUrl="{world.tone(1900, 0.5)}"', speaks=False
    )
    await guest.heard_tone(1900, 0.8, since=0.0)
    begun = now()
    await room.change(guest, Hold="true", HoldUrl=world.tone(2700, 0.5))
    await guest.heard_tone(2700, 0.8, since=begun)
    moderator = await room.member()
    await pause(0.5)
    await hear({moderator: []})
    begun = now()
    await room.change(guest, Hold="false")
    guest.speak()
    await all_hear_all([guest, moderator])
    assert guest.heard_no_tone(1900, since=begun), "the conference runs: nothing to wait for"


@case
async def test_one_who_is_held_by_a_program_stays_so_when_the_phone_holds_and_comes_back(
    world: World,
) -> None:
    room = Room(world)
    first, second = await room.everybody(2)
    await all_hear_all([first, second])
    await room.change(second, Hold="true", HoldUrl=world.tone(2700, 0.5))
    await second.offers("sendonly", 2)
    await second.offers("sendrecv", 3)
    begun = now()
    await second.heard_tone(2700, 0.8, since=begun)
    await hear({first: []})
    assert {row["sid"]: row["hold"] for row in await room.participants()}[second.sid] is True
    await room.change(second, Hold="false")
    await all_hear_all([first, second])


# ---------------------------------------------------------------- operations on a participant's call


@case
async def test_what_is_said_into_a_participants_call_is_heard_by_that_one_only(world: World) -> None:
    room = Room(world)
    first, second = [await room.member('beep="false"', speaks=False) for _ in range(2)]
    begun = now()
    reply = await world.rest.post(f"Calls/{second.sid}/Play.json", Url=world.tone(2700, 0.6))
    assert reply.status == 200, reply.body
    await second.heard_tone(2700, 0.5, since=begun)
    assert tones(first.call.heard()) == []
    await room.holds_only(first, second)


@case
async def test_the_recording_of_a_participants_call_holds_what_it_says_and_hears(world: World) -> None:
    room = Room(world)
    first, second, third = await room.everybody(3)
    await room.change(third, Mute="true")
    await hear({first: [second], second: [first]})
    reply = await world.rest.post(f"Calls/{first.sid}/Recordings.json")
    assert reply.status == 200, reply.body
    await pause(2.0)
    await first.leave()
    await world.rest.ended(first.sid)
    url = f"{world.rest.base}/Recordings/{reply.json['sid']}.wav"
    media = await eventually(
        lambda: world.rest.fetch(url), lambda found: found.status == 200, 5.0, "the recording"
    )
    assert voices_of(read_wav(media.body)) == {first.voice, second.voice}


# ---------------------------------------------------------------- ends


@case
async def test_one_who_is_removed_goes_on_with_the_document_or_is_hung_up(world: World) -> None:
    room = Room(world)
    staying = await room.member(speaks=False)
    going_on = await room.member(after=world.play(1300, 0.5), speaks=False)
    ending = await room.member(speaks=False)
    begun = now()
    await room.kick(going_on)
    await going_on.call.over(within=6)
    await going_on.heard_tone(1300, 0.4, since=begun)
    await room.kick(ending)
    await ending.call.over(within=6)
    await staying.heard_tone(ALERT[1], 0.2, since=begun)
    await room.holds_only(staying)
    assert staying.call.live
    url = f"{world.rest.base}/Conferences/{await room.sid()}/Participants/{ending.sid}.json"
    assert (await world.rest._ask("DELETE", url)).status == 404


@case
async def test_a_conference_that_is_ended_lets_everybody_go_on(world: World) -> None:
    room = Room(world)
    going_on = await room.member(after=world.play(1300, 0.5), speaks=False)
    ending = await room.member('startConferenceOnEnter="false"', speaks=False)
    sid = await room.sid()
    begun = now()
    reply = await world.rest.post(f"Conferences/{sid}.json", Status="completed")
    assert reply.status == 200
    assert reply.json["status"] == "COMPLETED"
    await ending.call.over()
    await going_on.call.over(within=6)
    await going_on.heard_tone(1300, 0.4, since=begun)
    await conference_is(world, sid, "COMPLETED")
    assert await refused(world, f"Conferences/{sid}.json", Status="completed") == 410


@case
async def test_whether_the_room_ends_with_somebody_may_be_changed(world: World) -> None:
    room = Room(world)
    first, second, third = await room.everybody(3)
    row = await room.change(second, EndConferenceOnExit="true")
    assert row["end_conference_on_exit"] is row["end_conference_on_enter"] is True
    await third.leave()
    await all_hear_all([first, second])
    await second.leave()
    await first.call.over()
    await room.is_now("COMPLETED")


@case
async def test_a_participant_may_be_redirected_and_the_others_go_on(world: World) -> None:
    room = Room(world)
    first, second, third = await room.everybody(3)
    third.hush()
    begun = now()
    url = world.script("other", world.play(2700, 1.0))
    reply = await world.rest.post(f"Calls/{third.sid}.json", Url=url)
    assert reply.status == 200
    await third.heard_tone(2700, 0.8, since=begun)
    await third.call.over(within=6)
    await all_hear_all([first, second])
    await room.holds_only(first, second)


@case
async def test_a_participant_may_be_hung_up(world: World) -> None:
    room = Room(world)
    first, second = await room.everybody(2)
    assert (await world.rest.post(f"Calls/{second.sid}.json", Status="completed")).status == 200
    await second.call.over()
    await room.holds_only(first)
    await first.silence()


@case
async def test_a_call_of_another_document_may_be_taken_into_a_room_by_its_sid_or_name(world: World) -> None:
    room = Room(world)
    first = await room.member()
    for index, form in enumerate(({"ConferenceSid": await room.sid()}, {"FriendlyName": room.name}), 1):
        number = await world.number(world.play(2700, 20), name=f"other{index}")
        call = await world.answered(number)
        sid = (await call.answered()).get("X-RestComm-CallSid")
        await call.sound(0.3)
        assert (await world.rest.post(f"Calls/{sid}.json", **form)).status == 200
        member = Member(call, sid, VOICES[index], number)
        room.members.append(member)
        await room.has(member)
        member.speak()
    await all_hear_all(room.members)
    assert first.call.live


# ---------------------------------------------------------------- announcements


@case
async def test_an_announcement_is_heard_by_everybody_and_they_go_on_talking(world: World) -> None:
    room = Room(world)
    members = await room.everybody(2)
    await all_hear_all(members)
    for member in members:
        member.hush()
    await together([member.silence() for member in members])
    sid = await room.sid()
    begun = now()
    assert (await world.rest.post(f"Conferences/{sid}.json", AnnounceUrl=world.tone(2700, 0.8))).status == 200
    await together([member.heard_tone(2700, 0.7, since=begun) for member in members])
    document = world.script("announce", f"{world.play(2500, 0.5)}{world.play(2900, 0.5)}")
    begun = now()
    reply = await world.rest.post(f"Conferences/{sid}.json", AnnounceUrl=document, AnnounceMethod="GET")
    assert reply.status == 200
    assert (await world.asked("announce")).method == "GET"
    for frequency in (2500, 2900):
        await together([member.heard_tone(frequency, 0.4, since=begun) for member in members])
    for member in members:
        member.speak()
    await all_hear_all(members)
    assert world.count("announce") == 1, "it is obtained once, not once for each"


@case
async def test_an_announcement_in_a_room_of_five_is_heard_once_by_each(world: World) -> None:
    room = Room(world)
    for _ in range(5):
        await room.member('beep="false"', speaks=False)
    begun = now()
    sid = await room.sid()
    assert (await world.rest.post(f"Conferences/{sid}.json", AnnounceUrl=world.tone(2700, 0.6))).status == 200
    await together([member.heard_tone(2700, 0.5, since=begun) for member in room.members])
    await pause(0.6)
    for member in room.members:
        assert 0.5 < sum(t.seconds for t in tones(member.call.heard(since=begun))) < 0.75


@case
async def test_an_announcement_for_one_is_heard_by_that_one_only(world: World) -> None:
    room = Room(world)
    first, second, third = [await room.member('beep="false"', speaks=False) for _ in range(3)]
    begun = now()
    await room.change(second, AnnounceUrl=world.tone(2700, 0.8))
    await second.heard_tone(2700, 0.7, since=begun)
    document = world.script("announce", world.play(2500, 0.5))
    await room.change(second, AnnounceUrl=document)
    await second.heard_tone(2500, 0.4, since=begun)
    assert tones(first.call.heard()) == tones(third.call.heard()) == []
    await room.holds_only(first, second, third)


@case
async def test_an_announcement_that_cannot_be_had_is_refused_and_disturbs_nobody(world: World) -> None:
    room = Room(world)
    members = await room.everybody(2)
    sid = await room.sid()
    silent = world.script("silent", "<Hangup/><Pause/>")
    gone = world.script("gone", Reply(b"", "text/plain", 404))
    for url in (silent, gone):
        assert (await world.rest.post(f"Conferences/{sid}.json", AnnounceUrl=url)).status == 400
    await all_hear_all(members)


# ---------------------------------------------------------------- recordings


def voices_of(samples: Samples) -> set[float]:
    """Voices in the middle of a recording."""
    middle = samples[len(samples) // 2 :][:4000]
    return {voice for voice, s in zip(VOICES, strengths(middle, VOICES), strict=True) if s >= HEARD}


@case
async def test_a_room_is_recorded_from_one_request_to_another(world: World) -> None:
    room = Room(world)
    members = await room.everybody(3)
    await room.change(members[2], Mute="true")
    await hear({members[0]: [members[1]], members[1]: [members[0]], members[2]: members[:2]})
    sid = await room.sid()
    assert (await world.rest.post(f"Conferences/{sid}.json", Record="true")).status == 200
    await hear({members[0]: [members[1]], members[1]: [members[0]], members[2]: members[:2]})
    await pause(2.0)
    assert (await world.rest.post(f"Conferences/{sid}.json", Record="false")).status == 200

    async def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await gets(world, "Recordings.json", ConferenceSid=sid))["recordings"]
        return found

    (row,) = await eventually(rows, len, 5.0, "the recording")
    samples = read_wav((await world.rest.fetch(f"{world.rest.base}/Recordings/{row['sid']}.wav")).body)
    assert len(samples) / 8000 > 1.5
    assert abs(float(row["duration"]) - len(samples) / 8000) < 0.1
    assert voices_of(samples) == {members[0].voice, members[1].voice}, "who is muted is not recorded"
    assert [one["sid"] for one in await gets(world, f"Conferences/{sid}/Recordings.json")] == [row["sid"]]
    await hear({members[0]: [members[1]], members[1]: [members[0]], members[2]: members[:2]})

    assert (await world.rest.post(f"Conferences/{sid}.json", Record="true")).status == 200
    await pause(1.0)
    await room.empties()
    await room.is_now("COMPLETED")
    found = await eventually(rows, lambda all_of_them: len(all_of_them) == 2, 5.0, "a second recording")
    assert len({one["sid"] for one in found}) == 2


# ---------------------------------------------------------------- dialing out


@case
async def test_a_participant_may_be_called_into_the_room(world: World) -> None:
    room = Room(world)
    first = await room.member()
    sid = await room.sid()
    phone = await world.phone("bobin")
    reply = await world.rest.post(
        f"Conferences/{sid}/Participants.json", From="+15551", To=phone.uri, EndConferenceOnExit="true"
    )
    assert reply.status == 200, reply.body
    row = reply.json
    assert row["conference_sid"] == sid
    assert row["end_conference_on_exit"] is True
    assert row["muted"] is False
    call = await phone.offered()
    assert "+15551" in call.invite.get("From")
    call.ring()
    call.answer()
    second = Member(call, row["sid"], VOICES[1])
    room.members.append(second)
    second.speak()
    await room.has(second)
    await all_hear_all([first, second])
    assert (await world.rest.call(row["sid"]))["direction"] == "outbound-api"
    await second.leave()
    await first.call.over()
    await conference_is(world, sid, "COMPLETED")


@case
async def test_one_who_is_called_in_may_be_muted_and_come_without_a_tone(world: World) -> None:
    room = Room(world)
    first = await room.member('beep="false"')
    phone = await world.phone("bobmuted")
    begun = now()
    reply = await world.rest.post(
        f"Conferences/{await room.sid()}/Participants.json",
        From="+1",
        To=phone.uri,
        Muted="true",
        Beep="false",
        StartConferenceOnEnter="false",
    )
    row = reply.json
    assert (row["muted"], row["start_conference_on_enter"]) == (True, False)
    call = await phone.offered()
    call.answer()
    second = Member(call, row["sid"], VOICES[1])
    room.members.append(second)
    second.speak()
    await room.has(second)
    await hear({first: [], second: [first]})
    assert first.heard_no_tone(BEEP, since=begun)
    await room.change(second, Mute="false")
    await all_hear_all([first, second])


@case
async def test_one_who_is_called_and_refuses_is_no_participant(world: World) -> None:
    room = Room(world)
    first = await room.member(speaks=False)
    phone = await world.phone("bobbusy")
    reply = await world.rest.post(
        f"Conferences/{await room.sid()}/Participants.json", From="+1", To=phone.uri
    )
    call = await phone.offered()
    call.refuse(486)
    assert (await world.rest.ended(reply.json["sid"]))["status"] == "busy"
    await room.holds_only(first)


@case
async def test_a_program_may_call_somebody_with_a_document_that_enters(world: World) -> None:
    room = Room(world)
    first = await room.member()
    phone = await world.phone("bobdocument")
    row = await world.rest.start_call(From="+1", To=phone.uri, Rcml=f"<Response>{room.verb()}</Response>")
    call = await phone.offered()
    call.answer()
    second = Member(call, row["sid"], VOICES[1])
    room.members.append(second)
    second.speak()
    await all_hear_all([first, second])
    await room.has(second)


# ---------------------------------------------------------------- what is refused


@case
async def test_what_does_not_exist_is_404_and_what_says_nothing_is_400(world: World) -> None:
    room = Room(world)
    member = await room.member(speaks=False)
    sid = await room.sid()
    nobody = member.sid[:-32] + "0" * 32
    base = f"Conferences/{sid}"
    assert await refused(world, f"{base}/Participants/{nobody}.json", Mute="true") == 404
    assert (await world.rest.get(f"{base}/Participants/{nobody}.json")).status == 404
    assert (await world.rest.get(f"Conferences/CF{'0' * 32}.json")).status == 404
    assert (
        await refused(world, f"Conferences/CF{'0' * 32}/Participants/{member.sid}.json", Mute="true") == 404
    )
    assert await refused(world, f"{base}.json") == 400
    assert await refused(world, f"{base}.json", Status="running") == 400
    assert await refused(world, f"{base}/Participants/{member.sid}.json") == 400
    assert await refused(world, f"{base}/Participants/{member.sid}.json", Mute="true", Muted="false") == 400
    assert await refused(world, "Conferences.json", FriendlyName="x") == 405
    other = Room(world, f"{world.name}-other")
    stranger = await other.member(speaks=False)
    assert await refused(world, f"{base}/Participants/{stranger.sid}.json", Mute="true") == 404
    await room.holds_only(member)


@case
async def test_mute_of_the_call_is_mute_of_the_participant(world: World) -> None:
    room = Room(world)
    first, second = await room.everybody(2)
    await all_hear_all([first, second])
    assert (await world.rest.post(f"Calls/{second.sid}.json", Mute="true")).status == 200
    await hear({first: [], second: [first]})
    assert {row["sid"]: row["muted"] for row in await room.participants()}[second.sid] is True
    assert (await world.rest.post(f"Calls/{second.sid}.json", Mute="false")).status == 200
    await all_hear_all([first, second])


@case
async def test_a_program_that_puts_the_call_on_hold_silences_the_participant(world: World) -> None:
    room = Room(world)
    first, second = await room.everybody(2)
    await all_hear_all([first, second])
    assert (await world.rest.post(f"Calls/{second.sid}/Hold.json")).status == 200
    await hear({first: []})
    assert {row["sid"]: row["hold"] for row in await room.participants()}[second.sid] is True
    assert (await world.rest.post(f"Calls/{second.sid}/Resume.json")).status == 200
    await all_hear_all([first, second])
