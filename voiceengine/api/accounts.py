"""Accounts: the tree of tenants, their credentials and their status."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import attrs

from voiceengine.api.account_rules import (
    EMAIL,
    LEVELS,
    NAME,
    NEW_NAME,
    NEW_PASSWORD,
    NEW_ROLE,
    NEW_STATUS,
    NO_ORGANIZATION,
    ORGANIZATION,
    ORGANIZATION_SID,
    PASSWORD,
    ROLE,
    ROLES,
    ROTATE,
    STATUS,
    STATUSES,
    add_linked_client,
    check_free,
    check_strong,
    conflicts,
    find_organization,
    follow,
    hashed,
    level,
    read_email,
    read_new_role,
    read_role,
    read_status,
    sid_of_email,
)
from voiceengine.api.closing import close_accounts
from voiceengine.api.declare import Operation, Param
from voiceengine.api.errors import CLOSED, ApiError, bad, forbidden
from voiceengine.api.representation import Field, Many, Nested, One, Render, Representation, date, plain
from voiceengine.api.routing import NOT_ACTIVE, Context, Reply, Route
from voiceengine.errors import StoreError
from voiceengine.store.rows import Account, new_sid, now

# JSON key, XML name, path below the account
_SUBRESOURCES = (
    ("available_phone_numbers", "AvailablePhoneNumbers", "AvailablePhoneNumbers"),
    ("calls", "Calls", "Calls"),
    ("conferences", "Conferences", "Conferences"),
    ("incoming_phone_numbers", "IncomingPhoneNumbers", "IncomingPhoneNumbers"),
    ("notifications", "Notifications", "Notifications"),
    ("outgoing_caller_ids", "OutgoingCallerIds", "OutgoingCallerIds"),
    ("recordings", "Recordings", "Recordings"),
    ("sandbox", "Sandbox", "Sandbox"),
    ("sms_messages", "SMSMessages", "SMS/Messages"),
    ("transcriptions", "Transcriptions", "Transcriptions"),
)

_OF_ORGANIZATION: Final = (
    Param("OrganizationSid", doc="All accounts of this organization; for the super admin only."),
    Param("DomainName", doc="All accounts of the organization with this domain; for the super admin only."),
)
_FILTERS: Final = (
    Param("FriendlyName", doc="Equals."),
    Param("Status", doc="Equals, in any letter case."),
)


def _subresources(row: Account, render: Render) -> Nested:
    base = render.account_path(row.sid)
    return Nested(tuple((key, name, render.uri(f"{base}/{path}")) for key, name, path in _SUBRESOURCES))


ACCOUNT: Representation[Account] = Representation(
    item="Account",
    items="Accounts",
    list_key="accounts",
    doc="A tenant. Accounts form a tree of three levels; one above acts for those below it.",
    fields=(
        plain("sid", doc="`AC` and the MD5 of the e-mail address in lower case."),
        plain("organization", "organization_sid", xml="organization", doc="Sid of its organization."),
        plain("friendly_name", doc="A name for people."),
        plain("email_address", doc="In lower case; also a user name of HTTP Basic."),
        plain("type", doc="Always Full."),
        plain("status", schema={"type": "string", "enum": list(STATUSES)}, doc="What it may do at present."),
        plain("role", schema={"type": "string", "enum": list(ROLES)}, doc="What it may do at all."),
        date("date_created", doc="When it was made."),
        date("date_updated", doc="When it was changed last."),
        plain("auth_token", doc="Random; password of HTTP Basic. `RotateAuthToken` makes a new one."),
        Field("uri", lambda row, render: render.uri(render.account_path(row.sid)), doc="Its path."),
        Field(
            "subresource_uris",
            _subresources,
            type="object",
            schema={
                "type": "object",
                "properties": {key: {"type": "string"} for key, _, _ in _SUBRESOURCES},
            },
            doc="Paths of what it owns.",
        ),
        Field(
            "owner_account_sid",
            lambda row, _: row.parent_sid or row.sid,
            only="twilio",
            doc="The account above it; itself when there is none.",
        ),
    ),
    xml_order=(
        "Sid",
        "organization",
        "FriendlyName",
        "EmailAddress",
        "Status",
        "Role",
        "Type",
        "DateCreated",
        "DateUpdated",
        "AuthToken",
        "Uri",
        "SubresourceUris",
    ),
)


# ---------------------------------------------------------------- read


async def _list(context: Context) -> Reply:
    query = context.query
    rows: Sequence[Account] = context.deps.store.accounts.children(context.acting.sid)
    if "OrganizationSid" in query or "DomainName" in query:
        rows = _of_organization(context)
    name, status = query.text("FriendlyName"), query.text("Status")
    if name is not None:
        rows = [row for row in rows if row.friendly_name == name]
    if status is not None:
        rows = [row for row in rows if row.status == status.lower()]
    return Reply(Many(ACCOUNT, rows))


def _of_organization(context: Context) -> Sequence[Account]:
    if not context.is_super_admin:
        raise forbidden("Only the super admin may list accounts by organization.")
    store = context.deps.store
    found: list[Account] = list(store.accounts.all())
    domain = context.query.text("DomainName")
    if domain is not None:
        organization = store.organizations.by_domain(domain)
        if organization is None:
            raise ApiError(404, "The requested domain was not found.")
        found = [account for account in found if account.organization_sid == organization.sid]
    sid = context.query.text("OrganizationSid")
    if sid is not None:
        found = [account for account in found if account.organization_sid == sid]
    return found


async def _get(context: Context) -> Reply:
    return Reply(One(ACCOUNT, context.account))


# ---------------------------------------------------------------- create


def _organization_for(context: Context, parent: Account) -> str:
    sid: str | None = context.body.text("OrganizationSid")
    if sid is None or sid == parent.organization_sid:
        return parent.organization_sid
    if not context.is_super_admin:
        raise forbidden("Only the super admin may choose another organization.")
    organization = context.deps.store.organizations.get(sid)
    if organization is None or organization.status != "active":
        raise bad("provided OrganizationSid does not exist")
    return organization.sid


async def _create(context: Context) -> Reply:
    body, deps = context.body, context.deps
    context.active()
    if context.twilio and "EmailAddress" not in body:
        return await _create_nameless(context)
    if not body.text("EmailAddress"):
        read_email(body)
    password: str = body.read(PASSWORD)
    email = read_email(body)
    check_strong(password)
    _new_account(context, sid_of_email(email), email)
    check_free(deps.store, email)
    password_hash = await hashed(deps, password)
    # Other requests ran while the hash was made: the address may be taken, the parent closed or moved.
    context.active()
    check_free(deps.store, email)
    row = attrs.evolve(_new_account(context, sid_of_email(email), email), password_hash=password_hash)
    row = await deps.store.accounts.add(row)
    try:
        await add_linked_client(deps, row, password)
    except StoreError:
        await deps.store.accounts.delete(row.sid)  # so that it can be tried again
        raise
    context.changed()
    return Reply(One(ACCOUNT, row))


async def _create_nameless(context: Context) -> Reply:
    """Twilio's clients send a name at most: such an account has no password and no linked client."""
    sid = new_sid("AC")
    row = _new_account(context, sid, f"{sid.lower()}@accounts.invalid")
    row = await context.deps.store.accounts.add(row)
    context.changed()
    return Reply(One(ACCOUNT, row))


