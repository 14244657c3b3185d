"""The documents of one flow, one after the other: the first, those it leads to, the fallback.

Reference: Documents (fetch lifecycle, failures).
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from rcml.flow import HangUpError, InterpreterSettings
from rcml.loading import Loaded, Loader, LoadError
from rcml.parameters import Parameters, fallback_parameters
from rcml.ports import FetchRequest
from rcml.urls import without_userinfo
from rcml.verb import Jump

REASON_SWITCHES = "Too_many_document_switches"


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


class Navigator:
    """Obtains the documents of one flow. A fallback URL is used at most once.

    Args:
        loader: requests and reads them.
        settings: of the interpreter.
        parameters: gives those that every request carries, as they are at that moment.
    """

    def __init__(
        self, loader: Loader, settings: InterpreterSettings, parameters: Callable[[], Parameters]
    ) -> None:
        self._loader = loader
        self._settings = settings
        self._parameters = parameters
        self._fallback: FetchRequest | None = None
        self._switches = 0
        self.over = False
        """The call is over; no fallback is requested then."""

    def begin(self, source: Source) -> None:
        """Take the fallback of a source."""
        self._fallback = None
        if source.fallback_url:
            self._fallback = FetchRequest(url=source.fallback_url, method=_method(source.fallback_method))

    def time_passed(self) -> None:
        """Let the loop guard start over: somebody was kept busy."""
        self._switches = 0

    async def first(self, source: Source) -> Loaded:
        """Obtain the first document.

        Raises:
            HangUpError: neither it nor the fallback was obtained; the notifications were stored.
            LegEnded: the caller left meanwhile.
        """
        if source.text is None:
            standard = self._parameters() if source.parameters is None else source.parameters
            return await self._load(
                FetchRequest(
                    url=source.url, method=_method(source.method), parameters=(*standard, *source.extra)
                )
            )
        try:
            return self._loader.read_text(source.text, source.url)
        except LoadError as error:
            return await self._fall_back(error)

    async def follow(self, jump: Jump) -> Loaded:
        """Obtain the document that a verb leads to. Raises as `first`."""
        records = self._loader.records
        self._switches += 1
        if self._switches > self._settings.max_switches:
            records.journal("switch_limit", limit=self._settings.max_switches)
            raise HangUpError(REASON_SWITCHES)
        self.over = self.over or jump.after_end
        records.journal("document_switched", url=without_userinfo(jump.url))
        request = self._request(jump.url, jump.method, jump.extra)
        return await self._load(request, after_end=self.over or jump.ends_soon)

    def _request(
        self, url: str, method: str, extra: Parameters | tuple[tuple[str, str], ...]
    ) -> FetchRequest:
        """Make a request; each parameter occurs once, the extra ones win."""
        parameters = {**dict(self._parameters()), **dict(extra)}
        return FetchRequest(url=url, method=_method(method), parameters=tuple(parameters.items()))

    async def _load(self, request: FetchRequest, *, after_end: bool = False) -> Loaded:
        try:
            return await self._loader.load(request, after_end=after_end)
        except LoadError as error:
            return await self._fall_back(error)

    async def _fall_back(self, error: LoadError) -> Loaded:
        """Request the fallback document, at most once."""
        records = self._loader.records
        records.notify(error.notice)
        fallback, self._fallback = self._fallback, None
        if fallback is None or self.over or error.final:
            raise HangUpError(error.reason, not_found=error.not_found) from error
        records.journal("fallback_used", url=without_userinfo(fallback.url), code=error.notice.code)
        extra = fallback_parameters(error.notice.code, error.url)
        try:
            return await self._loader.load(self._request(fallback.url, fallback.method, extra))
        except LoadError as second:
            records.notify(second.notice)
            raise HangUpError(second.reason, not_found=second.not_found) from second


def _method(text: str) -> str:
    return "GET" if text.strip().upper() == "GET" else "POST"
