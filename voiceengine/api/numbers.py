"""Incoming phone numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import attrs
from twisted.internet.task import deferLater

from voiceengine.api.declare import PAGE, SORT, SUB_ACCOUNTS, Operation, Param
from voiceengine.api.errors import ApiError, bad, forbidden, missing
from voiceengine.api.number_fields import (
    ACCOUNT_SID,
    AREA_CODE,
    CAPABILITIES,
    CREATE,
    IS_SIP,
    NUMBER,
    PHONE_NUMBER,
    UPDATE,
    apply,
    check_applications,
    view,
    without_foreign_applications,
)
from voiceengine.api.number_ranges import (
    NANP,
    AvailableNumber,
    NumberProvider,
    NumberRefused,
    NumberSearch,
    RangeProvider,
    is_of_range_type,
)
from voiceengine.api.number_rules import NumberType, area_code, fits, is_of_type, is_pattern, normalise
from voiceengine.api.paging import Paged, carried, parse_page, parse_sort, plus, slice_rows
from voiceengine.api.representation import One, Render, element
from voiceengine.api.routing import Context, Handler, Reply, Route
from voiceengine.store import Store
from voiceengine.store.rows import API_VERSION, Number, new_sid, now

__all__ = ["FILTERS", "NUMBER", "SORTABLE", "number_provider", "routes"]

REFUSED: Final = "21452"
"""The number cannot be had."""

FILTERS = ("PhoneNumber", "FriendlyName")
SORTABLE = {"PhoneNumber": "phone_number", "FriendlyName": "friendly_name"}

_LIST: Final = (
    Param("PhoneNumber", doc="Numbers like this; `*` stands for any characters."),
    Param("FriendlyName", doc="Names like this; `*` stands for any characters."),
    *SORT,
    *PAGE,
    SUB_ACCOUNTS,
)
_ORGANIZATION: Final = Param(
    "OrganizationSid", required="OrganizationSid cannot be null", doc="The organization of the numbers."
)
_ORGANIZATION_SID: Final = re.compile(r"OR[0-9a-zA-Z]{32}")


def number_provider(context: Context) -> NumberProvider:
    """Where real numbers come from: the ranges of the settings."""
    store, organization_sid = context.deps.store, context.account.organization_sid

    def is_taken(number: str) -> bool:
        return _is_taken(store, number, organization_sid, is_sip=False)

    reactor = context.deps.reactor
    return RangeProvider(context.deps.settings.numbers.ranges, is_taken, pause=lambda: deferLater(reactor, 0))


def _is_taken(store: Store, number: str, organization_sid: str, *, is_sip: bool) -> bool:
    """Whether a number is in use: a virtual one in its organization, a real one anywhere."""
    for other in store.numbers.all_by_number(number):
        account = store.accounts.get(other.account_sid)
        same = account is not None and account.organization_sid == organization_sid
        if same or not (is_sip or other.is_sip):
            return True
    return False


async def _pick(provider: NumberProvider, text: str, kind: NumberType | None) -> str:
    """A free number of an area code."""
    search = NumberSearch(countries=NANP, type=kind, area_code=area_code(text, 3), size=1)
    found = await provider.search(search)
    if not found:
        raise bad(REFUSED)
    return found[0].phone_number


def _offered(
    context: Context, provider: NumberProvider, number: str, kind: NumberType | None
) -> AvailableNumber | None:
    """The number as the provider offers it; None: it is not one of its numbers, but may be had."""
    found = provider.find(number)
    if found is not None:
        if kind is not None and not is_of_range_type(found.source, kind):
            raise bad(REFUSED)
    elif context.deps.settings.numbers.only_ranges and number.startswith("+") and not is_pattern(number):
        raise bad(REFUSED)
    return found


def _create(kind: NumberType | None) -> Handler:
    async def handle(context: Context) -> Reply:
        body, store = context.body, context.deps.store
        provider = number_provider(context)
        text, area = body.read(PHONE_NUMBER), body.read(AREA_CODE)
        is_sip = bool(body.read(IS_SIP)) and not area
        if area:
            number = await _pick(provider, area, kind)
        elif text is None:
            raise missing("Phone number can not be null.")
        else:
            number = normalise(plus(text), is_sip=is_sip)
        offered = None if is_sip else _offered(context, provider, number, kind)
        row = Number(
            sid=new_sid("PN"),
            account_sid=context.account.sid,
            phone_number=number,
            friendly_name=number,
            is_sip=is_sip,
            api_version=body.name("ApiVersion") or API_VERSION,
        )
        if offered is not None:
            able = {f"{name}_capable": getattr(offered.source, name) for name in CAPABILITIES}
            row = attrs.evolve(row, **able)
        row = apply(row, body)
        check_applications(store, row, body)
        if offered is not None:
            try:
                await provider.take(number)
            except NumberRefused as error:
                raise bad(REFUSED) from error
        # Nothing is awaited from here to the row, so of two requests for a number the second sees the first.
        context.still_open()
        if _is_taken(store, number, context.account.organization_sid, is_sip=is_sip):
            raise bad(REFUSED)
        row = await store.numbers.add(row)
        context.changed()
        return Reply(One(NUMBER, view(store, row)))

    return handle


def _row(context: Context) -> Number:
    return context.owned(context.deps.store.numbers.get(context.sid()), "number")


def _patterns(context: Context) -> Sequence[tuple[str, str]]:
    """Fields and the patterns, with wildcards `*`, that the query wants them to fit."""
    number, name = context.query.text("PhoneNumber"), context.query.text("FriendlyName")
    if number is not None:
        # Twilio's clients give a part of a number, the reference the whole with wildcards.
        number = f"*{plus(number)}*" if context.twilio else plus(number)
    found = (("phone_number", number), ("friendly_name", name))
    return [(field, text) for field, text in found if text is not None]


def _matches(patterns: Sequence[tuple[str, str]], number: Number) -> bool:
    return all(fits(getattr(number, field), pattern) for field, pattern in patterns)


def _list(kind: NumberType | None) -> Handler:
    async def handle(context: Context) -> Reply:
        query, store = context.query, context.deps.store
        page, page_size = parse_page(query)
        sort, descending = parse_sort(query, SORTABLE, ("phone_number", False))
        patterns, provider = _patterns(context), number_provider(context)

        def of_kind(number: str) -> bool:
            if kind is None:
                return True
            found = provider.find(number)
            return is_of_type(number, kind) if found is None else is_of_range_type(found.source, kind)

        rows = [
            row
            for sid in context.account_sids()
            for row in store.numbers.of_account(sid)
            if _matches(patterns, row) and of_kind(row.phone_number)
        ]
        rows.sort(key=lambda row: row.date_created, reverse=True)
        rows.sort(key=lambda row: str(getattr(row, sort)), reverse=descending)
        found = Paged(
            representation=NUMBER,
            rows=[view(store, row) for row in slice_rows(rows, page, page_size)],
            page=page,
            page_size=page_size,
            total=len(rows),
            path=context.path("IncomingPhoneNumbers", *([kind] if kind else [])),
            carried=carried(query, [*FILTERS, "SortBy", "Reverse", "SubAccounts"]),
        )
        return Reply(found.check())

    return handle


async def _get(context: Context) -> Reply:
    return Reply(One(NUMBER, view(context.deps.store, _row(context))))


def _new_owner(context: Context, row: Number) -> str:
    sid = context.body.read(ACCOUNT_SID)
    if sid is None or sid == row.account_sid:
        return row.account_sid
    accounts, acting = context.deps.store.accounts, context.acting
    target = accounts.get(sid)
    if target is None:
        raise ApiError(404, "Account not found")
    within = target.sid == acting.sid or accounts.is_ancestor(acting.sid, target.sid)
    if not (within or context.is_super_admin):
        raise forbidden("These credentials give no access to the account of AccountSid.")
    if target.organization_sid != context.account.organization_sid:
        raise bad("A number moves only between accounts of one organization.")
    if target.status == "closed":
        raise bad("Account is closed")
    return target.sid


async def _update(context: Context) -> Reply:
    store = context.deps.store
    row = _row(context)
    row = attrs.evolve(row, account_sid=_new_owner(context, row), date_updated=now())
    row = apply(row, context.body)
    check_applications(store, row, context.body)
    row = await store.numbers.update(without_foreign_applications(store, row))
    context.changed()
    return Reply(One(NUMBER, view(store, row)))


async def _delete(context: Context) -> Reply:
    row = _row(context)
    await context.deps.store.numbers.delete(row.sid)
    if not row.is_sip:
        await number_provider(context).release(row.phone_number)
    context.changed()
    return Reply(status=204)


@attrs.frozen
class _Countries:
    """ISO codes of the countries whose numbers can be had."""

    codes: Sequence[str]

    def json_value(self, render: Render) -> object:
        return list(self.codes)

    def xml_inner(self, render: Render) -> str:
        inner = "".join(element("AvailableCountry", code) for code in self.codes)
        return f"<AvailableCountries>{inner}</AvailableCountries>"


async def _countries(context: Context) -> Reply:
    # US is the region of numbers without a country code, so it is always there.
    return Reply(_Countries(sorted({"US", *number_provider(context).countries()})))


async def _migrate(context: Context) -> Reply:
    if context.account.parent_sid is None:
        raise bad("The numbers of the super admin cannot be migrated.")
    organization_sid = context.body.read(_ORGANIZATION)
    if not _ORGANIZATION_SID.fullmatch(organization_sid):
        raise bad("OrganizationSid is not valid")
    if context.deps.store.organizations.get(organization_sid) is None:
        raise ApiError(404, "Destination organization not found")
    if context.account.organization_sid != organization_sid:
        raise ApiError(
            409,
            "Numbers belong to the organization of their account; migrate the account, they follow it.",
        )
    return Reply()


def _collection(path: str, kind: NumberType | None) -> Route:
    named = {None: "", "Local": "local ", "Mobile": "mobile ", "TollFree": "toll-free "}[kind]
    return Route(
        path=path,
        resource="IncomingPhoneNumbers",
        handlers={
            "GET": Operation(
                run=_list(kind),
                summary=f"List the {named}numbers of an account.",
                query=_LIST,
                returns=NUMBER,
                shape="page",
            ),
            "POST": Operation(
                run=_create(kind), summary=f"Take a {named}number.", body=CREATE, returns=NUMBER
            ),
        },
    )


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/IncomingPhoneNumbers", "IncomingPhoneNumbers"
    kinds: tuple[NumberType, ...] = ("Local", "Mobile", "TollFree")
    change = Operation(run=_update, summary="Change a number or move it.", body=UPDATE, returns=NUMBER)
    return (
        _collection(base, None),
        *(_collection(f"{base}/{kind}", kind) for kind in kinds),
        Route(
            path=base + "/AvailableCountries",
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_countries,
                    summary="List the countries whose numbers can be had (ISO codes).",
                    shape="other",
                    schema={"type": "array", "items": {"type": "string"}},
                )
            },
        ),
        Route(
            path=base + "/migrate",
            resource=resource,
            super_admin=True,
            handlers={
                "POST": Operation(
                    run=_migrate,
                    summary="Bring the numbers of an account into an organization: that of the account, "
                    "whose migration they follow.",
                    body=(_ORGANIZATION,),
                    shape="empty",
                    errors=(404, 409),
                )
            },
        ),
        Route(
            path=base + "/{sid}",
            resource=resource,
            handlers={
                "GET": Operation(run=_get, summary="Get a number.", returns=NUMBER),
                "POST": change,
                "PUT": change,
                "DELETE": Operation(run=_delete, summary="Give a number back.", shape="empty", status=204),
            },
        ),
    )