def _new_account(context: Context, sid: str, email: str) -> Account:
    body = context.body
    parent = context.deps.store.accounts.get(context.acting.sid) or context.acting
    if level(context.deps.store, parent) >= LEVELS:
        raise bad("This account is not allowed to have sub-accounts")
    return Account(
        sid=sid,
        organization_sid=_organization_for(context, parent),
        parent_sid=parent.sid,
        friendly_name=body.read(NAME) or email,
        email_address=email,
        status=read_status(body, "active"),
        role=read_role(body, parent.role),
        auth_token=secrets.token_hex(16),
    )


# ---------------------------------------------------------------- update


async def _update(context: Context) -> Reply:
    body, row, deps = context.body, context.account, context.deps
    if row.status == "closed":
        raise bad(CLOSED)
    name: str | None = body.read(NEW_NAME)
    password = body.get("Password")
    status, role = _wanted(context, row, password)
    password_hash = None if password is None else await hashed(deps, password)
    if password_hash is not None:
        # Other requests ran while the hash was made: what they changed is kept, and decides.
        row = deps.store.accounts.get(row.sid) or row
        if row.status == "closed":
            raise bad(CLOSED)
        status, role = _wanted(context, row, password)
    changes: dict[str, Any] = {"date_updated": now(), "role": role}
    if name is not None:
        changes["friendly_name"] = name
    if password_hash is not None:
        changes["password_hash"] = password_hash
    if body.flag("RotateAuthToken"):
        changes["auth_token"] = secrets.token_hex(16)
    row = await deps.store.accounts.update(attrs.evolve(row, **changes))
    try:
        await follow(deps, row, name, password)
        await _enter(context, row, status)
    finally:
        context.changed()
    return Reply(One(ACCOUNT, deps.store.accounts.get(row.sid) or row))


