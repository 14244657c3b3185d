"""voiceengine: a SIP/voice call-control engine whose calls are programmed with plain web documents."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("voiceengine")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0.0.0"
