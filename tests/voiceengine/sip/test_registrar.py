"""REGISTER: every rule of RFC 3261 section 10.3 that concerns bindings."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sipmessage import Message, Request

from voiceengine.sip import registrar
from voiceengine.sip.registrar import Binding, Contact, Limits, RegisterRequest, Registrar, Source

pytestmark = pytest.mark.unit

LIMITS = Limits(min_expires=60, max_expires=3600, default_expires=1800, max_contacts=3)
SOURCE = Source(
    client_sid="CL1",
    transport="udp",
    remote_host="192.0.2.9",
    remote_port=5070,
    listener="udp://127.0.0.1:5060",
)
AOR = "alice@example.org"
HOME = "sip:alice@192.0.2.9:5070"
NOW = 1000.0


def request(
    *contacts: Contact | str, cseq: int = 1, call_id: str = "c1", expires: int | None = None
) -> RegisterRequest:
    given = tuple(Contact(c) if isinstance(c, str) else c for c in contacts)
    return RegisterRequest(aor=AOR, contacts=given, expires=expires, call_id=call_id, cseq=cseq)


def process(
    asked: RegisterRequest, bindings: tuple[Binding, ...] = (), now: float = NOW, **more: dict[str, str]
) -> registrar.Decision:
    return Registrar(LIMITS).process(asked, bindings, now, SOURCE, **more)


def uris(bindings: tuple[Binding, ...]) -> list[str]:
    return [binding.contact for binding in bindings]


def test_a_first_registration_is_stored_with_its_source() -> None:
    decision = process(request(Contact(HOME, 600, 0.5)))

    assert decision.code == 200
    assert decision.saved == (
        Binding(
            aor=AOR,
            contact=HOME,
            client_sid="CL1",
            call_id="c1",
            cseq=1,
            q=0.5,
            expires_at=NOW + 600,
            transport="udp",
            remote_host="192.0.2.9",
            remote_port=5070,
            listener="udp://127.0.0.1:5060",
            refreshed_at=NOW,
        ),
    )
    assert decision.contact_values() == [f"<{HOME}>;expires=600;q=0.5"]


@pytest.mark.parametrize(
    ("own", "header", "seconds"),
    [(None, None, 1800), (None, 300, 300), (120, 300, 120), (999999, None, 3600), (60, None, 60)],
)
def test_the_contacts_expires_wins_over_the_header_and_the_default(
    own: int | None, header: int | None, seconds: int
) -> None:
    decision = process(request(Contact(HOME, own), expires=header))

    assert decision.saved[0].expires_at == NOW + seconds


def test_too_short_is_answered_423_and_changes_nothing() -> None:
    decision = process(request(Contact(HOME, 600), Contact("sip:b@h", 59)))

    assert (decision.code, decision.min_expires) == (423, 60)
    assert not decision.saved


def test_a_query_returns_the_valid_bindings_best_first() -> None:
    bindings = process(
        request(Contact("sip:a@h", 100, 0.5), Contact("sip:b@h", 200), Contact("sip:c@h", 300))
    ).saved
    late = attrs.evolve(bindings[2], refreshed_at=NOW + 1)
    decision = process(request(), (*bindings[:2], late), now=NOW + 150.4)

    assert decision.contact_values() == ["<sip:c@h>;expires=150", "<sip:b@h>;expires=50"]
    assert uris(decision.removed) == ["sip:a@h"]
    assert not decision.saved


def test_a_refresh_replaces_the_binding_in_any_equal_spelling() -> None:
    first = process(request("sip:alice@EXAMPLE.org:5070")).saved
    decision = process(request("sip:alice@example.ORG:5070;ob", cseq=2), first)

    assert uris(decision.removed) == ["sip:alice@EXAMPLE.org:5070"]
    assert uris(decision.bindings) == ["sip:alice@example.ORG:5070;ob"]


def test_a_refresh_with_the_same_text_removes_nothing() -> None:
    first = process(request(HOME)).saved

    assert process(request(HOME, cseq=2), first).removed == ()


@pytest.mark.parametrize("cseq", [4, 5])
def test_an_older_cseq_of_the_same_call_changes_nothing(cseq: int) -> None:
    first = process(request(HOME, cseq=5)).saved
    decision = process(request("sip:new@h", Contact(HOME, 0), cseq=cseq), first)

    assert (decision.code, decision.saved, decision.removed) == (500, (), ())


def test_another_call_id_may_begin_again() -> None:
    first = process(request(HOME, cseq=5)).saved

    assert process(request(HOME, cseq=1, call_id="c2"), first).code == 200


def test_expires_0_removes_one_contact_only() -> None:
    first = process(request(HOME, "sip:b@h")).saved
    decision = process(request(Contact(HOME, 0), cseq=2), first)

    assert uris(decision.removed) == [HOME]
    assert uris(decision.bindings) == ["sip:b@h"]


def test_removing_what_is_not_there_is_no_error() -> None:
    assert process(request(Contact(HOME, 0))).code == 200


def test_a_star_removes_all() -> None:
    first = process(request(HOME, "sip:b@h")).saved
    decision = process(attrs.evolve(request(expires=0, cseq=2), wildcard=True), first)

    assert (decision.code, len(decision.removed), decision.bindings) == (200, 2, ())


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request(expires=10), 400),
        (request(), 400),
        (request(HOME, expires=0), 400),
        (request(expires=0, cseq=1), 500),
        (request(expires=0, cseq=1, call_id="c2"), 200),
    ],
)
def test_a_star_has_its_conditions(asked: RegisterRequest, code: int) -> None:
    first = process(request(HOME)).saved

    assert process(attrs.evolve(asked, wildcard=True), first).code == code


def test_too_many_contacts_are_forbidden_but_replacing_is_not() -> None:
    first = process(request("sip:a@h", "sip:b@h", "sip:c@h")).saved

    assert process(request("sip:d@h", cseq=2), first).code == 403
    assert process(request("sip:d@h", Contact("sip:a@h", 0), cseq=2), first).code == 200
    assert process(request("sip:d@h", cseq=2), first, now=NOW + 5000).code == 200


def test_a_contact_given_twice_counts_once() -> None:
    assert uris(process(request(Contact("sip:a@h", 100), Contact("sip:a@H", 200))).saved) == ["sip:a@H"]


def test_a_device_replaces_its_earlier_contact() -> None:
    first = process(request(Contact("sip:a@h:1", instance="<urn:x>")))
    decision = process(
        request(Contact("sip:a@h:2", instance="<urn:x>"), call_id="c2"),
        first.saved,
        instances=dict(first.instances),
    )

    assert first.instances == {"sip:a@h:1": "<urn:x>"}
    assert uris(decision.removed) == ["sip:a@h:1"]
    assert uris(decision.bindings) == ["sip:a@h:2"]


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("sip:alice@h", "SIP:alice@H", False),  # sipmessage knows lower-case schemes only
        ("sip:alice@h", "sip:alice@H", True),
        ("sip:%61lice@h", "sip:alice@h", True),
        ("sip:Alice@h", "sip:alice@h", False),
        ("sip:alice@h:5060", "sip:alice@h", False),
        ("sip:alice@h;transport=UDP", "sip:alice@h;transport=udp", True),
        ("sip:alice@h;transport=tcp", "sip:alice@h", False),
        ("sip:alice@h;ob", "sip:alice@h", True),
        ("sip:alice@h;line=1", "sip:alice@h;line=2", False),
        ("sips:alice@h", "sip:alice@h", False),
        ("sip:alice@h;self=1", "sip:alice@h", False),
    ],
)
def test_uris_are_compared_by_their_parts(one: str, two: str, same: bool) -> None:
    assert registrar.same_uri(one, two) is same
    assert registrar.same_uri(two, one) is same


def message(*lines: str, to: str = "<sip:alice@Example.org>") -> Request:
    text = "\r\n".join(
        ["REGISTER sip:example.org SIP/2.0", f"To: {to}", "Call-ID: c1", "CSeq: 7 REGISTER", *lines, "", ""]
    )
    parsed = Message.parse(text.encode("utf-8", "replace"))
    assert isinstance(parsed, Request)
    return parsed


def test_a_register_is_read() -> None:
    got = registrar.parse_register(
        message(
            'Contact: "A, B" <sip:alice@192.0.2.9;transport=tcp>;expires=60;q=0.3'
            ';+sip.instance="<urn:uuid:1>", sip:b@h;Q=1.0',
            "Contact: <sip:c@h>;expires=soon",
            "Expires: 120",
        )
    )

    assert got == RegisterRequest(
        aor="alice@example.org",
        contacts=(
            Contact("sip:alice@192.0.2.9;transport=tcp", 60, 0.3, "<urn:uuid:1>"),
            Contact("sip:b@h"),
            Contact("sip:c@h"),
        ),
        expires=120,
        call_id="c1",
        cseq=7,
    )


def test_a_star_is_read() -> None:
    got = registrar.parse_register(message("Contact: *", "Expires: 0"))

    assert (got.wildcard, got.contacts, got.expires) == (True, (), 0)


@pytest.mark.parametrize(
    "contact",
    [
        "<tel:+1555>",
        "<sip:a@h",
        '"a <sip:a@h>',
        "<sip:a@h>;q=2",
        "<sip:a@h> expires=1",
        "<sip:a@h?x=y>",
        "<sip:a b@h>",
        "<>",
        "*;expires=0",
        "<sip:a@h;self=1>",
        "<sip:a@\u00e9>",
        ", ".join(["<sip:a@h>"] * 65),
    ],
)
def test_a_malformed_contact_is_an_error(contact: str) -> None:
    with pytest.raises(registrar.RegisterError):
        registrar.parse_register(message(f"Contact: {contact}"))


@pytest.mark.parametrize("to", ["", "nonsense", "<sip:example.org>", "<sip:a%0d%0ab@h>", "<tel:+1>"])
def test_a_malformed_to_is_an_error(to: str) -> None:
    with pytest.raises(registrar.RegisterError):
        registrar.parse_register(message(to=to))


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=20))
def test_no_text_raises_anything_else(contact: str, to: str, number: str) -> None:
    built = message()
    built.headers.set("Contact", contact)
    built.headers.set("Expires", number)
    for header, value in (("To", to), ("CSeq", number), ("Contact", f"<sip:{contact}>;{to}")):
        built.headers.set(header, value)
        try:
            registrar.parse_register(built)
        except registrar.RegisterError:
            continue
    registrar.same_uri(contact, to)


CONTACTS = st.builds(
    Contact,
    st.sampled_from(["sip:a@h", "sip:a@H", "sip:b@h", "sip:c@h;line=1", "sip:c@h;line=2", "sip:d@h"]),
    st.sampled_from([None, 0, 30, 60, 100, 9999]),
    st.sampled_from([1.0, 0.5]),
    st.sampled_from([None, "<urn:x>"]),
)
REQUESTS = st.builds(
    RegisterRequest,
    aor=st.just(AOR),
    contacts=st.lists(CONTACTS, max_size=4).map(tuple),
    wildcard=st.booleans(),
    expires=st.sampled_from([None, 0, 90]),
    call_id=st.sampled_from(["c1", "c2"]),
    cseq=st.integers(1, 6),
)


@settings(max_examples=200)
@given(st.lists(st.tuples(REQUESTS, st.integers(0, 90)), max_size=8))
def test_any_history_keeps_the_table_consistent(history: list[tuple[RegisterRequest, int]]) -> None:
    table: dict[str, Binding] = {}
    instances: dict[str, str] = {}
    now = NOW
    for asked, later in history:
        now += later
        decision = process(asked, tuple(table.values()), now, instances=instances)
        if decision.code != 200:
            assert (decision.saved, decision.removed) == ((), ())
            continue
        for binding in decision.removed:
            del table[binding.contact]
        table.update({binding.contact: binding for binding in decision.saved})
        instances.update(decision.instances)

        assert sorted(table) == sorted(uris(decision.bindings))
        assert len(table) <= LIMITS.max_contacts
        assert not any(registrar.same_uri(a, b) for a in table for b in table if a != b)
        assert all(now < b.expires_at <= now + LIMITS.max_expires for b in table.values())
