"""Where real phone numbers come from: the interface of a provider, and the ranges of the settings as one.

A range may hold millions of numbers, so a search steps from match to match and never lists a range.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from math import asin, cos, radians, sin, sqrt
from typing import Final, Protocol

import attrs
import phonenumbers
from phonenumbers import NumberParseException

from voiceengine.api.number_rules import NumberType
from voiceengine.config import NumberRange
from voiceengine.errors import EngineError

MAX_STEPS: Final = 50_000
"""Numbers that one search looks at, taken ones included."""
STEPS_AT_ONCE: Final = 500
"""Of these before the reactor gets its turn: a few milliseconds."""
EARTH_MILES: Final = 3958.8
NANP: Final = ("US", "CA")
"""Countries whose area codes have three digits."""

Mask = tuple[int | None, ...]
"""The digits of a number from the left; None: any digit."""

_TYPES: Final[Mapping[NumberType, str]] = {"Local": "local", "Mobile": "mobile", "TollFree": "tollfree"}


class NumberRefused(EngineError):
    """The provider does not give this number away."""


@attrs.frozen(kw_only=True)
class AvailableNumber:
    """A number that can be taken."""

    phone_number: str
    """E.164."""
    friendly_name: str
    """National format."""
    source: NumberRange
    """Where it lies and what it can do."""


@attrs.frozen(kw_only=True)
class Near:
    """A place and how far around it, miles."""

    latitude: float
    longitude: float
    miles: float

    def holds(self, latitude: float, longitude: float) -> bool:
        """Whether a point lies inside (great circle)."""
        here, there = radians(self.latitude), radians(latitude)
        up, across = (there - here) / 2, radians(longitude - self.longitude) / 2
        chord = sin(up) ** 2 + cos(here) * cos(there) * sin(across) ** 2
        return 2 * EARTH_MILES * asin(min(1.0, sqrt(chord))) <= self.miles


@attrs.frozen(kw_only=True)
class NumberSearch:
    """Which numbers are wanted; empty values do not matter."""

    countries: tuple[str, ...] = ()
    """ISO codes."""
    type: NumberType | None = None
    area_code: str = ""
    """Digits after the country code."""
    contains: str = ""
    """Digits and `*` (any digit) somewhere in the number; with a leading `+`: from its first digit."""
    capabilities: Mapping[str, bool] = attrs.field(factory=dict)
    """`voice`, `sms`, `mms` or `fax` -> whether the number shall have it."""
    places: Mapping[str, str] = attrs.field(factory=dict)
    """`region`, `rate_center`, `lata` or `postal_code` -> its value; letter case does not matter."""
    near: Near | None = None
    size: int = 50
    """Numbers that are answered."""
    index: int = 0
    """How many times `size` numbers are passed over before."""


class NumberProvider(Protocol):
    """Finds, takes and gives back real numbers."""

    def countries(self) -> Sequence[str]:
        """ISO codes of the countries it has numbers of."""

    def find(self, number: str) -> AvailableNumber | None:
        """The number (E.164) as this provider knows it, taken or not; None: it is not one of its numbers."""

    async def search(self, search: NumberSearch) -> Sequence[AvailableNumber]:
        """Numbers that can be taken now."""

    async def take(self, number: str) -> None:
        """Take one of its numbers.

        Raises:
            NumberRefused: it cannot be had.
        """

    async def release(self, number: str) -> None:
        """Give back a number; one that is not of this provider is ignored."""


def next_match(mask: Mask, start: int) -> int | None:
    """The smallest number from `start` on with as many digits as the mask, and that fits it."""
    digits = [int(digit) for digit in str(start)]
    if len(digits) > len(mask):
        return None
    if len(digits) < len(mask):
        digits = [1] + [0] * (len(mask) - 1)
    found = list(digits)
    for at, wanted in enumerate(mask):
        if wanted is None or wanted == digits[at]:
            continue
        if wanted > digits[at]:
            found[at:] = _smallest(mask, at)
            return _number(found)
        # The digit wanted here is smaller: some free digit before must grow.
        for before in range(at - 1, -1, -1):
            if mask[before] is None and digits[before] < 9:
                found[before] = digits[before] + 1
                found[before + 1 :] = _smallest(mask, before + 1)
                return _number(found)
        return None
    return _number(found)


def _smallest(mask: Mask, at: int) -> list[int]:
    return [digit or 0 for digit in mask[at:]]


def _number(digits: Sequence[int]) -> int:
    return int("".join(map(str, digits)))


def masks(length: int, code: str, area_code: str, contains: str) -> tuple[Mask, ...]:
    """Every way in which a number can have an area code and contain a pattern.

    Args:
        length: digits of the number.
        code: country code, digits.
        area_code: digits after the country code, or empty.
        contains: see `NumberSearch.contains`.
    """
    base: list[int | None] = [None] * length
    fixed = code + area_code if area_code else ""
    if len(fixed) > length:
        return ()
    base[: len(fixed)] = [int(digit) for digit in fixed]
    pattern = [None if sign == "*" else int(sign) for sign in contains.removeprefix("+")]
    places = range(1) if contains.startswith("+") else range(length - len(pattern) + 1)
    found: dict[Mask, None] = {}
    for place in places:
        mask = _merged(base, pattern, place)
        if mask is not None:
            found[mask] = None
    return tuple(found)


def _merged(base: Sequence[int | None], pattern: Sequence[int | None], place: int) -> Mask | None:
    if place + len(pattern) > len(base):
        return None
    merged = list(base)
    for at, digit in enumerate(pattern, place):
        if digit is None:
            continue
        if merged[at] not in (None, digit):
            return None
        merged[at] = digit
    return tuple(merged)


class RangeProvider:
    """Implements `NumberProvider`: the numbers of the configured ranges that nobody has.

    Nothing is stored here: a number is taken while an account has it.

    Args:
        ranges: of the settings.
        is_taken: tells whether an account has a number (E.164).
        pause: lets the reactor do other things.
    """

    def __init__(
        self,
        ranges: Sequence[NumberRange],
        is_taken: Callable[[str], bool],
        pause: Callable[[], Awaitable[object]],
    ) -> None:
        self._ranges = tuple(ranges)
        self._is_taken = is_taken
        self._pause = pause

    def countries(self) -> Sequence[str]:
        """ISO codes of the ranges, sorted."""
        return sorted({found.country.upper() for found in self._ranges})

    def find(self, number: str) -> AvailableNumber | None:
        """The number with the first range that holds it."""
        source = self._range_of(number)
        return None if source is None else _available(number, source)

    async def search(self, search: NumberSearch) -> Sequence[AvailableNumber]:
        """Free numbers, in the order of the ranges and of the numbers."""
        skip = search.index * search.size
        found: list[AvailableNumber] = []
        if skip >= MAX_STEPS:
            return found
        steps = _Steps(MAX_STEPS)
        for source in self._ranges:
            if not _fits(source, search):
                continue
            async for number in self._free(source, search, steps):
                if skip:
                    skip -= 1
                    continue
                found.append(_available(number, source))
                if len(found) >= search.size:
                    return found
        return found

    async def take(self, number: str) -> None:
        """Refuse a number that is no number of the ranges, or that an account has."""
        if self._range_of(number) is None or self._is_taken(number):
            raise NumberRefused(f"{number} cannot be had.")

    async def release(self, number: str) -> None:
        """Do nothing: the number is free as soon as its row is gone."""

    def _range_of(self, number: str) -> NumberRange | None:
        return next((source for source in self._ranges if _holds(source, number)), None)

    async def _free(self, source: NumberRange, search: NumberSearch, steps: _Steps) -> AsyncIterator[str]:
        first, last = int(source.first[1:]), int(source.last[1:])
        wanted = masks(len(source.first) - 1, _country_code(source.first), search.area_code, search.contains)
        # Where ranges overlap, the first of them owns the number.
        before = [other for other in self._ranges[: self._ranges.index(source)] if _overlap(other, source)]
        at = first
        while wanted and steps.take(len(wanted)):
            if steps.pause_due():
                await self._pause()
            candidates = [next_match(mask, at) for mask in wanted]
            at = min((match for match in candidates if match is not None), default=last + 1)
            if at > last:
                return
            number = f"+{at}"
            if not self._is_taken(number) and not any(_holds(other, number) for other in before):
                yield number
            at += 1


@attrs.define
class _Steps:
    """What a search may still look at."""

    left: int
    since_pause: int = 0

    def take(self, count: int) -> bool:
        self.left -= count
        self.since_pause += count
        return self.left >= 0

    def pause_due(self) -> bool:
        due = self.since_pause >= STEPS_AT_ONCE
        if due:
            self.since_pause = 0
        return due


def _holds(source: NumberRange, number: str) -> bool:
    # All numbers of a range have the same length, so their texts sort as their values do.
    return len(number) == len(source.first) and source.first <= number <= source.last


def _overlap(one: NumberRange, other: NumberRange) -> bool:
    return _holds(one, other.first) or _holds(other, one.first)


def _fits(source: NumberRange, search: NumberSearch) -> bool:
    if search.countries and source.country.upper() not in search.countries:
        return False
    if search.type is not None and source.type != _TYPES[search.type]:
        return False
    if any(getattr(source, name) != wanted for name, wanted in search.capabilities.items()):
        return False
    if any(getattr(source, name).lower() != wanted.lower() for name, wanted in search.places.items()):
        return False
    if search.near is None:
        return True
    if source.latitude is None or source.longitude is None:
        return False
    return search.near.holds(source.latitude, source.longitude)


def is_of_range_type(source: NumberRange, kind: NumberType) -> bool:
    """Whether numbers of a range are of a kind of the API."""
    return source.type == _TYPES[kind]


def _country_code(number: str) -> str:
    try:
        return str(phonenumbers.parse(number, None).country_code)
    except NumberParseException:
        return ""


def national(number: str) -> str:
    """National format of a number in E.164: `(510) 555-0100`; the number itself when there is none."""
    try:
        parsed = phonenumbers.parse(number, None)
    except NumberParseException:
        return number
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL))


def _available(number: str, source: NumberRange) -> AvailableNumber:
    return AvailableNumber(phone_number=number, friendly_name=national(number), source=source)
