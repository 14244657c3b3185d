"""Whatever a document says and a caller does: the flow ends, and so does the leg."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcml.interpreter import Source
from rcml.ports import ConferenceEnd, FetchFailure
from rcml.simulated_calls import Callee, Room
from rcml.simulator import DOCUMENT_URL, Reply, ScriptedCaller, Simulator

pytestmark = pytest.mark.unit

OTHER = "http://app.invalid/other"
VERBS = [
    "<Say>hello there</Say>",
    "<Say loop='0'>la</Say>",
    "<Play>a.wav</Play>",
    "<Play>bad url</Play>",
    "<Play digits='1w2'/>",
    "<Pause length='2'/>",
    "<Gather numDigits='2'><Say>press</Say><Pause/><Play>a.wav</Play></Gather>",
    "<Gather action='other' input='speech dtmf'/>",
    "<Gather input='speech'><Say>x</Say></Gather>",
    "<Record action='other' maxLength='4'/>",
    "<Record/>",
    "<Redirect>other</Redirect>",
    "<Redirect>gone</Redirect>",
    "<Hangup/>",
    "<Reject/>",
    "<Dial>1</Dial>",
    "<Dial action='other' record='record-from-ringing' timeLimit='9'>sip:a@h?b=c</Dial>",
    "<Dial timeout='3' hangupOnStar='true'><Client url='x'>bob</Client><Number>1</Number></Dial>",
    "<Dial dialMusic='a.wav' timeLimit='5'><Number sendDigits='12'>1</Number></Dial>",
    "<Dial><Sip>nobody</Sip></Dial>",
    "<Dial timeLimit='4' action='other'><Conference>r</Conference></Dial>",
    "<Dial hangupOnStar='true' record='true'><Conference>other</Conference></Dial>",
    "<Hold holdMusic='a.wav'/>",
    "<Resume action='other'/>",
    "<Refer action='other'><Sip>sip:b@h</Sip></Refer>",
    "<Sms>x</Sms>",
    "<Sms/>",
    "<Sms action='other' to='1' statusCallback='x'>y</Sms>",
    "<Email to='a@example.org' from='b@example.org'>x</Email>",
    "<Foo><Say>y</Say></Foo>",
]
DOCUMENTS = st.lists(st.sampled_from(VERBS), max_size=5).map(lambda v: f"<Response>{''.join(v)}</Response>")
REPLIES = DOCUMENTS | st.sampled_from(
    [
        Reply(status=404),
        Reply(failure=FetchFailure.IO, seconds=6),
        Reply(body="x", content_type="text/plain"),
        "<",
    ]
)
ACTIONS = st.lists(st.tuples(st.floats(0, 60), st.sampled_from([*"0123456789*#A", "hangup"])), max_size=12)


CALLEES = st.builds(
    Callee,
    rings=st.none() | st.floats(0, 5),
    answers=st.none() | st.floats(0, 40),
    code=st.sampled_from([200, 200, 486, 404]),
    talks=st.none() | st.floats(0, 30),
    early_media=st.booleans(),
    accepts=st.booleans(),
    devices=st.integers(1, 2),
    moved=st.none() | st.floats(0, 9),
    error=st.sampled_from([0, 0, 11001, 11008]),
)
ROOMS = st.builds(
    Room,
    ends=st.none() | st.floats(0, 30),
    how=st.sampled_from(ConferenceEnd),
    full=st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(
    REPLIES,
    REPLIES,
    st.none() | st.just(OTHER),
    ACTIONS,
    st.booleans(),
    st.sampled_from([0.0, 3.0]),
    CALLEES,
    ROOMS,
)
def test_every_flow_ends_with_its_leg(first, other, fallback, actions, answered, speech, callee, room):
    simulator = Simulator(
        {DOCUMENT_URL: first, OTHER: other},
        caller=ScriptedCaller(actions),
        answered=answered,
        speech_seconds=speech,
        limit=300,
        callees=lambda target: callee,
        rooms={"r": room},
    )
    done = simulator.run(Source(url=DOCUMENT_URL, fallback_url=fallback))

    assert simulator.leg.ended
    assert done.status.terminal
    assert done.seconds <= 301
    assert simulator.dialer.live == []
    assert simulator.conferences.left >= len(simulator.conferences.joined)
