"""Acceptance cases AC60 to AC63 and the rest of the Conference noun: who hears whom, and how it ends."""

from __future__ import annotations

import pytest
from pytest_twisted import ensureDeferred
from rooms import (
    ALERT,
    BEEP,
    HEARD,
    VOICES,
    Member,
    Room,
    all_hear_all,
    conference_is,
    hear,
    nothing_is_left,
    strengths,
    worker_of,
)
from sound import Samples, assert_tones, read_wav, tone, tones
from waiting import eventually, now, pause, stays, together
from webapp import Reply, audio
from world import World, case

pytestmark = pytest.mark.loopback


# ---------------------------------------------------------------- who hears whom (the engine for itself)


@ensureDeferred
async def test_everybody_hears_everybody_else_while_the_room_grows_over_three_workers_and_shrinks(
    world: World,
) -> None:
    room = Room(world)
    spread = {2: 1, 3: 1, 5: 2, 9: 3, 10: 3}
    for count in range(1, 11):
        await room.member()
        if count in spread:
            await all_hear_all(room.members)
            workers = {worker_of(world.engine, member.call) for member in room.members}
            assert len(workers) == spread[count]
            media = (await world.rest.health())["media"]
            assert media["links"] == (0 if len(workers) == 1 else len(workers))
    assert media["mixers"] == 1

    members = list(room.members)
    await together([member.leave() for member in members[5:]])
    await all_hear_all(members[:5])
    await together([member.leave() for member in (members[0], members[1], members[4])])
    await all_hear_all(members[2:4])
    await members[2].leave()
    await members[3].silence()
    await members[3].leave()
    await room.is_now("COMPLETED")
    await nothing_is_left(world)


@ensureDeferred
async def test_rooms_beside_each_other_do_not_hear_each_other(world: World) -> None:
    first, second = Room(world, f"{world.name}-1"), Room(world, f"{world.name}-2")
    one = [await first.member() for _ in range(3)]
    second.members += one  # other voices
    two = [await second.member() for _ in range(3)]
    expected = {m: [o for o in group if o is not m] for group in (one, two) for m in group}
    await hear(expected)
    assert await first.sid() != await second.sid()
    await together([member.leave() for member in [*one, *two]])
    await nothing_is_left(world)


# ---------------------------------------------------------------- AC60 to AC63


@case
async def test_ac60_two_callers_hear_each_other_and_a_tone_when_one_enters(world: World) -> None:
    room = Room(world)
    first = await room.member(speaks=False)
    begun = now()
    second = await room.member(speaks=False)
    await first.heard_tone(BEEP, 0.3, since=begun)
    first.speak()
    second.speak()
    await all_hear_all([first, second])
    row = await room.row()
    assert row["status"] == "RUNNING_MODERATOR_PRESENT"
    assert row["sid"].startswith("CF")
    assert len(row["sid"]) == 34


@case
async def test_ac61_those_who_wait_hear_music_until_a_moderator_comes_and_the_muted_one_stays_muted(
    world: World,
) -> None:
    room = Room(world)
    guest = await room.member('startConferenceOnEnter="false"')
    muted = await room.member('startConferenceOnEnter="false" muted="true"')
    await together([guest.music(), muted.music()])
    await hear({guest: [], muted: []})
    await room.is_now("RUNNING_MODERATOR_ABSENT")
    moderator = await room.member()
    await room.is_now("RUNNING_MODERATOR_PRESENT")
    await hear({guest: [moderator], muted: [guest, moderator], moderator: [guest]})
    for member in room.members:
        member.hush()
    await together([member.silence() for member in room.members])
    rows = {row["sid"]: row for row in await room.participants()}
    assert [rows[m.sid]["muted"] for m in room.members] == [False, True, False]
    assert [rows[m.sid]["start_conference_on_enter"] for m in room.members] == [False, False, True]


