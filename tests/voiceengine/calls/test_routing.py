"""Routing: its order, number matching, and what keeps patterns harmless."""

import time

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceengine.calls import routing
from voiceengine.calls.routing import Caller, ImplicitDial, Refuse, Router, RunApplication
from voiceengine.store.rows import Account, Application, Client, Number

pytestmark = pytest.mark.unit

HOST = "example.org"
OUTSIDE = Caller("outside", address="192.0.2.1")
TRUNK = Caller("trunk", address="192.0.2.2")


def account(sid: str, organization: str = "OR1", status: str = "active") -> Account:
    return Account(
        sid=sid,
        organization_sid=organization,
        friendly_name=sid,
        email_address="",
        status=status,
        auth_token="",
    )


def client(login: str, **more: object) -> Client:
    values: dict[str, object] = {"account_sid": "AC1", **more}
    return Client(
        sid="CL" + login,
        login=login,
        friendly_name=login,
        ha1_md5="",
        ha1_sha256="",
        **values,  # type: ignore[arg-type]
    )


def number(text: str, **more: object) -> Number:
    values: dict[str, object] = {"account_sid": "AC1", "voice_url": "/app.xml", "is_sip": True, **more}
    return Number(sid="PN" + text, phone_number=text, friendly_name=text, **values)  # type: ignore[arg-type]


@attrs.define
class Fake:
    """Tables in memory."""

    clients: list[Client] = attrs.Factory(list)
    rows: list[Number] = attrs.Factory(list)
    accounts: list[Account] = attrs.Factory(
        lambda: [account("AC1"), account("AC2", "OR2"), account("AC3", status="suspended")]
    )
    applications: list[Application] = attrs.Factory(list)
    online: set[str] = attrs.Factory(set)
    proxy: bool = False

    def outbound_proxy(self, account_sid: str) -> bool:
        return self.proxy

    def organization(self, host: str) -> str | None:
        return {HOST: "OR1", "other.org": "OR2"}.get(host)

    def client(self, login: str, organization_sid: str) -> Client | None:
        found = {a.sid for a in self.accounts if a.organization_sid == organization_sid}
        return next((c for c in self.clients if c.login == login and c.account_sid in found), None)

    def numbers(self, text: str) -> list[Number]:
        return [row for row in self.rows if row.phone_number == text]

    def patterns(self) -> list[routing.Pattern]:
        return routing.compile_patterns(self.rows)[0]

    def account(self, sid: str) -> Account | None:
        return next((a for a in self.accounts if a.sid == sid), None)

    def application(self, sid: str) -> Application | None:
        return next((a for a in self.applications if a.sid == sid), None)

    def registered(self, client: Client) -> bool:
        return client.login in self.online


def route(tables: Fake, dialed: str, caller: Caller = OUTSIDE, host: str = HOST) -> routing.Route:
    return Router(tables, "http://127.0.0.1:8080/base/").route(caller, dialed, host)


def matched(dialed: str, *texts: str, **more: object) -> str | None:
    result = route(Fake(rows=[number(text, **more) for text in texts]), dialed)
    return (result.number_sid or "").removeprefix("PN") if isinstance(result, RunApplication) else None


ALICE = Caller("client", client("alice"))


@pytest.mark.parametrize("caller", [OUTSIDE, TRUNK])
def test_a_number_runs_its_application(caller: Caller) -> None:
    row = number("1111", voice_fallback_url="http://x/f", status_callback="s", status_callback_method="GET")

    assert route(Fake(rows=[row]), "1111", caller) == RunApplication(
        account_sid="AC1",
        url="http://127.0.0.1:8080/app.xml",
        fallback_url="http://x/f",
        status_callback="http://127.0.0.1:8080/base/s",
        status_callback_method="GET",
        number_sid="PN1111",
        number_account_sid="AC1",
    )


def test_the_application_wins_over_the_url() -> None:
    row = number("1111", voice_application_sid="AP1")
    tables = Fake(
        rows=[row],
        applications=[Application(sid="AP1", account_sid="AC1", friendly_name="", rcml_url="http://a/")],
    )
    result, without = route(tables, "1111"), route(Fake(rows=[row]), "1111")

    assert isinstance(result, RunApplication)
    assert isinstance(without, RunApplication)
    assert (result.url, without.url) == ("http://a/", "http://127.0.0.1:8080/app.xml")


