"""`voiceengine softphone`: a headless SIP phone, to try and to test any SIP server."""

from __future__ import annotations

import argparse
from typing import Any

from voiceengine.softphone.options import DESCRIPTION, add_arguments


def add_parser(subparsers: Any) -> None:
    """Add the command to the console script's parser."""
    parser = subparsers.add_parser("softphone", help="call or be called, headless", description=DESCRIPTION)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the phone; see `voiceengine.softphone.main.run`."""
    from voiceengine.softphone.main import run as run_phone

    return run_phone(args)
