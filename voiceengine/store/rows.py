"""Rows of the database as values. Field names are those of the columns (and of the JSON keys)."""

from __future__ import annotations

import secrets
import time
from typing import Literal

import attrs

SidPrefix = Literal["AC", "CA", "PN", "CL", "RE", "NO", "AP", "OR", "ID", "SM", "CF", "TR", "RF", "GW", "AN"]

API_VERSION = "2012-04-24"


def new_sid(prefix: SidPrefix) -> str:
    """Make a sid: the prefix and 32 random hex digits."""
    return prefix + secrets.token_hex(16)


def now() -> float:
    """Wall time, seconds since the epoch (UTC)."""
    return time.time()


@attrs.frozen(kw_only=True)
class Account:
    """An account; `status` is one of active, suspended, inactive, closed, uninitialized."""

    sid: str
    organization_sid: str
    parent_sid: str | None = None
    friendly_name: str
    email_address: str
    type: str = "Full"
    status: str = "active"
    role: str = "Administrator"
    auth_token: str
    """Random, 32 hex digits."""
    password_hash: str | None = None
    """Salted memory-hard hash (scrypt) of the clear password, None when none was set."""
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class Client:
    """A softphone account. Only digests of its password are kept."""

    sid: str
    account_sid: str
    login: str
    friendly_name: str
    ha1_md5: str
    """MD5 hex of login:realm:password."""
    ha1_sha256: str
    """SHA-256 hex of login:realm:password."""
    status: int = 1
    """1 enabled, 0 disabled."""
    voice_url: str | None = None
    voice_method: str = "POST"
    voice_fallback_url: str | None = None
    voice_fallback_method: str = "POST"
    voice_application_sid: str | None = None
    push_client_identity: str | None = None
    api_version: str = API_VERSION
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class Number:
    """An incoming phone number (or a regular expression of numbers)."""

    sid: str
    account_sid: str
    phone_number: str
    friendly_name: str
    is_sip: bool = False
    """True: a virtual number of this platform (isSIP), never bought from a provider."""
    voice_url: str | None = None
    voice_method: str = "POST"
    voice_fallback_url: str | None = None
    voice_fallback_method: str = "POST"
    status_callback: str | None = None
    status_callback_method: str = "POST"
    voice_caller_id_lookup: bool = False
    voice_application_sid: str | None = None
    sms_url: str | None = None
    sms_method: str = "POST"
    sms_fallback_url: str | None = None
    sms_fallback_method: str = "POST"
    sms_application_sid: str | None = None
    ussd_url: str | None = None
    ussd_method: str = "POST"
    ussd_fallback_url: str | None = None
    ussd_fallback_method: str = "POST"
    ussd_application_sid: str | None = None
    refer_url: str | None = None
    refer_method: str = "POST"
    refer_application_sid: str | None = None
    voice_capable: bool = False
    sms_capable: bool = False
    mms_capable: bool = False
    fax_capable: bool = False
    api_version: str = API_VERSION
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class Application:
    """A bundle of URLs that numbers and clients can refer to."""

    sid: str
    account_sid: str
    friendly_name: str
    rcml_url: str | None = None
    kind: str | None = None
    voice_caller_id_lookup: bool = False
    api_version: str = API_VERSION
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class CallRow:
    """The record of a call (CDR)."""

    sid: str
    instance_id: str
    account_sid: str
    parent_call_sid: str | None = None
    phone_number_sid: str | None = None
    to: str
    from_: str
    """Column `from`."""
    caller_name: str | None = None
    forwarded_from: str | None = None
    direction: str
    """inbound, outbound-api, outbound-dial."""
    status: str
    """queued, ringing, in-progress, completed, busy, failed, no-answer, canceled, not-found."""
    cause: str | None = None
    """Why it ended, in words (not part of the REST representation)."""
    sip_code: int | None = None
    """Final SIP status code of the INVITE."""
    sip_call_id: str | None = None
    start_time: float | None = None
    """Creation time until answered, then the answer time."""
    answer_time: float | None = None
    end_time: float | None = None
    duration: int | None = None
    """Whole seconds from answer to end; 0 when never answered; None while running."""
    ring_duration: int | None = None
    price: str = "0.00"
    price_unit: str = "USD"
    answered_by: str | None = None
    api_version: str = API_VERSION
    conference_sid: str | None = None
    muted: bool = False
    on_hold: bool = False
    start_conference_on_enter: bool | None = None
    end_conference_on_exit: bool | None = None
    beep: bool | None = None
    codec: str | None = None
    rx_packets: int | None = None
    tx_packets: int | None = None
    rx_lost: int | None = None
    tx_lost: int | None = None
    rx_jitter_ms: float | None = None
    rtt_ms: float | None = None
    mos: float | None = None
    """Estimated mean opinion score 1.0 to 4.5 (E-model)."""
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class ConferenceRow:
    """A conference: one row for each time that a room was open."""

    sid: str
    account_sid: str
    friendly_name: str
    """Name of the room."""
    status: str = "RUNNING_MODERATOR_ABSENT"
    """RUNNING_MODERATOR_ABSENT, RUNNING_MODERATOR_PRESENT or COMPLETED."""
    api_version: str = API_VERSION
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class ReferRow:
    """One executed Refer."""

    sid: str
    account_sid: str
    org_sid: str
    call_sid: str
    from_: str
    """Column `from`: who was asked to call somebody else."""
    to: str
    """Target of the transfer."""
    call_status: str | None = None
    """completed, busy, no-answer, failed or canceled, from NOTIFY; None when none came."""
    refer_sip_response_code: int | None = None
    notify_sip_response_code: int | None = None
    api_version: str = API_VERSION
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class RecordingRow:
    """A recording; its file is `<sid>.wav` in the recordings folder."""

    sid: str
    account_sid: str
    call_sid: str
    conference_sid: str | None = None
    """Of a recorded conference; `call_sid` is then that of the participant who started it."""
    status: str = "completed"
    """in-progress, paused or completed."""
    channels: int = 1
    duration: float
    """Seconds; 0 while it goes on."""
    transcription: str | None = None
    """None: not asked for; otherwise a state, `not-configured` when no engine exists."""
    api_version: str = API_VERSION
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class NotificationRow:
    """Something the owner of an application should repair."""

    sid: str
    account_sid: str
    call_sid: str | None = None
    log: int
    """0 error, 1 warning."""
    error_code: int
    message_text: str
    message_date: float = attrs.field(factory=now)
    request_url: str = ""
    request_method: str = ""
    request_variables: str = ""
    response_headers: str = ""
    response_body: str = ""
    api_version: str = API_VERSION
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class TranscriptionRow:
    """The text of a recording."""

    sid: str
    account_sid: str
    recording_sid: str
    status: str = "completed"
    """in-progress, completed or failed."""
    duration: float = 0.0
    """Of the recording, seconds."""
    transcription_text: str = ""
    price: str = "0.0"
    price_unit: str = "USD"
    api_version: str = API_VERSION
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class MessageRow:
    """A text message (SMS), in or out."""

    sid: str
    account_sid: str
    from_: str
    """Column `from`: as given; no + is added, `client:` is kept."""
    to: str
    """As given."""
    body: str
    status: str
    """queued, sending, sent, delivered, undelivered, failed or received."""
    direction: str
    """incoming, outbound-api, outbound-call or outbound-reply."""
    date_sent: float | None = None
    """When it was handed over or received, wall time; None: not yet."""
    num_segments: int | None = None
    """Parts on the phone network; None for messages that never see it (clients)."""
    encoding: str = "GSM"
    """GSM, UCS-2 or UTF-8: as the sender asked."""
    error_code: int | None = None
    error_message: str | None = None
    status_callback: str | None = None
    status_callback_method: str = "POST"
    call_sid: str | None = None
    """The call whose document sent it."""
    number_sid: str | None = None
    """The incoming number that received it."""
    headers: str = "{}"
    """JSON object: `X-` headers of the SIP MESSAGE; needed again when it is held."""
    held_until: float | None = None
    """Until when it waits for a client that is offline, wall time; None: it does not wait."""
    api_version: str = API_VERSION
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class CallerId:
    """A number that calls may be shown to come from (outgoing caller id)."""

    sid: str
    """`PN` and 32 hex digits."""
    account_sid: str
    friendly_name: str
    phone_number: str
    """E.164."""
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class Gateway:
    """A SIP provider that the engine registers with."""

    sid: str
    friendly_name: str
    user_name: str
    password: str = attrs.field(repr=False)
    """Clear: a digest needs it."""
    proxy: str
    """Host, `host:port` or SIP URI of the provider."""
    register: bool = True
    time_to_live: int = 3600
    """Expiry that is asked for, seconds."""
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class Organization:
    """A tenant domain."""

    sid: str
    domain_name: str
    status: str = "active"
    """active or closed."""
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class AnnouncementRow:
    """A text that was spoken on request."""

    sid: str
    account_sid: str
    gender: str = "man"
    language: str = "en"
    text: str
    file: str = ""
    """Name of its audio file in the cache that is served."""
    api_version: str = API_VERSION
    date_created: float = attrs.field(factory=now)
    date_updated: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class BindingRow:
    """A registered contact of a client (RFC 3261 section 10)."""

    aor: str
    """`login@realm`."""
    contact: str
    """Contact URI as registered."""
    client_sid: str
    call_id: str
    cseq: int
    q: float = 1.0
    expires_at: float
    """Wall time, seconds."""
    transport: str
    """udp or tcp."""
    remote_host: str
    """Source address of the REGISTER."""
    remote_port: int
    listener: str
    """The listener it arrived on, as configured (`udp://127.0.0.1:5060`)."""
    user_agent: str = ""
    refreshed_at: float = attrs.field(factory=now)


@attrs.frozen(kw_only=True)
class JournalEvent:
    """One line of a call's journal."""

    call_sid: str
    at: float
    """Wall time, seconds."""
    event: str
    fields: str
    """JSON object."""