def test_a_clients_own_application_runs_whatever_it_dials() -> None:
    """AC65."""
    caller = Caller("client", client("alice", voice_url="http://a/", voice_method="GET"))
    tables = Fake(clients=[client("bob")], rows=[number("1111")], online={"bob"})
    expected = RunApplication("AC1", "http://a/", "GET", client_sid="CLalice")

    assert [route(tables, dialed, caller) for dialed in ("bob", "1111", "nobody", "")] == [expected] * 4


def test_a_client_reaches_a_registered_client() -> None:
    """AC64."""
    tables = Fake(clients=[client("bob")], online={"bob"})

    assert route(tables, "bob", ALICE) == ImplicitDial("client", "bob", "AC1")


@pytest.mark.parametrize("status", [0, 1])
def test_a_client_that_is_not_registered_or_disabled_is_a_404(status: int) -> None:
    result = route(
        Fake(clients=[client("bob", status=status)], online={"bob"} if not status else set()), "bob", ALICE
    )

    assert isinstance(result, Refuse)
    assert (result.code, result.phrase, result.notices[0][:2]) == (
        404,
        "Cannot complete P2P call",
        (11001, "warning"),
    )


def test_a_client_dials_a_number_in_its_own_account() -> None:
    tables = Fake(rows=[number("1111", account_sid="AC4")], accounts=[account("AC1"), account("AC4")])
    result = route(tables, "1111", ALICE)

    assert isinstance(result, RunApplication)
    assert (result.account_sid, result.number_account_sid) == ("AC1", "AC4")


def test_anything_else_of_a_client_is_dialed_out() -> None:
    result = route(Fake(proxy=True), "+15551234", ALICE)
    foreign = route(Fake(), "bob#1", ALICE, "elsewhere.net")

    assert isinstance(result, ImplicitDial)
    assert (result.kind, result.target, result.notices[0].code) == ("number", "+15551234", 11002)
    assert isinstance(foreign, ImplicitDial)
    assert (foreign.kind, foreign.target) == ("uri", "sip:bob%231@elsewhere.net")


def test_dialing_out_without_a_proxy_is_a_404() -> None:
    result = route(Fake(), "+15551234", ALICE)

    assert isinstance(result, Refuse)
    assert (result.code, result.notices[0][:2], result.account_sid) == (404, (11004, "warning"), "AC1")


def test_an_outside_caller_reaches_a_client_by_dial() -> None:
    assert route(Fake(clients=[client("bob")]), "bob") == ImplicitDial("client", "bob", "AC1")


@pytest.mark.parametrize(
    ("dialed", "host"), [("nobody", HOST), ("nobody", "unknown"), ("", HOST), ("1" * 65, HOST)]
)
def test_an_unknown_destination_is_a_404(dialed: str, host: str) -> None:
    """AC68."""
    result = route(Fake(rows=[number("1111")]), dialed, host=host)

    assert isinstance(result, Refuse)
    assert (result.code, result.notices[0][:2]) == (404, (11005, "error"))


@pytest.mark.parametrize(
    ("dialed", "caller"),
    [("3333", OUTSIDE), ("carol", OUTSIDE), ("1111", Caller("client", client("carol", account_sid="AC3")))],
)
def test_an_account_that_is_not_active_is_a_403(dialed: str, caller: Caller) -> None:
    """AC24."""
    tables = Fake(rows=[number("3333", account_sid="AC3")], clients=[client("carol", account_sid="AC3")])
    result = route(tables, dialed, caller)

    assert isinstance(result, Refuse)
    assert (result.code, result.notices[0][:2], result.account_sid) == (403, (11005, "error"), "AC3")


def test_a_disabled_client_cannot_call() -> None:
    result = route(Fake(), "1111", Caller("client", client("alice", status=0, voice_url="http://a/")))

    assert isinstance(result, Refuse)
    assert result.code == 403


def test_a_number_without_application_is_a_404() -> None:
    result = route(Fake(rows=[number("1111", voice_url=None)]), "1111")

    assert isinstance(result, Refuse)
    assert (result.code, result.notices[0].code) == (404, 11007)


@pytest.mark.parametrize(
    ("dialed", "stored"),
    [
        ("1111", "1111"),
        ("+15550001", "15550001"),
        ("15550001", "+15550001"),
        ("2125550123", "+12125550123"),
        ("*123#", "*123#"),
    ],
)
def test_forms_of_a_number_match(dialed: str, stored: str) -> None:
    assert matched(dialed, stored) == stored
    assert matched(dialed, stored, is_sip=False) == stored