@case
async def test_ac62_when_the_one_who_ends_it_leaves_the_others_go_on_with_their_documents(
    world: World,
) -> None:
    room = Room(world)
    moderator = await room.member('endConferenceOnExit="true"', speaks=False)
    going_on = await room.member(after=world.play(1300, 0.5), speaks=False)
    action = world.script("action", world.play(1500, 0.5))
    acting = await room.member(dial=f'action="{action}"', speaks=False)
    ending = await room.member(speaks=False)
    begun = now()
    await moderator.leave()
    await together([member.call.over() for member in (ending, going_on, acting)])

    await going_on.heard_tone(1300, 0.4, since=begun)
    await acting.heard_tone(1500, 0.4, since=begun)
    form = (await world.asked("action")).form
    assert form["DialCallStatus"] == "completed"
    assert form["CallStatus"] == "in-progress"
    assert form["CallSid"] == acting.sid
    assert not {"DialCallSid", "DialCallDuration", "RecordingUrl"} & set(form)
    await room.is_now("COMPLETED")


@case
async def test_ac63_one_who_finds_the_room_full_goes_on_with_the_document(world: World) -> None:
    room = Room(world)
    limit = 'maxParticipants="2"'
    first, second = await room.everybody(2, limit)
    third = await room.member(limit, after=world.play(1300, 0.5), inside=False)
    await third.call.over(within=6)
    assert_tones(third.call.heard(), [(1300, 0.5)])
    action = world.script("action", world.play(1500, 0.4))
    fourth = await room.member(limit, f'action="{action}"', inside=False)
    await fourth.call.over(within=6)

    assert (await world.asked("action")).form["DialCallStatus"] == "failed"
    await all_hear_all([first, second])
    await room.holds_only(first, second)
    await second.leave()
    await room.holds_only(first)
    fifth = await room.member(limit)
    await all_hear_all([first, fifth])


# ---------------------------------------------------------------- waiting


@case
async def test_a_wait_file_is_played_again_and_again_until_the_moderator_comes(world: World) -> None:
    room = Room(world)
    guest = await room.member(
        f'startConferenceOnEnter="false" waitUrl="{world.tone(1900, 0.6)}"', speaks=False
    )
    await guest.heard_tone(1900, 2.0, since=0.0)
    moderator = await room.member()
    await hear({guest: [moderator], moderator: []})
    moderator.hush()
    await guest.silence()
    assert world.count("1900hz-0.6s.wav") <= 2, "it is not fetched for every round"


@case
async def test_a_wait_document_says_plays_pauses_and_redirects_without_end(world: World) -> None:
    room = Room(world)
    second = world.script("second", f"<Gather/>{world.play(2300, 0.4)}<Record/>")
    one = f'{world.play(1900, 0.4)}<Pause length="1"/><Say>wait</Say><Redirect>{second}</Redirect>'
    wait = world.script("wait", one)
    attributes = f'startConferenceOnEnter="false" waitUrl="{wait}" waitMethod="GET"'
    guest = await room.member(attributes, speaks=False)
    await guest.heard_tone(1900, 0.3, since=0.0)
    await guest.heard_tone(2300, 0.3, since=0.0, within=10)
    seen = await world.asked("wait", 2, within=12)
    assert seen.method == "GET"
    assert seen.query["CallSid"] == guest.sid
    assert seen.query["CallStatus"] == "in-progress"
    assert seen.query["To"] == guest.number
    begun = now()
    await guest.heard_tone(1900, 0.3, since=begun, within=10)
    moderator = await room.member()
    await hear({guest: [moderator], moderator: []})
    moderator.hush()
    await guest.silence()
    count = world.count("wait")
    await stays(lambda: world.count("wait") == count, 1.5, "the wait document is not asked for any more")


@case
async def test_each_one_who_waits_has_a_document_of_its_own(world: World) -> None:
    room = Room(world)
    guests = []
    for frequency in (1900, 2300):
        url = world.script(f"wait{frequency}", f'<Play loop="0">{world.tone(frequency, 0.5)}</Play>')
        guests.append(await room.member(f'startConferenceOnEnter="false" waitUrl="{url}"', speaks=False))
    begun = now()
    await guests[0].heard_tone(1900, 1.0, since=begun)
    await guests[1].heard_tone(2300, 1.0, since=begun)
    assert guests[0].heard_no_tone(2300, since=0.0)
    assert guests[1].heard_no_tone(1900, since=0.0)


