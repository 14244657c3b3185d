"""Applications: URLs of documents that numbers and clients refer to. Only their owner may use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

import attrs

from voiceengine.api.declare import API_VERSION_PARAM, Operation, Param
from voiceengine.api.errors import bad, missing
from voiceengine.api.parameters import Parameters
from voiceengine.api.representation import (
    Field,
    Many,
    One,
    Render,
    Representation,
    camel,
    date,
    element,
    plain,
)
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.store import Store
from voiceengine.store.rows import Application, Number, new_sid, now

KINDS: Final = ("voice", "sms", "ussd")

NUMBER_FIELDS: Final = (
    "voice_application_sid",
    "sms_application_sid",
    "ussd_application_sid",
    "refer_application_sid",
)
_SHOWN: Final = (
    ("sid", "Sid"),
    ("friendly_name", "FriendlyName"),
    ("phone_number", "PhoneNumber"),
    *((name, camel(name)) for name in NUMBER_FIELDS),
)
"""Of a bound number: JSON key (and field of the row), XML name."""

NAME = Param("FriendlyName", "name", doc="A name for people; required to create. Need not be unique.")
HAS_LOOKUP = Param("HasVoiceCallerIdLookup", "flag", doc="Same as VoiceCallerIdLookup.")
LOOKUP = Param("VoiceCallerIdLookup", "flag", doc="Kept and returned; nothing is looked up. false at first.")
RCML_URL = Param("RcmlUrl", "path", doc="Where the document is; a path is one of this server. Empty: none.")
KIND = Param("Kind", doc="voice, sms or ussd, in any letter case.")
INCLUDE_NUMBERS = Param("includeNumbers", "flag", doc="true: each application tells the numbers bound to it.")

_TWILIO = "In the shape of Twilio: "
VOICE_URL = Param("VoiceUrl", "path", doc=_TWILIO + "becomes RcmlUrl, with the kind voice.")
SMS_URL = Param(
    "SmsUrl", "path", doc=_TWILIO + "becomes RcmlUrl, with the kind sms, when no VoiceUrl is given."
)
METHODS = tuple(
    Param(name, "method", doc=_TWILIO + "checked only; the method is that of the number or client.")
    for name in ("VoiceMethod", "SmsMethod")
)
FILTER = Param("FriendlyName", doc=_TWILIO + "equals.")


@attrs.frozen
class ApplicationView:
    """An application and, when asked for, the numbers bound to it."""

    row: Application
    numbers: tuple[Number, ...] | None = None


def _number(number: Number) -> dict[str, str]:
    found = ((key, getattr(number, key)) for key, _ in _SHOWN)
    return {key: value for key, value in found if value is not None}


def _numbers(view: ApplicationView, _: Render) -> list[dict[str, str]] | None:
    return None if view.numbers is None else [_number(number) for number in view.numbers]


class _Applications(Representation[ApplicationView]):
    """Also writes the list of numbers, which nests deeper than fields do, into XML."""

    def to_xml(self, row: ApplicationView, render: Render) -> str:
        """The row as an XML element."""
        text = super().to_xml(row, render)
        if row.numbers is None:
            return text
        items = []
        for number in row.numbers:
            shown = _number(number)
            inner = "".join(element(name, shown[key]) for key, name in _SHOWN if key in shown)
            items.append(f"<Number>{inner}</Number>")
        end = f"</{escape(self.item)}>"
        return f"{text.removesuffix(end)}<Numbers>{''.join(items)}</Numbers>{end}"


def _row_field(field: Field[Any]) -> Field[ApplicationView]:
    value: Callable[[Any, Render], object] = field.value
    return attrs.evolve(field, value=lambda view, render: value(view.row, render))


def _twilio(name: str, value: Callable[[Application], object]) -> Field[ApplicationView]:
    return Field(name, lambda view, _: value(view.row), only="twilio", doc="For Twilio's clients.")


def _url_of(kind: str) -> Callable[[Application], object]:
    def value(row: Application) -> str | None:
        return row.rcml_url if (row.kind or "voice") == kind else None

    return value


def _nothing(_: Application) -> None:
    return None


APPLICATION = _Applications(
    item="Application",
    items="Applications",
    list_key="applications",
    doc="A bundle of URLs that numbers and clients refer to. Only the account that owns it may use it.",
    fields=(
        _row_field(plain("sid", doc="`AP` and 32 hex digits.")),
        _row_field(date("date_created", doc="When it was made.")),
        _row_field(date("date_updated", doc="When it was changed last.")),
        _row_field(plain("friendly_name", doc="A name for people.")),
        _row_field(plain("account_sid", doc="Its owner.")),
        _row_field(plain("api_version", doc="As given when it was made.")),
        _row_field(plain("voice_caller_id_lookup", type="boolean", doc="As given.")),
        _row_field(
            Field(
                "uri",
                lambda row, r: r.uri(f"{r.account_path(row.account_sid)}/Applications/{row.sid}"),
                doc="Its path.",
            )
        ),
        _row_field(plain("rcml_url", xml_null="omit", twilio="", doc="Where its document is.")),
        _row_field(
            plain(
                "kind",
                xml_null="omit",
                schema={"type": "string", "enum": list(KINDS)},
                doc="What it handles.",
            )
        ),
        Field(
            "numbers",
            _numbers,
            only="json",
            twilio="",
            type="array",
            schema={
                "type": "array",
                "items": {"type": "object", "properties": {key: {"type": "string"} for key, _ in _SHOWN}},
            },
            doc="Numbers bound to it, with `includeNumbers=true`.",
        ),
        _twilio("voice_url", _url_of("voice")),
        _twilio("voice_method", lambda _: "POST"),
        _twilio("voice_fallback_url", _nothing),
        _twilio("voice_fallback_method", lambda _: "POST"),
        _twilio("status_callback", _nothing),
        _twilio("status_callback_method", lambda _: "POST"),
        _twilio("sms_url", _url_of("sms")),
        _twilio("sms_method", lambda _: "POST"),
        _twilio("sms_fallback_url", _nothing),
        _twilio("sms_fallback_method", lambda _: "POST"),
        _twilio("sms_status_callback", _nothing),
        _twilio("message_status_callback", _nothing),
        attrs.evolve(_twilio("public_application_connect_enabled", lambda _: False), type="boolean"),
    ),
)


def _kind(body: Parameters) -> str | None:
    text = body.text("Kind")
    if text is None:
        return None
    if text.lower() not in KINDS:
        raise bad(f"{text} is not a valid application kind.")
    return text.lower()


def _settings(context: Context, row: Application) -> Application:
    """Take over the parameters that create and update share."""
    body = context.body
    changes: dict[str, Any] = {}
    name = body.read(NAME)
    if name is not None:
        changes["friendly_name"] = name
    for param in (HAS_LOOKUP, LOOKUP):
        flag = body.flag(param.name)
        if flag is not None:
            changes["voice_caller_id_lookup"] = flag
    if RCML_URL.name in body:
        changes["rcml_url"] = body.read(RCML_URL)
    if context.twilio:
        changes.update(_of_twilio(body))
    kind = _kind(body)
    if kind is not None:
        changes["kind"] = kind
    return attrs.evolve(row, **changes)


def _of_twilio(body: Parameters) -> dict[str, Any]:
    for param in METHODS:
        body.read(param)
    voice, sms = body.read(VOICE_URL), body.read(SMS_URL)
    if voice is not None:
        return {"rcml_url": voice, "kind": "voice"}
    if sms is not None:
        return {"rcml_url": sms, "kind": "sms"}
    return {"rcml_url": None} if VOICE_URL.name in body or SMS_URL.name in body else {}


async def _create(context: Context) -> Reply:
    if not context.body.text("FriendlyName"):
        raise missing("Friendly name can not be null.")
    row = Application(
        sid=new_sid("AP"),
        account_sid=context.account.sid,
        friendly_name="",
        api_version=context.body.read(API_VERSION_PARAM),
    )
    row = await context.deps.store.applications.add(_settings(context, row))
    context.changed()
    return Reply(One(APPLICATION, ApplicationView(row)))


async def _list(context: Context) -> Reply:
    store = context.deps.store
    rows: Sequence[Application] = store.applications.of_account(context.account.sid)
    name = context.query.text("FriendlyName") if context.twilio else None
    if name is not None:
        rows = [row for row in rows if row.friendly_name == name]
    bound = bool(context.query.flag("includeNumbers"))
    views = [ApplicationView(row, _bound(store, row) if bound else None) for row in rows]
    return Reply(Many(APPLICATION, views))


def _bound(store: Store, row: Application) -> tuple[Number, ...]:
    numbers = store.numbers.of_account(row.account_sid)
    return tuple(n for n in numbers if any(getattr(n, name) == row.sid for name in NUMBER_FIELDS))


def _row(context: Context) -> Application:
    return context.owned(context.deps.store.applications.get(context.sid()), "application")


async def _get(context: Context) -> Reply:
    return Reply(One(APPLICATION, ApplicationView(_row(context))))


async def _update(context: Context) -> Reply:
    row = attrs.evolve(_settings(context, _row(context)), date_updated=now())
    row = await context.deps.store.applications.update(row)
    context.changed()
    return Reply(One(APPLICATION, ApplicationView(row)))


def _references(number: Number, sid: str) -> dict[str, Any]:
    """Fields of the number that refer to this application, each with what it becomes without it."""
    return {name: None for name in NUMBER_FIELDS if getattr(number, name) == sid}


async def _delete(context: Context) -> Reply:
    row, store = _row(context), context.deps.store
    await store.applications.delete(row.sid)
    # From here on nobody can refer to it any more.
    await store.numbers.update_all(
        attrs.evolve(number, **dropped, date_updated=now())
        for number in store.numbers.of_account(row.account_sid)
        if (dropped := _references(number, row.sid))
    )
    await store.clients.update_all(
        attrs.evolve(client, voice_application_sid=None, date_updated=now())
        for client in store.clients.of_account(row.account_sid)
        if client.voice_application_sid == row.sid
    )
    context.changed()
    return Reply(status=204)


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/Applications", "Applications"
    shared = (NAME, HAS_LOOKUP, LOOKUP, RCML_URL, KIND, VOICE_URL, SMS_URL, *METHODS)
    update = Operation(run=_update, summary="Change an application.", body=shared, returns=APPLICATION)
    return (
        Route(
            path=base,
            resource=resource,
            owner_only=True,
            handlers={
                "GET": Operation(
                    run=_list,
                    summary="The applications of the account.",
                    query=(INCLUDE_NUMBERS, FILTER),
                    returns=APPLICATION,
                    shape="list",
                ),
                "POST": Operation(
                    run=_create,
                    summary="Make an application.",
                    body=(*shared, API_VERSION_PARAM),
                    returns=APPLICATION,
                ),
            },
        ),
        Route(
            path=base + "/{sid}",
            resource=resource,
            owner_only=True,
            handlers={
                "GET": Operation(run=_get, summary="One application.", returns=APPLICATION),
                "POST": update,
                "PUT": update,
                "DELETE": Operation(
                    run=_delete,
                    summary="Remove an application; numbers and clients that refer to it lose the reference.",
                    shape="empty",
                    status=204,
                ),
            },
        ),
    )
