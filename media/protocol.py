"""The contract between the engine and its media workers: AMP boxes over a unix socket.

Commands go from the engine to a worker, events come back. Nothing but `Ping` is answered: what a
command leads to is told by events, and a command for an unknown leg is ignored, so that the two
sides never wait for each other.

A *leg* is named by its `key`, which the engine chooses. A worker learns the key of an inbound leg
from the `X-Engine-Leg` header of its INVITE.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.protocols import amp

LEG_HEADER = "X-Engine-Leg"
"""Header of the INVITE that names the leg for the worker. Never leaves the machine."""


def heard_path(path: str) -> str:
    """The second file of a stereo recording: what the party heard."""
    return path.removesuffix(".wav") + ".heard.wav"


_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Json(amp.Argument):
    """A plain value (dict, list, text, number) as JSON."""

    def toString(self, value: Any) -> bytes:  # noqa: N802 - the name is AMP's
        """Encode."""
        return _ENCODE(value).encode()

    def fromString(self, data: bytes) -> Any:  # noqa: N802 - the name is AMP's
        """Decode."""
        return json.loads(data)


_JSON: amp.Argument = Json()  # type: ignore[no-untyped-call]


@attrs.frozen(kw_only=True)
class WorkerConfig:
    """How a worker is set up."""

    edge_port: int
    """UDP port on 127.0.0.1 that all SIP of the worker goes to."""
    rtp_address: str
    """IPv4 address RTP is bound to."""
    public_address: str
    """IPv4 address written into SDP; empty: `rtp_address`."""
    rtp_low: int
    rtp_count: int
    """Ports `rtp_low` to `rtp_low + rtp_count - 1` are this worker's."""
    codecs: list[str]
    """Names in order of preference."""
    vad: bool
    inband_digits: bool
    capacity: int
    """Calls this build of pjsua2 holds."""


# ---------------------------------------------------------------- commands (engine -> worker)


class _OneWay(amp.Command):
    requiresAnswer = False  # noqa: N815 - the name is AMP's


class Answer(_OneWay):
    """Send a response to the INVITE of an inbound leg: 18x, 200, or a final refusal.

    `headers` is a list of [name, value] pairs; `farewell` as in `Farewell`, or null.
    """

    arguments = [
        (b"key", amp.String()),
        (b"code", amp.Integer()),
        (b"phrase", amp.Unicode()),
        (b"headers", _JSON),
        (b"farewell", _JSON),
    ]


class Farewell(_OneWay):
    """What to send to the phone when the engine dies: [address, UDP port, text of a BYE].

    The worker's own BYE would go through the engine.
    """

    arguments = [(b"key", amp.String()), (b"farewell", _JSON)]


class Hangup(_OneWay):
    """End a leg in whatever way its state asks for (BYE, CANCEL, final response)."""

    arguments = [
        (b"key", amp.String()),
        (b"code", amp.Integer()),
        (b"headers", _JSON),
    ]


class Originate(_OneWay):
    """Start an outbound leg.

    `to` is the Request-URI and To; `from_` a name-addr for From; `username`/`password` are digest
    credentials for a peer that asks for them (empty: none).
    """

    arguments = [
        (b"key", amp.String()),
        (b"to", amp.Unicode()),
        (b"from_", amp.Unicode()),
        (b"call_id", amp.Unicode()),
        (b"headers", _JSON),
        (b"username", amp.Unicode()),
        (b"password", amp.Unicode()),
    ]


class Play(_OneWay):
    """Play WAV files one after the other, the whole list `loop` times (0: until stopped)."""

    arguments = [
        (b"key", amp.String()),
        (b"playback", amp.String()),
        (b"paths", _JSON),
        (b"loop", amp.Integer()),
    ]


class SendDigits(_OneWay):
    """Send keys by RFC 4733 (`rfc4733`), SIP INFO (`info`) or tones (`inband`); `w` pauses 0.5 s."""

    arguments = [
        (b"key", amp.String()),
        (b"playback", amp.String()),
        (b"digits", amp.Unicode()),
        (b"method", amp.String()),
    ]


class StopPlayback(_OneWay):
    """Stop a playback or the sending of digits; no event follows."""

    arguments = [(b"key", amp.String()), (b"playback", amp.String())]


