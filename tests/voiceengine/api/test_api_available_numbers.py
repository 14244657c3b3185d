"""Available phone numbers: the search, and the ranges as their provider."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from voiceengine.api.errors import ApiError
from voiceengine.api.number_ranges import (
    MAX_STEPS,
    STEPS_AT_ONCE,
    Near,
    NumberRefused,
    NumberSearch,
    RangeProvider,
    masks,
    national,
    next_match,
)
from voiceengine.api.number_rules import digits_of
from voiceengine.config import NumberRange, load
from voiceengine.errors import ConfigError

pytestmark = pytest.mark.loopback

AUSTIN = {
    "first": "+15125550100",
    "last": "+15125550199",
    "region": "TX",
    "rate_center": "AUSTIN",
    "lata": "558",
    "postal_code": "78701",
    "latitude": 30.27,
    "longitude": -97.74,
}
BIG = {"first": "+12120000000", "last": "+12129999999", "region": "NY", "sms": False, "fax": True}
RANGES = [
    AUSTIN,
    BIG,
    {"type": "tollfree", "first": "+18005550100", "last": "+18005550109"},
    {"country": "GB", "type": "mobile", "first": "+447700900000", "last": "+447700900009"},
    {"country": "gb", "first": "+442079460000", "last": "+442079460009"},
]


@given(st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 12_000))
def test_the_next_match_is_that_of_a_full_search(mask: list[int | None], start: int) -> None:
    lowest = 10 ** (len(mask) - 1) if len(mask) > 1 else 0
    fitting = (
        number
        for number in range(max(start, lowest), 10 ** len(mask))
        if all(wanted in (None, int(digit)) for wanted, digit in zip(mask, str(number), strict=True))
    )
    found = next_match(tuple(mask), start)

    if mask[0] == 0 and len(mask) > 1:
        return  # no number begins with 0
    assert found == next(fitting, None)


def test_masks_combine_area_code_and_pattern() -> None:
    assert masks(4, "1", "", "") == ((None,) * 4,)
    assert masks(4, "1", "51", "") == ((1, 5, 1, None),)
    assert masks(4, "1", "51", "12") == ((1, 5, 1, 2),)
    assert masks(4, "1", "51", "+19") == ()
    assert masks(4, "1", "", "7*7") == ((7, None, 7, None), (None, 7, None, 7))
    assert masks(4, "1", "", "12345") == ()


def test_letters_of_a_pattern_are_those_of_the_keypad() -> None:
    assert digits_of("NewYork") == "6399675"
    assert digits_of("+1 (512) 555-**") == "+1512555**"
    for pattern in ("", "5%", "1" * 16, "+"):
        with pytest.raises(ApiError):
            digits_of(pattern)


def test_names_are_in_national_format() -> None:
    assert [national(text) for text in ("+15105550100", "77")] == ["(510) 555-0100", "77"]


async def pause() -> None:
    """Nothing else is to be done."""


def provider(*ranges: dict[str, Any], taken: frozenset[str] = frozenset()) -> RangeProvider:
    return RangeProvider([NumberRange(**values) for values in ranges], taken.__contains__, pause)


async def found(source: RangeProvider, **wanted: Any) -> list[str]:
    return [number.phone_number for number in await source.search(NumberSearch(**wanted))]


@pytest_twisted.ensureDeferred
async def test_a_big_range_is_never_listed() -> None:
    """Ten million numbers: a search steps from match to match."""
    source = provider(BIG)

    assert await found(source, contains="9999999", size=3) == ["+12129999999"]
    assert await found(source, contains="+1212123*", size=2) == ["+12121230000", "+12121230001"]
    assert await found(source, size=2, index=10_000) == ["+12120020000", "+12120020001"]
    assert await found(source, size=1000, index=MAX_STEPS) == []
    assert await found(source, contains="000000", size=2) == ["+12120000000", "+12120000001"]


@pytest_twisted.ensureDeferred
async def test_a_search_looks_at_so_many_numbers_only() -> None:
    pauses: list[int] = []

    async def rest() -> None:
        pauses.append(1)

    source = RangeProvider([NumberRange(**BIG)], lambda number: True, rest)

    assert await found(source, size=1) == []
    assert len(pauses) == MAX_STEPS // STEPS_AT_ONCE


@pytest_twisted.ensureDeferred
async def test_where_ranges_overlap_the_first_owns_the_number() -> None:
    first = {"first": "+15125550100", "last": "+15125550101", "fax": True}
    source = provider(first, {"first": "+15125550101", "last": "+15125550102"})
    number = source.find("+15125550101")

    assert await found(source) == ["+15125550100", "+15125550101", "+15125550102"]
    assert number is not None
    assert number.source.fax
    assert source.find("+1512555010") is None
    assert source.find("77") is None


@pytest_twisted.ensureDeferred
async def test_numbers_that_cannot_be_taken() -> None:
    source = provider(AUSTIN, taken=frozenset({"+15125550100"}))
    await source.take("+15125550101")
    for number in ("+15125550100", "+15105550100", ""):
        with pytest.raises(NumberRefused):
            await source.take(number)
    await source.release("+15125550101")
    assert (await found(source, size=1)) == ["+15125550101"]


def test_distances() -> None:
    austin = Near(latitude=30.27, longitude=-97.74, miles=75)

    assert austin.holds(29.42, -98.49)  # San Antonio, some 74 miles
    assert not austin.holds(29.76, -95.37)  # Houston, some 146 miles
    assert Near(latitude=0, longitude=179.9, miles=20).holds(0, -179.9)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"first": "+15125550102", "last": "+15125550101"}, "must not be before"),
        ({"first": "+1512555010", "last": "+15125550101"}, "as many digits"),
        ({"first": "15125550100", "last": "+15125550101"}, "E.164"),
        ({"first": "+15125550100", "last": "+15125550101\n"}, "E.164"),
        ({"first": "+15125550100", "last": "+15125550101", "latitude": 1.0}, "belong together"),
        ({"first": "+15125550100", "last": "+15125550101", "type": "national"}, "tollfree"),
    ],
)
def test_ranges_that_cannot_be_used(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(overrides={"numbers.ranges": [values]}, environ={})


@pytest_twisted.ensureDeferred
async def test_a_search_over_rest(make_api: Any) -> None:
    api = await make_api(**{"numbers.ranges": RANGES})
    await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": "+15125550100"})

    async def numbers(path: str) -> list[str]:
        answer = await api.get(f"~/AvailablePhoneNumbers/{path}")
        assert answer.code == 200, answer.text
        return [row["phone_number"] for row in answer.json]

    first = (await api.get("~/AvailablePhoneNumbers/US/Local.json")).json
    assert len(first) == 50
    assert first[0] == {
        "friendly_name": "(512) 555-0101",
        "phone_number": "+15125550101",
        "lata": "558",
        "rate_center": "AUSTIN",
        "latitude": 30.27,
        "longitude": -97.74,
        "region": "TX",
        "postal_code": "78701",
        "iso_country": "US",
        "capabilities": {
            "voice_capable": True,
            "sms_capable": True,
            "mms_capable": False,
            "fax_capable": False,
        },
    }
    local = "US/Local.json?RangeSize=1"
    assert await numbers("us/Local.json?RangeSize=2&RangeIndex=3") == ["+15125550107", "+15125550108"]
    assert await numbers(f"{local}&AreaCode=212") == ["+12120000000"]
    assert await numbers(f"{local}&AreaCode=510") == []
    assert await numbers(f"{local}&Contains=JKL01*9") == ["+15125550109"]
    assert await numbers(f"{local}&Contains=%2B1212") == ["+12120000000"]
    assert await numbers(f"{local}&Contains=+1212") == ["+12120000000"]
    assert await numbers(f"{local}&SmsEnabled=false") == ["+12120000000"]
    assert await numbers(f"{local}&FaxEnabled=true") == ["+12120000000"]
    assert await numbers(f"{local}&SmsEnabled=true&FaxEnabled=true") == []
    assert await numbers(f"{local}&UssdEnabled=true") == []
    assert await numbers(f"{local}&InRegion=ny") == ["+12120000000"]
    assert await numbers(f"{local}&InRateCenter=Austin&InLata=558&InPostalCode=78701") == ["+15125550101"]
    assert await numbers(f"{local}&NearLatLong=30.5,-97.7") == ["+15125550101"]
    assert await numbers(f"{local}&NearLatLong=29.42,-98.49") == []
    assert await numbers(f"{local}&NearLatLong=29.42,-98.49&Distance=80") == ["+15125550101"]
    assert await numbers(f"{local}&NearNumber=%2B15125550177") == ["+15125550101"]
    assert await numbers(f"{local}&NearNumber=212-555-0100") == ["+12120000000"]
    assert await numbers(f"{local}&Beta=true&ExcludeAllAddressRequired=true") == ["+15125550101"]
    assert await numbers("US/TollFree.json?RangeSize=1") == ["+18005550100"]
    assert await numbers("US/Mobile.json") == []
    assert len(await numbers("GB/Mobile.json?InRegion=ignored")) == 10
    assert await numbers("GB/Local.json?RangeSize=1&AreaCode=20") == ["+442079460000"]
    assert await numbers("FR/Local.json") == []


@pytest.mark.parametrize(
    "query",
    [
        "AreaCode=51",
        "AreaCode=5x2",
        "Contains=5%25",
        "RangeSize=0",
        "RangeSize=1001",
        "RangeIndex=x",
        "NearLatLong=91,0",
        "NearLatLong=here",
        "NearNumber=here",
        "NearLatLong=30,-97&Distance=0",
    ],
)
@pytest_twisted.ensureDeferred
async def test_searches_that_cannot_be_understood(make_api: Any, query: str) -> None:
    api = await make_api(**{"numbers.ranges": RANGES})

    assert (await api.get(f"~/AvailablePhoneNumbers/US/Local.json?{query}")).code == 400


@pytest_twisted.ensureDeferred
async def test_available_numbers_in_xml_and_without_ranges(make_api: Any) -> None:
    api = await make_api(**{"numbers.ranges": RANGES})
    listed = (await api.get("~/AvailablePhoneNumbers/US/Local.xml?RangeSize=1")).xml[0]

    assert (listed.tag, len(listed), listed[0].tag) == ("AvailablePhoneNumbers", 1, "AvailablePhoneNumber")
    assert " ".join(item.tag for item in listed[0]) == (
        "FriendlyName PhoneNumber Lata RateCenter Latitude Longitude Region PostalCode IsoCountry "
        "Capabilities"
    )
    assert [item.tag for item in listed[0].find("Capabilities")] == ["Voice", "Sms", "Mms", "Fax"]
    assert (await api.post("~/AvailablePhoneNumbers/US/Local.json")).code == 405


@pytest_twisted.ensureDeferred
async def test_numbers_that_somebody_has_are_not_available(make_api: Any) -> None:
    api = await make_api(**{"numbers.ranges": [{"first": "+15125550100", "last": "+15125550103"}]})
    elsewhere = attrs.evolve(api.child, organization_sid="OR" + "9" * 32)
    await api.store.accounts.update(elsewhere)
    child = f"/2012-04-24/Accounts/{elsewhere.sid}"
    # A virtual number counts inside its organization only, a real one everywhere.
    await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": "+15125550100", "isSIP": "true"})
    await api.post("~/IncomingPhoneNumbers.json", {"PhoneNumber": "+15125550101"})

    async def free(base: str) -> list[str]:
        answer = await api.get(f"{base}/AvailablePhoneNumbers/US/Local.json")
        return [row["phone_number"][-1] for row in answer.json]

    assert await free("~") == ["2", "3"]
    assert await free(child) == ["0", "2", "3"]


@pytest_twisted.ensureDeferred
async def test_countries(make_api: Any) -> None:
    api = await make_api(**{"numbers.ranges": RANGES})
    britain = (await api.get("~/AvailablePhoneNumbers.json")).json[0]
    base = f"/restcomm/2012-04-24/Accounts/{api.admin.sid}/AvailablePhoneNumbers/GB"

    assert (britain["country_code"], britain["uri"]) == ("GB", f"{base}.json")
    assert britain["subresource_uris"] == {"local": f"{base}/Local.json", "mobile": f"{base}/Mobile.json"}
    assert (await api.get("~/AvailablePhoneNumbers/gb.json")).json == britain
    assert (await api.get("~/AvailablePhoneNumbers/FR.json")).code == 404
    listed = (await api.get("~/AvailablePhoneNumbers.xml")).xml[0]
    assert [row.find("CountryCode").text for row in listed] == ["GB", "US"]

    def use(client: Any) -> None:
        assert [row.country_code for row in client.available_phone_numbers.list()] == ["GB", "US"]
        assert client.available_phone_numbers("US").fetch().subresource_uris.keys() == {"local", "toll_free"}

    await api.by_twilio(use)


@pytest_twisted.ensureDeferred
async def test_without_ranges_there_are_no_numbers(api: Any) -> None:
    answer = await api.get("~/AvailablePhoneNumbers/US/Local.json")

    assert (answer.code, answer.json) == (200, [])
