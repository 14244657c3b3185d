"""Organizations: tenant domains. One digest realm, that of the engine, serves all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from voiceengine.api.declare import Operation, Param
from voiceengine.api.errors import ApiError, bad, forbidden, not_found
from voiceengine.api.representation import Many, One, Render, Representation, date, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store.rows import Organization, new_sid

STATUSES: Final = ("active", "closed")
STATUS = Param("Status", "choice", allowed=STATUSES, doc="Only those with this status.")
HOSTED_ZONE = Param("HostedZoneId", doc="Accepted and ignored: the engine manages no DNS.")

_SID = re.compile(r"OR[a-zA-Z0-9]{32}")
_LABEL = re.compile(r"[A-Za-z0-9-]{1,255}")

ORGANIZATION: Representation[Organization] = Representation(
    item="Organization",
    items="Organizations",
    list_key="organizations",
    json_nulls=True,
    doc="A tenant domain: client logins and virtual numbers are unique in it.",
    fields=(
        plain("sid", doc="`OR` and 32 hex digits."),
        plain("domain_name", doc="Its domain."),
        plain("status", schema={"type": "string", "enum": list(STATUSES)}, doc="active or closed."),
        date("date_created", doc="When it was made."),
        date("date_updated", doc="When it was changed last."),
    ),
)


class _Nothing:
    """An empty map."""

    def json_value(self, render: Render) -> object:
        return {}

    def xml_inner(self, render: Render) -> str:
        return ""


def _super_admin(context: Context) -> None:
    if not context.is_super_admin:
        raise forbidden("Only the super admin may use this.")


def _sid(context: Context) -> str:
    sid = context.variables["organization"]
    if not _SID.fullmatch(sid):
        raise bad("The sid of an organization is OR and 32 letters or digits.")
    return sid


def _row(context: Context) -> Organization:
    row = context.deps.store.organizations.get(_sid(context))
    if row is None:
        raise not_found("organization")
    return row


async def _list(context: Context) -> Reply:
    status = context.query.read(STATUS)
    rows = [row for row in context.deps.store.organizations.all() if status in (None, row.status)]
    if not rows:
        raise not_found("organization")
    return Reply(Many(ORGANIZATION, rows))


async def _get(context: Context) -> Reply:
    if not context.is_super_admin and _sid(context) != context.acting.organization_sid:
        raise forbidden("These credentials give no access to this organization.")
    return Reply(One(ORGANIZATION, _row(context)))


async def _create(context: Context) -> Reply:
    _super_admin(context)
    domain = context.variables["organization"]
    if not _LABEL.fullmatch(domain):
        raise bad("A domain name has 1 to 255 letters, digits and hyphens.")
    organizations = context.deps.store.organizations
    if organizations.by_domain(domain) is not None:
        raise ApiError(409, f"The domain name {domain} is already in use.")
    row = await organizations.add(Organization(sid=new_sid("OR"), domain_name=domain))
    return Reply(One(ORGANIZATION, row))


async def _migrate(context: Context) -> Reply:
    _row(context)
    return Reply(_Nothing())


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    resource = "Organizations"
    return (
        Route(
            path="Organizations",
            resource=resource,
            super_admin=True,
            handlers={
                "GET": Operation(
                    run=_list,
                    summary="All organizations; 404 when there is none.",
                    query=(STATUS,),
                    returns=ORGANIZATION,
                    shape="list",
                    errors=(404,),
                )
            },
        ),
        Route(
            path="Organizations/{organization}",
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_get,
                    summary="An organization by sid: any for the super admin, its own for an administrator.",
                    returns=ORGANIZATION,
                    errors=(400,),
                ),
                "PUT": Operation(
                    run=_create,
                    summary="Make an organization with this domain name (a label); for the super admin only.",
                    query=(HOSTED_ZONE,),
                    returns=ORGANIZATION,
                    errors=(409,),
                    creates=True,
                ),
            },
        ),
        Route(
            path="Organizations/{organization}/Migrate",
            resource=resource,
            super_admin=True,
            handlers={
                "PUT": Operation(
                    run=_migrate,
                    summary="Hash clear passwords of clients: there never are any, the answer is empty.",
                    shape="other",
                    schema={"type": "object"},
                    errors=(400,),
                )
            },
        ),
    )
