"""The phone's process: standard streams, signals, the loop, and an end without destructors."""

from __future__ import annotations

import argparse
import gc
import json
import os
import select
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from voiceengine.softphone.options import OptionError, PhoneOptions, options_from
from voiceengine.softphone.report import Report

if TYPE_CHECKING:
    from voiceengine.softphone.phone import Phone

EXIT_FINE, EXIT_FAILED, EXIT_ARGUMENTS = 0, 1, 2
_LONGEST_LINE = 65536


class _Output:
    """The real standard output; pjsua2 prints to what was put in its place."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._fd = os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        self._open = True

    def line(self, value: dict[str, Any]) -> None:
        """Print one JSON object on a line."""
        data = (json.dumps(value) + "\n").encode()
        while data and self._open:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError:  # nobody reads any more
                self._open = False


class _Control:
    """Commands as JSON lines on standard input; its end is a `quit`."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._fd = os.dup(0)
        self._rest = b""
        self._open = True
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)

    def poll(self) -> None:
        """Read what is there, without waiting."""
        while self._open and select.select([self._fd], [], [], 0)[0]:
            try:
                data = os.read(self._fd, 4096)
            except OSError:
                data = b""
            self._rest += data
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                self._take(line)
            if not data or len(self._rest) > _LONGEST_LINE:
                self._open = False
                self._phone.finish()

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            command = json.loads(line)
        except ValueError:
            command = None
        if isinstance(command, dict):
            self._phone.loop.post(self._phone.command, command)
        else:
            self._phone.report.error("a command was not a JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the phone as its command line says.

    Returns:
        2 when the arguments cannot be used. Otherwise it does not return: the process ends with 0 when
        what was asked for happened, and 1 when it did not, because pjsua2 aborts in a normal exit.
    """
    try:
        options = options_from(args)
    except OptionError as error:
        print(f"voiceengine softphone: error: {error.message}", file=sys.stderr)
        return EXIT_ARGUMENTS
    run_phone(options)
    return EXIT_FAILED


def run_phone(options: PhoneOptions) -> NoReturn:
    """Run a phone until it is done, print its report and end the process."""
    output = _Output()
    report = Report(output.line if options.events else lambda event: None)
    try:
        _run(options, report)
    except Exception as error:
        traceback.print_exc()
        report.error(f"{type(error).__name__}: {error}")
    finally:
        result = report.as_dict()
        output.line({"event": "result", **result} if options.events else result)
        sys.stderr.flush()
        os._exit(EXIT_FINE if report.ok else EXIT_FAILED)


def _run(options: PhoneOptions, report: Report) -> None:
    import pjsua2

    from media.worker.guard import PjError
    from voiceengine.softphone.phone import Phone

    phone = Phone(options, report)

    def stop(number: int, frame: object) -> None:
        phone.loop.post(report.event, f"signal_{signal.Signals(number).name.lower()}")
        phone.loop.post(phone.finish)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    control = _Control(phone) if options.control else None
    gc.collect()
    gc.disable()  # it could run, and destroy things of pjsua2, in a thread that pjsua2 does not know
    try:
        phone.start()
        while phone.poll():
            if control is not None:
                control.poll()
    except (PjError, pjsua2.Error, OSError) as error:  # nothing more may be asked of the library
        report.error(str(error) or getattr(error, "reason", ""))
    phone.conclude()
