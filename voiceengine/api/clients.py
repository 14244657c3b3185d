"""Clients: softphone accounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs

from voiceengine.api.account_rules import FORBIDDEN_IN_LOGIN, check_strong
from voiceengine.api.declare import API_VERSION_PARAM, Operation, Param
from voiceengine.api.errors import ApiError, bad
from voiceengine.api.representation import Field, Many, One, Representation, date, optional, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.passwords import ha1_md5, ha1_sha256, make_client
from voiceengine.store.rows import Client, now

TAKEN = (
    "A client with the same name was already created by another account. "
    "Please, choose a different name and try again."
)
FOREIGN_APPLICATION: Final = "VoiceApplicationSid does not name an application of this account."

LOGIN = Param(
    "Login",
    required="Login can not be null.",
    doc='SIP user name, unique in the organization; no blanks and none of ? = @ < > " : ; , / \\ %.',
)
PASSWORD = Param(
    "Password",
    required="Password can not be null.",
    secret=True,
    doc="Its score must be 50 or more, its length 256 at most; only digests are kept.",
)
NEW_PASSWORD = Param("Password", secret=True, doc="As on creation; registered phones are dropped.")
NAME = Param("FriendlyName", "name", doc="Up to 64 characters; the login when it is not given.")
STATUS = Param("Status", doc="1 enabled, 0 disabled; anything else is ignored.")
URLS = {
    "voice_url": Param("VoiceUrl", "path", doc="Document of the calls that it places. Empty: none."),
    "voice_fallback_url": Param(
        "VoiceFallbackUrl", "path", doc="Asked when VoiceUrl cannot be used. Empty: none."
    ),
}
METHODS = {
    "voice_method": Param("VoiceMethod", "method", default="POST", doc="How VoiceUrl is asked."),
    "voice_fallback_method": Param(
        "VoiceFallbackMethod", "method", default="POST", doc="How VoiceFallbackUrl is asked."
    ),
}
APPLICATION = Param(
    "VoiceApplicationSid",
    "sid",
    allowed=("AP",),
    doc="An application of the same account, taken instead of the voice URLs. Empty: none.",
)
PUSH = Param("IsPushEnabled", "flag", doc="true sets push_client_identity to the sid, false clears it.")

SETTINGS = (NAME, STATUS, *URLS.values(), *METHODS.values(), APPLICATION, PUSH)

CLIENT: Representation[Client] = Representation(
    item="Client",
    items="Clients",
    list_key="clients",
    doc="A softphone account.",
    fields=(
        plain("sid", doc="`CL` and 32 hex digits."),
        date("date_created", doc="When it was made."),
        date("date_updated", doc="When it was changed last."),
        plain("account_sid", doc="Its owner."),
        plain("api_version", doc="As given when it was made."),
        plain("friendly_name", doc="A name for people."),
        plain("login", doc="SIP user name."),
        plain("password", "ha1_md5", doc="MD5 of login, realm and password (HA1 of RFC 2617)."),
        Field(
            "password_algorithm",
            lambda row, _: "MD5",
            xml="Password_Algorithm",
            schema={"type": "string", "enum": ["MD5"]},
            doc="Of `password`.",
        ),
        Field(
            "status",
            lambda row, _: str(row.status),
            schema={"type": "string", "enum": ["0", "1"]},
            doc="1 enabled, 0 disabled.",
        ),
        optional("voice_url", doc="Document of the calls that it places."),
        plain("voice_method", doc="How voice_url is asked."),
        optional("voice_fallback_url", doc="Asked when voice_url cannot be used."),
        plain("voice_fallback_method", doc="How voice_fallback_url is asked."),
        optional("voice_application_sid", doc="Taken instead of the voice URLs."),
        Field(
            "uri",
            lambda row, r: r.uri(f"{r.account_path(row.account_sid)}/Clients/{row.sid}"),
            doc="Its path.",
        ),
        plain("push_client_identity", doc="Its sid, when push is enabled."),
    ),
)


def _application(context: Context) -> str | None:
    sid: str | None = context.body.read(APPLICATION)
    if sid is None:
        return None
    found = context.deps.store.applications.get(sid)
    if found is None or found.account_sid != context.account.sid:
        raise bad(FOREIGN_APPLICATION)
    return sid


def _settings(context: Context, row: Client) -> Client:
    """Take over the parameters that create and update share."""
    body = context.body
    changes: dict[str, Any] = {}
    name = body.read(NAME)
    if name is not None:
        changes["friendly_name"] = name
    if body.get("Status") in ("0", "1"):
        changes["status"] = int(body.get("Status") or "1")
    changes.update({field: body.read(param) for field, param in URLS.items() if param.name in body})
    changes.update({field: body.read(param) for field, param in METHODS.items() if param.name in body})
    if APPLICATION.name in body:
        changes["voice_application_sid"] = _application(context)
    push = body.flag("IsPushEnabled")
    if push is not None:
        changes["push_client_identity"] = row.sid if push else None
    return attrs.evolve(row, **changes)


def _checked_login(login: str) -> str:
    if FORBIDDEN_IN_LOGIN.search(login) or len(login) > 128:
        raise bad(f"Login {login} contains invalid character(s)")
    return login


async def _create(context: Context) -> Reply:
    body, clients = context.body, context.deps.store.clients
    login: str = body.read(LOGIN)
    password: str = body.read(PASSWORD)
    _checked_login(login)
    existing = clients.by_login(login, context.account.organization_sid)
    if existing is not None:
        if existing.account_sid != context.account.sid:
            raise ApiError(409, TAKEN)
        return Reply(One(CLIENT, existing))
    check_strong(password)
    row = make_client(context.account.sid, login, password, context.deps.realm)
    row = _settings(context, attrs.evolve(row, api_version=body.read(API_VERSION_PARAM)))
    row = await clients.add(row)
    context.changed()
    return Reply(One(CLIENT, row))


def _row(context: Context) -> Client:
    return context.owned(context.deps.store.clients.get(context.sid()), "client")


async def _list(context: Context) -> Reply:
    return Reply(Many(CLIENT, context.deps.store.clients.of_account(context.account.sid)))


async def _get(context: Context) -> Reply:
    return Reply(One(CLIENT, _row(context)))


async def _update(context: Context) -> Reply:
    row = _settings(context, _row(context))
    password = context.body.get("Password")
    if password is not None:
        check_strong(password)
        realm = context.deps.realm
        row = attrs.evolve(
            row,
            ha1_md5=ha1_md5(row.login, realm, password),
            ha1_sha256=ha1_sha256(row.login, realm, password),
        )
    row = await context.deps.store.clients.update(attrs.evolve(row, date_updated=now()))
    context.changed()
    return Reply(One(CLIENT, row))


async def _delete(context: Context) -> Reply:
    await context.deps.store.clients.delete(_row(context).sid)
    context.changed()
    return Reply()


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/Clients", "Clients"
    update = Operation(
        run=_update, summary="Change a client.", body=(NEW_PASSWORD, *SETTINGS), returns=CLIENT
    )
    return (
        Route(
            path=base,
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_list, summary="The clients of the account.", returns=CLIENT, shape="list"
                ),
                "POST": Operation(
                    run=_create,
                    summary="Make a client; one of the account with this login is returned as it is.",
                    body=(LOGIN, PASSWORD, *SETTINGS, API_VERSION_PARAM),
                    returns=CLIENT,
                    errors=(409,),
                ),
            },
        ),
        Route(
            path=base + "/{sid}",
            resource=resource,
            handlers={
                "GET": Operation(run=_get, summary="One client.", returns=CLIENT),
                "POST": update,
                "PUT": update,
                "DELETE": Operation(
                    run=_delete, summary="Remove a client and its registrations.", shape="empty"
                ),
            },
        ),
    )
