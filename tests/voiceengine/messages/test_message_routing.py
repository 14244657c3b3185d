"""Routing of messages: its order, and which numbers belong to this engine."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from voiceengine.calls import routing
from voiceengine.calls.routing import Caller, Router
from voiceengine.messages.routing import (
    Decision,
    MessageRouter,
    Refuse,
    ToApplication,
    ToClient,
    ToTrunk,
)
from voiceengine.store.rows import Account, Application, Client, Number

pytestmark = pytest.mark.unit

HOST = "example.org"
OUTSIDE = Caller("outside", address="192.0.2.1")


def account(sid: str, organization: str = "OR1", status: str = "active") -> Account:
    return Account(
        sid=sid,
        organization_sid=organization,
        friendly_name=sid,
        email_address="",
        status=status,
        auth_token="",
    )


def client(login: str, **more: Any) -> Client:
    values: dict[str, Any] = {"account_sid": "AC1", **more}
    return Client(sid="CL" + login, login=login, friendly_name=login, ha1_md5="", ha1_sha256="", **values)


def number(text: str, **more: Any) -> Number:
    values: dict[str, Any] = {"account_sid": "AC1", "sms_url": "/sms.xml", "is_sip": True, **more}
    return Number(sid="PN" + text, phone_number=text, friendly_name=text, **values)


@attrs.define
class Fake:
    """Tables in memory."""

    clients: list[Client] = attrs.Factory(list)
    rows: list[Number] = attrs.Factory(list)
    accounts: list[Account] = attrs.Factory(
        lambda: [account("AC1"), account("AC2", "OR2"), account("AC3", status="suspended")]
    )
    applications: list[Application] = attrs.Factory(list)
    proxy: bool = True

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
        return False


ALICE = client("alice")
BOB = client("bob")
BY_ALICE = Caller("client", ALICE)


def router(*rows: Number, to_trunk: bool = True, **more: Any) -> MessageRouter:
    clients = more.pop("clients", [ALICE, BOB])
    tables = Fake(clients=clients, rows=list(rows), **more)
    return MessageRouter(Router(tables, "http://engine"), to_trunk)


def codes(decision: Decision) -> list[int]:
    return [notice.code for notice in decision.notices]


def test_a_number_with_an_application_takes_messages_of_anybody() -> None:
    row = number("1111", sms_method="GET", sms_fallback_url="http://other/f")
    decision = router(row).route(OUTSIDE, "1111", HOST)
    expected = ToApplication(row, "http://engine/sms.xml", "GET", "http://other/f", "POST")

    assert decision == Decision(expected)
    assert router(row).route(BY_ALICE, "1111", HOST) == decision


def test_an_application_by_sid_wins_over_the_url() -> None:
    row = number("1111", sms_application_sid="AP1")
    for kind, url in (("sms", "http://app/x"), (None, "http://app/x"), ("voice", "http://engine/sms.xml")):
        found = Application(
            sid="AP1", account_sid="AC1", friendly_name="", rcml_url="http://app/x", kind=kind
        )
        route = router(row, applications=[found]).route(OUTSIDE, "1111", HOST).route

        assert isinstance(route, ToApplication)
        assert route.url == url


def test_a_number_comes_before_a_client() -> None:
    found = router(number("1111"), clients=[ALICE, client("1111")])

    assert isinstance(found.route(BY_ALICE, "1111", HOST).route, ToApplication)


def test_a_pattern_takes_messages_too() -> None:
    assert isinstance(router(number("12..")).route(OUTSIDE, "1234", HOST).route, ToApplication)
    assert isinstance(router(number("*")).route(OUTSIDE, "1234", HOST).route, ToApplication)


def test_a_number_without_application_is_a_warning_and_then_nobody() -> None:
    decision = router(number("1111", sms_url=None)).route(OUTSIDE, "1111", HOST)

    assert decision.route == Refuse(404, "Not Found", "AC1")
    assert codes(decision) == [12003, 11005]
    assert codes(router(number("1111", sms_url=None)).route(BY_ALICE, "1111", HOST)) == [12003, 11005]


def test_a_voice_catch_all_keeps_no_message_from_the_trunk() -> None:
    decision = router(number("*", sms_url=None)).route(BY_ALICE, "15550001111", HOST)

    assert isinstance(decision.route, ToTrunk)
    assert codes(decision) == [12003]


def test_a_client_reaches_clients_of_its_organization_only() -> None:
    far = client("carol", account_sid="AC2")
    found = router(clients=[ALICE, BOB, far], proxy=False)

    assert found.route(BY_ALICE, "bob", HOST).route == ToClient(BOB, ALICE)
    assert found.route(BY_ALICE, "carol", "other.org").route == Refuse(404, "Not Found", "AC1")
    assert found.route(BY_ALICE, "carol", HOST).route == Refuse(404, "Not Found", "AC1")


def test_nobody_outside_reaches_a_client() -> None:
    decision = router().route(OUTSIDE, "bob", HOST)

    assert decision.route == Refuse(404, "Not Found", None)
    assert codes(decision) == [11005]


def test_a_client_reaches_the_world_by_the_trunk() -> None:
    assert router().route(BY_ALICE, "15550001111", HOST).route == ToTrunk(ALICE)
    assert router(to_trunk=False).route(BY_ALICE, "15550001111", HOST).route == Refuse(
        404, "Not Found", "AC1"
    )
    assert isinstance(router(proxy=False).route(BY_ALICE, "1555", HOST).route, Refuse)


@pytest.mark.parametrize("to", ["", "1" * 65])
def test_no_or_a_long_destination_is_nobody(to: str) -> None:
    assert isinstance(router().route(BY_ALICE, to, HOST).route, Refuse)


@pytest.mark.parametrize(
    ("sender", "to"),
    [(Caller("client", client("dan", account_sid="AC3")), "1111"), (OUTSIDE, "3333"), (BY_ALICE, "dan")],
)
def test_accounts_that_are_not_active_send_and_get_nothing(sender: Caller, to: str) -> None:
    dan = client("dan", account_sid="AC3")
    found = router(number("1111"), number("3333", account_sid="AC3"), clients=[ALICE, dan])
    decision = found.route(sender, to, HOST)

    assert decision.route == Refuse(403, "Account is not ACTIVE", "AC3")
    assert codes(decision) == [11005]


def test_a_disabled_client_sends_nothing() -> None:
    decision = router().route(Caller("client", client("eve", status=0)), "bob", HOST)

    assert decision.route == Refuse(403, "Client Is Disabled", "AC1")


def test_a_destination_is_an_exact_number_of_this_engine() -> None:
    real = number("+15125550100", is_sip=False, account_sid="AC2")
    found = router(real, number("1111"), number("2222", account_sid="AC2"), number("9.*"))

    assert found.destination("5125550100", "AC1") == real
    assert found.destination("15125550100", "AC1") == real
    assert found.destination("1111", "AC1") is not None
    assert found.destination("2222", "AC1") is None  # virtual, of another organization
    assert found.destination("2222", "AC2") is not None
    assert found.destination("91234", "AC1") is None
    assert found.destination("alice", "AC1") is None
