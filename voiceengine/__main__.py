"""`python -m voiceengine` is the console script."""

import sys

from voiceengine.cli import main

sys.exit(main())
