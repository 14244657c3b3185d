"""The interpreter: executes one flow of documents on one leg.

Reference: Documents (execution order, failures), Answering and ending, Verbs.
"""

from __future__ import annotations

from collections.abc import Iterator

import rcml.verbs
from rcml.document import Document, Element
from rcml.flow import Flow, HangUpError, InterpreterSettings, Refusal
from rcml.loading import Loaded, Loader
from rcml.navigation import Navigator, Outcome, OutcomeKind, Source
from rcml.parameters import Parameters, standard_parameters
from rcml.ports import CallInfo, CallStatus, LegEnded, Ports
from rcml.verb import NOUNS, End, Step, Verb

__all__ = ["Interpreter", "InterpreterSettings", "Outcome", "OutcomeKind", "Source"]

SETUP_PROBLEM = "Problem to setup the call"
REASON_VERB = "Verb_not_allowed"


class Interpreter:
    """Runs documents on the leg of `ports`.

    One instance serves one call: a fallback URL is used at most once in its life. The coroutine may be
    thrown an exception at any await (live modification); playing and recording are then stopped.
    """

    def __init__(self, ports: Ports, call: CallInfo, settings: InterpreterSettings | None = None) -> None:
        self._ports = ports
        self._call = call
        self._settings = settings or InterpreterSettings()
        loader = Loader(fetcher=ports.fetcher, records=ports.records, schemes=self._settings.schemes)
        self._documents = Navigator(loader, self._settings, self._parameters)
        self._standing: Parameters = []
        self._refusal: Refusal | None = None

    async def run(self, source: Source) -> Outcome:
        """Obtain the first document and run until the flow ends.

        The leg is ended (BYE, or a final response while ringing) in every case but a caller who left
        before, and `hang_up_at_end=False` at the end of a document.
        """
        self._documents.begin(source)
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
            return await self._execute(await self._documents.first(source))
        except (HangUpError, LegEnded):
            return None

    async def _run(self, source: Source) -> Outcome:
        documents = self._documents
        loaded = await documents.first(source)
        while True:
            step = await self._execute(loaded)
            if isinstance(step, End):
                return Outcome(OutcomeKind.REJECTED if step.rejected else OutcomeKind.HUNG_UP)
            if step is None:
                return await self._end_of_document()
            loaded = await documents.follow(step)
            documents.over = documents.over or (step.ends_soon and self._ports.leg.ended)

    def _parameters(self) -> Parameters:
        status = self._ports.leg.status
        return [*standard_parameters(self._call, status, self._settings.null_literals), *self._standing]

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
                self._documents.time_passed()
            if step is not None:
                return step
        return None

    def _ignored(self, cls: type[Verb]) -> str:
        """Say why a verb is passed over; empty: it is run.

        Raises:
            HangUpError: documents of this flow may not hold it.
        """
        if self._documents.over and not cls.after_end:
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
        if not self._documents.over:
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
        if self._documents.over:
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