@case
async def test_an_empty_wait_url_is_silence(world: World) -> None:
    room = Room(world)
    guest = await room.member('startConferenceOnEnter="false" waitUrl=""')
    await pause(1.5)
    assert tones(guest.call.heard()) == []
    moderator = await room.member()
    await all_hear_all([guest, moderator])


@case
async def test_a_wait_document_that_cannot_be_had_is_silence_and_the_guest_stays(world: World) -> None:
    room = Room(world)
    gone = world.script("gone", Reply(b"no", "text/plain", 500))
    guest = await room.member(f'startConferenceOnEnter="false" waitUrl="{gone}"')
    await world.asked("gone")
    await pause(1.0)
    assert tones(guest.call.heard()) == []
    moderator = await room.member()
    await all_hear_all([guest, moderator])


@case
async def test_a_wait_url_that_is_none_is_error_13233_and_the_end(world: World) -> None:
    room = Room(world)
    guest = await room.member(
        'startConferenceOnEnter="false" waitUrl="ftp://127.0.0.1/x.wav"',
        after=world.play(1300, 0.4),
        inside=False,
    )
    await guest.call.over(within=6)
    assert tones(guest.call.heard()) == []
    notice = await world.rest.notified(13233, guest.sid)
    assert int(notice["log"]) == 0


@case
async def test_a_lone_moderator_hears_silence(world: World) -> None:
    room = Room(world)
    moderator = await room.member('beep="false"', speaks=False)
    await pause(1.5)
    assert tones(moderator.call.heard()) == []


@case
async def test_the_conference_goes_on_when_its_moderator_leaves(world: World) -> None:
    room = Room(world)
    moderator = await room.member()
    guests = [await room.member('startConferenceOnEnter="false"') for _ in range(2)]
    await all_hear_all(room.members)
    await moderator.leave()
    await all_hear_all(guests)
    assert (await room.row())["status"] == "RUNNING_MODERATOR_PRESENT"


# ---------------------------------------------------------------- tones


@case
async def test_a_tone_tells_who_enters_and_two_notes_who_leaves(world: World) -> None:
    room = Room(world)
    first = await room.member(speaks=False)
    begun = now()
    second = await room.member(speaks=False)
    await first.heard_tone(BEEP, 0.3, since=begun)
    await pause(0.5)
    begun = now()
    await second.leave()
    for note in ALERT:
        await first.heard_tone(note, 0.1, since=begun)
    assert first.heard_no_tone(BEEP, since=begun)


@case
async def test_with_beep_false_neither_is_heard(world: World) -> None:
    room = Room(world)
    first = await room.member('beep="false"', speaks=False)
    second = await room.member('beep="false"', speaks=False)
    await pause(0.8)
    await second.leave()
    await room.holds_only(first)
    await pause(0.8)
    assert tones(first.call.heard()) == tones(second.call.heard()) == []


# ---------------------------------------------------------------- leaving


@case
async def test_a_time_limit_takes_one_participant_out_and_its_document_goes_on(world: World) -> None:
    room = Room(world)
    staying = await room.member(speaks=False)
    begun = now()
    limited = await room.member(dial='timeLimit="2"', after=world.play(1300, 0.5), speaks=False)
    await limited.call.over(within=8)
    assert limited.call.over_at - begun > 2.0
    await limited.heard_tone(1300, 0.4, since=begun)
    await staying.heard_tone(ALERT[1], 0.1, since=begun)
    await room.holds_only(staying)
    assert staying.call.live


@case
async def test_a_star_leaves_the_conference_when_hangup_on_star_is_set(world: World) -> None:
    room = Room(world)
    staying = await room.member(speaks=False)
    leaving = await room.member(dial='hangupOnStar="true"', after=world.play(1300, 0.5), speaks=False)
    begun = now()
    staying.call.rtp.press("*")
    leaving.call.rtp.press("1#")
    await pause(1.0)
    await room.holds_only(staying, leaving)
    leaving.call.rtp.press("*")
    await leaving.call.over(within=6)
    await leaving.heard_tone(1300, 0.4, since=begun)
    await room.holds_only(staying)


