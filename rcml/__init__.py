"""RCML: documents, verbs and the interpreter that runs them against abstract ports.

The package is pure: no sockets, no reactor, no wall clock. It drives a `rcml.ports.Leg`.
"""

from rcml.document import Document, Element, Limits, parse
from rcml.errors import DocumentError, UrlError
from rcml.flow import InterpreterSettings
from rcml.interpreter import Interpreter, Outcome, OutcomeKind, Source
from rcml.parameters import standard_parameters

__all__ = [
    "Document",
    "DocumentError",
    "Element",
    "Interpreter",
    "InterpreterSettings",
    "Limits",
    "Outcome",
    "OutcomeKind",
    "Source",
    "UrlError",
    "parse",
    "standard_parameters",
]
