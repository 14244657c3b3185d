"""`voiceengine lint`: check RCML documents without running them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rcml.linter import Severity, lint

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_FINE, EXIT_ERRORS, EXIT_UNREADABLE = 0, 1, 2


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "lint",
        help="check RCML documents",
        description="Find mistakes in RCML: unknown verbs and attributes, values that are not"
        " allowed, elements in the wrong place, verbs never reached. The exit code is 1 when there is an"
        " error, 2 when a file cannot be read, else 0.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="document to check; - reads standard input")
    parser.add_argument("--sms", action="store_true", help="the documents are run for text messages")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the files and print `file:line:column: error|warning: message` for each finding."""
    code = EXIT_FINE
    for name in args.files:
        try:
            body = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            print(f"{name}: cannot be read: {error.strerror}", file=sys.stderr)
            code = EXIT_UNREADABLE
            continue
        for finding in lint(body, sms=args.sms):
            print(f"{name}:{finding}")
            if finding.severity is Severity.ERROR:
                code = max(code, EXIT_ERRORS)
    return code
