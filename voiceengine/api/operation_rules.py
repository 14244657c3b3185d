"""Parameters of the operations on a live call, checked and turned into the requests of the port."""

from __future__ import annotations

import re
from typing import Final

from rcml.languages import say_language
from voiceengine.api.errors import ApiError, bad, missing
from voiceengine.api.parameters import Parameters
from voiceengine.api.ports import (
    GatherInput,
    HoldCall,
    PlayAudio,
    ReferCall,
    ResumeCall,
    SayText,
    StartRecording,
)
from voiceengine.config import Settings

MAX_LOOP: Final = 1000
MAX_GATHER_TIMEOUT: Final = 600
"""Longest wait for a key, seconds."""
MAX_DIGITS: Final = 4096
MAX_RECORDING: Final = 86400
"""Longest recording that can be asked for, seconds."""

NO_SPEECH: Final = "Speech recognition is not configured; Input must be dtmf."

_FINISH_KEYS = re.compile(r"[0-9*#]{0,12}")
_SIP_URI = re.compile(r"sips?:[^\s<>\"]{1,500}", re.IGNORECASE)
_NUMBER = re.compile(r"\+?[0-9*#(). -]{1,40}")
_SEPARATORS = re.compile(r"[(). -]")


def _text(body: Parameters, settings: Settings) -> str | None:
    text = body.document("Text")
    limit = settings.speech.max_characters
    if text is not None and len(text) > limit:
        raise bad(f"Text must not be longer than {limit} characters.")
    return text if text and text.strip() else None


def _language(body: Parameters) -> str:
    given = body.text("Language") or "en"
    found = say_language(given)
    if found is None:
        raise bad(f"Language must be a language of Say, such as en, fr or de; {given} is not one.")
    return found


def _loop(body: Parameters) -> int:
    return body.integer("Loop", 1, 1, MAX_LOOP)


def parse_say(body: Parameters, settings: Settings) -> SayText:
    """Read the parameters of Say."""
    text = _text(body, settings)
    if text is None:
        raise missing("Text can not be null.")
    voice = body.choice("Voice", "man", ("man", "woman"))
    return SayText(text=text, voice=voice, language=_language(body), loop=_loop(body))


def parse_play(body: Parameters, _: Settings) -> PlayAudio:
    """Read the parameters of Play."""
    url = body.url("Url")
    if url is None:
        raise missing("Url can not be null.")
    return PlayAudio(url=url, loop=_loop(body))


def parse_gather(body: Parameters, settings: Settings) -> GatherInput:
    """Read the parameters of Gather.

    Raises:
        ApiError: also with code 1002, when speech shall be recognised.
    """
    inputs = set(re.split(r"[\s,]+", (body.text("Input") or "dtmf").strip(" ,").lower()))
    if not inputs <= {"dtmf", "speech"}:
        raise bad("Input must be dtmf.")
    if "speech" in inputs:
        raise ApiError(400, NO_SPEECH, code=1002)
    action, status_callback = body.url("Action"), body.url("StatusCallback")
    if action is None and status_callback is None:
        raise missing("Action or StatusCallback can not be null.")
    finish = body.get("FinishOnKey")
    if finish is not None and not _FINISH_KEYS.fullmatch(finish):
        raise bad("FinishOnKey must be up to 12 characters of 0-9 * #, or empty for none.")
    text, url = _text(body, settings), body.url("Url")
    if text is not None and url is not None:
        raise bad("Text and Url both name the prompt; give one of them.")
    digits = body.text("NumDigits")
    return GatherInput(
        action=action,
        status_callback=status_callback,
        method=body.method("Method"),
        timeout=body.integer("Timeout", 5, 1, MAX_GATHER_TIMEOUT),
        finish_on_key="#" if finish is None else finish,
        num_digits=None if digits is None else body.integer("NumDigits", 1, 1, MAX_DIGITS),
        text=text,
        url=url,
        language=_language(body),
    )


def parse_hold(body: Parameters, _: Settings) -> HoldCall:
    """Read the parameters of Hold."""
    return HoldCall(music=body.url("HoldMusic"), action=body.url("Action"), method=body.method("Method"))


def parse_resume(body: Parameters, _: Settings) -> ResumeCall:
    """Read the parameters of Resume."""
    return ResumeCall(action=body.url("Action"), method=body.method("Method"))


def refer_target(text: str) -> str:
    """The target of a Refer: a SIP URI as it is, or a number without its separators.

    Raises:
        ApiError: it is neither.
    """
    target = text.strip()
    if _SIP_URI.fullmatch(target):
        return target
    number = _SEPARATORS.sub("", target)
    if _NUMBER.fullmatch(target) and number.strip("+"):
        return number
    raise bad("To must be a SIP URI (sip:user@host) or a number.")


def parse_refer(body: Parameters, _: Settings) -> ReferCall:
    """Read the parameters of Refer."""
    to = refer_target(body.required("To", "To can not be null."))
    return ReferCall(to=to, action=body.url("Action"), method=body.method("Method"))


def parse_recording(body: Parameters) -> StartRecording:
    """Read how a call shall be recorded."""
    channels = body.choice("RecordingChannels", "mono", ("mono", "dual"))
    longest = body.text("MaxLength")
    return StartRecording(
        max_seconds=None if longest is None else body.integer("MaxLength", 1, 1, MAX_RECORDING),
        channels=2 if channels == "dual" else 1,
        beep=bool(body.flag("PlayBeep")),
        status_callback=body.url("RecordingStatusCallback"),
        status_callback_method=body.method("RecordingStatusCallbackMethod"),
    )


def parse_recording_status(body: Parameters) -> str:
    """Read what shall become of a recording that goes on."""
    return body.choice("Status", "", ("stopped", "paused", "in-progress"))
