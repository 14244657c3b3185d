"""`voiceengine config`: print the effective settings and where each comes from."""

from __future__ import annotations

import argparse
import json
from typing import Any

from voiceengine.commands.options import add_settings, settings_of
from voiceengine.config import effective


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("config", help="print the effective settings")
    add_settings(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each setting."""
    settings, origin = settings_of(arguments)
    for key, value, where in effective(settings, origin):
        print(f"{key} = {json.dumps(value, ensure_ascii=False)}  # {where}")
    return 0
