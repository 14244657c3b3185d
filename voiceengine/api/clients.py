"""Clients: softphone accounts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

from voiceengine.api.errors import ApiError, bad, not_found
from voiceengine.api.parameters import Parameters
from voiceengine.api.representation import Field, Many, One, Representation, date, optional, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.passwords import ha1_md5, ha1_sha256, is_strong
from voiceengine.store.rows import API_VERSION, Client, new_sid, now

TAKEN = (
    "A client with the same name was already created by another account. "
    "Please, choose a different name and try again."
)
WEAK = "Password too weak"

# The reference forbids ? = @; the others cannot stand in an address of record unescaped.
_FORBIDDEN = re.compile(r"[?=@\s<>\":;,/\\%\x00-\x1f\x7f]")

CLIENT: Representation[Client] = Representation(
    item="Client",
    items="Clients",
    list_key="clients",
    fields=(
        plain("sid"),
        date("date_created"),
        date("date_updated"),
        plain("account_sid"),
        plain("api_version"),
        plain("friendly_name"),
        plain("login"),
        plain("password", "ha1_md5"),
        Field("password_algorithm", lambda row, _: "MD5", xml="Password_Algorithm"),
        Field("status", lambda row, _: str(row.status)),
        optional("voice_url"),
        plain("voice_method"),
        optional("voice_fallback_url"),
        plain("voice_fallback_method"),
        optional("voice_application_sid"),
        Field("uri", lambda row, r: r.uri(f"{r.account_path(row.account_sid)}/Clients/{row.sid}")),
        plain("push_client_identity"),
    ),
)


def _settings(row: Client, body: Parameters) -> Client:
    """Take over the parameters that create and update share."""
    changes: dict[str, Any] = {}
    name = body.name("FriendlyName")
    if name is not None:
        changes["friendly_name"] = name
    if body.get("Status") in ("0", "1"):
        changes["status"] = int(body.get("Status") or "1")
    for parameter, field in (("VoiceUrl", "voice_url"), ("VoiceFallbackUrl", "voice_fallback_url")):
        if parameter in body:
            changes[field] = body.url(parameter, relative=True)
    for parameter, field in (
        ("VoiceMethod", "voice_method"),
        ("VoiceFallbackMethod", "voice_fallback_method"),
    ):
        if parameter in body:
            changes[field] = body.method(parameter)
    if "VoiceApplicationSid" in body:
        changes["voice_application_sid"] = body.sid("VoiceApplicationSid", "AP")
    push = body.flag("IsPushEnabled")
    if push is not None:
        changes["push_client_identity"] = row.sid if push else None
    return attrs.evolve(row, **changes)


def _checked_login(login: str) -> str:
    if _FORBIDDEN.search(login) or len(login) > 128:
        raise bad(f"Login {login} contains invalid character(s)")
    return login


async def _create(context: Context) -> Reply:
    body, clients = context.body, context.deps.store.clients
    login = body.required("Login", "Login can not be null.")
    password = body.required("Password", "Password can not be null.")
    _checked_login(login)
    existing = clients.by_login(login, context.account.organization_sid)
    if existing is not None:
        if existing.account_sid != context.account.sid:
            raise ApiError(409, TAKEN)
        return Reply(One(CLIENT, existing))
    if not is_strong(password):
        raise bad(WEAK)
    realm = context.deps.realm
    row = Client(
        sid=new_sid("CL"),
        account_sid=context.account.sid,
        login=login,
        friendly_name=login,
        ha1_md5=ha1_md5(login, realm, password),
        ha1_sha256=ha1_sha256(login, realm, password),
        api_version=body.name("ApiVersion") or API_VERSION,
    )
    row = await clients.add(_settings(row, body))
    context.changed()
    return Reply(One(CLIENT, row))


def _row(context: Context) -> Client:
    row = context.deps.store.clients.get(context.sid())
    if row is None:
        raise not_found("client")
    context.own(row.account_sid)
    return row


async def _list(context: Context) -> Reply:
    return Reply(Many(CLIENT, context.deps.store.clients.of_account(context.account.sid)))


async def _get(context: Context) -> Reply:
    return Reply(One(CLIENT, _row(context)))


async def _update(context: Context) -> Reply:
    row = _settings(_row(context), context.body)
    password = context.body.get("Password")
    if password is not None:
        if not is_strong(password):
            raise bad(WEAK)
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
    return (
        Route(path=base, resource=resource, handlers={"GET": _list, "POST": _create}),
        Route(
            path=base + "/{sid}",
            resource=resource,
            handlers={"GET": _get, "POST": _update, "PUT": _update, "DELETE": _delete},
        ),
    )
