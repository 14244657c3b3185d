"""Numbers that accounts can take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import attrs
import phonenumbers
from phonenumbers import NumberParseException

from voiceengine.api.declare import Operation, Param
from voiceengine.api.errors import bad, not_found
from voiceengine.api.number_ranges import (
    NANP,
    AvailableNumber,
    Near,
    NumberProvider,
    NumberSearch,
)
from voiceengine.api.number_rules import NumberType, area_code, digits_of, to_e164
from voiceengine.api.numbers import number_provider
from voiceengine.api.paging import MAX_SIZE, parse_page, plus
from voiceengine.api.parameters import Parameters
from voiceengine.api.representation import (
    Field,
    Many,
    Nested,
    One,
    Render,
    Representation,
    plain,
    uris,
)
from voiceengine.api.routing import Context, Handler, Reply, Route

DEFAULT_MILES: Final = 25
MAX_MILES: Final = 12_500

_CAPABILITIES: Final = ("voice", "sms", "mms", "fax")
_PLACES: Final = {
    "region": Param("InRegion", doc="State or province, such as TX."),
    "rate_center": Param("InRateCenter", doc="Rate center."),
    "lata": Param("InLata", doc="LATA."),
    "postal_code": Param("InPostalCode", doc="Postal code."),
}
_ABLE: Final = {
    kind: Param(f"{kind.capitalize()}Enabled", "flag", doc=f"Numbers that have {kind} (false: have not).")
    for kind in _CAPABILITIES
}
_USSD: Final = Param("UssdEnabled", "flag", doc="Numbers that have USSD; there are none.")
_AREA_CODE: Final = Param("AreaCode", doc="Digits after the country code; three in US and CA.")
_CONTAINS: Final = Param(
    "Contains",
    doc="Digits that stand together in the number; `*` is any digit, letters are those of the keypad; with a "
    "leading `+` the number begins so.",
)
_SIZE: Final = Param(
    "RangeSize", "integer", default=50, minimum=1, maximum=MAX_SIZE, doc="How many numbers are listed."
)
_INDEX: Final = Param(
    "RangeIndex",
    "integer",
    default=0,
    doc="From 0; how many times RangeSize numbers are passed over before.",
)
_NEAR_LAT_LONG: Final = Param("NearLatLong", doc="`latitude,longitude`: numbers within Distance of it.")
_NEAR_NUMBER: Final = Param(
    "NearNumber", doc="Numbers within Distance of this one; of its area code when its place is not known."
)
_DISTANCE: Final = Param(
    "Distance",
    "integer",
    default=DEFAULT_MILES,
    minimum=1,
    maximum=MAX_MILES,
    doc="Radius of NearLatLong and NearNumber, miles.",
)
_IGNORED: Final = tuple(
    Param(name, doc="Accepted and ignored.")
    for name in (
        "ExcludeAllAddressRequired",
        "ExcludeLocalAddressRequired",
        "ExcludeForeignAddressRequired",
        "Beta",
    )
)
_EVERY: Final = (_AREA_CODE, _CONTAINS, _SIZE, _INDEX, *_ABLE.values(), _USSD, *_IGNORED)
_NEAR: Final = (_NEAR_LAT_LONG, _NEAR_NUMBER, _DISTANCE, *_PLACES.values())
QUERY: Final[dict[NumberType, tuple[Param, ...]]] = {
    "Local": (*_EVERY, *_NEAR),
    "Mobile": _EVERY,
    "TollFree": _EVERY,
}


_NAMES: Final[dict[NumberType, str]] = {"Local": "local", "Mobile": "mobile", "TollFree": "toll_free"}


def _source(key: str, doc: str, **options: Any) -> Field[AvailableNumber]:
    return Field(key, lambda row, _: getattr(row.source, key) or None, doc=doc, **options)


def _degrees(key: str, doc: str) -> Field[AvailableNumber]:
    return Field(key, lambda row, _: getattr(row.source, key), type="number", doc=doc)


def _able(row: AvailableNumber, _: Render) -> Nested:
    return Nested(
        tuple((f"{kind}_capable", kind.capitalize(), getattr(row.source, kind)) for kind in _CAPABILITIES)
    )


def _able_for_twilio(row: AvailableNumber, _: Render) -> Nested:
    names = {"voice": "voice", "sms": "SMS", "mms": "MMS", "fax": "fax"}
    return Nested(tuple((name, kind.capitalize(), getattr(row.source, kind)) for kind, name in names.items()))


AVAILABLE: Representation[AvailableNumber] = Representation(
    item="AvailablePhoneNumber",
    items="AvailablePhoneNumbers",
    list_key="available_phone_numbers",
    doc="A number that no account has yet.",
    fields=(
        plain("friendly_name", doc="National format."),
        plain("phone_number", doc="E.164."),
        _source("lata", "LATA."),
        _source("rate_center", "Rate center."),
        _degrees("latitude", "Degrees north."),
        _degrees("longitude", "Degrees east."),
        _source("region", "State or province."),
        _source("postal_code", "Postal code."),
        Field("iso_country", lambda row, _: row.source.country.upper(), doc="ISO code of the country."),
        Field(
            "capabilities",
            _able,
            type="object",
            schema={
                "type": "object",
                "properties": {f"{kind}_capable": {"type": "boolean"} for kind in _CAPABILITIES},
                "required": [f"{kind}_capable" for kind in _CAPABILITIES],
            },
            twilio_value=_able_for_twilio,
            doc="What the number can do.",
        ),
        Field("locality", lambda row, _: row.source.rate_center or None, only="twilio", doc="Rate center."),
        Field(
            "address_requirements", lambda row, _: "none", only="twilio", doc="No address has to be given."
        ),
        Field("beta", lambda row, _: False, only="twilio", type="boolean", doc="Always false."),
    ),
)


@attrs.frozen
class Country:
    """A country that there are numbers of."""

    account_sid: str
    code: str
    kinds: tuple[NumberType, ...]


def _country_uri(row: Country, render: Render, kind: str = "") -> str:
    below = f"/{kind}" if kind else ""
    return render.uri(f"{render.account_path(row.account_sid)}/AvailablePhoneNumbers/{row.code}{below}")


def _kind_uris(row: Country, render: Render) -> dict[str, str]:
    return {_NAMES[kind]: _country_uri(row, render, kind) for kind in row.kinds}


COUNTRY: Representation[Country] = Representation(
    item="AvailablePhoneNumberCountry",
    items="AvailablePhoneNumberCountries",
    list_key="countries",
    doc="A country that there are numbers of.",
    fields=(
        plain("country_code", "code", doc="ISO code."),
        plain("country", "code", doc="The same."),
        Field("uri", _country_uri, doc="Path of this resource."),
        Field("beta", lambda row, _: False, type="boolean", doc="Always false."),
        Field(
            "subresource_uris",
            lambda row, render: _kind_uris(row, render) if render.format == "json" else None,
            type="object",
            only="json",
            schema=uris("local", "mobile", "toll_free"),
            doc="Paths of the kinds of numbers there are.",
        ),
    ),
)


def _country_rows(context: Context) -> list[Country]:
    ranges = context.deps.settings.numbers.ranges
    found: dict[str, set[str]] = {}
    for source in ranges:
        found.setdefault(source.country.upper(), set()).add(source.type)
    return [
        Country(context.account.sid, code, tuple(kind for kind in QUERY if kind.lower() in found[code]))
        for code in sorted(found)
    ]


async def _countries(context: Context) -> Reply:
    return Reply(Many(COUNTRY, _country_rows(context)))


async def _country(context: Context) -> Reply:
    code = context.variables["country"].upper()
    for row in _country_rows(context):
        if row.code == code:
            return Reply(One(COUNTRY, row))
    raise not_found("country")


def _lat_long(text: str) -> tuple[float, float]:
    match = re.fullmatch(r"\s*(-?\d{1,2}(?:\.\d{1,12})?)\s*,\s*(-?\d{1,3}(?:\.\d{1,12})?)\s*", text, re.ASCII)
    if match is None or abs(float(match[1])) > 90 or abs(float(match[2])) > 180:
        raise bad("NearLatLong must be latitude,longitude in degrees, such as 30.27,-97.74.")
    return float(match[1]), float(match[2])


def _near(query: Parameters, provider: NumberProvider) -> tuple[Near | None, str]:
    """The place to search around, or the area code that stands for it."""
    miles = float(query.read(_DISTANCE))
    point = query.read(_NEAR_LAT_LONG)
    if point is not None:
        latitude, longitude = _lat_long(point)
        return Near(latitude=latitude, longitude=longitude, miles=miles), ""
    text = query.read(_NEAR_NUMBER)
    if text is None:
        return None, ""
    number = to_e164(plus(text))
    if number is None:
        raise bad("NearNumber must be a phone number.")
    found = provider.find(number)
    if found is not None and found.source.latitude is not None and found.source.longitude is not None:
        at = found.source
        return Near(latitude=at.latitude or 0.0, longitude=at.longitude or 0.0, miles=miles), ""
    return None, _area_of(number)


def _area_of(number: str) -> str:
    try:
        parsed = phonenumbers.parse(number, None)
    except NumberParseException:
        return ""
    digits = str(phonenumbers.national_significant_number(parsed))
    return digits[: phonenumbers.length_of_geographical_area_code(parsed) or 3]


def _search(context: Context, kind: NumberType, provider: NumberProvider) -> NumberSearch:
    query = context.query
    country = context.variables["country"].upper()
    near, area = _near(query, provider) if kind == "Local" else (None, "")
    given = query.read(_AREA_CODE)
    if given is not None:
        area = area_code(given, 3 if country in NANP else None)
    contains = query.read(_CONTAINS)
    wanted = {name: query.flag(param.name) for name, param in _ABLE.items()}
    size, index = query.read(_SIZE), query.read(_INDEX)
    if context.twilio and "PageSize" in query:
        # What Twilio's clients ask for; the list is cut into pages afterwards.
        size, index = parse_page(query)[1], 0
    return NumberSearch(
        countries=(country,),
        type=kind,
        area_code=area,
        contains="" if contains is None else digits_of(plus(contains)),
        capabilities={name: flag for name, flag in wanted.items() if flag is not None},
        places={
            name: value
            for name, param in (_PLACES.items() if kind == "Local" else ())
            if (value := query.read(param)) is not None
        },
        near=near,
        size=size,
        index=index,
    )


def _list(kind: NumberType) -> Handler:
    async def handle(context: Context) -> Reply:
        provider = number_provider(context)
        search = _search(context, kind, provider)
        found = () if context.query.flag(_USSD.name) else await provider.search(search)
        return Reply(Many(AVAILABLE, found))

    return handle


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base, resource = "Accounts/{account}/AvailablePhoneNumbers", "AvailablePhoneNumbers"
    kinds = (
        Route(
            path=base + "/{country}/" + kind,
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_list(kind),
                    summary=f"List {_NAMES[kind].replace('_', '-')} numbers of a country that can be taken.",
                    query=query,
                    returns=AVAILABLE,
                    shape="list",
                )
            },
        )
        for kind, query in QUERY.items()
    )
    return (
        Route(
            path=base,
            resource=resource,
            handlers={
                "GET": Operation(
                    run=_countries,
                    summary="List the countries that there are numbers of.",
                    returns=COUNTRY,
                    shape="list",
                )
            },
        ),
        Route(
            path=base + "/{country}",
            resource=resource,
            handlers={
                "GET": Operation(run=_country, summary="Read which numbers there are.", returns=COUNTRY)
            },
        ),
        *kinds,
    )
