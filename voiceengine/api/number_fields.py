"""What an incoming phone number looks like outside, and the parameters that set it."""

from __future__ import annotations

from typing import Any, Final, cast

import attrs

from voiceengine.api.declare import API_VERSION_PARAM, Param
from voiceengine.api.errors import bad
from voiceengine.api.parameters import Parameters
from voiceengine.api.representation import Field, Nested, Render, Representation, date, optional, plain
from voiceengine.store import Store
from voiceengine.store.rows import Number

CAPABILITIES: Final = ("voice", "sms", "mms", "fax")
KINDS: Final = ("voice", "sms", "ussd", "refer")
_SPOKEN: Final = {"voice": "calls", "sms": "text messages", "ussd": "USSD", "refer": "transfers (SIP REFER)"}


@attrs.frozen
class NumberView:
    """A number and the names of the applications it refers to."""

    number: Number
    names: dict[str, str]

    @property
    def sid(self) -> str:
        """Of the number."""
        return self.number.sid


def view(store: Store, number: Number) -> NumberView:
    """A number with the names of its applications."""
    names = {}
    for kind in KINDS:
        sid = getattr(number, f"{kind}_application_sid")
        application = store.applications.get(sid) if sid else None
        if application is not None:
            names[kind] = application.friendly_name
    return NumberView(number, names)


def _of_number(field: Field[Number]) -> Field[NumberView]:
    found: Any = field  # it becomes a field of another row
    return cast(
        Field[NumberView],
        attrs.evolve(found, value=lambda row, render: field.value(row.number, render)),
    )


def _name(kind: str) -> Field[NumberView]:
    return Field(
        f"{kind}_application_name",
        lambda row, _: row.names.get(kind),
        xml_null="omit",
        json_null=False,
        twilio="",
        doc=f"Name of the application of `{kind}_application_sid`, when there is one.",
    )


def _members(row: NumberView, _: Render) -> Nested:
    return Nested(
        tuple(
            (f"{kind}_capable", kind.capitalize(), getattr(row.number, f"{kind}_capable"))
            for kind in CAPABILITIES
        )
    )


def _members_for_twilio(row: NumberView, _: Render) -> Nested:
    return Nested(
        tuple((kind, kind.capitalize(), getattr(row.number, f"{kind}_capable")) for kind in CAPABILITIES)
    )


def _kind(kind: str, *, fallback: bool = True) -> tuple[Field[NumberView], ...]:
    said = _SPOKEN[kind]
    more = (
        (
            optional(f"{kind}_fallback_url", doc=f"Asked when `{kind}_url` fails."),
            plain(f"{kind}_fallback_method", doc=f"HTTP method of `{kind}_fallback_url`."),
        )
        if fallback
        else ()
    )
    fields: tuple[Field[Number], ...] = (
        optional(f"{kind}_url", doc=f"Document for {said}."),
        plain(f"{kind}_method", doc=f"HTTP method of `{kind}_url`."),
        *more,
        optional(f"{kind}_application_sid", doc=f"Application for {said}; goes before `{kind}_url`."),
    )
    return (*map(_of_number, fields), _name(kind))


def _uri(row: NumberView, render: Render) -> str:
    number = row.number
    return render.uri(f"{render.account_path(number.account_sid)}/IncomingPhoneNumbers/{number.sid}")


_voice = _kind("voice")

NUMBER: Representation[NumberView] = Representation(
    item="IncomingPhoneNumber",
    items="IncomingPhoneNumbers",
    list_key="incomingPhoneNumbers",
    twilio_key="incoming_phone_numbers",
    doc="A number that can be called, or a regular expression of such numbers.",
    json_nulls=True,
    fields=(
        _of_number(plain("sid", doc="`PN` and 32 hex digits.")),
        _of_number(plain("account_sid", doc="The account that has the number.")),
        _of_number(plain("friendly_name", doc="A name; the number when none was given.")),
        _of_number(plain("phone_number", doc="E.164, a short or virtual number, or a regular expression.")),
        *_voice[:4],
        _of_number(optional("status_callback", doc="Told the states of calls to the number.")),
        _of_number(plain("status_callback_method", doc="HTTP method of `status_callback`.")),
        _of_number(plain("voice_caller_id_lookup", type="boolean", doc="Kept as it was set.")),
        *_voice[4:],
        _of_number(date("date_created", doc="When the number was taken.")),
        _of_number(date("date_updated", doc="When it was last changed.")),
        *_kind("sms"),
        *_kind("ussd"),
        *_kind("refer", fallback=False),
        Field(
            "capabilities",
            _members,
            type="object",
            schema={
                "type": "object",
                "properties": {f"{kind}_capable": {"type": "boolean"} for kind in CAPABILITIES},
                "required": [f"{kind}_capable" for kind in CAPABILITIES],
            },
            twilio_value=_members_for_twilio,
            doc="What the number can do.",
        ),
        _of_number(plain("api_version", doc="Version of the API that made it.")),
        Field("uri", _uri, doc="Path of this resource."),
    ),
)


