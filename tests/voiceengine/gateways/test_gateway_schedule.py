"""When a gateway is registered again, and what a proxy may look like; pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceengine.gateways.proxy import ProxyError, parse_proxy, transport_of
from voiceengine.gateways.schedule import MAX_BACKOFF, MAX_RETRY_AFTER, Outcome, Schedule

pytestmark = pytest.mark.unit

NOW = 1000.0


def schedule(interval: int = 3600, jitter: float = 0.0) -> Schedule:
    return Schedule(interval, lambda: jitter)


@pytest.mark.parametrize(("jitter", "delay"), [(0.0, 480.0), (1.0, 540.0)])
def test_a_registration_is_refreshed_before_what_was_granted_ends(jitter: float, delay: float) -> None:
    made = schedule(jitter=jitter)

    assert made.step(Outcome(code=200, granted=600), NOW) == pytest.approx(delay)
    assert made.state == "registered"
    assert made.live(NOW + 599)
    assert not made.live(NOW + 600)


def test_without_a_word_about_it_what_was_asked_for_is_granted() -> None:
    assert schedule(100).step(Outcome(code=200), NOW) == pytest.approx(80)


def test_a_grant_of_years_is_not_believed() -> None:
    made = schedule(100)

    assert made.step(Outcome(code=200, granted=2**32 - 1), NOW) == pytest.approx(0.8 * 86_400)
    assert not made.live(NOW + 86_400)


def test_a_success_that_holds_nothing_is_a_refusal() -> None:
    made = schedule()

    assert made.step(Outcome(code=200, granted=0), NOW) >= MAX_BACKOFF * 0.9
    assert made.state == "refused"
    assert not made.live(NOW)


def test_423_asks_for_more_at_once() -> None:
    made = schedule(60)

    assert made.step(Outcome(code=423, min_expires=120), NOW) == 0
    assert made.interval == 120
    assert made.state == "registering"


@pytest.mark.parametrize("least", [None, 0, 60, 10**9])
def test_423_that_does_not_help_waits(least: int | None) -> None:
    made = schedule(60)

    assert made.step(Outcome(code=423, min_expires=least), NOW) > 20
    assert made.state == "unreachable"
    assert made.interval == 60


def test_a_provider_that_always_wants_more_is_not_asked_without_end() -> None:
    made = schedule(60)
    made.step(Outcome(code=423, min_expires=100), NOW)

    assert made.step(Outcome(code=423, min_expires=200), NOW) > 20


@pytest.mark.parametrize("code", [301, 400, 401, 403, 404, 407, 603])
def test_a_refusal_is_tried_again_slowly(code: int) -> None:
    made = schedule()
    made.step(Outcome(code=200), NOW)

    assert MAX_BACKOFF * 0.9 <= made.step(Outcome(code=code), NOW) <= MAX_BACKOFF * 1.1
    assert made.state == "refused"
    assert not made.live(NOW)


@pytest.mark.parametrize("code", [0, 408, 480, 500, 503])
def test_who_is_away_is_tried_again_and_again_more_slowly(code: int) -> None:
    made = schedule(jitter=1.0)

    delays = [made.step(Outcome(code=code), NOW) for _ in range(8)]

    assert delays == [30, 60, 120, 240, 480, 900, 900, 900]
    assert made.state == "unreachable"
    assert made.step(Outcome(code=200), NOW) > 0
    assert made.step(Outcome(code=code), NOW + 3599) == 1.0  # a new row of failures


def test_a_registration_that_still_stands_is_saved_in_time() -> None:
    made = schedule(jitter=1.0)
    made.step(Outcome(code=200, granted=60), NOW)

    assert made.step(Outcome(code=408), NOW + 50) == 5
    assert made.live(NOW + 59)


def test_retry_after_counts_when_it_is_longer() -> None:
    assert schedule().step(Outcome(code=503, retry_after=120), NOW) == 120
    assert schedule().step(Outcome(code=503, retry_after=1), NOW) >= 24
    assert schedule().step(Outcome(code=503, retry_after=10**9), NOW) == MAX_RETRY_AFTER


def test_what_was_taken_back_is_off() -> None:
    made = schedule()
    made.step(Outcome(code=200), NOW)
    made.ended()

    assert made.state == "off"
    assert not made.live(NOW)


OUTCOMES = st.builds(
    Outcome,
    code=st.one_of(st.just(0), st.integers(200, 699)),
    granted=st.one_of(st.none(), st.integers(0, 10**9)),
    min_expires=st.one_of(st.none(), st.integers(0, 10**9)),
    retry_after=st.one_of(st.none(), st.floats(0, 1e9)),
)


@given(st.lists(st.tuples(OUTCOMES, st.floats(0, 1)), max_size=30))
def test_whatever_happens_it_never_rushes_and_never_gives_up(steps: list[tuple[Outcome, float]]) -> None:
    made = schedule(3600)
    now = NOW
    at_once = 0

    for outcome, jitter in steps:
        made.jitter = lambda jitter=jitter: jitter  # type: ignore[misc]
        delay = made.step(outcome, now)
        at_once = at_once + 1 if delay < 0.5 else 0
        assert at_once <= 1
        assert 0 <= delay <= 10**9
        assert made.state in ("registered", "registering", "refused", "unreachable")
        assert made.state != "refused" or not made.live(now)
        now += delay


# ------------------------------------------------------------------------- proxies


@pytest.mark.parametrize(
    ("text", "host", "port", "transport"),
    [
        ("sip.example.net", "sip.example.net", None, "udp"),
        (" 192.0.2.1:5070 ", "192.0.2.1", 5070, "udp"),
        ("SIP:sbc1;transport=TCP", "sbc1", None, "tcp"),
        ("sip:[2001:db8::1]:5060", "[2001:db8::1]", 5060, "udp"),
        ("example.net;transport=tcp", "example.net", None, "tcp"),
    ],
)
def test_proxies(text: str, host: str, port: int | None, transport: str) -> None:
    found = parse_proxy(text)

    assert (found.host, found.port, transport_of(found)) == (host, port, transport)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "a\r\nVia: x",
        "sips:a",
        "tel:+1555",
        "http://example.net",
        "a:0",
        "a:70000",
        "a;transport=tls",
        "<sip:a>",
        "x" * 300,
        "bücher.example",
    ],
)
def test_what_is_no_proxy(text: str) -> None:
    with pytest.raises(ProxyError):
        parse_proxy(text)
