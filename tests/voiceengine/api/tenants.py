"""One account that owns an object of every kind, and those who try to reach them."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from voiceengine.api.declare import Operation, Param
from voiceengine.api.routing import Route
from voiceengine.store.rows import (
    Account,
    AnnouncementRow,
    Application,
    CallerId,
    CallRow,
    Client,
    ConferenceRow,
    Gateway,
    MessageRow,
    NotificationRow,
    Number,
    Organization,
    RecordingRow,
    ReferRow,
    TranscriptionRow,
    new_sid,
)
from voiceengine.store.tables import ALL_TABLES

Api = Any

MARK = "ownersecret"
"""Stands in every text that the owner stored; in lower case."""
NUMBER = "+15105550177"
METHODS = ("GET", "POST", "PUT", "DELETE")
MOUNT = "/2012-04-24"


def filled(row_class: type[Any], **fixed: Any) -> Any:
    """A row with the mark in every text that is not given."""
    hints = typing.get_type_hints(row_class)
    texts = {field.name: MARK for field in attrs.fields(row_class) if hints[field.name] in (str, str | None)}
    return row_class(**{**texts, **fixed})


@attrs.define
class World:
    """Who is there, and what the owner has."""

    api: Api
    grandparent: Account
    parent: Account
    owner: Account
    sibling: Account
    child: Account
    stranger: Account
    developer: Account
    rows: dict[str, Any]
    """Name -> row of the owner."""

    def sids(self) -> set[str]:
        """Sids of all that the owner has, with its own."""
        return {self.owner.sid, *(row.sid for row in self.rows.values())}


def _of(name: str) -> Callable[[World], str]:
    return lambda world: world.rows[name].sid


ACCOUNT = "Accounts/{account}"
OWNED: dict[str, Callable[[World], str]] = {
    ACCOUNT: lambda world: world.owner.sid,
    "Accounts/migrate/{account}": lambda world: world.owner.sid,
    "Organizations/{organization}": _of("organization"),
    "Management/Gateways/{sid}": _of("gateway"),
    f"{ACCOUNT}/Management/Gateways/{{sid}}": _of("gateway"),
    f"{ACCOUNT}/Announcements/{{sid}}": _of("announcement"),
    f"{ACCOUNT}/Applications/{{sid}}": _of("application"),
    f"{ACCOUNT}/Calls/{{sid}}": _of("call"),
    f"{ACCOUNT}/Calls/{{sid}}/Recordings/{{recording}}": _of("recording"),
    f"{ACCOUNT}/Clients/{{sid}}": _of("client"),
    f"{ACCOUNT}/Conferences/{{sid}}": _of("conference"),
    f"{ACCOUNT}/Conferences/{{sid}}/Participants/{{call}}": _of("call"),
    f"{ACCOUNT}/Conferences/{{sid}}/Recordings/{{recording}}": _of("conference_recording"),
    f"{ACCOUNT}/IncomingPhoneNumbers/{{sid}}": _of("number"),
    f"{ACCOUNT}/Messages/{{sid}}": _of("message"),
    f"{ACCOUNT}/Notifications/{{sid}}": _of("notification"),
    f"{ACCOUNT}/OutgoingCallerIds/{{sid}}": _of("caller_id"),
    f"{ACCOUNT}/Recordings/{{sid}}": _of("recording"),
    f"{ACCOUNT}/Recordings/{{sid}}/Transcriptions/{{transcription}}": _of("transcription"),
    f"{ACCOUNT}/Refers/{{sid}}": _of("refer"),
    f"{ACCOUNT}/SMS/Messages/{{sid}}": _of("message"),
    f"{ACCOUNT}/Supervisor/remote/{{call}}": _of("call"),
    f"{ACCOUNT}/Transcriptions/{{sid}}": _of("transcription"),
}
"""Path up to a variable -> the owner's object that goes there."""
COMMON: dict[str, str] = {
    f"{ACCOUNT}/AvailablePhoneNumbers/{{country}}": "US",
    f"{ACCOUNT}/Queues/{{sid}}": "QU" + "0" * 32,
    f"{ACCOUNT}/Queues/{{sid}}/Members/{{member}}": "CA" + "0" * 32,
    f"{ACCOUNT}/Usage/Records/{{period}}": "Daily",
}
"""Path up to a variable -> a value that belongs to nobody."""


