"""What the interpreter needs from the world.

Everything the interpreter does to a call goes through these protocols. Commands to a leg return at
once; what happens comes back as events from `Leg.next_event`, one mailbox per leg, in the order in
which it happened. Time is part of the leg (`start_timer`), so a document can be run against a
simulated caller with a virtual clock.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import NewType, Protocol

import attrs

PlaybackId = NewType("PlaybackId", str)
RecordingId = NewType("RecordingId", str)
BranchId = NewType("BranchId", str)


class CallStatus(enum.Enum):
    """Status of a call as applications see it (reference: Call status)."""

    QUEUED = "queued"
    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    BUSY = "busy"
    FAILED = "failed"
    NO_ANSWER = "no-answer"
    CANCELED = "canceled"
    NOT_FOUND = "not-found"

    @property
    def terminal(self) -> bool:
        """Whether no other status can follow."""
        return self not in (CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS)


class Direction(enum.Enum):
    """Which side started the call."""

    INBOUND = "inbound"
    OUTBOUND_API = "outbound-api"
    OUTBOUND_DIAL = "outbound-dial"


@attrs.frozen(kw_only=True)
class CallInfo:
    """What does not change while a call lives, and is told to the application with each request."""

    call_sid: str
    instance_id: str
    account_sid: str
    from_: str
    """User part of the caller."""
    to: str
    """User part of the called party."""
    direction: Direction
    timestamp: str
    """Creation time, ISO 8601 with milliseconds and offset."""
    api_version: str = "2012-04-24"
    caller_name: str = ""
    forwarded_from: str = ""
    sip_headers: Mapping[str, str] = attrs.field(factory=dict)
    """Headers of the INVITE that are handed on: name as received (`X-...`, `Diversion`) -> value."""


# ---------------------------------------------------------------- leg


@attrs.frozen(kw_only=True)
class Prompt:
    """Audio that is ready to be heard. Opaque to the interpreter but for its length."""

    source: str
    """What the media layer plays: the path of an 8 kHz, mono, 16-bit WAV file."""
    seconds: float
    """Length, seconds."""
    label: str = ""
    """For people: the text that is spoken, or the URL of the file."""


@attrs.frozen(kw_only=True)
class RecordSpec:
    """How a recording is made."""

    max_seconds: float
    silence_seconds: float
    """Silence before the first sound, and after a sound, that ends the recording."""
    finish_keys: str
    """Keys that end the recording; empty: none."""
    beep: bool
    both: bool = False
    """Also record what the party hears (a bridge)."""
    stereo: bool = False
    """With `both`: the party on the left channel, what it hears on the right one."""


@attrs.frozen(kw_only=True)
class StoredRecording:
    """A recording that can be fetched."""

    sid: str
    url: str
    """Public URL of the WAV file."""
    seconds: float


@attrs.frozen
class DigitPressed:
    """The other party pressed a key."""

    digit: str
    """One of `0-9 * # A-D`."""
    method: str = "rfc4733"
    """`rfc4733`, `info` or `inband`."""


@attrs.frozen
class PlaybackFinished:
    """A playback ended by itself; one that was stopped ends without an event."""

    playback: PlaybackId


@attrs.frozen
class PlaybackFailed:
    """A playback could not be started or went wrong."""

    playback: PlaybackId
    reason: str


class RecordingEnd(enum.Enum):
    """Why a recording ended."""

    SILENCE = "silence"
    MAX_LENGTH = "max-length"
    KEY = "key"
    STOPPED = "stopped"
    HANGUP = "hangup"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class RecordingFinished:
    """A recording ended. Also delivered, before `Ended`, when the caller hangs up."""

    recording: RecordingId
    end: RecordingEnd
    digit: str = ""
    """The key that ended it."""
    stored: StoredRecording | None = None
    """None when nothing but silence was recorded; nothing is kept then."""


@attrs.frozen
class TimerFired:
    """A timer that was started on this leg ran out."""

    name: str


@attrs.frozen
class Ended:
    """The leg is over. The last event of a leg; `next_event` repeats it from then on."""

    cause: str = ""


@attrs.frozen(kw_only=True)
class BranchInfo:
    """What is known of a dialed leg; what an action is told of it."""

    branch: BranchId
    call_sid: str
    status: CallStatus = CallStatus.QUEUED
    """Its call status; terminal once it ended."""
    ring_seconds: int = 0
    """From its creation to its answer, or to its end."""
    talk_seconds: int = 0
    """From its answer to its end (or to now); 0 when never answered."""
    sip: bool = False
    """Whether a Sip noun (or Uri) made it; only then applications are told the SIP facts below."""
    sip_call_id: str = ""
    sip_code: int = 0
    """Final code of its INVITE, 0 while there is none."""
    sip_headers: Mapping[str, str] = attrs.field(factory=dict)
    """`X-...` headers of the final response (or of the BYE)."""


@attrs.frozen(kw_only=True)
class BranchRinging:
    """A dialed leg is being alerted. `early_media`: it sends audio already, which can be bridged."""

    branch: BranchId
    early_media: bool = False


@attrs.frozen
class BranchAnswered:
    """A dialed leg answered, and its media flow. It waits for `Dialer.prepare`."""

    branch: BranchId


@attrs.frozen
class BranchReady:
    """A dialed leg got its digits and passed its screening; it may be bridged."""

    branch: BranchId


@attrs.frozen
class BranchRefused:
    """The screening of a dialed leg refused the call; the leg is being ended by the dialer."""

    branch: BranchId


@attrs.frozen
class BranchEnded:
    """A dialed leg is over; the last event of a branch."""

    info: BranchInfo


@attrs.frozen
class BranchMoved:
    """A dialed leg was taken away (transfer, live modification); the last event of a branch."""

    info: BranchInfo


class ConferenceEnd(enum.Enum):
    """Why a participant is no longer in a conference."""

    ENDED = "ended"
    """The room ended."""
    REMOVED = "removed"
    """This participant was removed."""
    FAILED = "failed"
    """Its wait music or document is invalid."""


@attrs.frozen
class ConferenceLeft:
    """The leg was taken out of its conference, and lives on."""

    end: ConferenceEnd


LegEvent = (
    DigitPressed
    | PlaybackFinished
    | PlaybackFailed
    | RecordingFinished
    | TimerFired
    | BranchRinging
    | BranchAnswered
    | BranchReady
    | BranchRefused
    | BranchEnded
    | BranchMoved
    | ConferenceLeft
    | Ended
)


class LegEnded(Exception):
    """The leg ended while something was being done on it."""


class Leg(Protocol):
    """One SIP dialog of the engine with one party, as verbs drive it.

    Commands on a leg that has ended do nothing; the awaited ones raise `LegEnded`.
    """

    @property
    def status(self) -> CallStatus:
        """Current status, as told to applications."""
        ...

    @property
    def answered(self) -> bool:
        """Whether the call was answered (and media can flow)."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the leg is over."""
        ...

    async def answer(self) -> None:
        """Answer if still ringing, and wait until media flows. Raises LegEnded."""
        ...

    async def reject(
        self, code: int, phrase: str, reason: str = "", status: CallStatus | None = None
    ) -> None:
        """End a ringing leg by a final SIP response.

        Args:
            code: SIP status code, 300-699.
            phrase: reason phrase.
            reason: text for a `Reason` header; empty: none.
            status: final call status, when the code alone does not tell it.
        """
        ...

    async def hangup(self, reason: str = "") -> None:
        """End the leg: BYE when answered, otherwise a final response. `reason`: text of a Reason header."""
        ...

    def play(self, prompts: Sequence[Prompt], loop: int = 1) -> PlaybackId:
        """Play prompts one after the other, `loop` times; 0 = until stopped."""
        ...

    def send_digits(self, digits: str) -> PlaybackId:
        """Send keys (`0-9*#A-D`, `w` = 0.5 s pause); ends with PlaybackFinished."""
        ...

    def stop(self, playback: PlaybackId) -> None:
        """Stop a playback; no event follows. Unknown or finished ids are ignored."""
        ...

    def record(self, spec: RecordSpec) -> RecordingId:
        """Record what the party says; ends with RecordingFinished."""
        ...

    def stop_recording(self, recording: RecordingId) -> None:
        """End a recording early; RecordingFinished follows."""
        ...

    def start_timer(self, name: str, seconds: float) -> None:
        """(Re)start the timer `name`; TimerFired follows after `seconds`."""
        ...

    def cancel_timer(self, name: str) -> None:
        """Cancel a timer; a firing already in the mailbox is removed as well."""
        ...

    def clear_digits(self) -> None:
        """Drop digits that wait in the mailbox."""
        ...

    async def next_event(self) -> LegEvent:
        """Take the next event from the mailbox, waiting for it if need be. Never raises LegEnded."""
        ...

    async def hold(self, music: Sequence[Prompt]) -> int:
        """Put the party on hold (re-INVITE, sendonly); it hears `music` without end, or silence.

        Returns:
            The final SIP code of the re-INVITE (200: held), 0 when the party did not answer it.

        Raises:
            LegEnded: the leg ended meanwhile.
        """
        ...

    async def resume(self) -> int | None:
        """Take the party off hold (re-INVITE, sendrecv).

        Returns:
            As `hold`; None when the party was not held by `hold`.

        Raises:
            LegEnded: the leg ended meanwhile.
        """
        ...

    async def refer(self, target: str, headers: Sequence[tuple[str, str]] = ()) -> ReferResult:
        """Ask the party to call somebody else (SIP REFER, RFC 3515), and wait for what it tells of that.

        A party that ends the call after a successful transfer ends the wait as well: the result is then
        what was told last.

        Args:
            target: SIP URI.
            headers: `X-...` headers of the REFER.
        """
        ...