@case
async def test_after_the_participants_own_bye_the_action_is_requested(world: World) -> None:
    room = Room(world)
    action = world.script("action", world.play(1300, 0.4))
    only = await room.member(dial=f'action="{action}"')
    await only.leave()
    form = (await world.asked("action")).form
    assert form["CallStatus"] == "completed"
    assert form["DialCallStatus"] == "completed"
    assert not {"DialCallSid", "DialCallDuration"} & set(form)
    await room.is_now("COMPLETED")


@case
async def test_the_reply_of_the_action_may_enter_another_room(world: World) -> None:
    first, second = Room(world, f"{world.name}-1"), Room(world, f"{world.name}-2")
    waiting = await second.member()
    first.members.append(waiting)  # another voice
    action = world.script("action", second.verb())
    moving = await first.member(dial=f'action="{action}" hangupOnStar="true"')
    staying = await first.member()
    await hear({moving: [staying], staying: [moving], waiting: []})
    moving.hush()
    moving.call.rtp.press("*")
    await second.has(moving)
    moving.speak()
    await hear({moving: [waiting], waiting: [moving], staying: []})


@case
async def test_when_the_last_one_leaves_it_is_completed_and_its_name_makes_a_new_room(world: World) -> None:
    room = Room(world)
    first, second = await room.everybody(2)
    sid = await room.sid()
    await first.leave()
    await room.holds_only(second)
    await second.leave()
    await conference_is(world, sid, "COMPLETED")
    third, fourth = await room.everybody(2)
    await all_hear_all([third, fourth])
    assert await room.sid() != sid
    await conference_is(world, sid, "COMPLETED")


@case
async def test_the_name_of_a_room_that_just_ended_makes_a_new_room_at_once(world: World) -> None:
    room = Room(world)
    moderator = await room.member('endConferenceOnExit="true"', speaks=False)
    back = await room.member(after=room.verb(), speaks=False)
    sid = await room.sid()
    await moderator.leave()
    await conference_is(world, sid, "COMPLETED")

    async def rows() -> list[str]:
        found = (await world.rest.get("Conferences.json", FriendlyName=room.name)).json["conferences"]
        return [row["sid"] for row in found]

    assert sid in await eventually(rows, lambda found: len(found) == 2, 5.0, "a second room of the name")
    other = await room.member()
    back.speak()
    await all_hear_all([back, other])


@case
async def test_a_conference_without_a_name_enters_none(world: World) -> None:
    number = await world.number(f"<Dial><Conference> </Conference></Dial>{world.play(1300, 0.5)}")
    call = await world.answered(number)
    await call.over(within=6)
    assert_tones(call.heard(), [(1300, 0.5)])


@case
async def test_the_name_may_be_an_attribute_and_counts_with_its_letters(world: World) -> None:
    room = Room(world, f"{world.name} Räume & <mehr>".replace("&", "&amp;").replace("<", "&lt;"))
    plain = f"{world.name} Räume & <mehr>"
    first = await room.member(inside=False)
    room.name = plain
    await room.has(first)
    number = await world.number(
        '<Dial><Conference name="' + plain.replace("&", "&amp;").replace("<", "&lt;") + '"/></Dial>'
    )
    call = await world.answered(number)
    second = Member(call, (await call.answered()).get("X-RestComm-CallSid"), VOICES[1])
    room.members.append(second)
    await room.has(first, second)
    second.speak()
    await all_hear_all([first, second])
    assert (await room.row())["friendly_name"] == plain


# ---------------------------------------------------------------- hold, keys


@case
async def test_a_phone_that_holds_its_call_is_silent_in_the_room_and_comes_back(world: World) -> None:
    room = Room(world)
    members = await room.everybody(3)
    await all_hear_all(members)
    first, second, third = members
    await first.offers("sendonly", 2)
    await hear({first: [], second: [third], third: [second]})
    assert {row["sid"]: row["hold"] for row in await room.participants()}[first.sid] is True
    await first.offers("sendrecv", 3)
    await all_hear_all(members)
    await first.offers("inactive", 4)
    await hear({second: [third], third: [second]})
    await first.offers("sendrecv", 5)
    await all_hear_all(members)
    assert {row["sid"]: row["hold"] for row in await room.participants()}[first.sid] is False


