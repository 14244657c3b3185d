"""Parameters of the operations on a live call, checked and turned into the requests of the port."""

from __future__ import annotations

import re
from typing import Final

import attrs

from rcml.languages import say_language
from voiceengine.api.declare import Param
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

TEXT: Final = Param(
    "Text",
    "document",
    required="Text can not be null.",
    doc="What is spoken; at most `speech.max_characters` characters.",
)
VOICE: Final = Param("Voice", "choice", default="man", allowed=("man", "woman"), doc="Who speaks.")
LANGUAGE: Final = Param("Language", default="en", doc="A language of Say.")
LOOP: Final = Param("Loop", "integer", default=1, minimum=1, maximum=MAX_LOOP, doc="How often it is heard.")
SAY: Final = (TEXT, VOICE, LANGUAGE, LOOP)

PLAY_URL: Final = Param("Url", "url", required="Url can not be null.", doc="URL of the audio.")
PLAY: Final = (PLAY_URL, LOOP)

METHOD: Final = Param("Method", "method", default="POST", doc="How the URL is requested.")
GATHER_ACTION: Final = Param(
    "Action", "url", doc="Its reply replaces the call's document, unless it is empty; this or StatusCallback."
)
STATUS_CALLBACK: Final = Param("StatusCallback", "url", doc="Told the outcome; its reply is ignored.")
GATHER_TIMEOUT: Final = Param(
    "Timeout", "integer", default=5, minimum=1, maximum=MAX_GATHER_TIMEOUT, doc="Longest wait, seconds."
)
NUM_DIGITS: Final = Param(
    "NumDigits", "integer", minimum=1, maximum=MAX_DIGITS, doc="How many keys; not given: no limit."
)
PROMPT_URL: Final = Param("Url", "url", doc="Prompt that is played; not together with Text.")
GATHER: Final = (
    Param("Input", default="dtmf", doc="dtmf; speech is not recognised."),
    GATHER_ACTION,
    STATUS_CALLBACK,
    METHOD,
    GATHER_TIMEOUT,
    Param("FinishOnKey", default="#", doc="Up to 12 keys of `0-9 * #`; empty: none."),
    NUM_DIGITS,
    attrs.evolve(TEXT, required=None, doc="Prompt that is spoken."),
    PROMPT_URL,
    LANGUAGE,
)

ACTION: Final = Param("Action", "url", doc="Told the outcome; its reply is ignored.")
HOLD_MUSIC: Final = Param("HoldMusic", "url", doc="What the party hears; not given: silence.")
HOLD: Final = (HOLD_MUSIC, ACTION, METHOD)
RESUME: Final = (ACTION, METHOD)
REFER_TO: Final = Param("To", required="To can not be null.", doc="A SIP URI or a number.")
REFER: Final = (REFER_TO, ACTION, METHOD)

CHANNELS: Final = Param(
    "RecordingChannels",
    "choice",
    default="mono",
    allowed=("mono", "dual"),
    doc="dual: the party left, what it hears right.",
)
MAX_LENGTH: Final = Param(
    "MaxLength",
    "integer",
    minimum=1,
    maximum=MAX_RECORDING,
    doc="Longest duration, seconds; not given: until it is stopped or the call ends.",
)
PLAY_BEEP: Final = Param("PlayBeep", "flag", default=False, doc="Plays a tone before it begins.")
RECORDING_CALLBACK: Final = Param("RecordingStatusCallback", "url", doc="Told the end.")
RECORDING_CALLBACK_METHOD: Final = Param(
    "RecordingStatusCallbackMethod", "method", default="POST", doc="How it is told."
)
START_RECORDING: Final = (CHANNELS, MAX_LENGTH, PLAY_BEEP, RECORDING_CALLBACK, RECORDING_CALLBACK_METHOD)
RECORDING_STATUS: Final = Param(
    "Status",
    "choice",
    allowed=("stopped", "paused", "in-progress"),
    required="Status must be stopped, paused or in-progress.",
    doc="What becomes of the recording.",
)

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
    given = body.read(LANGUAGE)
    found = say_language(given)
    if found is None:
        raise bad(f"Language must be a language of Say, such as en, fr or de; {given} is not one.")
    return found


def parse_say(body: Parameters, settings: Settings) -> SayText:
    """Read the parameters of Say."""
    text = _text(body, settings)
    if text is None:
        raise missing("Text can not be null.")
    return SayText(text=text, voice=body.read(VOICE), language=_language(body), loop=body.read(LOOP))


def parse_play(body: Parameters, _: Settings) -> PlayAudio:
    """Read the parameters of Play."""
    return PlayAudio(url=body.read(PLAY_URL), loop=body.read(LOOP))


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
    action, status_callback = body.read(GATHER_ACTION), body.read(STATUS_CALLBACK)
    if action is None and status_callback is None:
        raise missing("Action or StatusCallback can not be null.")
    finish = body.get("FinishOnKey")
    if finish is not None and not _FINISH_KEYS.fullmatch(finish):
        raise bad("FinishOnKey must be up to 12 characters of 0-9 * #, or empty for none.")
    text, url = _text(body, settings), body.read(PROMPT_URL)
    if text is not None and url is not None:
        raise bad("Text and Url both name the prompt; give one of them.")
    return GatherInput(
        action=action,
        status_callback=status_callback,
        method=body.read(METHOD),
        timeout=body.read(GATHER_TIMEOUT),
        finish_on_key="#" if finish is None else finish,
        num_digits=body.read(NUM_DIGITS),
        text=text,
        url=url,
        language=_language(body),
    )


def parse_hold(body: Parameters, _: Settings) -> HoldCall:
    """Read the parameters of Hold."""
    return HoldCall(music=body.read(HOLD_MUSIC), action=body.read(ACTION), method=body.read(METHOD))


def parse_resume(body: Parameters, _: Settings) -> ResumeCall:
    """Read the parameters of Resume."""
    return ResumeCall(action=body.read(ACTION), method=body.read(METHOD))


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
    to = refer_target(body.read(REFER_TO))
    return ReferCall(to=to, action=body.read(ACTION), method=body.read(METHOD))


def parse_recording(body: Parameters) -> StartRecording:
    """Read how a call shall be recorded."""
    return StartRecording(
        max_seconds=body.read(MAX_LENGTH),
        channels=2 if body.read(CHANNELS) == "dual" else 1,
        beep=body.read(PLAY_BEEP),
        status_callback=body.read(RECORDING_CALLBACK),
        status_callback_method=body.read(RECORDING_CALLBACK_METHOD),
    )


def parse_recording_status(body: Parameters) -> str:
    """Read what shall become of a recording that goes on."""
    found: str = body.read(RECORDING_STATUS)
    return found
