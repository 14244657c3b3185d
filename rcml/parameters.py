"""Parameters of the requests to voice applications. Reference: Parameters sent to voice applications."""

from __future__ import annotations

import math
from collections.abc import Iterable
from urllib.parse import urlencode

from rcml.ports import CallInfo, CallStatus, StoredRecording

Parameters = list[tuple[str, str]]


def standard_parameters(call: CallInfo, status: CallStatus, null_literals: bool = False) -> Parameters:
    """Build the parameters that go with every request of a call.

    Args:
        call: the call.
        status: its status at this moment.
        null_literals: send the text `null` for an absent CallerName and ForwardedFrom, as the legacy did.
    """
    absent = "null" if null_literals else ""
    parameters = [
        ("CallSid", call.call_sid),
        ("InstanceId", call.instance_id),
        ("AccountSid", call.account_sid),
        ("From", call.from_),
        ("To", call.to),
        ("CallStatus", status.value),
        ("ApiVersion", call.api_version),
        ("Direction", call.direction.value),
        ("CallerName", call.caller_name or absent),
        ("ForwardedFrom", call.forwarded_from or absent),
        ("CallTimestamp", call.timestamp),
    ]
    parameters.extend((f"SipHeader_{name}", value) for name, value in call.sip_headers.items())
    return parameters


def gather_parameters(digits: str, speech: str = "") -> Parameters:
    """Build what a Gather action adds."""
    return [("Digits", digits), ("SpeechResult", speech)]


def record_parameters(stored: StoredRecording | None, digits: str) -> Parameters:
    """Build what a Record action adds; a recording that holds nothing has no URL.

    Args:
        stored: the recording; None when nothing was recorded.
        digits: the key that ended it, `hangup` when the caller left, else empty.
    """
    if stored is None:
        return [("RecordingDuration", "0"), ("Digits", digits)]
    return [
        ("RecordingUrl", stored.url),
        ("PublicRecordingUrl", stored.url),
        ("RecordingDuration", str(whole_seconds(stored.seconds))),
        ("Digits", digits),
    ]


def fallback_parameters(code: int, url: str) -> Parameters:
    """Build what a fallback request adds: what went wrong, and at which URL."""
    return [("ErrorCode", str(code)), ("ErrorUrl", url)]


def whole_seconds(seconds: float) -> int:
    """Round a duration up to whole seconds, at least 1."""
    return max(1, math.ceil(round(seconds, 3)))


def encoded(parameters: Iterable[tuple[str, str]]) -> str:
    """Parameters as urlencoded text, as sent and as kept in notifications."""
    return urlencode(list(parameters))
