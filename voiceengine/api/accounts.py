"""Accounts: list of children, one by sid or e-mail address."""

from __future__ import annotations

from collections.abc import Sequence

from voiceengine.api.errors import ApiError, forbidden
from voiceengine.api.representation import Field, Many, Nested, One, Render, Representation, date, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import Account

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


def _subresources(row: Account, render: Render) -> Nested:
    base = render.account_path(row.sid)
    return Nested(tuple((key, name, render.uri(f"{base}/{path}")) for key, name, path in _SUBRESOURCES))


ACCOUNT: Representation[Account] = Representation(
    item="Account",
    items="Accounts",
    list_key="accounts",
    fields=(
        plain("sid"),
        plain("organization", "organization_sid", xml="organization"),
        plain("friendly_name"),
        plain("email_address"),
        plain("type"),
        plain("status"),
        plain("role"),
        date("date_created"),
        date("date_updated"),
        plain("auth_token"),
        Field("uri", lambda row, render: render.uri(render.account_path(row.sid))),
        Field("subresource_uris", _subresources),
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


async def _list(context: Context) -> Reply:
    if "OrganizationSid" in context.query or "DomainName" in context.query:
        return Reply(Many(ACCOUNT, _of_organization(context)))
    return Reply(Many(ACCOUNT, context.deps.store.accounts.children(context.acting.sid)))


def _of_organization(context: Context) -> Sequence[Account]:
    accounts = context.deps.store.accounts
    admin = accounts.super_admin()
    if admin is None or admin.sid != context.acting.sid:
        raise forbidden("Only the super admin may list accounts by organization.")
    found: list[Account] = list(accounts.all())
    domain = context.query.text("DomainName")
    if domain is not None:
        if domain != context.deps.realm:
            raise ApiError(404, "The requested domain was not found.")
        found = [account for account in found if account.organization_sid == admin.organization_sid]
    organization = context.query.text("OrganizationSid")
    if organization is not None:
        found = [account for account in found if account.organization_sid == organization]
    return found


async def _get(context: Context) -> Reply:
    return Reply(One(ACCOUNT, context.account))


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    return (
        Route(path="Accounts", resource="Accounts", handlers={"GET": _list}),
        Route(path="Accounts/{account}", resource="Accounts", handlers={"GET": _get}),
    )