@pytest.mark.parametrize(
    ("dialed", "texts", "expected"),
    [
        ("1299", ["12.*"], "12.*"),  # AC67
        ("1299", ["12.*", "129[0-9]"], "129[0-9]"),
        ("1299", ["12.*", "1299", "*"], "1299"),
        ("91299", ["12.*"], "12.*"),
        ("777", ["*", "12.*"], "*"),
        ("bob", ["*", ".*"], None),
        ("1299", ["+12.*"], "+12.*"),  # the form with +
        ("999", ["+12.*", "*9.*"], None),
        ("*98", ["*9.*"], "*9.*"),
        ("1299", ["12[", "12.*"], "12.*"),
        ("1" * 33, [".*", "*"], "*"),
    ],
)
def test_patterns_match_longest_first_and_the_catch_all_last(
    dialed: str, texts: list[str], expected: str | None
) -> None:
    assert matched(dialed, *texts) == expected


def test_patterns_are_for_pure_sip_numbers_and_known_organizations() -> None:
    assert matched("1299", "12.*", is_sip=False) is None
    assert isinstance(route(Fake(rows=[number("12.*")]), "1299", host="unknown"), Refuse)
    assert isinstance(route(Fake(rows=[number("12.*", account_sid="AC2")]), "1299"), Refuse)


@pytest.mark.parametrize(
    ("sip", "caller", "host", "expected"),
    [
        (True, OUTSIDE, HOST, 404),
        (True, OUTSIDE, "other.org", 200),
        (True, OUTSIDE, "unknown", 404),
        (True, ALICE, "other.org", 404),
        (True, ALICE, HOST, 404),
        (False, OUTSIDE, "unknown", 200),
        (False, ALICE, "other.org", 200),
        (False, ALICE, HOST, 404),
    ],
)
def test_numbers_of_another_organization(sip: bool, caller: Caller, host: str, expected: int) -> None:
    tables = Fake(rows=[number("2222", account_sid="AC2", is_sip=sip)], proxy=True)
    result = route(tables, "2222", caller, host)

    assert (result.code if isinstance(result, Refuse) else 200) == expected
    assert isinstance(result, Refuse | RunApplication)


def test_a_client_of_another_organization_is_nobody() -> None:
    tables = Fake(clients=[client("bob", account_sid="AC2")], online={"bob"}, proxy=True)

    assert isinstance(route(tables, "bob", ALICE, "other.org"), Refuse)
    assert isinstance(route(tables, "bob", OUTSIDE, "other.org"), ImplicitDial)


@pytest.mark.parametrize(
    "text", ["(1+)+x", "(1|1)*x", "1*1*1*x", "(?=1)x", r"(1)\1", "x" * 65, "[", "(1{2}){9}", "1?1?1?1?1?"]
)
def test_bad_and_dangerous_patterns_are_ignored_with_a_sentence(text: str) -> None:
    patterns, problems = routing.compile_patterns(
        [number(text)] if text != "x" * 65 else [number(text + "$")]
    )

    assert patterns == []
    assert "is ignored" in problems[0]


@pytest.mark.parametrize(
    "text", [r"^(\+1)?555[0-9]{4}$", r"(12|13)\d{2}", "[(1+)+]{2}", r"1\)\*2.*", "(?:1|2)3+"]
)
def test_ordinary_patterns_are_kept(text: str) -> None:
    assert routing.compile_patterns([number(text)])[1] == []


@given(st.text(alphabet="01.*+?{}[]()|\\^$,-:d", max_size=30), st.text(alphabet="01*#+", max_size=64))
def test_no_pattern_raises_or_takes_long(text: str, dialed: str) -> None:
    start = time.process_time()
    route(Fake(rows=[number(text)]), dialed)

    assert time.process_time() - start < 2


@pytest.mark.parametrize("text", ["1*1*$x", ".*.*x", "1?1?1?1?1*1*x"])
def test_the_worst_allowed_patterns_end_soon(text: str) -> None:
    start = time.process_time()
    matched("1" * 32, text)

    assert time.process_time() - start < 0.5


@given(st.text(max_size=70), st.text(max_size=20), st.booleans())
def test_any_text_gets_a_decision(dialed: str, host: str, proxy: bool) -> None:
    tables = Fake(rows=[number("12.*"), number("*")], proxy=proxy)
    for caller in (OUTSIDE, ALICE):
        assert isinstance(route(tables, dialed, caller, host), RunApplication | ImplicitDial | Refuse)
        route(tables, dialed, caller)


@given(st.text(max_size=40))
def test_normalising_never_raises(text: str) -> None:
    form = routing.e164(text)

    assert form is None or form.startswith("+")