def _wanted(context: Context, row: Account, password: str | None) -> tuple[str, str]:
    """Status and role that the account shall have.

    Raises:
        ApiError: the acting account, as it is now, may not give them.
    """
    body, accounts = context.body, context.deps.store.accounts
    acting = accounts.get(context.acting.sid) or context.acting
    role = read_new_role(body, row, acting)
    status = read_status(body, "active" if password and row.status == "uninitialized" else row.status)
    sets_password = acting.status == "uninitialized" and (password or status == row.status)
    if acting.status != "active" and not sets_password:
        raise forbidden(NOT_ACTIVE)
    if accounts.is_super_admin(row.sid) and (status != "active" or role != row.role):
        # Nobody could undo it, and the next start would find no super admin.
        raise bad("The super admin stays active and keeps its role.")
    return status, role


async def _enter(context: Context, row: Account, status: str) -> None:
    """Give a status to an account and to all below it; those that are closed stay closed."""
    accounts = context.deps.store.accounts
    if status == row.status:
        return
    tree = (accounts.get(row.sid) or row, *accounts.descendants(row.sid))
    changing = [account for account in tree if account.status not in ("closed", status)]
    await accounts.update_all(attrs.evolve(row, status=status, date_updated=now()) for row in changing)
    if status == "closed":
        await close_accounts(context.deps, [account.sid for account in changing])


# ---------------------------------------------------------------- migrate


async def _migrate(context: Context) -> Reply:
    deps, row = context.deps, context.account
    accounts = deps.store.accounts
    if row.status == "closed":
        raise bad(CLOSED)
    organization = find_organization(deps.store, context.body.text("Organization"))
    if organization is None:
        raise ApiError(412, NO_ORGANIZATION)
    if row.parent_sid != context.acting.sid:
        raise bad("Only direct children of the super admin can be moved.")
    if row.organization_sid == organization.sid:
        raise bad("Account already in the requested Organization")
    moving = {account.sid: account for account in (row, *accounts.descendants(row.sid))}
    reason = conflicts(deps.store, moving, organization.sid)
    if reason is not None:
        raise ApiError(409, reason)
    await accounts.update_all(
        attrs.evolve(account, organization_sid=organization.sid, date_updated=now())
        for account in moving.values()
    )
    context.changed()
    return Reply(One(ACCOUNT, accounts.get(row.sid) or row))


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    update = Operation(
        run=_update,
        summary="Change an account; a status goes to all accounts below it, and closing is for ever.",
        body=(NEW_NAME, NEW_PASSWORD, NEW_STATUS, NEW_ROLE, ROTATE),
        returns=ACCOUNT,
    )
    return (
        Route(
            path="Accounts",
            resource="Accounts",
            handlers={
                "GET": Operation(
                    run=_list,
                    summary="The direct children of the acting account.",
                    query=(*_OF_ORGANIZATION, *_FILTERS),
                    returns=ACCOUNT,
                    shape="list",
                    errors=(404,),
                ),
                "POST": Operation(
                    run=_create,
                    summary="Make a sub-account of the acting account, and a client with the same password.",
                    body=(EMAIL, PASSWORD, NAME, STATUS, ROLE, ORGANIZATION_SID),
                    returns=ACCOUNT,
                    errors=(409,),
                ),
            },
        ),
        Route(
            path="Accounts/migrate/{account}",
            resource="Accounts",
            super_admin=True,
            handlers={
                "POST": Operation(
                    run=_migrate,
                    summary="Move a direct child, with all accounts below it, to another organization.",
                    body=(ORGANIZATION,),
                    returns=ACCOUNT,
                    errors=(409, 412),
                )
            },
        ),
        Route(
            path="Accounts/{account}",
            resource="Accounts",
            handlers={
                "GET": Operation(run=_get, summary="An account, by sid or e-mail address.", returns=ACCOUNT),
                "POST": update,
                "PUT": update,
            },
        ),
    )
