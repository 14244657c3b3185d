"""Parts of a text on the phone network (3GPP TS 23.038 alphabets, TS 23.040 concatenation). Pure.

A text that the GSM alphabet holds counts septets: 160 in one message, 153 in each part of several. Any other
text counts UTF-16 code units: 70 in one message, 67 in each part of several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet (section 6.2.1); each character is one septet."""
EXTENDED: Final = frozenset("\f^{}\\[~]|€")
"""The extension table (section 6.2.1.1); each character is two septets, escape and code."""

GSM_SINGLE, GSM_PART = 160, 153
UCS2_SINGLE, UCS2_PART = 70, 67


@attrs.frozen
class Segments:
    """How a text travels."""

    alphabet: str
    """GSM or UCS-2."""
    parts: tuple[str, ...]
    """The text of each part; one empty part for an empty text."""

    @property
    def count(self) -> int:
        """Number of parts."""
        return len(self.parts)


def is_gsm(text: str) -> bool:
    """Whether the GSM alphabet holds every character."""
    return all(char in BASIC or char in EXTENDED for char in text)


def septets(char: str) -> int:
    """Septets of a character of the GSM alphabet."""
    return 2 if char in EXTENDED else 1


def code_units(char: str) -> int:
    """UTF-16 code units of a character: two for a surrogate pair."""
    return 2 if ord(char) > 0xFFFF else 1


def _split(text: str, size: Callable[[str], int], single: int, part: int) -> tuple[str, ...]:
    """Fill the parts one after the other; what one character needs is never torn apart."""
    if sum(map(size, text)) <= single:
        return (text,)
    parts: list[str] = []
    begin = used = 0
    for position, char in enumerate(text):
        needed = size(char)
        if used + needed > part:
            parts.append(text[begin:position])
            begin, used = position, 0
        used += needed
    parts.append(text[begin:])
    return tuple(parts)


def segments(text: str, encoding: str = "GSM") -> Segments:
    """Split a text.

    Args:
        text: the text.
        encoding: what the sender asked for. UCS-2 is obeyed; with GSM and UTF-8 the content decides: the GSM
            alphabet when it holds the text, otherwise UCS-2.
    """
    if encoding.upper() != "UCS-2" and is_gsm(text):
        return Segments("GSM", _split(text, septets, GSM_SINGLE, GSM_PART))
    return Segments("UCS-2", _split(text, code_units, UCS2_SINGLE, UCS2_PART))
