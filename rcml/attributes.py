"""Declarations of attributes: one per attribute, read by executor, linter and reference page alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, overload

import attrs

from rcml.languages import (
    DEFAULT_GATHER_LANGUAGE,
    DEFAULT_SAY_LANGUAGE,
    GATHER_LANGUAGES,
    SAY_LANGUAGES,
    say_language,
)

T = TypeVar("T")

METHODS = ("GET", "POST")

_INTEGER = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)


class Attribute(Generic[T]):
    """One attribute of a verb; on an instance of the verb it gives the value.

    Args:
        xml: name in the document.
        convert: turns the trimmed text into the value; raises ValueError when it is not allowed.
        default: value when the attribute is absent or not allowed.
        kind: type, in words of the reference page.
        allowed: allowed values, in words; ends a sentence beginning "allowed: ".
        doc: what it does, a sentence.
        shown: the default as documents would write it; empty: none.
        code: notification about a value that is not allowed; None: silent.
        nested_code: the same when the verb stands inside a Gather; None: as `code`.
        source: reference topic.
    """

    def __init__(
        self,
        xml: str,
        convert: Callable[[str], T],
        default: T,
        *,
        kind: str,
        allowed: str,
        doc: str,
        shown: str = "",
        code: int | None = None,
        nested_code: int | None = None,
        source: str = "",
    ) -> None:
        self.xml = xml
        self.convert = convert
        self.default = default
        self.kind = kind
        self.allowed = allowed
        self.doc = doc
        self.shown = shown
        self.code = code
        self.nested_code = nested_code or code
        self.source = source

    @overload
    def __get__(self, instance: None, owner: type) -> Attribute[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: Any, owner: type) -> Attribute[T] | T:
        if instance is None:
            return self
        value: T = instance.values.get(self.xml, self.default)
        return value


@attrs.frozen
class Problem:
    """A value that is not allowed; the default is used instead."""

    attribute: Attribute[Any]
    value: str

    @property
    def message(self) -> str:
        """What is wrong and what is allowed."""
        default = f"; {self.attribute.shown} is used" if self.attribute.shown else ""
        return (
            f'{self.attribute.xml}="{self.value}" is not valid{default}; allowed: {self.attribute.allowed}.'
        )


def read(
    declared: tuple[Attribute[Any], ...], given: Mapping[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    """Read the attributes of an element; those that are not declared are ignored."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    if given:
        for attribute in declared:
            text = given.get(attribute.xml)
            if text is None:
                continue
            try:
                values[attribute.xml] = attribute.convert(text)
            except ValueError:
                problems.append(Problem(attribute, text))
    return values, problems


def integer(
    xml: str,
    default: int,
    *,
    minimum: int,
    doc: str,
    code: int | None,
    unit: str = "",
    nested_code: int | None = None,
    source: str = "",
) -> Attribute[int]:
    """Declare a whole number."""
    allowed = f"a whole number from {minimum}" + (f" ({unit})" if unit else "")
    return Attribute(
        xml,
        _integer_from(minimum),
        default,
        kind="integer",
        allowed=allowed,
        doc=doc,
        shown=str(default),
        code=code,
        nested_code=nested_code,
        source=source,
    )


def optional_integer(
    xml: str, *, minimum: int, doc: str, code: int, source: str = ""
) -> Attribute[int | None]:
    """Declare a whole number that may be absent."""
    return Attribute(
        xml,
        _integer_from(minimum),
        None,
        kind="integer",
        allowed=f"a whole number from {minimum}",
        doc=doc,
        code=code,
        source=source,
    )


def boolean(xml: str, default: bool, *, doc: str, source: str = "") -> Attribute[bool]:
    """Declare a truth value: `true` in any case is true, everything else is false."""
    return Attribute(
        xml,
        lambda text: text.lower() == "true",
        default,
        kind="boolean",
        allowed="true, false",
        doc=doc,
        shown="true" if default else "false",
        source=source,
    )


def choice(
    xml: str,
    default: str,
    values: tuple[str, ...],
    *,
    doc: str,
    code: int | None = None,
    nested_code: int | None = None,
    source: str = "",
) -> Attribute[str]:
    """Declare one of several words, compared without case; the value is spelled as declared."""
    by_key = {value.lower(): value for value in values}

    def convert(text: str) -> str:
        try:
            return by_key[text.lower()]
        except KeyError:
            raise ValueError(text) from None

    return Attribute(
        xml,
        convert,
        default,
        kind="word",
        allowed=", ".join(values),
        doc=doc,
        shown=default,
        code=code,
        nested_code=nested_code,
        source=source,
    )


def http_method(
    code: int, xml: str = "method", *, of: str = "the action", source: str = ""
) -> Attribute[str]:
    """Declare an HTTP method."""
    return choice(xml, "POST", METHODS, doc=f"HTTP method of the request to {of}.", code=code, source=source)


def url(xml: str, *, doc: str, shown: str = "", source: str = "") -> Attribute[str | None]:
    """Declare a URL, relative to the document; an empty one counts as absent."""
    return Attribute(
        xml,
        lambda text: text or None,
        None,
        kind="URL",
        allowed="an absolute http(s) URL or a reference relative to the document",
        doc=doc,
        shown=shown,
        source=source,
    )


def text(
    xml: str,
    *,
    doc: str,
    kind: str = "text",
    allowed: str = "any text",
    shown: str = "",
    source: str = "",
) -> Attribute[str]:
    """Declare any text; absent: empty."""
    return Attribute(xml, str, "", kind=kind, allowed=allowed, doc=doc, shown=shown, source=source)


def keys(xml: str, default: str, pattern: str, *, allowed: str, doc: str, code: int | None) -> Attribute[str]:
    """Declare a set of keys that matches a regular expression."""
    compiled = re.compile(pattern, re.ASCII)

    def convert(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(text)
        return text

    return Attribute(xml, convert, default, kind="keys", allowed=allowed, doc=doc, shown=default, code=code)


def spoken_language(xml: str, *, doc: str, source: str = "") -> Attribute[str]:
    """Declare a language of Say; the value is a key of the speech port."""

    def convert(text: str) -> str:
        found = say_language(text)
        if found is None:
            raise ValueError(text)
        return found

    return Attribute(
        xml,
        convert,
        DEFAULT_SAY_LANGUAGE,
        kind="language",
        allowed=", ".join(sorted(SAY_LANGUAGES)) + ", or a BCP-47 tag of one of these languages",
        doc=doc,
        shown=DEFAULT_SAY_LANGUAGE,
        source=source,
    )


def recognised_language(xml: str, *, doc: str, source: str = "") -> Attribute[str]:
    """Declare a language of speech recognition."""
    return choice(xml, DEFAULT_GATHER_LANGUAGE, tuple(sorted(GATHER_LANGUAGES)), doc=doc, source=source)


def _integer_from(minimum: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not _INTEGER.fullmatch(text) or (value := int(text)) < minimum:
            raise ValueError(text)
        return value

    return convert