def _url(name: str, said: str) -> Param:
    return Param(name, "path", doc=f"{said} Empty: none.")


def _method(name: str) -> Param:
    return Param(name, "method", default="POST", doc=f"HTTP method of {name.removesuffix('Method')}(Url).")


def _application(kind: str) -> Param:
    return Param(
        f"{kind}ApplicationSid",
        "sid",
        allowed=("AP",),
        doc=f"Application of the number's account that is used instead of {kind}Url; empty: none.",
    )


def _flag(name: str, doc: str) -> Param:
    return Param(name, "flag", default=False, doc=doc)


_SETTINGS: Final[dict[str, Param]] = {
    "voice_url": _url("VoiceUrl", "Document for calls."),
    "voice_method": _method("VoiceMethod"),
    "voice_fallback_url": _url("VoiceFallbackUrl", "Asked when VoiceUrl fails."),
    "voice_fallback_method": _method("VoiceFallbackMethod"),
    "status_callback": _url("StatusCallback", "Told the states of calls to the number."),
    "status_callback_method": _method("StatusCallbackMethod"),
    "voice_caller_id_lookup": _flag("VoiceCallerIdLookup", "Kept with the number."),
    "voice_application_sid": _application("Voice"),
    "sms_url": _url("SmsUrl", "Document for text messages."),
    "sms_method": _method("SmsMethod"),
    "sms_fallback_url": _url("SmsFallbackUrl", "Asked when SmsUrl fails."),
    "sms_fallback_method": _method("SmsFallbackMethod"),
    "sms_application_sid": _application("Sms"),
    "ussd_url": _url("UssdUrl", "Document for USSD."),
    "ussd_method": _method("UssdMethod"),
    "ussd_fallback_url": _url("UssdFallbackUrl", "Asked when UssdUrl fails."),
    "ussd_fallback_method": _method("UssdFallbackMethod"),
    "ussd_application_sid": _application("Ussd"),
    "refer_url": _url("ReferUrl", "Document that runs when a party transfers the call by SIP REFER."),
    "refer_method": _method("ReferMethod"),
    "refer_application_sid": _application("Refer"),
    "voice_capable": _flag("VoiceCapable", "Calls can come."),
    "sms_capable": _flag("SmsCapable", "Text messages can come."),
    "mms_capable": _flag("MmsCapable", "Multimedia messages can come."),
    "fax_capable": _flag("FaxCapable", "Faxes can come."),
}
"""Field of the row -> its parameter."""

FRIENDLY_NAME: Final = Param("FriendlyName", "name", doc="A name, up to 64 characters; default: the number.")
PHONE_NUMBER: Final = Param(
    "PhoneNumber", doc="E.164, a short or virtual number, or a regular expression of numbers (with isSIP)."
)
AREA_CODE: Final = Param(
    "AreaCode", doc="Three digits (US, CA): a free number of it is picked; wins over PhoneNumber."
)
IS_SIP: Final = _flag("isSIP", "A virtual number of this platform: kept as it is written, never bought.")
ACCOUNT_SID: Final = Param(
    "AccountSid",
    doc="Account of the same organization that gets the number; applications it then has no access to "
    "are taken off it.",
)
CREATE: Final = (PHONE_NUMBER, AREA_CODE, IS_SIP, FRIENDLY_NAME, *_SETTINGS.values(), API_VERSION_PARAM)
UPDATE: Final = (FRIENDLY_NAME, *_SETTINGS.values(), ACCOUNT_SID)


def apply(row: Number, body: Parameters) -> Number:
    """Take over the parameters that create and update share.

    Raises:
        ApiError: one of them is not what it may be.
    """
    changes: dict[str, Any] = {
        field: body.read(param) for field, param in _SETTINGS.items() if param.name in body
    }
    name = body.read(FRIENDLY_NAME)
    if name is not None:
        changes["friendly_name"] = name
    return attrs.evolve(row, **changes)


def check_applications(store: Store, row: Number, body: Parameters) -> None:
    """Refuse applications that are not of the number's account.

    Raises:
        ApiError: 400.
    """
    for kind in KINDS:
        param = _SETTINGS[f"{kind}_application_sid"]
        sid = getattr(row, f"{kind}_application_sid")
        if sid and param.name in body and not _owns(store, row.account_sid, sid):
            raise bad(f"{param.name} does not name an application of this account.")


def without_foreign_applications(store: Store, row: Number) -> Number:
    """The number without applications that its account does not have."""
    fields = [f"{kind}_application_sid" for kind in KINDS]
    gone: dict[str, Any] = {
        field: None
        for field in fields
        if (sid := getattr(row, field)) and not _owns(store, row.account_sid, sid)
    }
    return attrs.evolve(row, **gone)


def _owns(store: Store, account_sid: str, sid: str) -> bool:
    application = store.applications.get(sid)
    return application is not None and application.account_sid == account_sid
