"""Parameters of the requests to voice applications. Reference: Parameters sent to voice applications."""

from __future__ import annotations

import math
from collections.abc import Iterable
from urllib.parse import urlencode

from rcml.ports import BranchInfo, CallInfo, CallStatus, MessageReceipt, ReferResult, StoredRecording

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
        *recording_parameters(stored),
        ("RecordingDuration", str(whole_seconds(stored.seconds))),
        ("Digits", digits),
    ]


def dial_parameters(
    info: BranchInfo | None, status: CallStatus, stored: StoredRecording | None = None
) -> Parameters:
    """Build what a Dial action adds.

    Args:
        info: the leg that is told of; None: there was none.
        status: the DialCallStatus.
        stored: the recording, when there is one.
    """
    parameters: Parameters = [] if info is None else [("DialRingDuration", str(info.ring_seconds))]
    parameters += [
        ("DialCallSid", info.call_sid if info else ""),
        ("DialCallStatus", status.value),
        ("DialCallDuration", str(info.talk_seconds if info else 0)),
        *recording_parameters(stored),
    ]
    if info is not None and info.sip:
        parameters.append(("DialSipCallId", info.sip_call_id))
        if info.sip_code:
            parameters.append(("DialSipResponseCode", str(info.sip_code)))
        parameters.extend((f"DialSipHeader_{name}", value) for name, value in info.sip_headers.items())
    return parameters


def conference_parameters(status: CallStatus, stored: StoredRecording | None = None) -> Parameters:
    """Build what the action of a Dial with a Conference adds.

    Args:
        status: `completed`, or `failed` when the room was full.
        stored: the recording of the room, when this participant's leaving ended it.
    """
    return [("DialCallStatus", status.value), *recording_parameters(stored)]


def recording_parameters(stored: StoredRecording | None) -> Parameters:
    """Build what tells where a recording is; nothing without one."""
    if stored is None:
        return []
    return [("RecordingUrl", stored.url), ("PublicRecordingUrl", stored.url)]


def hold_parameters(verb: str, status: str, code: int) -> Parameters:
    """Build what the action of Hold or Resume adds; the code is empty when the party did not answer."""
    return [(f"{verb}Status", status), (f"{verb}SipResponseCode", str(code) if code else "")]


def refer_parameters(result: ReferResult, status: str) -> Parameters:
    """Build what a Refer action adds; codes that did not come are empty."""
    return [
        ("ReferCallStatus", status),
        ("ReferSipResponseCode", str(result.code) if result.code else ""),
        ("NotifySipResponseCode", str(result.notify_code) if result.notify_code else ""),
    ]


def sms_parameters(receipt: MessageReceipt) -> Parameters:
    """Build what the action of an Sms adds in a call."""
    return [
        ("SmsSid", receipt.sid),
        ("SmsStatus", receipt.status),
        ("MessageSid", receipt.sid),
        ("MessageStatus", receipt.status),
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
