"""Reading a document: bytes of an HTTP reply become a tree of elements.

The reader takes what applications send in practice (an unescaped `&`, a wrong charset label, prefixes)
and refuses what could harm the engine (document types, entities, deep or huge trees).
Reference: RCML parsing, URL text rules.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any

import attrs
from lxml import etree

from rcml.errors import DocumentError, DocumentErrorKind

ROOT = "Response"

_AMPERSAND = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<!\[CDATA\[.*?(?:\]\]>|\Z)"
    r"|<\?.*?(?:\?>|\Z)"
    r"|&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)",
    re.DOTALL,
)
_DECLARED = re.compile(rb"""^<\?xml[^>]{0,200}?\bencoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UNSUITABLE = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"})
_PARSER_OPTIONS: Mapping[str, Any] = {
    "encoding": "utf-8",
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "dtd_validation": False,
    "attribute_defaults": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}


@attrs.frozen(kw_only=True)
class Limits:
    """What a document may cost."""

    max_bytes: int = 1_048_576
    max_depth: int = 64
    """Depth of nesting; the root has depth 1."""
    max_elements: int = 20_000


DEFAULT_LIMITS = Limits()


@attrs.frozen
class Element:
    """One element: local name, trimmed attribute values, joined own text, child elements."""

    name: str
    line: int = 0
    """Line of the start tag, from 1; 0 for elements that do not come from a text."""
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    text: str = ""
    children: tuple[Element, ...] = ()


@attrs.frozen
class Document:
    """A document that can be executed. Its elements are in the order of the text."""

    root: Element

    @classmethod
    def of(cls, *elements: Element) -> Document:
        """Make a document of elements, as for a reply that is audio or plain text."""
        return cls(Element(ROOT, children=elements))


def parse(body: bytes, charset: str | None = None, limits: Limits = DEFAULT_LIMITS) -> Document:
    """Read a document.

    Args:
        body: the reply as received.
        charset: charset of the Content-Type header, if there was one. The order of precedence is: this,
            the XML declaration, UTF-8.
        limits: what the document may cost.

    Raises:
        DocumentError: it cannot be read; nothing else is raised whatever the bytes are.
    """
    if len(body) > limits.max_bytes:
        raise DocumentError(
            DocumentErrorKind.TOO_LARGE, f"The document has more than {limits.max_bytes} bytes."
        )
    text = decode(body, charset)
    if not text.strip():
        raise DocumentError(DocumentErrorKind.EMPTY, "The document is empty.")
    root = _tree(text)
    document = Document(_Builder(limits).build(root, 1))
    if document.root.name != ROOT:
        raise DocumentError(
            DocumentErrorKind.ROOT,
            f"The root element must be <{ROOT}>, found <{document.root.name}>.",
            document.root.line,
            1,
        )
    return document


def decode(body: bytes, charset: str | None = None) -> str:
    """Turn the bytes of a document into text: charset of the header, XML declaration, UTF-8.

    A charset that does not exist is passed over.

    Raises:
        DocumentError: the bytes are not text in that charset.
    """
    for mark, name in _MARKS:
        if body.startswith(mark):
            return _decode(body[len(mark) :], name)
    if charset and (known := _codec(charset)):
        return _decode(body, known)
    declared = _DECLARED.match(body.lstrip()[:300])
    if declared and (known := _codec(declared[1].decode("ascii"))):
        return _decode(body, known)
    return _decode(body, "utf-8")


def repair_ampersands(text: str) -> str:
    """Escape each `&` that begins no reference, outside comments, CDATA and processing instructions."""
    if "&" not in text:
        return text
    return _AMPERSAND.sub(lambda match: "&amp;" if match[0] == "&" else match[0], text)


def local_name(tag: str) -> str:
    """Name without its namespace."""
    return tag.rpartition("}")[2].rpartition(":")[2]