@case
async def test_a_guest_whose_phone_holds_hears_the_music_again_afterwards(world: World) -> None:
    room = Room(world)
    guest = await room.member('startConferenceOnEnter="false"')
    await guest.music()
    await guest.offers("sendonly", 2)
    await guest.silence()
    await guest.offers("sendrecv", 3)
    await guest.music()


@case
async def test_a_member_that_moves_to_another_port_is_heard_and_hears_there(world: World) -> None:
    room = Room(world)
    first, second = await room.everybody(2)
    await all_hear_all([first, second])
    first.call.move()
    assert (await first.call.reinvite(first.call.body)).code == 200
    first.speak()
    await all_hear_all([first, second])


# ---------------------------------------------------------------- recording


@case
async def test_a_room_is_recorded_when_the_moderator_who_starts_it_says_so(world: World) -> None:
    room = Room(world)
    action = world.script("action", "<Hangup/>")
    guest = await room.member('startConferenceOnEnter="false" beep="false"')
    moderator = await room.member(
        'beep="false" endConferenceOnExit="true"', f'record="true" action="{action}" hangupOnStar="true"'
    )
    late = await room.member('beep="false"', 'record="true"')
    sid = await room.sid()
    await all_hear_all(room.members)
    await pause(1.5)
    moderator.call.rtp.press("*")
    form = (await world.asked("action", within=6)).form
    await together([member.call.over() for member in room.members])

    url = form["RecordingUrl"]
    assert form["PublicRecordingUrl"] == url
    assert form["DialCallStatus"] == "completed"
    samples = read_wav((await world.rest.fetch(url)).body)
    assert len(samples) / 8000 > 1.5
    assert voices_of(samples) == {guest.voice, moderator.voice, late.voice}
    (row,) = (await world.rest.get("Recordings.json", ConferenceSid=sid)).json["recordings"]
    assert url.endswith(f"{row['sid']}.wav")
    assert row["conference_sid"] == sid
    assert row["call_sid"] in {member.sid for member in room.members}
    assert abs(float(row["duration"]) - len(samples) / 8000) < 0.1


