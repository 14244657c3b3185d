"""What a phone number may look like."""

from __future__ import annotations

import re
from typing import Literal

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from voiceengine.api.errors import bad
from voiceengine.calls.routing import pattern_problem

NumberType = Literal["Local", "Mobile", "TollFree"]

REGION = "US"
MAX_LENGTH = 128

_PATTERN = re.compile(r"[*#^|.$\\\[\]]")
_SERVICE_CODE = re.compile(r"[0-9*#+]+")

_KEYPAD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")

_TYPES: dict[NumberType, frozenset[int]] = {
    "Local": frozenset(
        {PhoneNumberType.FIXED_LINE, PhoneNumberType.FIXED_LINE_OR_MOBILE, PhoneNumberType.UNKNOWN}
    ),
    "Mobile": frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}),
    "TollFree": frozenset({PhoneNumberType.TOLL_FREE}),
}


def is_pattern(number: str) -> bool:
    """Whether a number is a regular expression of numbers."""
    return bool(_PATTERN.search(number))


def to_e164(text: str) -> str | None:
    """The number in E.164 (region US when no country is given), None when it cannot be one."""
    try:
        parsed = phonenumbers.parse(text, REGION)
    except NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))


def normalise(text: str, *, is_sip: bool) -> str:
    """Bring a number that is provisioned to the form in which it is kept.

    Patterns are checked; real numbers become E.164 when they can; short and virtual ones stay as they are.

    Raises:
        ApiError: too long, or a pattern that cannot be used.
    """
    text = text.strip()
    if not text or len(text) > MAX_LENGTH:
        raise bad(f"PhoneNumber must have 1 to {MAX_LENGTH} characters.")
    if is_pattern(text):
        _check_pattern(text)
        return text
    return text if is_sip else (to_e164(text) or text)


def area_code(text: str, length: int | None = None) -> str:
    """An area code, checked.

    Args:
        text: as it was given.
        length: how many digits it must have; None: one to six.

    Raises:
        ApiError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,6}", text) or length not in (None, len(text)):
        raise bad(f"AreaCode must have {length or '1 to 6'} digits.")
    return text


def digits_of(pattern: str) -> str:
    """A search pattern as digits, `*` (any digit) and perhaps a leading `+`; letters are those of the keypad.

    Raises:
        ApiError: something else stands in it, or too much.
    """
    plain = re.sub(r"[ ().-]", "", pattern).upper().translate(_KEYPAD)
    if not re.fullmatch(r"\+?[0-9*]{1,15}", plain):
        raise bad("Contains must be 1 to 15 digits, letters and * (any digit).")
    return plain


def _check_pattern(text: str) -> None:
    # What routing would ignore is told now. *98 and the like are numbers to dial, not patterns.
    problem = None if _SERVICE_CODE.fullmatch(text) else pattern_problem(text)
    if problem is not None:
        raise bad(f"PhoneNumber cannot be used as a regular expression: {problem}.")


def is_of_type(number: str, kind: NumberType) -> bool:
    """Whether a number belongs to a kind of the API; what is no number of a country counts as local."""
    try:
        found = phonenumbers.number_type(phonenumbers.parse(number, None))
    except NumberParseException:
        found = PhoneNumberType.UNKNOWN
    return found in _TYPES[kind]


def fits(text: str, pattern: str) -> bool:
    """Whether a text is like a pattern, in which only `*` (any characters, or none) is special."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, last = rest
    at, end = len(first), len(text) - len(last)
    if at > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
