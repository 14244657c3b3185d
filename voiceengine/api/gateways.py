"""Gateways: SIP providers that the engine registers with. Of the whole engine, for the super admin alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from voiceengine.api.declare import Operation, Param
from voiceengine.api.errors import bad, not_found
from voiceengine.api.representation import Field, Many, One, Representation, date, plain
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.gateways.proxy import ProxyError, parse_proxy
from voiceengine.gateways.schedule import MAX_INTERVAL
from voiceengine.store.rows import Gateway, new_sid, now

BAD_REGISTER = "Register must be true or false"

USER_NAME = Param(
    "UserName",
    "name",
    required="UserName can not be null.",
    maximum=128,
    doc="User part of the registered address, and digest user.",
)
PASSWORD = Param(
    "Password", required="Password can not be null.", secret=True, doc="Digest password at the provider."
)
PROXY = Param(
    "Proxy",
    required="The Proxy can not be null",
    doc="Host, `host:port` or SIP URI of the provider; `;transport=tcp` for TCP.",
)
REGISTER = Param("Register", required=BAD_REGISTER, doc="true: the engine registers; false: it does not.")
FRIENDLY_NAME = Param("FriendlyName", "name", doc="A name; default: UserName.")
TTL = Param(
    "TTL",
    "integer",
    default=3600,
    minimum=60,
    maximum=MAX_INTERVAL,
    doc="Interval that is asked for, seconds; the provider may grant another.",
)
CREATE = (FRIENDLY_NAME, USER_NAME, PASSWORD, PROXY, REGISTER, TTL)
UPDATE = tuple(attrs.evolve(param, required=None, default=None) for param in CREATE)

STATES = ("registered", "registering", "refused", "unreachable", "off")


@attrs.frozen
class Shown:
    """A gateway and the state of its registration."""

    row: Gateway
    status: str

    @property
    def date_created(self) -> float:
        """When it was made, wall time."""
        return self.row.date_created

    @property
    def date_updated(self) -> float:
        """When it was changed, wall time."""
        return self.row.date_updated


GATEWAY: Representation[Shown] = Representation(
    item="Gateway",
    items="Gateways",
    list_key="gateways",
    doc="A SIP provider that the engine registers with.",
    fields=(
        plain("sid", "row.sid", doc="`GW` and 32 hex digits."),
        date("date_created", doc="When it was made."),
        date("date_updated", doc="When it was changed."),
        plain("friendly_name", "row.friendly_name", doc="A name."),
        plain("password", "row.password", doc="Digest password, clear."),
        plain("proxy", "row.proxy", doc="Address of the provider."),
        plain("register", "row.register", type="boolean", doc="Whether the engine registers."),
        plain("user_name", "row.user_name", doc="User part of the registered address, and digest user."),
        plain("time_to_live", "row.time_to_live", type="integer", doc="Interval asked for, seconds."),
        Field(
            "uri",
            lambda shown, r: r.uri(f"{r.prefix}/Management/Gateways/{shown.row.sid}"),
            doc="Path of this resource.",
        ),
        plain(
            "status",
            schema={"type": "string", "enum": list(STATES)},
            doc="What became of the registration; `off`: nobody registers.",
        ),
    ),
    xml_order=(
        "Sid",
        "DateCreated",
        "DateUpdated",
        "FriendlyName",
        "Password",
        "Proxy",
        "Register",
        "UserName",
        "TimeToLive",
        "Uri",
        "Status",
    ),
)


def _show(context: Context, row: Gateway) -> Shown:
    control = context.deps.gateways
    return Shown(row, control.state(row.sid) if control is not None else "off")


def _settings(row: Gateway, context: Context, params: Sequence[Param]) -> Gateway:
    """Take over what was sent; the parameters are checked in the order of the reference."""
    given: dict[str, Any] = {param.name: context.body.read(param) for param in params}
    if given["Register"] is not None:
        word = given["Register"].strip().lower()
        if word not in ("true", "false"):
            raise bad(BAD_REGISTER)
        given["Register"] = word == "true"
    if given["Proxy"] is not None:
        given["Proxy"] = given["Proxy"].strip()
        try:
            parse_proxy(given["Proxy"])
        except ProxyError as error:
            raise bad(str(error)) from None
    changes = {
        "friendly_name": given["FriendlyName"],
        "user_name": given["UserName"],
        "password": given["Password"],
        "proxy": given["Proxy"],
        "register": given["Register"],
        "time_to_live": given["TTL"],
    }
    return attrs.evolve(row, **{name: value for name, value in changes.items() if value is not None})


def _changed(context: Context) -> None:
    if context.deps.gateways is not None:
        context.deps.gateways.changed()


def _row(context: Context) -> Gateway:
    row = context.deps.store.gateways.get(context.sid())
    if row is None:
        raise not_found("gateway")
    return row


async def _list(context: Context) -> Reply:
    return Reply(Many(GATEWAY, [_show(context, row) for row in context.deps.store.gateways.all()]))


async def _create(context: Context) -> Reply:
    empty = Gateway(sid=new_sid("GW"), friendly_name="", user_name="", password="", proxy="")
    row = _settings(empty, context, CREATE)
    if not row.friendly_name:
        row = attrs.evolve(row, friendly_name=row.user_name)
    row = await context.deps.store.gateways.add(row)
    _changed(context)
    return Reply(One(GATEWAY, _show(context, row)))


async def _get(context: Context) -> Reply:
    return Reply(One(GATEWAY, _show(context, _row(context))))


async def _update(context: Context) -> Reply:
    row = attrs.evolve(_settings(_row(context), context, UPDATE), date_updated=now())
    row = await context.deps.store.gateways.update(row)
    _changed(context)
    return Reply(One(GATEWAY, _show(context, row)))


async def _delete(context: Context) -> Reply:
    await context.deps.store.gateways.delete(_row(context).sid)
    _changed(context)
    return Reply()


def routes() -> Sequence[Route]:
    """Routes of this resource; `uri` values name those without an account."""
    update = Operation(
        run=_update, summary="Change a gateway; it is registered anew.", body=UPDATE, returns=GATEWAY
    )
    many = {
        "GET": Operation(run=_list, summary="All gateways.", returns=GATEWAY, shape="list"),
        "POST": Operation(
            run=_create, summary="Add a gateway; it is registered.", body=CREATE, returns=GATEWAY
        ),
    }
    one = {
        "GET": Operation(run=_get, summary="One gateway.", returns=GATEWAY),
        "POST": update,
        "PUT": update,
        "DELETE": Operation(
            run=_delete, summary="Unregister and remove a gateway.", returns=None, shape="empty"
        ),
    }
    base, short = "Accounts/{account}/Management/Gateways", "Management/Gateways"
    common: dict[str, Any] = {"resource": "Gateways", "super_admin": True}
    return (
        Route(path=base, handlers=many, **common),
        Route(path=base + "/{sid}", handlers=one, **common),
        Route(path=short, handlers=many, hidden=True, **common),
        Route(path=short + "/{sid}", handlers=one, hidden=True, **common),
    )