def voices_of(samples: Samples) -> set[float]:
    """Voices in the middle of a recording."""
    middle = samples[len(samples) // 2 :][:4000]
    found = strengths(middle, VOICES)
    return {voice for voice, strength in zip(VOICES, found, strict=True) if strength >= HEARD}


@case
async def test_a_room_is_not_recorded_when_a_later_participant_says_so(world: World) -> None:
    room = Room(world)
    first = await room.member(speaks=False)
    second = await room.member(dial='record="true"', speaks=False)
    sid = await room.sid()
    await together([first.leave(), second.leave()])
    await room.is_now("COMPLETED")
    await pause(0.5)
    assert (await world.rest.get("Recordings.json", ConferenceSid=sid)).json["recordings"] == []


# ---------------------------------------------------------------- callbacks


@case
async def test_a_status_callback_is_told_everything_in_order(world: World) -> None:
    room = Room(world)
    status = world.script("status", "")
    guest = await room.member(f'startConferenceOnEnter="false" statusCallback="{status}"', speaks=False)
    moderator = await room.member('endConferenceOnExit="true"', speaks=False)
    sid = await room.sid()
    for form in ({"Mute": "true"}, {"Mute": "false"}, {"Hold": "true"}, {"Hold": "false"}):
        await room.change(guest, **form)
    await moderator.leave()
    await world.asked("status", 10, within=6)
    await stays(lambda: world.count("status") == 10, 0.5, "ten callbacks")
    seen = world.app.requests(world.path("status"))
    told = [(one.form["StatusCallbackEvent"], one.form.get("CallSid")) for one in seen]
    assert told == [
        ("participant-join", guest.sid),
        ("conference-start", None),
        ("participant-join", moderator.sid),
        ("participant-mute", guest.sid),
        ("participant-unmute", guest.sid),
        ("participant-hold", guest.sid),
        ("participant-unhold", guest.sid),
        ("participant-leave", moderator.sid),
        ("participant-leave", guest.sid),
        ("conference-end", None),
    ]
    assert [one.form["SequenceNumber"] for one in seen] == [str(number) for number in range(10)]
    assert {one.form["ConferenceSid"] for one in seen} == {sid}
    assert {one.form["FriendlyName"] for one in seen} == {room.name}
    assert {one.form["AccountSid"] for one in seen} == {world.engine.credentials["account_sid"]}
    assert all(one.form["Timestamp"].endswith("+0000") for one in seen)
    assert [(one.form["Muted"], one.form["Hold"]) for one in seen[3:7]] == [
        ("true", "false"),
        ("false", "false"),
        ("false", "true"),
        ("false", "false"),
    ]
    assert {one.method for one in seen} == {"POST"}


@case
async def test_only_the_events_of_the_list_are_told_by_the_method_that_is_asked_for(world: World) -> None:
    room = Room(world)
    status = world.script("status", "")
    events = f'statusCallback="{status}" statusCallbackMethod="GET" statusCallbackEvent="start,end leave"'
    only = await room.member(events, speaks=False)
    await room.change(only, Muted="true")
    await only.leave()
    await world.asked("status", 3)
    await stays(lambda: world.count("status") == 3, 0.5, "three callbacks")
    seen = world.app.requests(world.path("status"))
    assert {one.method for one in seen} == {"GET"}
    expected = {"conference-start", "participant-leave", "conference-end"}
    assert {one.query["StatusCallbackEvent"] for one in seen} == expected


@case
async def test_who_speaks_is_told_when_that_is_asked_for(world: World) -> None:
    room = Room(world)
    status = world.script("status", "")
    listens = f'beep="false" statusCallback="{status}" statusCallbackEvent="speaker"'
    await room.member(listens, speaks=False)
    second = await room.member('beep="false"', speaks=False)
    third = await room.member('beep="false" muted="true"')
    second.speak(2.0)
    await world.asked("status", 2, within=12)
    await stays(lambda: world.count("status") == 2, 1.0, "who is muted does not speak")
    told = [one.form for one in world.app.requests(world.path("status"))]
    assert [(form["StatusCallbackEvent"], form["CallSid"]) for form in told] == [
        ("participant-speech-start", second.sid),
        ("participant-speech-stop", second.sid),
    ]
    assert third.call.live


# ---------------------------------------------------------------- records


@case
async def test_the_calls_of_a_conference_are_found_by_its_sid(world: World) -> None:
    room = Room(world)
    members = await room.everybody(2)
    sid = await room.sid()
    await room.empties()
    await room.is_now("COMPLETED")
    for member in members:
        await world.rest.ended(member.sid)
    rows = await world.rest.calls(ConferenceSid=sid)
    assert {row["sid"] for row in rows} == {member.sid for member in members}


@case
async def test_a_wait_file_that_is_no_audio_is_silence(world: World) -> None:
    room = Room(world)
    url = world.script("broken.wav", Reply(b"this is no audio", "audio/wav"))
    guest = await room.member(f'startConferenceOnEnter="false" waitUrl="{url}"')
    await world.asked("broken.wav")
    await pause(1.0)
    assert tones(guest.call.heard()) == []
    moderator = await room.member()
    await all_hear_all([guest, moderator])


@case
async def test_what_is_played_before_and_after_is_heard_by_the_one_caller_only(world: World) -> None:
    room = Room(world)
    staying = await room.member('beep="false"', speaks=False)
    url = world.script("said.wav", audio(tone(2300, 0.6)))
    inside = room.verb('beep="false"', 'timeLimit="1"')
    number = await world.number(f"<Play>{url}</Play>{inside}<Play>{url}</Play>", name="visitor")
    call = await world.answered(number)
    await call.over(within=8)
    assert sum(t.seconds for t in tones(call.heard()) if abs(t.frequency - 2300) < 30) == pytest.approx(
        1.2, abs=0.2
    )
    assert tones(staying.call.heard()) == []