class Record(_OneWay):
    """Record what the party says into a WAV file, after an optional beep (path, empty: none).

    With `both`, what the party hears (playbacks, its room) goes into the file as well; with `stereo` into a
    second file of the same length, named `heard_path(path)`.
    """

    arguments = [
        (b"key", amp.String()),
        (b"recording", amp.String()),
        (b"path", amp.Unicode()),
        (b"beep", amp.Unicode()),
        (b"max_seconds", amp.Float()),
        (b"silence_seconds", amp.Float()),
        (b"finish_keys", amp.Unicode()),
        (b"both", amp.Boolean()),
        (b"stereo", amp.Boolean()),
    ]


class PauseRecording(_OneWay):
    """Let a recording pause, or go on; nothing is written meanwhile, and its file has no gap."""

    arguments = [(b"key", amp.String()), (b"recording", amp.String()), (b"paused", amp.Boolean())]


class StopRecording(_OneWay):
    """End a recording; `RecordingDone` follows."""

    arguments = [(b"key", amp.String()), (b"recording", amp.String())]


class Reset(_OneWay):
    """Stop all playbacks of a leg, and its recordings but for those of both sides; only recordings report."""

    arguments = [(b"key", amp.String())]


class Mute(_OneWay):
    """Silence what the party says, for everybody and every recording, until told otherwise."""

    arguments = [(b"key", amp.String()), (b"muted", amp.Boolean())]


class WatchSpeech(_OneWay):
    """Tell by `Speaking` when the party begins and ends to speak, or tell it no more."""

    arguments = [(b"key", amp.String()), (b"wanted", amp.Boolean())]


class Hold(_OneWay):
    """Re-INVITE: put the party on hold (sendonly) or take it off (sendrecv); `Reinvited` follows."""

    arguments = [(b"key", amp.String()), (b"held", amp.Boolean())]


class Refer(_OneWay):
    """Send REFER to the party; `Referred` follows, once for its final response and for each NOTIFY."""

    arguments = [(b"key", amp.String()), (b"target", amp.Unicode()), (b"headers", _JSON)]


class SetRoom(_OneWay):
    """Say who is in a room of this worker, and how; replaces what was said of that room before.

    `members` is a list of [key, speak, hear]: everybody who hears gets everybody else who speaks. `link` is
    null, or [path, peer]: the unix datagram socket to bind, and the one at the other end; what arrives
    there is heard in the room, and what is spoken in the room goes there. No members and no link: the
    room is gone. A member that is not up yet joins when it is.
    """

    arguments = [(b"room", amp.String()), (b"members", _JSON), (b"link", _JSON)]


class PlayRoom(_OneWay):
    """Play WAV files, one after the other, once, to everybody in a room who hears."""

    arguments = [(b"room", amp.String()), (b"paths", _JSON)]


class SetMix(_OneWay):
    """To the mixer: the links of a room; replaces what was said of that room before.

    `peers` are the sockets of its links: each gets the sum of what all others send. `path` is the stem of the
    sockets to bind, one for each peer (`media.topology.mixer_end`). No peers: the room is gone, and its
    recordings end.
    """

    arguments = [(b"room", amp.String()), (b"path", amp.Unicode()), (b"peers", _JSON)]


class PlayMix(_OneWay):
    """To the mixer: play WAV files, one after the other, once, into a room and its recordings."""

    arguments = [(b"room", amp.String()), (b"paths", _JSON)]


class RecordMix(_OneWay):
    """To the mixer: record a room into a WAV file; `MixRecorded` follows at the end."""

    arguments = [(b"room", amp.String()), (b"recording", amp.String()), (b"path", amp.Unicode())]


class PauseMix(_OneWay):
    """To the mixer: let a recording of a room pause, or go on."""

    arguments = [(b"room", amp.String()), (b"recording", amp.String()), (b"paused", amp.Boolean())]


class StopMix(_OneWay):
    """To the mixer: end a recording of a room."""

    arguments = [(b"room", amp.String()), (b"recording", amp.String())]


class Quit(_OneWay):
    """Hang up everything and exit."""

    arguments = []


class Ping(amp.Command):
    """Ask for a sign of life and the counts."""

    arguments = []
    response = [(b"legs", amp.Integer()), (b"rss_kb", amp.Integer())]


# ---------------------------------------------------------------- events (worker -> engine)


