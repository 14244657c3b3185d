"""Errors of documents and of the URLs in them. Both are `ValueError`s with a sentence for their author."""

from __future__ import annotations

import enum

DOCUMENT_ERROR_CODE = 12100
"""Notification code of every document that cannot be read."""


class DocumentErrorKind(enum.Enum):
    """Why a document cannot be read."""

    EMPTY = "empty"
    TOO_LARGE = "too-large"
    TOO_DEEP = "too-deep"
    TOO_MANY_ELEMENTS = "too-many-elements"
    ENCODING = "encoding"
    MALFORMED = "malformed"
    DOCTYPE = "doctype"
    ROOT = "root"


class DocumentError(ValueError):
    """A text that is not an RCML document.

    Args:
        kind: what is wrong.
        message: a full sentence.
        line: line of the text, from 1; 0 when the error has no place.
        column: column of that line, from 1; 0 when it is not known.
    """

    code = DOCUMENT_ERROR_CODE

    def __init__(self, kind: DocumentErrorKind, message: str, line: int = 0, column: int = 0) -> None:
        place = f"line {line}, column {column}: " if line else ""
        super().__init__(place + message)
        self.kind = kind
        self.message = message
        self.line = line
        self.column = column


class UrlError(ValueError):
    """A URL that cannot be parsed or has no absolute http(s) form (notification code 11100).

    Args:
        url: the text as found in the document.
        message: a full sentence.
    """

    code = 11100

    def __init__(self, url: str, message: str) -> None:
        super().__init__(message)
        self.url = url
        self.message = message
