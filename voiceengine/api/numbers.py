"""Incoming phone numbers."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import Any

import attrs

from voiceengine.api.errors import ApiError, bad, forbidden, missing, not_found
from voiceengine.api.number_rules import NumberType, is_of_type, normalise
from voiceengine.api.paging import Paged, carried, parse_page, parse_sort, plus, slice_rows
from voiceengine.api.parameters import Parameters
from voiceengine.api.representation import (
    Field,
    Nested,
    One,
    Render,
    Representation,
    date,
    element,
    optional,
    plain,
)
from voiceengine.api.routing import Context, Handler, Reply, Route
from voiceengine.store import Store
from voiceengine.store.rows import API_VERSION, Number, new_sid, now

REFUSED = "21452"
"""The number cannot be had."""

FILTERS = ("PhoneNumber", "FriendlyName")
SORTABLE = {"PhoneNumber": "phone_number", "FriendlyName": "friendly_name"}

_CAPABILITIES = ("voice", "sms", "mms", "fax")


@attrs.frozen
class NumberView:
    """A number and the names of the applications it refers to."""

    number: Number
    names: dict[str, str]

    @property
    def sid(self) -> str:
        """Of the number."""
        return self.number.sid


def _of_number(field: Field[Number]) -> Field[NumberView]:
    return Field(
        field.json,
        lambda view, render: field.value(view.number, render),
        xml=field.xml,
        xml_null=field.xml_null,
    )


def _name(kind: str) -> Field[NumberView]:
    return Field(
        f"{kind}_application_name", lambda view, _: view.names.get(kind), xml_null="omit", json_null=False
    )


def _capabilities(view: NumberView, _: Render) -> Nested:
    return Nested(
        tuple(
            (f"{kind}_capable", kind.capitalize(), getattr(view.number, f"{kind}_capable"))
            for kind in _CAPABILITIES
        )
    )


def _kind(kind: str, *, fallback: bool = True) -> tuple[Field[NumberView], ...]:
    more = (optional(f"{kind}_fallback_url"), plain(f"{kind}_fallback_method")) if fallback else ()
    fields: tuple[Field[Number], ...] = (
        optional(f"{kind}_url"),
        plain(f"{kind}_method"),
        *more,
        optional(f"{kind}_application_sid"),
    )
    return (*map(_of_number, fields), _name(kind))


_voice = _kind("voice")

NUMBER: Representation[NumberView] = Representation(
    item="IncomingPhoneNumber",
    items="IncomingPhoneNumbers",
    list_key="incomingPhoneNumbers",
    json_nulls=True,
    fields=(
        _of_number(plain("sid")),
        _of_number(plain("account_sid")),
        _of_number(plain("friendly_name")),
        _of_number(plain("phone_number")),
        *_voice[:4],
        _of_number(optional("status_callback")),
        _of_number(plain("status_callback_method")),
        _of_number(plain("voice_caller_id_lookup")),
        *_voice[4:],
        _of_number(date("date_created")),
        _of_number(date("date_updated")),
        *_kind("sms"),
        *_kind("ussd"),
        *_kind("refer", fallback=False),
        Field("capabilities", _capabilities),
        _of_number(plain("api_version")),
        Field(
            "uri",
            lambda view, r: r.uri(
                f"{r.account_path(view.number.account_sid)}/IncomingPhoneNumbers/{view.number.sid}"
            ),
        ),
    ),
)

_URLS = {
    "VoiceUrl": "voice_url",
    "VoiceFallbackUrl": "voice_fallback_url",
    "StatusCallback": "status_callback",
    "SmsUrl": "sms_url",
    "SmsFallbackUrl": "sms_fallback_url",
    "UssdUrl": "ussd_url",
    "UssdFallbackUrl": "ussd_fallback_url",
    "ReferUrl": "refer_url",
}
_METHODS = {
    "VoiceMethod": "voice_method",
    "VoiceFallbackMethod": "voice_fallback_method",
    "StatusCallbackMethod": "status_callback_method",
    "SmsMethod": "sms_method",
    "SmsFallbackMethod": "sms_fallback_method",
    "UssdMethod": "ussd_method",
    "UssdFallbackMethod": "ussd_fallback_method",
    "ReferMethod": "refer_method",
}
_APPLICATIONS = {
    "VoiceApplicationSid": "voice_application_sid",
    "SmsApplicationSid": "sms_application_sid",
    "UssdApplicationSid": "ussd_application_sid",
    "ReferApplicationSid": "refer_application_sid",
}
_FLAGS = {
    "VoiceCallerIdLookup": "voice_caller_id_lookup",
    "VoiceCapable": "voice_capable",
    "SmsCapable": "sms_capable",
    "MmsCapable": "mms_capable",
    "FaxCapable": "fax_capable",
}


def _settings(row: Number, body: Parameters) -> Number:
    """Take over the parameters that create and update share."""
    changes: dict[str, Any] = {}
    name = body.name("FriendlyName")
    if name is not None:
        changes["friendly_name"] = name
    changes.update({field: body.url(name, relative=True) for name, field in _URLS.items() if name in body})
    changes.update({field: body.method(name) for name, field in _METHODS.items() if name in body})
    changes.update({field: body.sid(name, "AP") for name, field in _APPLICATIONS.items() if name in body})
    changes.update({field: bool(body.flag(name)) for name, field in _FLAGS.items() if name in body})
    return attrs.evolve(row, **changes)


def _view(store: Store, number: Number) -> NumberView:
    names = {}
    for kind in ("voice", "sms", "ussd", "refer"):
        sid = getattr(number, f"{kind}_application_sid")
        application = store.applications.get(sid) if sid else None
        if application is not None:
            names[kind] = application.friendly_name
    return NumberView(number, names)


def _taken(store: Store, row: Number, organization_sid: str) -> bool:
    for other in store.numbers.all_by_number(row.phone_number):
        account = store.accounts.get(other.account_sid)
        same = account is not None and account.organization_sid == organization_sid
        if same or not (row.is_sip or other.is_sip):
            return True
    return False


async def _create(context: Context) -> Reply:
    body, store = context.body, context.deps.store
    text = body.text("PhoneNumber")
    if "AreaCode" in body and body.text("AreaCode"):
        # There is no provider that could pick a number.
        raise bad(REFUSED)
    if text is None:
        raise missing("Phone number can not be null.")
    is_sip = bool(body.flag("isSIP"))
    number = normalise(plus(text), is_sip=is_sip)
    row = Number(
        sid=new_sid("PN"),
        account_sid=context.account.sid,
        phone_number=number,
        friendly_name=number,
        is_sip=is_sip,
        api_version=body.name("ApiVersion") or API_VERSION,
    )
    if _taken(store, row, context.account.organization_sid):
        raise bad(REFUSED)
    row = await store.numbers.add(_settings(row, body))
    context.changed()
    return Reply(One(NUMBER, _view(store, row)))


def _row(context: Context) -> Number:
    row = context.deps.store.numbers.get(context.sid())
    if row is None:
        raise not_found("number")
    context.own(row.account_sid)
    return row


def _matches(query: Parameters, number: Number) -> bool:
    for parameter, value in (("PhoneNumber", number.phone_number), ("FriendlyName", number.friendly_name)):
        wanted = query.text(parameter)
        if wanted is None:
            continue
        wanted = plus(wanted) if parameter == "PhoneNumber" else wanted
        # * is the only wildcard; ? and [ stay literal.
        pattern = re.sub(r"([?\[])", r"[\1]", wanted)
        if not fnmatch.fnmatchcase(value, pattern):
            return False
    return True


def _list(kind: NumberType | None) -> Handler:
    async def handle(context: Context) -> Reply:
        query, store = context.query, context.deps.store
        page, page_size = parse_page(query)
        sort, descending = parse_sort(query, SORTABLE, ("phone_number", False))
        rows = [
            row
            for sid in context.account_sids()
            for row in store.numbers.of_account(sid)
            if _matches(query, row) and (kind is None or is_of_type(row.phone_number, kind))
        ]
        rows.sort(key=lambda row: row.date_created, reverse=True)
        rows.sort(key=lambda row: str(getattr(row, sort)), reverse=descending)
        found = Paged(
            representation=NUMBER,
            rows=[_view(store, row) for row in slice_rows(rows, page, page_size)],
            page=page,
            page_size=page_size,
            total=len(rows),
            path=context.path("IncomingPhoneNumbers", *([kind] if kind else [])),
            carried=carried(query, [*FILTERS, "SortBy", "Reverse", "SubAccounts"]),
        )
        return Reply(found.check())

    return handle


async def _get(context: Context) -> Reply:
    return Reply(One(NUMBER, _view(context.deps.store, _row(context))))


def _new_owner(context: Context) -> str | None:
    sid = context.body.text("AccountSid")
    if sid is None or sid == context.account.sid:
        return None
    accounts = context.deps.store.accounts
    target = accounts.get(sid)
    if target is None:
        raise ApiError(404, "Account not found")
    if target.sid != context.acting.sid and not accounts.is_ancestor(context.acting.sid, target.sid):
        raise forbidden("These credentials give no access to the account of AccountSid.")
    if target.organization_sid != context.account.organization_sid:
        raise bad("A number moves only between accounts of one organization.")
    return target.sid


async def _update(context: Context) -> Reply:
    row = _settings(_row(context), context.body)
    owner = _new_owner(context) or row.account_sid
    row = attrs.evolve(row, account_sid=owner, date_updated=now())
    row = await context.deps.store.numbers.update(row)
    context.changed()
    return Reply(One(NUMBER, _view(context.deps.store, row)))


async def _delete(context: Context) -> Reply:
    await context.deps.store.numbers.delete(_row(context).sid)
    context.changed()
    return Reply(status=204)


class _Countries:
    """ISO codes of the countries whose numbers are normalised."""

    def json_value(self, render: Render) -> object:
        return ["US"]

    def xml_inner(self, render: Render) -> str:
        return f"<AvailableCountries>{element('AvailableCountry', 'US')}</AvailableCountries>"


async def _countries(context: Context) -> Reply:
    return Reply(_Countries())


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/IncomingPhoneNumbers", "IncomingPhoneNumbers"
    kinds: tuple[NumberType, ...] = ("Local", "Mobile", "TollFree")
    return (
        Route(path=base, resource=resource, handlers={"GET": _list(None), "POST": _create}),
        *(
            Route(path=f"{base}/{kind}", resource=resource, handlers={"GET": _list(kind), "POST": _create})
            for kind in kinds
        ),
        Route(path=base + "/AvailableCountries", resource=resource, handlers={"GET": _countries}),
        Route(
            path=base + "/{sid}",
            resource=resource,
            handlers={"GET": _get, "POST": _update, "PUT": _update, "DELETE": _delete},
        ),
    )
