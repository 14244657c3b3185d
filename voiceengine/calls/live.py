"""What programs do to calls that are live: redirect, end, mute, and operations beside the document.

Everything that is asked of one call is done one after the other. What each operation does in each phase of a
call is a table in the reference (Live calls), every cell of which is a test.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar
from xml.sax.saxutils import escape, quoteattr

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rcml.interpreter import Interpreter, Source
from rcml.loading import Loader, LoadError
from rcml.parameters import (
    gather_parameters,
    hold_parameters,
    refer_parameters,
    standard_parameters,
)
from rcml.ports import CallStatus, FetchError, FetchRequest, LegEnded, Prompt, PromptError
from rcml.verb import Jump
from rcml.verbs.hold import hold_status
from rcml.verbs.refer import refer_status
from voiceengine.calls.call import Call
from voiceengine.calls.pair import Pair
from voiceengine.calls.requests import (
    GatherInput,
    HoldCall,
    ModifyCall,
    Operation,
    PlayAudio,
    ReferCall,
    ResumeCall,
    SayText,
    StartRecording,
)
from voiceengine.calls.side_leg import SOUNDS, SideLeg, run_beside
from voiceengine.calls.trunks import proxy_for
from voiceengine.errors import CallControlError
from voiceengine.store.rows import CallRow, RecordingRow

if TYPE_CHECKING:
    from voiceengine.calls.context import CallContext

log = Logger()

T = TypeVar("T")

OVER = "Call is already completed."
MOST_ASIDES = 6
"""What is played or gathered beside the document at once: the players of a worker are few, and its calls may
be those of several accounts."""
PATIENCE = 3.0
"""How long the answer to a Hold or Resume is waited for; the outcome is told to the action in any case."""


class LiveControl:
    """Changes live calls.

    Args:
        context: what all calls share.
        calls: live calls by sid.
    """

    def __init__(self, context: CallContext, calls: dict[str, Call]) -> None:
        self._context = context
        self._calls = calls

    async def _serially(self, call_sid: str, work: Callable[[Call], Awaitable[T]]) -> T:
        """Do something to a call, after whatever else was asked of it."""
        call = self._calls.get(call_sid)
        if call is None or call.leg.ended:
            raise CallControlError(OVER, status=410, code=1100)
        await call.lock.acquire()
        try:
            if call.leg.ended:
                raise CallControlError(OVER, status=410, code=1100)
            return await work(call)
        finally:
            call.lock.release()

    # -------------------------------------------------------------- modification

    async def modify(self, call_sid: str, change: ModifyCall) -> CallRow:
        """Change a live call: Status, then Mute, then Url."""
        return await self._serially(call_sid, lambda call: self._modify(call, change))

    async def _modify(self, call: Call, change: ModifyCall) -> CallRow:
        if change.status_callback:
            call.progress.redirect(change.status_callback, change.status_callback_method)
        if change.status == "canceled" and call.status in (CallStatus.QUEUED, CallStatus.RINGING):
            await call.stop("call canceled by request", code=1102)
            return call.row
        if change.status == "completed":
            await call.stop("call ended by request", code=1101)
            return call.row
        if change.mute is not None and call.status is CallStatus.IN_PROGRESS:
            call.mute(change.mute)
        if change.rcml is not None or change.url:
            source = Source(
                url=change.url or "",
                method=change.method,
                fallback_url=change.fallback_url,
                fallback_method=change.fallback_method,
                text=change.rcml,
            )
            await self._redirect(call, source, move=change.move_connected_leg)
        return call.row

    async def _redirect(self, call: Call, source: Source, *, move: bool) -> None:
        """Run another document; the leg it was connected with is ended, or runs it as well."""
        if call.watcher is not None and not call.leg.answered:
            raise CallControlError(
                f"The call is being dialed by {call.row.parent_call_sid} and not answered yet; "
                "it can be ended, or redirected once it is answered.",
                status=409,
                code=1103,
            )
        peer = call.joined.other(call) if isinstance(call.joined, Pair) else None
        if peer is not None and move and peer.row.account_sid != call.row.account_sid:
            # joined by a transfer; its account would pay for what the document does
            raise CallControlError("The connected leg is a call of another account.", status=403)
        dialed = call.watcher is not None
        if dialed or move:
            # a document on the other one stops, or its call ends: it may not go on in between
            take_out(call, quietly=peer is not None)
        for one in (call, peer) if peer is not None and move else (call,):
            # the document is that of the call's account, whoever owns the number that was called
            one.conference_account_sid = one.row.account_sid
        if peer is not None and move:
            await peer.switch(source)
        elif peer is not None and dialed:
            peer.leg.end('RESTCOMM;cause=1101;text="connected leg was redirected"')
        await call.switch(source)

    # -------------------------------------------------------------- operations

    async def operate(self, call_sid: str, operation: Operation) -> CallRow:
        """Do something to a call that is in progress."""
        return await self._serially(call_sid, lambda call: self._operate(call, operation))

    async def _operate(self, call: Call, operation: Operation) -> CallRow:
        in_progress(call)
        if isinstance(operation, SayText | PlayAudio | GatherInput):
            room_beside(call)
        call.records.journal("operation", operation=type(operation).__name__)
        match operation:
            case SayText():
                self._sound(call, say_document(operation))
            case PlayAudio():
                self._sound(call, play_document(operation.url, operation.loop))
            case GatherInput():
                self._background(call, self._gather(call, operation))
            case HoldCall():
                music = await self._music(call, operation)
                await self._wait(call, self._hold(call, operation, music))
            case ResumeCall():
                await self._wait(call, self._resume(call, operation))
            case ReferCall():
                self._background(call, self._refer(call, operation))
        return call.row

    def _background(self, call: Call, work: Awaitable[None]) -> Deferred[None]:
        done: Deferred[None] = Deferred.fromCoroutine(work)  # type: ignore[arg-type]

        def failed(failure: object) -> None:
            log.failure("operation_failed call={call}", failure=failure, call=call.sid)  # type: ignore[arg-type]

        done.addErrback(lambda f: None if f.check(LegEnded, defer.CancelledError) else failed(f))
        return done

    async def _wait(self, call: Call, work: Awaitable[None]) -> None:
        """Wait for something a little while; it goes on in any case."""
        done = self._background(call, work)
        waiter: Deferred[None] = Deferred()
        timer = self._context.reactor.callLater(PATIENCE, lambda: waiter.callback(None))

        def finished(_: object) -> None:
            if timer.active():
                timer.cancel()
                waiter.callback(None)

        done.addBoth(finished)
        await waiter

    def _sound(self, call: Call, document: str) -> None:
        settings = attrs.evolve(self._context.interpreter, only_verbs=SOUNDS)
        source = Source(text=document)
        run_beside(self._context.reactor, call.leg, call.ports, call.info, source, settings)

    def _tell(self, call: Call, url: str | None, method: str, extra: list[tuple[str, str]]) -> None:
        if url:
            standard = standard_parameters(call.info, call.status, self._context.null_literals)
            call.callbacks.send(url, method, [*standard, *extra])

    async def _music(self, call: Call, operation: HoldCall) -> Sequence[Prompt]:
        if not operation.music:
            return []
        try:
            return [await call.ports.prompts.from_url(operation.music)]
        except PromptError as error:
            raise CallControlError(f"HoldMusic could not be obtained: {error}", status=400) from None
        except LegEnded:
            raise CallControlError(OVER, status=410, code=1100) from None

    async def _hold(self, call: Call, operation: HoldCall, music: Sequence[Prompt]) -> None:
        code = await call.leg.hold(music)
        self._tell(
            call, operation.action, operation.method, hold_parameters("Hold", hold_status(code, "held"), code)
        )

    async def _resume(self, call: Call, operation: ResumeCall) -> None:
        code = await call.leg.resume()
        if code is not None:
            told = hold_parameters("Resume", hold_status(code, "resumed"), code)
            self._tell(call, operation.action, operation.method, told)

    async def _refer(self, call: Call, operation: ReferCall) -> None:
        result = await call.leg.refer(self._refer_target(call, operation.to))
        self._tell(call, operation.action, operation.method, refer_parameters(result, refer_status(result)))

    def _refer_target(self, call: Call, to: str) -> str:
        if to.lower().startswith(("sip:", "sips:")):
            return to
        if "@" in to:
            return f"sip:{to}"
        proxy = proxy_for(self._context.settings.sip, call.row.account_sid)
        own = self._context.edge.core.transports.listeners[0].sent_by
        host = proxy.uri.partition(":")[2].partition(";")[0] or own
        return f"sip:{to}@{host}"

    async def _gather(self, call: Call, operation: GatherInput) -> None:
        """Collect keys beside the document; the reply of the action replaces it."""
        side = SideLeg(self._context.reactor, call.leg, takes_keys=True)
        ports = attrs.evolve(call.ports, leg=side, dialer=None, conferences=None)
        settings = attrs.evolve(self._context.interpreter, hang_up_at_end=False)
        step = None
        try:
            source = Source(text=gather_document(operation), url="http://engine.invalid/")
            step = await Interpreter(ports, call.info, settings).step(source)
        finally:
            side.close()
        extra = list(step.extra) if isinstance(step, Jump) else gather_parameters("")
        self._tell(call, operation.status_callback, operation.method, extra)
        if operation.action and isinstance(step, Jump):
            await self._follow(call, operation.action, operation.method, extra)

    async def _follow(self, call: Call, url: str, method: str, extra: list[tuple[str, str]]) -> None:
        """Request an action; run its reply on the call, unless that asks for nothing."""
        standard = standard_parameters(call.info, call.status, self._context.null_literals)
        request = FetchRequest(url=url, method=method, parameters=(*standard, *extra))
        ports = call.ports
        try:
            reply = await ports.fetcher.fetch(request)
        except FetchError as error:
            call.records.journal("action_failed", url=url, reason=error.message)
            return
        text = reply.body.decode("utf-8", "replace")
        loader = Loader(
            fetcher=ports.fetcher, records=ports.records, schemes=self._context.interpreter.schemes
        )
        try:
            loaded = loader.read_text(text, reply.url)
        except LoadError as error:
            ports.records.notify(error.notice)
            return
        if loaded.document.root.children:
            source = Source(text=text, url=reply.url)
            try:
                await self._serially(call.sid, lambda found: self._redirect(found, source, move=False))
            except CallControlError as error:
                call.records.journal("action_failed", url=url, reason=error.message)

    # -------------------------------------------------------------- recordings

    async def start_recording(self, call_sid: str, request: StartRecording) -> RecordingRow:
        """Record a call that is in progress."""

        async def work(call: Call) -> RecordingRow:
            in_progress(call)
            return call.recordings.start(request)

        return await self._serially(call_sid, work)

    async def change_recording(self, call_sid: str, recording_sid: str, status: str) -> RecordingRow:
        """Stop, pause or resume a recording that goes on."""

        async def work(call: Call) -> RecordingRow:
            return call.recordings.change(recording_sid, status)

        return await self._serially(call_sid, work)


def in_progress(call: Call) -> None:
    """Refuse what needs a call that is answered.

    Raises:
        CallControlError: it is not in progress.
    """
    if call.status is not CallStatus.IN_PROGRESS:
        raise CallControlError(
            f"The call is {call.status.value}; this needs a call that is in-progress.", status=409, code=1103
        )


def room_beside(call: Call) -> None:
    """Refuse to play one more thing beside the document, when there are too many.

    Raises:
        CallControlError: there are.
    """
    if len(call.leg.asides) >= MOST_ASIDES:
        raise CallControlError(
            f"{MOST_ASIDES} things are played or gathered on this call already.", status=409, code=1103
        )


def take_out(call: Call, *, quietly: bool = False) -> None:
    """Take a call out of whatever joins it with another; a Dial that made it is told, unless `quietly`."""
    if call.watcher is not None:
        call.watcher.branch_taken(call, quietly=quietly)
    if isinstance(call.joined, Pair):
        other = call.joined.other(call)
        if other.watcher is not None:
            other.watcher.branch_taken(other, quietly=quietly)
        if isinstance(call.joined, Pair):
            call.joined.split()


def say_document(operation: SayText) -> str:
    """The document of a Say."""
    return (
        f"<Response><Say voice={quoteattr(operation.voice)} language={quoteattr(operation.language)} "
        f'loop="{operation.loop}">{escape(operation.text)}</Say></Response>'
    )


def play_document(url: str, loop: int) -> str:
    """The document of a Play."""
    return f'<Response><Play loop="{loop}">{escape(url)}</Play></Response>'


def gather_document(operation: GatherInput) -> str:
    """The document of a Gather; its action is only a mark."""
    digits = f' numDigits="{operation.num_digits}"' if operation.num_digits is not None else ""
    prompt = ""
    if operation.text:
        prompt = f"<Say language={quoteattr(operation.language)}>{escape(operation.text)}</Say>"
    elif operation.url:
        prompt = f"<Play>{escape(operation.url)}</Play>"
    return (
        f'<Response><Gather action="gathered" timeout="{operation.timeout}" '
        f"finishOnKey={quoteattr(operation.finish_on_key)}{digits}>{prompt}</Gather></Response>"
    )
