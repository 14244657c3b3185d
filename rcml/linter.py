"""The linter: what is wrong in a document, found without running it."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Collection, Iterator

import attrs

import rcml.verbs
from rcml import message_flow
from rcml.document import Document, Element, decode, parse
from rcml.errors import DocumentError, UrlError
from rcml.nouns import MAX_NOUNS, Called, Conference
from rcml.ports import DialError
from rcml.positions import Position, Tag, tags
from rcml.urls import resolve
from rcml.verb import NOUNS, Declared, Noun, Text
from rcml.verbs import Dial, Email, Gather, Play, Refer, Sms

_BASE = "http://document.invalid/"


class Severity(enum.Enum):
    """How bad a finding is."""

    ERROR = "error"
    """The document does not do what it says."""
    WARNING = "warning"


@attrs.frozen
class Finding:
    """Something the author should look at."""

    line: int
    column: int
    severity: Severity
    message: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.severity.value}: {self.message}"


def lint(body: bytes, charset: str | None = None, *, sms: bool = False) -> list[Finding]:
    """Check a document.

    Args:
        body: the text as bytes.
        charset: as for `rcml.document.parse`.
        sms: it is run for text messages, not for calls.

    Returns:
        What was found, by line and column; empty when all is well.
    """
    try:
        document = parse(body, charset)
        text = decode(body, charset)
    except DocumentError as error:
        return [Finding(error.line or 1, error.column or 1, Severity.ERROR, error.message)]
    checker = _Checker(document, text)
    checker.check(sms=sms)
    return sorted(checker.findings, key=lambda finding: (finding.line, finding.column))


def suggestion(word: str, known: Collection[str]) -> str:
    """Give `; did you mean X?` for a word that is close to a known one, or nothing."""
    by_key = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_key, n=1, cutoff=0.6)
    return f"; did you mean {by_key[close[0]]}?" if close else ""


class _Checker:
    """Walks a document and collects findings."""

    def __init__(self, document: Document, text: str) -> None:
        self.findings: list[Finding] = []
        self._root = document.root
        self._tags: dict[int, Tag] = {
            id(element): tag for element, tag in zip(_preorder(document.root), tags(text), strict=False)
        }
        self._ended_by: Element | None = None
        self._answered_by = ""

    def check(self, *, sms: bool) -> None:
        """Check everything."""
        if self._root.text:
            self._warning(self._root, "text directly in Response is ignored")
        if sms:
            self._message_verbs()
        else:
            self._sequence(self._root)

    # ------------------------------------------------------------ elements

    def _sequence(self, parent: Element) -> None:
        for element in parent.children:
            if element.name in rcml.verbs.VERBS:
                self._reached(element)
                self._verb(element)
            elif element.name in NOUNS:
                self._error(element, f"{element.name} is a noun and does nothing as a verb")
            else:
                hint = suggestion(element.name, rcml.verbs.VERBS)
                self._error(element, f"unknown verb {element.name}, it is skipped{hint}")
                self._sequence(element)

    def _message_verbs(self) -> None:
        for element in self._root.children:
            if element.name in message_flow.VERBS:
                self._reached(element)
                self._verb(element)
            else:
                hint = suggestion(element.name, message_flow.VERBS)
                allowed = ", ".join(message_flow.VERBS)
                message = f"{element.name} is no verb for messages, it is skipped; allowed: {allowed}{hint}"
                self._error(element, message)

    def _reached(self, element: Element) -> None:
        """Check whether the verb can be reached, and what it means for the next ones."""
        if self._ended_by is not None:
            by = f"{self._ended_by.name} in line {self._line(self._ended_by)}"
            self._warning(element, f"{element.name} is never reached: {by} is the end of the document")
            return
        verb = rcml.verbs.VERBS[element.name](element)
        if verb.ends_document():
            self._ended_by = element
        if element.name == "Reject" and self._answered_by:
            self._warning(
                element, f"Reject behind {self._answered_by} hangs up, since the call is answered by then"
            )
        if verb.answers and not self._answered_by:
            self._answered_by = element.name

    def _verb(self, element: Element) -> None:
        verb = rcml.verbs.VERBS[element.name](element)
        self._declared(verb)
        if isinstance(verb, Dial):
            self._dial(verb)
        elif isinstance(verb, Refer):
            self._refer(verb)
        elif isinstance(verb, Sms) and not verb.text:
            self._error(element, "Sms has no text, which is the end of the document and of the call")
        elif isinstance(verb, Email) and (missing := verb.missing()):
            self._error(element, f"Email has no {missing} and is not sent")

    def _declared(self, found: Declared) -> None:
        """Check what is declared of a verb or a noun, and the elements inside."""
        element = found.element
        if not found.available:
            self._warning(element, f"{element.name} is not available in this engine version and is skipped")
            return
        self._attributes(found)
        self._text(found)
        for child in element.children:
            if child.name in found.children:
                self._child(child)
                continue
            allowed = f"allowed: {', '.join(found.children)}" if found.children else "it takes no elements"
            hint = suggestion(child.name, found.children)
            self._error(child, f"{child.name} is not allowed in {found.name}, it is ignored; {allowed}{hint}")

    def _child(self, element: Element) -> None:
        if element.name not in NOUNS:
            self._verb(element)
            return
        noun = NOUNS[element.name](element)
        self._declared(noun)
        if noun.available:
            self._noun(noun)

    # ------------------------------------------------------------ targets

    def _noun(self, noun: Noun) -> None:
        if isinstance(noun, Called):
            self._called(noun, noun.element)
        elif isinstance(noun, Conference) and not noun.room:
            self._warning(noun.element, "Conference has no name and does nothing")
        self._events(noun)

    def _called(self, noun: Called, at: Element) -> None:
        try:
            noun.whom()
        except DialError as error:
            self._error(at, f"{at.name}: {error.message}".rstrip("."))

    def _events(self, noun: Noun) -> None:
        name = "statusCallbackEvent"
        declared = next((attribute for attribute in noun.attributes if attribute.xml == name), None)
        given = noun.element.attributes.get(name, "").replace(",", " ").split()
        unknown = [word for word in given if declared is not None and not declared.convert(word)]
        if declared is not None and unknown:
            message = f"{name}: {', '.join(unknown)} is unknown; allowed: {declared.allowed}"
            self._warning(noun.element, message, name)

    def _dial(self, dial: Dial) -> None:
        element, targets = dial.element, dial.targets()
        if not targets:
            self._warning(element, "Dial calls nobody and does nothing")
        elif targets[0] not in element.children:
            noun = NOUNS[targets[0].name](targets[0])
            if isinstance(noun, Called):
                self._called(noun, element)
        elif dial.text:
            self._warning(element, "the text of Dial is ignored, since it has nouns")
        conference = next((child for child in targets if child.name == "Conference"), None)
        for number, child in enumerate(targets):
            if conference is not None and child is not conference:
                self._error(child, f"{child.name} is ignored, since the Dial enters a conference")
            elif number >= MAX_NOUNS:
                self._error(child, f"{child.name} is ignored, a Dial calls at most {MAX_NOUNS}")

    def _refer(self, refer: Refer) -> None:
        targets = [child for child in refer.element.children if child.name == "Sip"]
        if not targets:
            self._warning(refer.element, "Refer has no Sip and does nothing")
        for child in targets[1:]:
            self._error(child, "Sip is ignored, a Refer takes one")

    # ------------------------------------------------------------ attributes and text

    def _attributes(self, verb: Declared) -> None:
        element = verb.element
        declared = {attribute.xml: attribute for attribute in verb.attributes}
        for name, value in element.attributes.items():
            attribute = declared.get(name)
            if attribute is None:
                hint = suggestion(name, declared)
                self._error(element, f"{verb.name} has no attribute {name}, it is ignored{hint}", name)
            elif attribute.kind == "URL" and value:
                self._url(element, value, f"{verb.name} {name}", name)
            elif attribute.kind == "boolean" and value.lower() not in ("true", "false"):
                self._warning(element, f'{name}="{value}" means false; allowed: {attribute.allowed}', name)
        for problem in verb.problems:
            severity = Severity.WARNING if problem.attribute.code is None else Severity.ERROR
            message = f"{verb.name} {problem.message}".rstrip(".")
            self._add(severity, element, message, problem.attribute.xml)
        if isinstance(verb, Gather) and "speech" in verb.input:
            self._warning(element, "speech is not recognised by this engine version", "input")

    def _text(self, verb: Declared) -> None:
        element = verb.element
        if verb.text_is is Text.NONE:
            if element.text:
                self._warning(element, f"the text of {verb.name} is ignored")
        elif verb.text_is in (Text.TARGET, Text.NAME, Text.MESSAGE):
            return  # whether it is needed, and good, depends on more than the text
        elif not element.text:
            if not (isinstance(verb, Play) and verb.digits):
                self._warning(element, f"{verb.name} has no text and does nothing")
        elif verb.text_is is Text.URL:
            self._url(element, element.text, f"the text of {verb.name}")

    def _url(self, element: Element, value: str, what: str, attribute: str = "") -> None:
        try:
            resolve(_BASE, value)
        except UrlError as error:
            self._error(element, f"{what}: {error.message}".rstrip("."), attribute)

    # ------------------------------------------------------------ findings

    def _line(self, element: Element) -> int:
        return self._position(element, "").line

    def _position(self, element: Element, attribute: str) -> Position:
        tag = self._tags.get(id(element))
        if tag is None:
            return Position(element.line, 1)
        return tag.attributes.get(attribute, tag.position)

    def _error(self, element: Element, message: str, attribute: str = "") -> None:
        self._add(Severity.ERROR, element, message, attribute)

    def _warning(self, element: Element, message: str, attribute: str = "") -> None:
        self._add(Severity.WARNING, element, message, attribute)

    def _add(self, severity: Severity, element: Element, message: str, attribute: str) -> None:
        position = self._position(element, attribute)
        self.findings.append(Finding(position.line, position.column, severity, message))


def _preorder(element: Element) -> Iterator[Element]:
    """Elements in the order of their start tags."""
    yield element
    for child in element.children:
        yield from _preorder(child)
