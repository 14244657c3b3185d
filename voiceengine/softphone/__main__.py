"""`python -m voiceengine.softphone`: the same as `voiceengine softphone`."""

from __future__ import annotations

import argparse
import sys

from voiceengine.softphone.main import run
from voiceengine.softphone.options import DESCRIPTION, add_arguments

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="voiceengine softphone", description=DESCRIPTION)
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
