"""The console script `voiceengine`: one module in `voiceengine.commands` for each command."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from voiceengine import __version__
from voiceengine.errors import EngineError

COMMANDS = {
    "serve": ("serve", "run the engine"),
    "demo": ("demo", "start an engine, call its demo number, print what happened"),
    "softphone": ("softphone", "a headless SIP phone"),
    "try": ("simulate", "run an RCML document in the terminal, without SIP and audio"),
    "lint": ("lint", "check RCML documents"),
    "config": ("config", "print the effective settings"),
}


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; with `only`, just that command's module is imported."""
    top = argparse.ArgumentParser(
        prog="voiceengine", description="SIP/voice call-control engine programmed with web documents (RCML)."
    )
    top.add_argument("--version", action="version", version=f"voiceengine {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, (module, text) in COMMANDS.items():
        if only is None or name == only:
            importlib.import_module(f"voiceengine.commands.{module}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=text)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        words = ["serve"]
    only = words[0] if words[0] in COMMANDS else None
    top = parser(only) if only else parser()
    arguments = top.parse_args(words)
    if not hasattr(arguments, "run"):
        top.print_help()
        return 2
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except EngineError as error:
        print(f"voiceengine: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on
        return 0


if __name__ == "__main__":
    sys.exit(main())