@attrs.frozen(kw_only=True)
class ReferResult:
    """What became of a REFER."""

    code: int
    """Final SIP code of the REFER, 0 when it was not answered."""
    notify_code: int = 0
    """The last SIP code that a NOTIFY reported of the new call, 0: none came."""


# ---------------------------------------------------------------- dialing


class TargetKind(enum.Enum):
    """What a noun of Dial names."""

    NUMBER = "number"
    CLIENT = "client"
    SIP = "sip"


CALL_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})
"""Events of a `statusCallback` of Number, Client, Sip and Uri."""

CONFERENCE_EVENTS = frozenset({"start", "end", "join", "leave", "mute", "hold", "speaker"})
"""Events of a `statusCallback` of Conference."""


@attrs.frozen(kw_only=True)
class CallbackSpec:
    """A `statusCallback`: an absolute URL, a method, and the events that are told."""

    url: str
    method: str = "POST"
    events: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class Screening:
    """The `url` of a noun: a document that runs on the dialed leg before it is bridged."""

    url: str
    """Absolute."""
    method: str = "POST"
    seconds: float = 60.0
    """Longest time it may take."""


@attrs.frozen(kw_only=True)
class DialTarget:
    """One noun of a Dial."""

    kind: TargetKind
    address: str
    """A number, the login of a client, or a `sip:`/`sips:` URI without its headers."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of the INVITE; names begin with `X-`."""
    username: str = ""
    """Digest credentials for a peer that asks; empty: the dialer's default."""
    password: str = attrs.field(default="", repr=False)
    callback: CallbackSpec | None = None
    screening: Screening | None = None
    send_digits: str = ""
    """Keys sent after the answer and before the bridge (`0-9*#ABCD`, `w` = 0.5 s)."""