def variables(route: Route) -> Iterator[tuple[str, str, str]]:
    """Of each variable: the path up to it, the segment, the ending."""
    above: list[str] = []
    for segment in route.path.split("/"):
        name, _, ending = segment.strip("{}").partition(":")
        plain = f"{{{name}}}" if segment.startswith("{") else segment
        above.append(plain)
        if segment.startswith("{"):
            yield "/".join(above), segment, ending


def owns(route: Route) -> bool:
    """Whether the path names an object of the owner besides its account."""
    return any(prefix in OWNED and prefix != ACCOUNT for prefix, _, _ in variables(route))


def path_of(route: Route, world: World, account: Account) -> str:
    """The path of the owner's object below this account.

    Raises:
        KeyError: nobody has said what stands for a variable; add it to OWNED or COMMON.
    """
    values = []
    for prefix, _, ending in variables(route):
        if prefix == ACCOUNT:
            values.append(account.sid)
        else:
            values.append((OWNED[prefix](world) if prefix in OWNED else COMMON[prefix]) + ending)
    found = iter(values)
    return "/".join(next(found) if part.startswith("{") else part for part in route.path.split("/"))


_TEXTS = {
    "EmailAddress": "thief@example.com",
    "Password": "RestComm12",
    "PhoneNumber": "+15105550166",
    "Login": "raider",
    "To": "+15105550111",
    "From": "+15105550166",
    "Proxy": "sip.example.com",
    "Register": "false",
}
_SENT = ("FriendlyName", "PhoneNumber", "Url")
"""Sent although not always required: a request without them would fail for want of them."""
_PREFIXES = {
    "AP": "application",
    "CA": "call",
    "CF": "conference",
    "CL": "client",
    "PN": "number",
    "RE": "recording",
    "SM": "message",
    "TR": "transcription",
}


def _value(param: Param, world: World) -> str:
    if param.name in _TEXTS:
        return _TEXTS[param.name]
    match param.kind:
        case "flag":
            return "true"
        case "integer":
            return str(param.minimum or 1)
        case "method":
            return "POST"
        case "url" | "path":
            return "http://127.0.0.1:9/x"
        case "choice":
            return param.allowed[0]
        case "sid":
            name = _PREFIXES.get(param.allowed[0] if param.allowed else "")
            return world.rows[name].sid if name else world.owner.sid
        case "date":
            return "2026-01-01"
        case _:
            return "x"


def body_of(route: Route, method: str, world: World, *, foreign: bool = False) -> dict[str, str]:
    """The parameters that an operation needs; with `foreign` also sids, which are the owner's."""
    operation = route.handlers.get(method)
    if not isinstance(operation, Operation):
        return {"FriendlyName": "x"}
    return {
        param.name: _value(param, world)
        for param in operation.body
        if param.required is not None
        or (foreign and (param.kind == "sid" or param.name.endswith("ApplicationSid")))
        or param.name in _SENT
    }


async def make_world(api: Api) -> World:
    """Store the tree of accounts and all that the owner has."""
    store = api.store
    own = Organization(sid="OR" + "7" * 32, domain_name=MARK)
    await store.organizations.add(own)

    async def account(name: str, digit: str, parent: Account, **changes: Any) -> Account:
        row = api.account("AC" + digit * 32, f"{name}@example.com", parent_sid=parent.sid)
        row = attrs.evolve(row, auth_token=digit * 32, friendly_name=name, **changes)
        added: Account = await store.accounts.add(row)
        return added

    grandparent = await account("grandparent", "1", api.admin)
    parent = await account("parent", "2", grandparent)
    owner = await account(MARK, "3", parent, organization_sid=own.sid)
    sibling = await account("sib", "4", parent)
    child = await account("kid", "5", owner)
    stranger = await account("stranger", "6", api.admin)
    developer = await account("developer", "8", api.admin, role="Developer")
    rows = _rows(api, owner.sid)
    await _store(api, rows)
    return World(
        api,
        grandparent,
        parent,
        owner,
        sibling,
        child,
        stranger,
        developer,
        {**rows, "organization": own},
    )