class Ready(_OneWay):
    """The worker can take legs."""

    arguments = [(b"pid", amp.Integer()), (b"sip_port", amp.Integer())]


class Incoming(_OneWay):
    """The INVITE of an inbound leg has arrived and 180 was sent."""

    arguments = [(b"key", amp.String())]


class Progress(_OneWay):
    """An outbound leg rings (`code` 180 to 183), or was answered (`code` 200)."""

    arguments = [
        (b"key", amp.String()),
        (b"code", amp.Integer()),
        (b"phrase", amp.Unicode()),
        (b"headers", _JSON),
    ]


class MediaUp(_OneWay):
    """Audio flows (or flows anew after a change).

    `held`: the party put us on hold. `early`: the leg is not answered yet.
    """

    arguments = [
        (b"key", amp.String()),
        (b"codec", amp.Unicode()),
        (b"held", amp.Boolean()),
        (b"early", amp.Boolean()),
    ]


class Digit(_OneWay):
    """The party pressed a key. `method` is `rfc4733`, `info` or `inband`."""

    arguments = [
        (b"key", amp.String()),
        (b"digit", amp.Unicode()),
        (b"method", amp.Unicode()),
    ]


class PlaybackDone(_OneWay):
    """A playback ended by itself; `error` is empty, or says why it could not be heard."""

    arguments = [
        (b"key", amp.String()),
        (b"playback", amp.String()),
        (b"error", amp.Unicode()),
    ]


class RecordingDone(_OneWay):
    """A recording ended and its file is complete.

    `end` is one of silence, max-length, key, stopped, hangup, failed; `heard` tells whether there
    was any sound.
    """

    arguments = [
        (b"key", amp.String()),
        (b"recording", amp.String()),
        (b"path", amp.Unicode()),
        (b"seconds", amp.Float()),
        (b"end", amp.Unicode()),
        (b"digit", amp.Unicode()),
        (b"heard", amp.Boolean()),
    ]


class LegEnded(_OneWay):
    """A leg is over; nothing follows for its key.

    `remote` tells whether the party ended it; `cause` is the text of a Reason header if there was
    one; `headers` are X- headers of the final response or BYE; `stats` holds codec, packets, loss,
    jitter_ms and rtt_ms of both directions. `slot_busy` is how long, in seconds, pjsip may keep the
    slot of the call.
    """

    arguments = [
        (b"key", amp.String()),
        (b"code", amp.Integer()),
        (b"phrase", amp.Unicode()),
        (b"cause", amp.Unicode()),
        (b"remote", amp.Boolean()),
        (b"headers", _JSON),
        (b"stats", _JSON),
        (b"slot_busy", amp.Float()),
    ]


class CommandFailed(_OneWay):
    """A command could not be carried out; for logs."""

    arguments = [(b"key", amp.String()), (b"command", amp.Unicode()), (b"error", amp.Unicode())]


class Speaking(_OneWay):
    """The party began to speak, or has been silent for a second."""

    arguments = [(b"key", amp.String()), (b"speaks", amp.Boolean())]


class Reinvited(_OneWay):
    """A `Hold` was done: the final code of its re-INVITE, 0 when it could not be sent or was not answered."""

    arguments = [(b"key", amp.String()), (b"held", amp.Boolean()), (b"code", amp.Integer())]


class Referred(_OneWay):
    """What became of a `Refer`.

    `code` is the final code of the REFER (0: not answered), `notify_code` the code of the last NOTIFY (0:
    none yet); `final`: nothing more follows.
    """

    arguments = [
        (b"key", amp.String()),
        (b"code", amp.Integer()),
        (b"notify_code", amp.Integer()),
        (b"final", amp.Boolean()),
    ]


class LinkClosed(_OneWay):
    """The link of a room was closed: frames of 20 ms received, lost on the way, and made up."""

    arguments = [
        (b"room", amp.String()),
        (b"received", amp.Integer()),
        (b"lost", amp.Integer()),
        (b"concealed", amp.Integer()),
    ]


class MixRecorded(_OneWay):
    """From the mixer: a recording of a room ended and its file is complete. `heard`: there was some sound."""

    arguments = [
        (b"room", amp.String()),
        (b"recording", amp.String()),
        (b"path", amp.Unicode()),
        (b"seconds", amp.Float()),
        (b"heard", amp.Boolean()),
    ]