class DialError(Exception):
    """A target that cannot be called.

    Args:
        message: a sentence for the owner of the application.
        code: of the notification.
    """

    def __init__(self, message: str, *, code: int = 11008) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Dialer(Protocol):
    """Calls other parties for a leg and joins them with it; one per call.

    What happens to the dialed legs comes as `Branch...` events from the mailbox of the caller's leg.
    """

    async def dial(
        self, target: DialTarget, *, caller_id: str | None = None, caller_name: str | None = None
    ) -> Sequence[BranchInfo]:
        """Start calling a target.

        Args:
            target: whom.
            caller_id: user part of From; None: the caller's own.
            caller_name: display name of From; None: the caller's own.

        Returns:
            One entry for each leg (a client may have several devices).

        Raises:
            DialError: it cannot be called; nothing was started.
            LegEnded: the caller left meanwhile.
        """
        ...

    def prepare(self, branch: BranchId) -> None:
        """Send an answered leg its digits and screen it; BranchReady or BranchRefused follows.

        A leg that ends meanwhile (or is refused) brings BranchEnded.
        """
        ...

    def bridge(self, branch: BranchId, *, early: bool = False) -> None:
        """Let caller and dialed leg hear each other; `early`: the caller hears the ringing leg's audio."""
        ...

    def relay_digit(self, branch: BranchId, digit: str) -> None:
        """Send a key of the caller on to a bridged leg."""
        ...

    def end(self, branch: BranchId, reason: str = "") -> None:
        """End a dialed leg: CANCEL while it rings, BYE after. BranchEnded follows."""
        ...

    def cancel(self, branch: BranchId, status: CallStatus) -> None:
        """CANCEL a ringing leg whose final status shall be `status` (no-answer, canceled)."""
        ...

    def info(self, branch: BranchId) -> BranchInfo:
        """What is known of a branch of this call, also after its end."""
        ...

    def close(self) -> None:
        """The Dial is over: end what still lives of its legs. No events of them follow."""
        ...


# ---------------------------------------------------------------- conferences


@attrs.frozen(kw_only=True)
class ConferenceSpec:
    """The Conference noun of a Dial."""

    name: str
    muted: bool = False
    beep: bool = True
    start_on_enter: bool = True
    end_on_exit: bool = False
    wait_url: str | None = None
    """What a waiting participant hears: None the built-in music, empty silence, else an absolute URL."""
    wait_method: str = "POST"
    max_participants: int = 40
    record: bool = False
    """Record the room, when this participant starts it."""
    callback: CallbackSpec | None = None