def _rows(api: Api, owner: str) -> dict[str, Any]:
    application = filled(Application, sid=new_sid("AP"), account_sid=owner, kind="voice")
    call = filled(
        CallRow,
        sid=new_sid("CA"),
        account_sid=owner,
        instance_id="ID" + "0" * 32,
        direction="inbound",
        status="in-progress",
        conference_sid="CF" + "7" * 32,
        duration=9,
        start_time=1e9,
    )
    conference = filled(
        ConferenceRow, sid="CF" + "7" * 32, account_sid=owner, status="RUNNING_MODERATOR_PRESENT"
    )
    recording = filled(
        RecordingRow,
        sid=new_sid("RE"),
        account_sid=owner,
        call_sid=call.sid,
        conference_sid=None,
        status="completed",
        duration=1.0,
    )
    return {
        "announcement": filled(
            AnnouncementRow, sid=new_sid("AN"), account_sid=owner, gender="man", file=f"{'7' * 32}.wav"
        ),
        "application": application,
        "call": call,
        "caller_id": filled(CallerId, sid=new_sid("PN"), account_sid=owner, phone_number=NUMBER),
        "client": filled(
            Client,
            sid=new_sid("CL"),
            account_sid=owner,
            voice_method="POST",
            voice_fallback_method="POST",
            voice_application_sid=application.sid,
        ),
        "conference": conference,
        "conference_recording": attrs.evolve(
            recording, sid=new_sid("RE"), conference_sid=conference.sid, call_sid=call.sid
        ),
        "gateway": filled(Gateway, sid=new_sid("GW")),
        "message": filled(
            MessageRow,
            sid=new_sid("SM"),
            account_sid=owner,
            status="received",
            direction="incoming",
            encoding="GSM",
            headers=f'{{"X-A": "{MARK}"}}',
        ),
        "notification": filled(
            NotificationRow, sid=new_sid("NO"), account_sid=owner, call_sid=call.sid, log=0, error_code=1
        ),
        "number": filled(
            Number,
            sid=new_sid("PN"),
            account_sid=owner,
            phone_number=NUMBER,
            **{f"{kind}_application_sid": application.sid for kind in ("voice", "sms", "ussd", "refer")},
        ),
        "recording": recording,
        "refer": filled(ReferRow, sid=new_sid("RF"), account_sid=owner, call_sid=call.sid),
        "transcription": filled(
            TranscriptionRow,
            sid=new_sid("TR"),
            account_sid=owner,
            recording_sid=recording.sid,
            status="completed",
        ),
    }


_REPOSITORIES = {
    "announcement": "announcements",
    "application": "applications",
    "call": "calls",
    "caller_id": "caller_ids",
    "client": "clients",
    "conference_recording": "recordings",
    "gateway": "gateways",
    "message": "messages",
    "notification": "notifications",
    "number": "numbers",
    "recording": "recordings",
    "refer": "refers",
    "transcription": "transcriptions",
}


async def _store(api: Api, rows: dict[str, Any]) -> None:
    for name, repository_name in _REPOSITORIES.items():
        repository = getattr(api.store, repository_name)
        if hasattr(repository, "save"):
            repository.save(rows[name])
        else:
            await repository.add(rows[name])
    conference = rows["conference"]
    api.rooms.open(conference.account_sid, MARK, sid=conference.sid)
    api.rooms.enter(conference, rows["call"])
    for name in ("recording", "conference_recording"):
        (api.folder / f"{rows[name].sid}.wav").write_bytes(MARK.encode())


async def snapshot(api: Api) -> dict[str, Any]:
    """All that is stored, and all that was asked of the engine."""
    await api.store.flush()

    def read(connection: Any) -> dict[str, Any]:
        return {
            table.name: connection.execute(f'SELECT * FROM "{table.name}"').fetchall() for table in ALL_TABLES
        }

    found: dict[str, Any] = await api.store._thread.submit(read)
    control, rooms = api.control, api.rooms
    found["asked"] = [
        *control.created,
        *control.modified,
        *control.operated,
        *control.recorded,
        *control.recordings_changed,
        *rooms.changed,
        *rooms.participants_changed,
        *api.spoken,
    ]
    found["files"] = sorted(path.name for path in api.folder.iterdir())
    found["provisioning"] = api.changes
    return found