def _codec(name: str) -> str | None:
    try:
        found = codecs.lookup(name.strip(" \"'"))
    except (LookupError, ValueError):
        return None
    is_text = getattr(found, "_is_text_encoding", False)
    return found.name if is_text and found.name.replace("-", "_") not in _UNSUITABLE else None


def _decode(body: bytes, charset: str) -> str:
    try:
        text = body.decode(charset)
        text.encode("utf-8")
    except (ValueError, LookupError) as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = body.count(b"\n", 0, start) + 1
        raise DocumentError(
            DocumentErrorKind.ENCODING, f"The document is not valid {charset} text.", line, 1
        ) from error
    return text.removeprefix("\ufeff")


def _tree(text: str) -> etree._Element:
    data = repair_ampersands(text.lstrip()).encode("utf-8")
    try:
        try:
            root = etree.fromstring(data, etree.XMLParser(**_PARSER_OPTIONS))
        except etree.XMLSyntaxError as error:
            if not _only_prefixes(error.error_log):
                raise
            root = etree.fromstring(data, etree.XMLParser(**_PARSER_OPTIONS, recover=True))
    except etree.XMLSyntaxError as error:
        raise _malformed(error, text) from error
    except (etree.LxmlError, ValueError) as error:
        raise DocumentError(DocumentErrorKind.MALFORMED, f"The XML cannot be read: {error}.") from error
    if "<!DOCTYPE" in text and _declares(root.getroottree().docinfo.internalDTD):
        raise DocumentError(
            DocumentErrorKind.DOCTYPE, "A document type that declares entities or elements is not allowed."
        )
    return root


def _declares(subset: Any) -> bool:
    """Whether the internal subset of a document type declares anything."""
    return subset is not None and (
        any(True for _ in subset.iterentities()) or any(True for _ in subset.iterelements())
    )


def _only_prefixes(log: Any) -> bool:
    """Whether nothing is wrong but prefixes that were not declared; those are ignored."""
    return all(entry.domain_name == "NAMESPACE" for entry in log)


def _malformed(error: etree.XMLSyntaxError, text: str) -> DocumentError:
    blank = text[: len(text) - len(text.lstrip())]
    line, column = error.position
    sentence = (error.msg or "not well-formed").partition(", line ")[0].rstrip(".")
    kind = DocumentErrorKind.MALFORMED
    if "ntity" in sentence and "<!DOCTYPE" in text:
        kind = DocumentErrorKind.DOCTYPE
    elif sentence.startswith("Excessive depth"):
        kind = DocumentErrorKind.TOO_DEEP
    line += blank.count("\n")
    return DocumentError(
        kind, f"The XML is not well-formed: {sentence}.", line, _column_as_written(text, line, column)
    )


def _column_as_written(text: str, line: int, column: int) -> int:
    """Column before ampersands of the line were repaired."""
    lines = text.split("\n")
    added = 0
    if 0 < line <= len(lines):
        for match in _AMPERSAND.finditer(lines[line - 1]):
            if match[0] == "&" and match.start() + added < column:
                added += len("&amp;") - 1
    return max(column - added, 1)


class _Builder:
    """Copies a parsed tree, counting what it costs."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0

    def build(self, node: etree._Element, depth: int) -> Element:
        line: int = getattr(node, "sourceline", None) or 0
        self._count += 1
        if depth > self._limits.max_depth:
            raise DocumentError(
                DocumentErrorKind.TOO_DEEP,
                f"Elements are nested more than {self._limits.max_depth} deep.",
                line,
                1,
            )
        if self._count > self._limits.max_elements:
            raise DocumentError(
                DocumentErrorKind.TOO_MANY_ELEMENTS,
                f"The document has more than {self._limits.max_elements} elements.",
                line,
                1,
            )
        text = node.text or ""
        children = []
        for child in node:
            if isinstance(child.tag, str):
                children.append(self.build(child, depth + 1))
            if child.tail:
                text += child.tail
        attributes = {local_name(str(k)): str(v).strip() for k, v in node.attrib.items()}
        return Element(local_name(str(node.tag)), line, attributes, text.strip(), tuple(children))
