"""Acceptance cases 12 to 25: accounts, their credentials, roles and status; what closing takes along."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from voiceengine.api import account_rules, accounts
from voiceengine.api.account_rules import ROLES
from voiceengine.api.auth import Action, hides_message_text, permitted
from voiceengine.api.closing import finish_closing
from voiceengine.bootstrap import SUPER_ADMIN_EMAIL
from voiceengine.errors import CallControlError, StoreError
from voiceengine.store.passwords import ha1_md5
from voiceengine.store.rows import (
    Account,
    AnnouncementRow,
    Application,
    CallerId,
    Client,
    MessageRow,
    NotificationRow,
    Number,
    Organization,
    RecordingRow,
    TranscriptionRow,
    new_sid,
)

pytestmark = pytest.mark.loopback

Api = Any
ACCOUNTS = "/restcomm/2012-04-24/Accounts"
TWILIO = "/2010-04-01/Accounts"
DESK = {"EmailAddress": "Desk@Example.com", "Password": "RestComm12"}
DESK_SID = "AC" + hashlib.md5(b"desk@example.com").hexdigest()


@pytest.fixture
def api_account() -> Account:
    """Some account."""
    return Account(
        sid="AC" + "1" * 32, organization_sid="OR", friendly_name="x", email_address="x@y", auth_token="t"
    )


async def made(api: Api, by: Any = "", **changes: str) -> Account:
    """A sub-account made over the API."""
    answer = await api.post(f"{ACCOUNTS}.json", {**DESK, **changes}, by=by)
    assert answer.code == 200, answer.text
    row = api.store.accounts.get(answer.json["sid"])
    assert isinstance(row, Account)
    return row


async def put(api: Api, account: Account, by: Any = "", **data: str) -> Any:
    return await api.ask("PUT", f"{ACCOUNTS}/{account.sid}.json", data=data, by=by)


# ---------------------------------------------------------------- create


@pytest_twisted.ensureDeferred
async def test_an_account_is_made_with_its_client(api: Api) -> None:
    answer = await api.post(f"{ACCOUNTS}.json", DESK)
    found = answer.json
    client = api.store.clients.by_login("desk")

    assert answer.code == 200
    assert found["sid"] == DESK_SID
    assert (found["email_address"], found["friendly_name"]) == ("desk@example.com", "desk@example.com")
    assert (found["status"], found["role"], found["type"]) == ("active", "Administrator", "Full")
    assert found["organization"] == api.admin.organization_sid
    assert re.fullmatch("[0-9a-f]{32}", found["auth_token"])
    assert found["auth_token"] != hashlib.md5(b"RestComm12").hexdigest()
    assert "RestComm12" not in answer.text
    assert "RestComm12" not in (api.store.accounts.get(DESK_SID).password_hash or "")
    assert (client.account_sid, client.status) == (DESK_SID, 1)
    assert client.ha1_md5 == ha1_md5("desk", "example.com", "RestComm12")
    assert api.changes == 1


@pytest_twisted.ensureDeferred
async def test_sid_or_address_with_token_or_password_logs_in(api: Api) -> None:
    row = await made(api)
    answers = [
        await api.get(f"{ACCOUNTS}/{user}.json", by=(user, password))
        for user in (row.sid, "desk@example.com")
        for password in (row.auth_token, "RestComm12")
    ]
    wrong = await api.get(f"{ACCOUNTS}/{row.sid}.json", by=(row.sid, hashlib.md5(b"RestComm12").hexdigest()))

    assert [answer.code for answer in answers] == [200] * 4
    assert {answer.json["sid"] for answer in answers} == {DESK_SID}
    assert wrong.code == 401


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"EmailAddress": ""}, 400, "Email address can not be null."),
        ({"EmailAddress": "", "Password": ""}, 400, "Email address can not be null."),
        ({"Password": ""}, 400, "Password can not be null."),
        ({"EmailAddress": "desk"}, 400, "Provided email address desk is not valid"),
        ({"EmailAddress": "desk@nowhere"}, 400, "Provided email address desk@nowhere is not valid"),
        ({"EmailAddress": "@example.com"}, 400, "Provided email address @example.com is not valid"),
        ({"EmailAddress": "my?account@company.com"}, 400, "Login my?account contains invalid character(s) "),
        ({"EmailAddress": "a=b@company.com"}, 400, "Login a=b contains invalid character(s) "),
        ({"EmailAddress": "a@b@company.com"}, 400, "Login a@b contains invalid character(s) "),
        ({"Password": "1234"}, 400, "Password too weak"),
        ({"Status": "asleep"}, 400, "asleep is not a valid account status."),
        ({"Role": "King"}, 400, "Role must be Administrator, Developer or ProvisioningAgent."),
        ({"OrganizationSid": "OR" + "9" * 32}, 400, "provided OrganizationSid does not exist"),
        ({"EmailAddress": "CHILD@example.com"}, 409, account_rules.EMAIL_TAKEN),
        ({"EmailAddress": SUPER_ADMIN_EMAIL.upper()}, 409, account_rules.EMAIL_TAKEN),
        ({"FriendlyName": "x" * 65}, 400, "FriendlyName must not be longer than 64 characters."),
    ],
)
@pytest_twisted.ensureDeferred
async def test_accounts_that_cannot_be_made(
    api: Api, changes: dict[str, str], code: int, message: str
) -> None:
    answer = await api.post(f"{ACCOUNTS}.json", {**DESK, **changes})

    assert (answer.code, answer.json["message"]) == (code, message)
    assert len(api.store.accounts) == 3
    assert api.store.clients.all() == ()


@pytest_twisted.ensureDeferred
async def test_an_address_is_used_once_even_after_closing_and_at_the_same_time(api: Api) -> None:
    both = await gatherResults([Deferred.fromCoroutine(api.post(f"{ACCOUNTS}.json", DESK)) for _ in range(2)])
    row = api.store.accounts.get(DESK_SID)
    await put(api, row, Status="closed")
    later = await api.post(f"{ACCOUNTS}.json", DESK)

    assert sorted(answer.code for answer in both) == [200, 409]
    assert later.code == 409


@pytest_twisted.ensureDeferred
async def test_given_values_are_taken(api: Api) -> None:
    await api.store.organizations.add(Organization(sid="OR" + "9" * 32, domain_name="other"))
    row = await made(
        api, FriendlyName="Desk", Status="SUSPENDED", Role="developer", OrganizationSid="OR" + "9" * 32
    )
    foreign = await api.post(
        f"{ACCOUNTS}.json",
        {**DESK, "EmailAddress": "x@example.com", "OrganizationSid": "OR" + "9" * 32},
        by=api.child,
    )

    assert (row.friendly_name, row.status, row.role) == ("Desk", "suspended", "Developer")
    assert row.organization_sid == "OR" + "9" * 32
    assert foreign.code == 403


@pytest_twisted.ensureDeferred
async def test_the_role_and_the_parent_are_those_of_the_maker(api: Api) -> None:
    row = await made(api, by=api.child)
    deeper = await api.post(f"{ACCOUNTS}.json", {**DESK, "EmailAddress": "x@example.com"}, by=row)
    listed = (await api.get(f"{ACCOUNTS}.json")).json
    below = (await api.get(f"{ACCOUNTS}.json", by=api.child)).json

    assert (row.parent_sid, row.role) == (api.child.sid, "Administrator")
    assert (deeper.code, deeper.json["message"]) == (
        400,
        "This account is not allowed to have sub-accounts",
    )
    assert [account["sid"] for account in listed] == [api.child.sid, api.sibling.sid]
    assert [account["sid"] for account in below] == [DESK_SID]


@pytest_twisted.ensureDeferred
async def test_a_login_that_exists_in_the_organization_is_left_alone(api: Api) -> None:
    theirs = Client(
        sid=new_sid("CL"),
        account_sid=api.sibling.sid,
        login="desk",
        friendly_name="x",
        ha1_md5="1",
        ha1_sha256="2",
    )
    await api.store.clients.add(theirs)
    row = await made(api)
    await put(api, row, FriendlyName="Desk", Password="Another-Pass1")

    assert api.store.clients.all() == (theirs,)


# ---------------------------------------------------------------- update


@pytest_twisted.ensureDeferred
async def test_the_client_follows_name_and_password(api: Api) -> None:
    row = await made(api)
    changed = await put(api, row, FriendlyName="Front desk", Password="Another-Pass1")
    client = api.store.clients.by_login("desk")

    assert changed.json["friendly_name"] == "Front desk"
    assert changed.json["auth_token"] == row.auth_token
    assert client.friendly_name == "Front desk"
    assert client.ha1_md5 == ha1_md5("desk", "example.com", "Another-Pass1")
    assert (await api.get(f"{ACCOUNTS}/{row.sid}.json", by=(row.sid, "Another-Pass1"))).code == 200
    assert (await api.get(f"{ACCOUNTS}/{row.sid}.json", by=(row.sid, "RestComm12"))).code == 401


@pytest_twisted.ensureDeferred
async def test_token_and_address_cannot_be_set(api: Api) -> None:
    row = await made(api)
    answer = await put(api, row, by=row, AuthToken="x", EmailAddress="other@example.com")

    assert answer.code == 200
    assert (answer.json["auth_token"], answer.json["email_address"]) == (row.auth_token, "desk@example.com")


@pytest_twisted.ensureDeferred
async def test_a_token_is_rotated_at_once(api: Api) -> None:
    row = await made(api)
    path = f"{ACCOUNTS}/{row.sid}.json"
    kept = (await api.post(path, {"RotateAuthToken": "false"}, by=row)).json
    new = (await api.post(path, {"RotateAuthToken": "true"}, by=row)).json

    assert kept["auth_token"] == row.auth_token != new["auth_token"]
    assert re.fullmatch("[0-9a-f]{32}", new["auth_token"])
    assert (await api.get(path, by=(row.sid, row.auth_token))).code == 401
    assert (await api.get(path, by=(row.sid, new["auth_token"]))).code == 200
    assert (await api.get(path, by=(row.sid, "RestComm12"))).code == 200


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        ({"Password": "1234"}, 400, "Password too weak"),
        ({"Password": ""}, 400, "Password too weak"),
        ({"Status": "asleep"}, 400, "asleep is not a valid account status."),
        ({"Role": "King"}, 400, "Role must be Administrator, Developer or ProvisioningAgent."),
    ],
)
@pytest_twisted.ensureDeferred
async def test_updates_that_are_refused(api: Api, data: dict[str, str], code: int, message: str) -> None:
    answer = await put(api, api.child, FriendlyName="y", **data)

    assert (answer.code, answer.json["message"]) == (code, message)
    assert api.store.accounts.get(api.child.sid) == api.child


@pytest_twisted.ensureDeferred
async def test_only_administrators_change_roles_and_others_reach_themselves_only(api: Api) -> None:
    developer = await made(api, Role="Developer")
    below = attrs.evolve(
        developer, sid="AC" + "5" * 32, email_address="below@example.com", parent_sid=developer.sid
    )
    await api.store.accounts.add(below)
    raised = await put(api, developer, by=developer, Role="Administrator")
    named = await put(api, developer, by=developer, FriendlyName="Me")
    foreign = await put(api, below, by=developer, FriendlyName="Mine")
    new = await api.post(f"{ACCOUNTS}.json", {**DESK, "EmailAddress": "n@example.com"}, by=developer)
    by_admin = await put(api, developer, Role="provisioningagent")

    assert (raised.code, raised.json["message"]) == (403, "Only Administrator allowed")
    assert (named.code, named.json["friendly_name"]) == (200, "Me")
    assert (foreign.code, new.code) == (403, 403)
    assert by_admin.json["role"] == "ProvisioningAgent"


@pytest_twisted.ensureDeferred
async def test_a_status_goes_to_all_below(api: Api) -> None:
    row = await made(api, by=api.child)
    path = f"{ACCOUNTS}/{row.sid}.json"
    for status in ("suspended", "inactive"):
        await put(api, api.child, Status=status.upper())
        refused = await api.get(path, by=row)
        assert (await api.get(path)).json["status"] == status
        assert (refused.code, refused.json["message"]) == (403, "Provided Account is not active")
    await put(api, api.child, Status="active")

    assert (await api.get(path, by=row)).code == 200


@pytest_twisted.ensureDeferred
async def test_an_uninitialized_account_wakes_with_its_password(api: Api) -> None:
    row = await made(api, Status="uninitialized")
    below = await api.post(f"{ACCOUNTS}.json", {**DESK, "EmailAddress": "x@example.com"}, by=row)
    without = await put(api, row, by=row, Status="active")
    elsewhere = await api.get(f"{ACCOUNTS}/{row.sid}/Clients.json", by=row)
    woken = await put(api, row, by=row, Password="Another-Pass1")

    assert (below.code, without.code, elsewhere.code) == (403, 403, 403)
    assert (woken.code, woken.json["status"]) == (200, "active")
    assert (await api.get(f"{ACCOUNTS}/{row.sid}/Clients.json", by=row)).code == 200


@pytest_twisted.ensureDeferred
async def test_the_super_admin_cannot_lock_everybody_out(api: Api) -> None:
    for data in ({"Status": "suspended"}, {"Status": "closed"}, {"Role": "Developer"}):
        assert (await put(api, api.admin, **data)).code == 400
    assert api.store.accounts.super_admin() == api.store.accounts.get(api.admin.sid)


# ---------------------------------------------------------------- close


def keep_everything(api: Api, account_sid: str) -> dict[str, Any]:
    """One row of every kind that an account owns, not yet stored."""
    recording, announcement = new_sid("RE"), new_sid("AN")
    return {
        "clients": Client(
            sid=new_sid("CL"),
            account_sid=account_sid,
            login="l" + account_sid[-1],
            friendly_name="x",
            ha1_md5="1",
            ha1_sha256="2",
        ),
        "numbers": Number(
            sid=new_sid("PN"), account_sid=account_sid, phone_number=account_sid[-3:], friendly_name="x"
        ),
        "applications": Application(sid=new_sid("AP"), account_sid=account_sid, friendly_name="x"),
        "caller_ids": CallerId(
            sid=new_sid("PN"), account_sid=account_sid, friendly_name="x", phone_number="+15105550100"
        ),
        "recordings": RecordingRow(sid=recording, account_sid=account_sid, call_sid="CA", duration=1.0),
        "notifications": NotificationRow(
            sid=new_sid("NO"), account_sid=account_sid, log=0, error_code=1, message_text="x"
        ),
        "transcriptions": TranscriptionRow(
            sid=new_sid("TR"), account_sid=account_sid, recording_sid=recording
        ),
        "announcements": AnnouncementRow(sid=announcement, account_sid=account_sid, text="x", file="1.wav"),
        "messages": MessageRow(
            sid=new_sid("SM"),
            account_sid=account_sid,
            from_="1",
            to="2",
            body="x",
            status="sent",
            direction="outbound-api",
        ),
        "calls": api.call(account_sid=account_sid, status="completed"),
    }


async def store_everything(api: Api, rows: dict[str, Any]) -> None:
    for name, row in rows.items():
        repository = getattr(api.store, name)
        if hasattr(repository, "save"):
            repository.save(row)
        else:
            await repository.add(row)
    (api.folder / f"{rows['recordings'].sid}.wav").write_bytes(b"RIFF")
    cache = api.cache / rows["announcements"].account_sid
    cache.mkdir(parents=True)
    (cache / "1.wav").write_bytes(b"RIFF")


async def left(api: Api, rows: dict[str, Any]) -> set[str]:
    found = set()
    for name, row in rows.items():
        answer = getattr(api.store, name).get(row.sid)
        if (await answer if hasattr(getattr(api.store, name), "save") else answer) is not None:
            found.add(name)
    return found


@pytest_twisted.ensureDeferred
async def test_closing_takes_everything_below_along(api: Api) -> None:
    row = await made(api, by=api.child)
    mine, others = keep_everything(api, row.sid), keep_everything(api, api.sibling.sid)
    for rows in (mine, others):
        await store_everything(api, rows)
    live = api.call(account_sid=row.sid, status="in-progress")
    foreign = api.call(account_sid=api.sibling.sid, status="in-progress")
    closed = await put(api, api.child, Status="closed")

    assert (closed.code, closed.json["status"]) == (200, "closed")
    assert (await api.get(f"{ACCOUNTS}/{row.sid}.json")).json["status"] == "closed"
    assert await left(api, mine) == {"calls", "messages"}
    assert await left(api, others) == set(others)
    assert [file.name for file in api.folder.iterdir()] == [f"{others['recordings'].sid}.wav"]
    assert [folder.name for folder in api.cache.iterdir()] == [api.sibling.sid]
    assert [sid for sid, _ in api.control.modified] == [live.sid]
    assert (await api.store.calls.get(live.sid)).status == "completed"
    assert (await api.store.calls.get(foreign.sid)).status == "in-progress"
    number = mine["numbers"].sid
    assert (await api.get(f"{ACCOUNTS}/{row.sid}/IncomingPhoneNumbers/{number}.json")).code == 404
    assert (await api.get(f"{ACCOUNTS}/{row.sid}/Calls.json")).json["total"] == 2
    assert (await api.get(f"{ACCOUNTS}/{row.sid}.json", by=row)).code == 403


@pytest_twisted.ensureDeferred
async def test_a_closed_account_stays_closed(api: Api) -> None:
    await put(api, api.child, Status="closed")
    again = await put(api, api.child, FriendlyName="x")
    opened = await put(api, api.child, Status="active")
    client = await api.post(
        f"{ACCOUNTS}/{api.child.sid}/Clients.json", {"Login": "x", "Password": "RestComm12"}
    )

    for answer in (again, opened, client):
        assert (answer.code, answer.json["message"]) == (400, "Account is closed")
    assert (await api.ask("DELETE", f"{ACCOUNTS}/{api.sibling.sid}.json")).code == 405


@pytest_twisted.ensureDeferred
async def test_accounts_below_that_are_closed_are_not_opened_with_the_others(api: Api) -> None:
    row = await made(api, by=api.child)
    await put(api, row, Status="closed")
    await put(api, api.child, Status="suspended")
    await put(api, api.child, Status="active")

    assert api.store.accounts.get(row.sid).status == "closed"


@pytest_twisted.ensureDeferred
async def test_a_call_that_ends_by_itself_does_not_keep_an_account_from_closing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = api.call(account_sid=api.child.sid, status="in-progress")

    async def over(sid: str, change: Any) -> Any:
        api.store.calls.save(attrs.evolve(call, status="completed"))
        raise CallControlError("Call is already completed.", status=410)

    monkeypatch.setattr(api.control, "modify", over)
    answer = await put(api, api.child, Status="closed")

    assert (answer.code, answer.json["status"]) == (200, "closed")
    assert (await api.store.calls.get(call.sid)).status == "completed"


# ---------------------------------------------------------------- migrate


@pytest_twisted.ensureDeferred
async def test_an_account_moves_with_all_below_it(api: Api) -> None:
    other = Organization(sid="OR" + "9" * 32, domain_name="other")
    await api.store.organizations.add(other)
    row = await made(api, by=api.child)
    path = f"{ACCOUNTS}/migrate/{api.child.sid}.json"

    async def moved(by: Any = "", **data: str) -> tuple[int, str]:
        answer = await api.post(path, data, by=by)
        return answer.code, answer.json.get("message", "")

    assert (await moved(by=api.sibling))[0] == 403
    assert (await moved(by=api.child))[0] == 403
    assert await moved() == (412, "Missing Organization SID or Domain Name")
    assert await moved(Organization="nowhere") == (412, "Missing Organization SID or Domain Name")
    assert await moved(Organization="example.com") == (400, "Account already in the requested Organization")
    assert (await api.post(f"{ACCOUNTS}/migrate/{row.sid}.json", {"Organization": "other"})).code == 400
    assert (await api.post(f"{ACCOUNTS}/migrate/AC{'9' * 32}.json", {"Organization": "other"})).code == 404
    answer = await api.post(path, {"Organization": "OTHER"})
    assert (answer.code, answer.json["organization"]) == (200, other.sid)
    assert api.store.accounts.get(row.sid).organization_sid == other.sid


@pytest_twisted.ensureDeferred
async def test_names_stay_unique_in_the_organization_that_is_moved_to(api: Api) -> None:
    other = Organization(sid="OR" + "9" * 32, domain_name="other")
    await api.store.organizations.add(other)
    await api.store.accounts.update(attrs.evolve(api.sibling, organization_sid=other.sid))
    password = {"Password": "RestComm12"}
    for account in (api.child, api.sibling):
        await api.post(f"{ACCOUNTS}/{account.sid}/Clients.json", {"Login": "alice", **password})
    answer = await api.post(f"{ACCOUNTS}/migrate/{api.child.sid}.json", {"Organization": "other"})

    assert answer.code == 409
    assert api.store.accounts.get(api.child.sid).organization_sid == api.admin.organization_sid


# ---------------------------------------------------------------- shape of Twilio


@pytest_twisted.ensureDeferred
async def test_in_the_shape_of_twilio_a_name_is_enough(api: Api) -> None:
    answer = await api.post(f"{TWILIO}.json", {"FriendlyName": "Sub"})
    row = api.store.accounts.get(answer.json["sid"])
    found = (await api.get(f"{TWILIO}.json?FriendlyName=Sub&Status=Active")).json
    none = (await api.get(f"{TWILIO}.json?FriendlyName=Sub&Status=closed")).json
    changed = await api.post(f"{TWILIO}/{row.sid}.json", {"FriendlyName": "New", "Status": "suspended"})

    assert (answer.code, answer.json["friendly_name"]) == (201, "Sub")
    assert answer.json["owner_account_sid"] == api.admin.sid
    assert row.email_address == f"{row.sid.lower()}@accounts.invalid"
    assert row.password_hash is None
    assert api.store.clients.all() == ()
    assert [account["sid"] for account in found["accounts"]] == [row.sid]
    assert none["accounts"] == []
    assert (changed.code, changed.json["status"], changed.json["friendly_name"]) == (200, "suspended", "New")
    assert (await api.ask("DELETE", f"{TWILIO}/{row.sid}.json")).code == 405
    assert (await api.get(f"{TWILIO}/{row.sid}.json", by=(row.sid, row.auth_token))).code == 403


# ---------------------------------------------------------------- roles


@pytest.mark.parametrize(
    ("resource", "developer"),
    [
        ("Applications", "CRMD"),
        ("AvailablePhoneNumbers", "R"),
        ("Calls", "CRMD"),
        ("Gateways", ""),
        ("Notifications", "R"),
        ("Organizations", ""),
        ("Recordings", "RD"),
        ("SmsMessages", "CR"),
        ("Supervisor", ""),
        ("Transcriptions", "R"),
        ("Usage", "CRMD"),
        ("Nothing", ""),
    ],
)
def test_what_roles_may_do(api_account: Account, resource: str, developer: str) -> None:
    def allowed(role: str) -> str:
        account = attrs.evolve(api_account, role=role)
        actions: tuple[Action, ...] = ("Create", "Read", "Modify", "Delete")
        return "".join(action[0] for action in actions if permitted(account, resource, action))

    assert allowed("Administrator") == "CRMD"
    assert allowed("Developer") == developer
    assert allowed("ProvisioningAgent") == ("R" if resource == "Recordings" else developer)


def test_provisioning_agents_do_not_see_texts(api_account: Account) -> None:
    hidden = [role for role in ROLES if hides_message_text(attrs.evolve(api_account, role=role))]

    assert hidden == ["ProvisioningAgent"]


# ---------------------------------------------------------------- requests that cross each other


@attrs.define
class Meanwhile:
    """Does something once, while the next password is hashed."""

    do: Callable[[], Awaitable[Any]] | None = None

    async def hashed(self, deps: Any, password: str) -> str:
        do, self.do = self.do, None
        if do is not None:
            await do()
        return "scrypt"


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    found = Meanwhile()
    monkeypatch.setattr(accounts, "hashed", found.hashed)
    return found


@pytest.mark.parametrize("status", ["active", ""])
@pytest_twisted.ensureDeferred
async def test_nobody_undoes_a_suspension_that_comes_while_his_password_is_hashed(
    api: Api, meanwhile: Meanwhile, status: str
) -> None:
    meanwhile.do = lambda: put(api, api.child, Status="suspended")
    answer = await put(api, api.child, by=api.child, Password="RestComm12", Status=status)

    assert answer.code == 403
    assert api.store.accounts.get(api.child.sid).status == "suspended"


@pytest_twisted.ensureDeferred
async def test_a_parent_that_sets_a_password_keeps_what_came_in_between(
    api: Api, meanwhile: Meanwhile
) -> None:
    meanwhile.do = lambda: put(api, api.child, Status="suspended", Role="Developer")
    answer = await put(api, api.child, Password="RestComm12")

    assert (answer.code, answer.json["status"], answer.json["role"]) == (200, "suspended", "Developer")


@pytest_twisted.ensureDeferred
async def test_a_role_that_is_taken_away_while_a_password_is_hashed_is_gone(
    api: Api, meanwhile: Meanwhile
) -> None:
    meanwhile.do = lambda: put(api, api.child, Role="Developer")
    answer = await put(api, api.child, by=api.child, Password="RestComm12", Role="Administrator")

    assert (answer.code, answer.json["message"]) == (403, "Only Administrator allowed")
    assert api.store.accounts.get(api.child.sid).role == "Developer"


@pytest_twisted.ensureDeferred
async def test_no_account_is_made_below_one_that_is_closed_meanwhile(api: Api, meanwhile: Meanwhile) -> None:
    meanwhile.do = lambda: put(api, api.child, Status="closed")
    answer = await api.post(f"{ACCOUNTS}.json", DESK, by=api.child)

    assert answer.code == 403
    assert api.store.accounts.get(DESK_SID) is None
    assert api.store.clients.all() == ()


@pytest_twisted.ensureDeferred
async def test_an_account_whose_client_cannot_be_stored_can_be_made_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(row: Client) -> Client:
        raise StoreError("There is no room left.")

    with monkeypatch.context() as patch:
        patch.setattr(api.store.clients, "add", refuse)
        failed = await api.post(f"{ACCOUNTS}.json", DESK)

    assert failed.code == 500
    assert (await made(api)).sid == DESK_SID
    assert api.store.clients.by_login("desk") is not None


@pytest_twisted.ensureDeferred
async def test_a_status_reaches_all_accounts_below_or_none(api: Api) -> None:
    row = await made(api, by=api.child)

    def refuse(connection: sqlite3.Connection) -> None:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON accounts "
            f"WHEN NEW.sid = '{row.sid}' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )

    await api.store._thread.submit(refuse)
    answer = await put(api, api.child, Status="suspended")

    assert answer.code == 500
    assert [api.store.accounts.get(sid).status for sid in (api.child.sid, row.sid)] == ["active"] * 2


@pytest_twisted.ensureDeferred
async def test_what_was_left_when_a_closing_broke_off_goes_at_the_next_start(api: Api) -> None:
    mine, others = keep_everything(api, api.child.sid), keep_everything(api, api.sibling.sid)
    for rows in (mine, others):
        await store_everything(api, rows)
    await api.store.accounts.update(attrs.evolve(api.child, status="closed"))
    await finish_closing(api.store, api.folder, api.cache, reactor)

    assert await left(api, mine) == {"calls", "messages"}
    assert await left(api, others) == set(others)
    assert [folder.name for folder in api.cache.iterdir()] == [api.sibling.sid]


# ---------------------------------------------------------------- limits


@pytest_twisted.ensureDeferred
async def test_a_password_has_a_length_that_can_be_weighed(api: Api) -> None:
    for password, message in (
        ("aB3$" * 65, "Password must not be longer than 256 characters."),
        ("aB3$" * 1_000_000, "Password must not be longer than 8192 characters."),
    ):
        account = await api.post(f"{ACCOUNTS}.json", {**DESK, "Password": password})
        client = await api.post("~/Clients.json", {"Login": "bob", "Password": password})
        for answer in (account, client):
            assert (answer.code, answer.json["message"]) == (400, message)
    await made(api, Password="aB3$" * 64)
