"""The interpreter: executes one flow of documents on one leg.

Reference: Documents (execution order, failures), Answering and ending, Verbs.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import attrs

import rcml.verbs
from rcml.document import Document, Element
from rcml.flow import Flow, HangUpError, InterpreterSettings, Refusal
from rcml.loading import Loaded, Loader, LoadError
from rcml.parameters import Parameters, fallback_parameters, standard_parameters
from rcml.ports import CallInfo, CallStatus, FetchRequest, LegEnded, Ports
from rcml.urls import without_userinfo
from rcml.verb import NOUNS, End, Jump, Step, Verb

__all__ = ["Interpreter", "InterpreterSettings", "Outcome", "OutcomeKind", "Source"]

SETUP_PROBLEM = "Problem to setup the call"
REASON_SWITCHES = "Too_many_document_switches"
REASON_VERB = "Verb_not_allowed"


@attrs.frozen(kw_only=True)
class Source:
    """Where the first document comes from: a URL, or the text itself.

    `url` may be given beside `text`; relative URLs of the text are then resolved against it.
    """

    url: str = ""
    method: str = "POST"
    fallback_url: str | None = None
    fallback_method: str = "POST"
    text: str | None = None
    extra: tuple[tuple[str, str], ...] = ()
    """Parameters of the first request beyond the standard ones (a screening, a transfer)."""
    parameters: tuple[tuple[str, str], ...] | None = None
    """What the first request carries in place of the standard parameters; None: those."""


class OutcomeKind(enum.Enum):
    """How a flow ended."""

    ENDED = "ended"
    """The last document was run to its end; with `hang_up_at_end=False` the call goes on."""
    HUNG_UP = "hung-up"
    """A Hangup, a Reject of an answered call, or the time limit of a Dial."""
    REJECTED = "rejected"
    FAILED = "failed"
    """A document, a prompt or a URL was not obtained, or a verb was reached that may not be."""
    CALLER_LEFT = "caller-left"


@attrs.frozen
class Outcome:
    """How a flow ended; `reason` says what failed."""

    kind: OutcomeKind
    reason: str = ""


class Interpreter:
    """Runs documents on the leg of `ports`.

    One instance serves one call: a fallback URL is used at most once in its life. The coroutine may be
    thrown an exception at any await (live modification); playing and recording are then stopped.
    """

    def __init__(self, ports: Ports, call: CallInfo, settings: InterpreterSettings | None = None) -> None:
        self._ports = ports
        self._call = call
        self._settings = settings or InterpreterSettings()
        self._loader = Loader(fetcher=ports.fetcher, records=ports.records, schemes=self._settings.schemes)
        self._fallback: FetchRequest | None = None
        self._standing: Parameters = []
        self._switches = 0
        self._after_end = False
        self._refusal: Refusal | None = None

    async def run(self, source: Source) -> Outcome:
        """Obtain the first document and run until the flow ends.

        The leg is ended (BYE, or a final response while ringing) in every case but a caller who left
        before, and `hang_up_at_end=False` at the end of a document.
        """
        self._fallback = None
        if source.fallback_url:
            self._fallback = FetchRequest(url=source.fallback_url, method=_method(source.fallback_method))
        try:
            outcome = await self._run(source)
        except HangUpError as failure:
            outcome = await self._fail(failure)
        except LegEnded as left:
            outcome = Outcome(OutcomeKind.CALLER_LEFT, str(left))
        self._ports.records.journal("flow_ended", outcome=outcome.kind.value, reason=outcome.reason)
        return outcome

    async def step(self, source: Source) -> Step:
        """Run one document and give what its last verb leads to, without going there.

        Returns:
            None at the end of the document, and when it failed or the caller left.
        """
        try:
            return await self._execute(await self._first(source))
        except (HangUpError, LegEnded):
            return None

    async def _run(self, source: Source) -> Outcome:
        loaded = await self._first(source)
        while True:
            step = await self._execute(loaded)
            if isinstance(step, End):
                return Outcome(OutcomeKind.REJECTED if step.rejected else OutcomeKind.HUNG_UP)
            if step is None:
                return await self._end_of_document()
            loaded = await self._switch(step)

    # ------------------------------------------------------------ documents

    async def _first(self, source: Source) -> Loaded:
        if source.text is None:
            request = self._request(source.url, source.method, [])
            parameters = request.parameters if source.parameters is None else source.parameters
            return await self._load(attrs.evolve(request, parameters=(*parameters, *source.extra)))
        try:
            return self._loader.read_text(source.text, source.url)
        except LoadError as error:
            return await self._fall_back(error)

    async def _switch(self, jump: Jump) -> Loaded:
        self._switches += 1
        if self._switches > self._settings.max_switches:
            self._ports.records.journal("switch_limit", limit=self._settings.max_switches)
            raise HangUpError(REASON_SWITCHES)
        self._after_end = self._after_end or jump.after_end
        self._ports.records.journal("document_switched", url=without_userinfo(jump.url))
        request = self._request(jump.url, jump.method, list(jump.extra))
        loaded = await self._load(request, after_end=self._after_end or jump.ends_soon)
        self._after_end = self._after_end or (jump.ends_soon and self._ports.leg.ended)
        return loaded

    def _request(self, url: str, method: str, extra: Parameters) -> FetchRequest:
        status = self._ports.leg.status
        parameters = standard_parameters(self._call, status, self._settings.null_literals)
        return FetchRequest(
            url=url, method=_method(method), parameters=(*parameters, *self._standing, *extra)
        )

    async def _load(self, request: FetchRequest, *, after_end: bool = False) -> Loaded:
        try:
            return await self._loader.load(request, after_end=after_end)
        except LoadError as error:
            return await self._fall_back(error)

    async def _fall_back(self, error: LoadError) -> Loaded:
        """Request the fallback document, at most once per call."""
        self._ports.records.notify(error.notice)
        fallback, self._fallback = self._fallback, None
        if fallback is None or self._after_end:
            raise HangUpError(error.reason, not_found=error.not_found) from error
        self._ports.records.journal(
            "fallback_used", url=without_userinfo(fallback.url), code=error.notice.code
        )
        extra = fallback_parameters(error.notice.code, error.url)
        try:
            return await self._loader.load(self._request(fallback.url, fallback.method, extra))
        except LoadError as second:
            self._ports.records.notify(second.notice)
            raise HangUpError(second.reason, not_found=second.not_found) from second

    # ------------------------------------------------------------ execution

    async def _execute(self, loaded: Loaded) -> Step:
        flow = Flow(
            ports=self._ports,
            call=self._call,
            settings=self._settings,
            loaded=loaded,
            standing=self._standing,
        )
        for element in self._verbs(loaded.document):
            cls = rcml.verbs.VERBS[element.name]
            if why := self._ignored(cls):
                flow.journal("verb_skipped", verb=cls.name, line=element.line, why=why)
                continue
            flow.refusal = None
            step = await self._perform(cls(element), flow)
            self._refusal = flow.refusal
            if flow.took_time:
                self._switches = 0
            if step is not None:
                return step
        return None

    def _ignored(self, cls: type[Verb]) -> str:
        """Say why a verb is passed over; empty: it is run.

        Raises:
            HangUpError: documents of this flow may not hold it.
        """
        if self._after_end and not cls.after_end:
            return "the call is over"
        only = self._settings.only_verbs
        if only is not None and cls.name not in only:
            return "not allowed in this document"
        if cls.name in self._settings.refused_verbs:
            self._ports.records.journal("verb_refused", verb=cls.name)
            raise HangUpError(REASON_VERB)
        return ""

    async def _perform(self, verb: Verb, flow: Flow) -> Step:
        leg = self._ports.leg
        if not self._after_end:
            if leg.ended:
                raise LegEnded
            if not leg.answered and verb.answers_first(flow):
                await leg.answer()
        line = verb.element.line
        flow.journal("verb_started", verb=verb.name, line=line, attributes=dict(verb.element.attributes))
        flow.warn(f"{verb.name} (line {line})", verb.problems)
        step = await verb.run(flow)
        flow.journal("verb_finished", verb=verb.name, line=line)
        return step

    def _verbs(self, document: Document) -> Iterator[Element]:
        """Verbs in the order of execution; those inside unknown elements are among them."""
        waiting = [iter(document.root.children)]
        while waiting:
            element = next(waiting[-1], None)
            if element is None:
                waiting.pop()
            elif element.name in rcml.verbs.VERBS:
                yield element
            else:
                noun = element.name in NOUNS
                event = "noun_ignored" if noun else "element_unknown"
                self._ports.records.journal(event, element=element.name, line=element.line)
                if not noun:
                    waiting.append(iter(element.children))

    # ------------------------------------------------------------ ends

    async def _end_of_document(self) -> Outcome:
        leg = self._ports.leg
        if self._after_end:
            return Outcome(OutcomeKind.CALLER_LEFT)
        if leg.ended:
            raise LegEnded
        if self._settings.hang_up_at_end:
            if not leg.answered and self._refusal is not None:
                refusal = self._refusal
                await leg.reject(refusal.code, refusal.phrase, status=refusal.status)
                return Outcome(OutcomeKind.REJECTED)
            if not leg.answered:
                await leg.answer()
            await leg.hangup()
        return Outcome(OutcomeKind.ENDED)

    async def _fail(self, failure: HangUpError) -> Outcome:
        leg = self._ports.leg
        outcome = Outcome(OutcomeKind.FAILED, failure.reason)
        if leg.ended:
            return outcome
        try:
            if leg.answered:
                await leg.hangup(failure.reason)
            elif failure.not_found:
                await leg.reject(404, "Not Found", failure.reason, CallStatus.NOT_FOUND)
            else:
                await leg.reject(500, SETUP_PROBLEM, failure.reason, CallStatus.FAILED)
        except LegEnded:
            self._ports.records.journal("leg_gone", reason=failure.reason)
        return outcome


def _method(text: str) -> str:
    return "GET" if text.strip().upper() == "GET" else "POST"