class ConferenceFull(Exception):
    """The room holds as many participants as it may."""


class Conferences(Protocol):
    """Joins a leg with a conference; one per call."""

    async def join(self, spec: ConferenceSpec) -> str:
        """Enter a conference, which is made when there is none of that name; `ConferenceLeft` may follow.

        Wait music, mute, hold and beeps are not the caller's business.

        Returns:
            Sid of the conference.

        Raises:
            ConferenceFull: there is no room.
            LegEnded: the leg ended meanwhile.
        """
        ...

    async def leave(self) -> StoredRecording | None:
        """Leave the conference (also after ConferenceLeft, and after the leg's end).

        Returns:
            The recording of the room, when this participant's leaving ended it and it was recorded.
        """
        ...


# ---------------------------------------------------------------- documents


@attrs.frozen(kw_only=True)
class FetchRequest:
    """One HTTP request to the application."""

    url: str
    """Absolute URL; may hold a query and user information."""
    method: str
    """`GET` or `POST`."""
    parameters: Sequence[tuple[str, str]] = ()


@attrs.frozen(kw_only=True)
class FetchedDocument:
    """A reply with status 200."""

    url: str
    """The URL finally reached, after redirects; base for relative URLs."""
    content_type: str | None
    """Value of the Content-Type header as received, None when missing."""
    body: bytes


class FetchFailure(enum.Enum):
    """Why no document was obtained."""

    BAD_URL = "bad-url"
    IO = "io"
    """Connect error, timeout, too many redirects."""
    PROTOCOL = "protocol"
    NOT_FOUND = "not-found"
    """HTTP 404."""
    BAD_STATUS = "bad-status"
    TOO_LARGE = "too-large"


class FetchError(Exception):
    """A request that brought no document."""

    def __init__(
        self,
        failure: FetchFailure,
        message: str,
        *,
        url: str,
        status: int | None = None,
        headers: str = "",
        body: str = "",
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.url = url
        self.status = status
        self.headers = headers
        self.body = body


class Fetcher(Protocol):
    """HTTP requests to applications; one per call (it keeps the call's cookies)."""

    async def fetch(self, request: FetchRequest, *, after_end: bool = False) -> FetchedDocument:
        """Request a document.

        A caller who leaves meanwhile ends the wait, unless `after_end` says that the request is one of
        those made for a call that is over.

        Raises:
            FetchError: no document was obtained.
            LegEnded: the caller left and `after_end` is False.
        """
        ...


# ---------------------------------------------------------------- prompts


class PromptError(Exception):
    """A prompt could not be made ready (fetch, decoding or synthesis failed)."""


class PromptUrlError(PromptError):
    """The URL of a prompt cannot be parsed."""


class Prompts(Protocol):
    """Makes audio ready to be played."""

    async def from_url(self, url: str) -> Prompt:
        """Fetch (or take from the cache) and convert an audio file.

        Raises:
            PromptUrlError: `url` is not an absolute http(s) URL.
            PromptError: it could not be fetched or decoded.
            LegEnded: the caller left meanwhile.
        """
        ...

    async def from_text(self, text: str, *, voice: str, language: str) -> Prompt:
        """Speak `text` (`voice`: man or woman; `language`: a key of the Say languages).

        Raises:
            PromptError: no engine could speak it.
            LegEnded: the caller left meanwhile.
        """
        ...


# ---------------------------------------------------------------- records


class Level(enum.IntEnum):
    """Level of a notification, as stored (`log`)."""

    ERROR = 0
    WARNING = 1


@attrs.frozen(kw_only=True)
class Notice:
    """Something the owner of the application should repair; becomes a Notification record."""

    code: int
    level: Level
    message: str
    """A sentence that says what was wrong and what was done instead."""
    request_url: str = ""
    request_method: str = ""
    request_variables: str = ""
    response_headers: str = ""
    response_body: str = ""


class Records(Protocol):
    """Where the interpreter writes what happened."""

    def notify(self, notice: Notice) -> None:
        """Store a notification for the owner of the application."""
        ...

    def journal(self, event: str, **fields: object) -> None:
        """Append to the journal of the call. `event` is snake case; the fields are plain values."""
        ...


@attrs.frozen(kw_only=True)
class Ports:
    """All ports of one call."""

    leg: Leg
    fetcher: Fetcher
    prompts: Prompts
    records: Records
    dialer: Dialer | None = None
    """None: this leg cannot dial; Dial is then skipped with warning 11001."""
    conferences: Conferences | None = None
    """None: this leg cannot enter a conference."""
