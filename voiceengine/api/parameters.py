"""Parameters of a query or a body, read one by one and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from voiceengine.api.declare import Param
from voiceengine.api.errors import ApiError, bad, missing

MAX_FIELDS = 1000
MAX_LINE = 8192
"""Longest value of one line, characters: what is kept of it, is kept in memory."""

_CONTROL = re.compile("[\x00-\x1f\x7f]")
_CONTROL_IN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BLANK = re.compile(r"\s")
_SID = re.compile(r"[A-Z]{2}[0-9a-zA-Z]{32}")


class Undeclared(LookupError):
    """A handler read a parameter that its operation does not declare."""


class Parameters:
    """Named values; names are case-sensitive, the first value of a name wins.

    Args:
        values: name -> values.
        declared: names that may be read; None: all. What is read without being declared would be missing in
            the OpenAPI document and in the reference.
    """

    def __init__(self, values: Mapping[str, Sequence[str]], declared: frozenset[str] | None = None) -> None:
        self._values = values
        self._declared = declared

    def _given(self, name: str) -> Sequence[str]:
        if self._declared is not None and name not in self._declared:
            raise Undeclared(name)
        return self._values.get(name, ())

    def __contains__(self, name: str) -> bool:
        return bool(self._given(name))

    def restricted(self, declared: frozenset[str]) -> Parameters:
        """The same values, of which only these names may be read."""
        return Parameters(self._values, declared)

    def starting_with(self, prefix: str) -> dict[str, str]:
        """First values of all names that begin so; need not be declared one by one."""
        return {
            name: self._clean(name, values[0])
            for name, values in self._values.items()
            if name.startswith(prefix) and values
        }

    def all(self, name: str) -> tuple[str, ...]:
        """All values of a name."""
        return tuple(self._clean(name, value) for value in self._given(name))

    def get(self, name: str) -> str | None:
        """The value, None when the name is absent."""
        found = self._given(name)
        return self._clean(name, found[0]) if found else None

    def read(self, param: Param) -> Any:
        """The checked value of a declared parameter; its default (or None) when absent or empty.

        Raises:
            ApiError: it is required and missing, or not what its kind allows.
        """
        value = self.get(param.name) if param.kind != "document" else self.document(param.name)
        if not value:
            if param.required is not None:
                raise missing(param.required)
            return param.default
        match param.kind:
            case "integer":
                top = 999_999_999 if param.maximum is None else param.maximum
                return self.integer(param.name, 0, param.minimum or 0, top)
            case "flag":
                return self.flag(param.name)
            case "method":
                return self.method(param.name)
            case "url":
                return self.url(param.name)
            case "path":
                return self.url(param.name, relative=True)
            case "choice":
                return self.choice(param.name, "", param.allowed)
            case "sid":
                return self.sid(param.name, param.allowed[0] if param.allowed else "")
            case "name":
                return self.name(param.name, param.maximum or 64)
            case _:
                return value

    def _clean(self, name: str, value: str) -> str:
        if len(value) > MAX_LINE:
            raise bad(f"{name} must not be longer than {MAX_LINE} characters.")
        if _CONTROL.search(value):
            raise bad(f"{name} must not contain control characters.")
        return value

    def text(self, name: str) -> str | None:
        """The value, None when absent or empty."""
        return self.get(name) or None

    def document(self, name: str) -> str | None:
        """A text of several lines, None when absent or empty."""
        found = self._given(name)
        if found and _CONTROL_IN_TEXT.search(found[0]):
            raise bad(f"{name} must not contain control characters.")
        return (found[0] or None) if found else None

    def required(self, name: str, message: str) -> str:
        """The value; an absent or empty one is an error with this message."""
        value = self.text(name)
        if value is None:
            raise missing(message)
        return value

    def flag(self, name: str) -> bool | None:
        """`true` in any letter case is true, everything else false; None when absent."""
        value = self.get(name)
        return None if value is None else value.strip().lower() == "true"

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """A whole number in a range."""
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", value) or not minimum <= int(value) <= maximum:
            raise bad(f"{name} must be a whole number from {minimum} to {maximum}.")
        return int(value)

    def method(self, name: str, default: str = "POST") -> str:
        """GET or POST."""
        value = (self.text(name) or default).upper()
        if value not in ("GET", "POST"):
            raise bad(f"{name} must be GET or POST.")
        return value

    def url(self, name: str, *, relative: bool = False) -> str | None:
        """An absolute http(s) URL (or a path of this server); None when absent or empty."""
        value = self.text(name)
        if value is None or (relative and value.startswith("/") and not value.startswith("//")):
            good = value is None or not _BLANK.search(value)
        else:
            good = _is_absolute(value)
        if not good:
            also = " or a path that begins with /" if relative else ""
            raise bad(f"{name} must be an absolute http or https URL{also}.")
        return value

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """One of these words, in any letter case."""
        value = (self.text(name) or default).lower()
        if value not in allowed:
            *others, last = allowed
            words = f"{', '.join(others)} or {last}" if others else last
            raise bad(f"{name} must be {words}.")
        return value

    def sid(self, name: str, prefix: str) -> str | None:
        """A sid with this prefix; None when absent or empty."""
        value = self.text(name)
        if value is not None and not (value.startswith(prefix) and _SID.fullmatch(value)):
            raise bad(f"{name} must be a sid that begins with {prefix}.")
        return value

    def name(self, name: str, maximum: int = 64) -> str | None:
        """A short text; None when absent or empty."""
        value = self.text(name)
        if value is not None and len(value) > maximum:
            raise bad(f"{name} must not be longer than {maximum} characters.")
        return value


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not _BLANK.search(url)
        )
    except ValueError:
        return False


def parse_form(text: bytes) -> dict[str, list[str]]:
    """Decode a form or a query string.

    Raises:
        ApiError: it is not UTF-8, or has too many fields.
    """
    try:
        return parse_qs(
            text.decode("utf-8"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise bad("The parameters are not URL-encoded UTF-8, or there are too many of them.") from error


def _parse_json(text: bytes) -> dict[str, list[str]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad("The body is not valid JSON.") from error
    if not isinstance(found, dict):
        raise bad("The JSON body must be an object with parameter names as keys.")
    return {key: _json_values(key, value) for key, value in found.items()}


def _json_values(key: str, value: object) -> list[str]:
    items = value if isinstance(value, list) else [value]
    texts = []
    for item in items:
        if item is None:
            texts.append("")
        elif isinstance(item, bool):
            texts.append("true" if item else "false")
        elif isinstance(item, str | int | float):
            texts.append(str(item))
        else:
            raise bad(f"The value of {key} in the JSON body must be text, a number, true, false or null.")
    try:
        "".join(texts).encode("utf-8")
    except UnicodeEncodeError as error:
        raise bad(f"The value of {key} in the JSON body is not valid Unicode.") from error
    return texts


def parse_body(content_type: str, body: bytes) -> Parameters:
    """Read a body: a form, or a JSON object with the same names."""
    kind = content_type.partition(";")[0].strip().lower()
    if not body.strip():
        return Parameters({})
    if kind == "application/json":
        return Parameters(_parse_json(body))
    if kind in ("", "application/x-www-form-urlencoded"):
        return Parameters(parse_form(body))
    raise ApiError(415, "Send the parameters as application/x-www-form-urlencoded or application/json.")
