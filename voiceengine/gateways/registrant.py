"""One gateway: registers, refreshes, retries and unregisters, one request after another."""

from __future__ import annotations

import ipaddress
import random
import re
import secrets
from typing import Any, Final, Protocol

import attrs
from sipmessage import URI
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.logger import Logger

from voiceengine.gateways.proxy import ProxyError, parse_proxy
from voiceengine.gateways.schedule import Outcome, Schedule, State
from voiceengine.sip.headers import HeaderError, split_list
from voiceengine.sip.message import Answer
from voiceengine.sip.own_requests import CannotSend
from voiceengine.sip.registrar import RegisterError, parse_contact, same_uri
from voiceengine.sip.transport import Flow
from voiceengine.store.rows import Gateway

log = Logger()

REGISTER_SECONDS: Final = 32.0
UNREGISTER_SECONDS: Final = 4.0
"""Time that a provider gets to hear that we leave."""

_NUMBER: Final = re.compile(r"[0-9]{1,9}")


class Sender(Protocol):
    """What is used of the SIP edge."""

    async def flow_to_uri(self, uri: URI) -> Flow:
        """The way to a SIP URI; raises OSError."""
        ...

    async def request(
        self,
        method: str,
        uri: str,
        flow: Flow,
        *,
        from_: str,
        headers: Any = (),
        to: str = "",
        username: str = "",
        password: str = "",
        timeout: float = 32.0,
        call_id: str = "",
        cseq: int = 1,
        contact: str = "",
    ) -> Answer:
        """Send a request outside of calls; raises CannotSend."""
        ...


@attrs.frozen
class Place:
    """Where a registration stands: what must be the same for a refresh of it."""

    proxy: str
    user: str


class Registrant:
    """Keeps one gateway as its row wants it.

    Args:
        reactor: IReactorTime.
        sender: the SIP edge.
        row: the gateway.
    """

    def __init__(self, reactor: Any, sender: Sender, row: Gateway) -> None:
        self._reactor = reactor
        self._sender = sender
        self.sid = row.sid
        self._wanted: Gateway | None = row
        self._held: Gateway | None = None
        """The row of the last REGISTER, unless it was refused."""
        self._unsure = False
        """Whether a REGISTER was given up without an answer."""
        self._schedule = Schedule(row.time_to_live, random.random)
        self._call_id = secrets.token_hex(16)
        self._cseq = 1
        self._work: Deferred[Outcome] | None = None
        self._sleep: Deferred[None] | None = None
        self._fresh = True
        """Whether the row was not looked at yet."""
        self._told: State = "registering"
        self._asked = ""
        """Numeric address that the last REGISTER went to."""
        self.host = ""
        """Numeric address that granted the registration."""
        self.done = Deferred.fromCoroutine(self._run())

    # -------------------------------------------------------------- what others see

    @property
    def state(self) -> State:
        """State as REST shows it."""
        return self._schedule.state

    @property
    def live(self) -> bool:
        """Whether the provider holds a registration of ours."""
        return self._schedule.live(self._reactor.seconds())

    def want(self, row: Gateway | None) -> None:
        """Follow a changed row; None: it is gone. What did not change is not sent again."""
        old, self._wanted = self._wanted, row
        if old is None or (row is not None and _same(row, old)):
            return
        self._fresh = True
        for waiting in (self._sleep, self._work):
            if waiting is not None:
                waiting.cancel()

    def abort(self) -> None:
        """Stop at once, without a word to the provider."""
        self._wanted = self._held = None
        self.done.cancel()

    # -------------------------------------------------------------- one after another

    async def _run(self) -> None:
        while True:
            row = self._wanted
            held = self._held
            if held is not None and (row is None or not row.register or _place(row) != _place(held)):
                await self._unregister(held)
                continue
            if row is None:
                return
            delay = await self._turn(row)
            if not self._fresh:
                await self._rest(delay)

    async def _turn(self, row: Gateway) -> float | None:
        """Register once; returns when to come again, None: when the row changes."""
        if self._fresh:
            self._fresh = False
            self._schedule = Schedule(row.time_to_live, random.random, until=self._schedule.until)
        if not row.register:
            self._schedule.ended()
            self._tell(row, 0)
            return None
        self._work = Deferred.fromCoroutine(self._register(row, self._schedule.interval, REGISTER_SECONDS))
        try:
            outcome = await self._work
        except CancelledError:
            self._unsure = True
            if not self._fresh:
                raise
            return None
        finally:
            self._work = None
        if self._fresh:
            return None  # it was given up while its way was looked for
        delay = self._schedule.step(outcome, self._reactor.seconds())
        self._unsure = False
        if self._schedule.state == "registered":
            self.host = self._asked
        elif self._schedule.state == "refused":
            self._held = None
        self._tell(row, outcome.code)
        return delay

    async def _rest(self, delay: float | None) -> None:
        self._sleep = Deferred()
        timer = None if delay is None else self._reactor.callLater(delay, self._sleep.callback, None)
        try:
            await self._sleep
        except CancelledError:
            if not self._fresh:
                raise
        finally:
            self._sleep = None
            if timer is not None and timer.active():
                timer.cancel()

    async def _unregister(self, row: Gateway) -> None:
        leaving, self._held = self.live or self._unsure, None
        self._unsure = False
        if leaving:
            outcome = await self._register(row, 0, UNREGISTER_SECONDS)
            log.info(
                "gateway_unregistered gateway={sid} user={user} proxy={proxy} code={code}",
                sid=self.sid,
                user=row.user_name,
                proxy=row.proxy,
                code=outcome.code,
            )
        self._schedule.ended()
        self._told = "off"

    # -------------------------------------------------------------- on the wire

    async def _register(self, row: Gateway, expires: int, timeout: float) -> Outcome:
        try:
            proxy = parse_proxy(row.proxy)
            end = self._reactor.seconds() + timeout
            finding = Deferred.fromCoroutine(self._sender.flow_to_uri(proxy))
            flow = await finding.addTimeout(timeout, self._reactor)
        except (ProxyError, OSError, TookTooLong) as error:
            log.debug("gateway_without_way gateway={sid} reason={reason}", sid=self.sid, reason=str(error))
            return Outcome(code=0)
        host = f"{proxy.host}:{proxy.port}" if proxy.port is not None else proxy.host
        address = f"<{URI(scheme='sip', user=row.user_name, host=proxy.host)}>"
        contact = _contact(row.user_name, flow)
        if expires:
            self._held, self._asked = row, str(ipaddress.ip_address(flow.host))
        try:
            answer = await self._sender.request(
                "REGISTER",
                f"sip:{host}",
                flow,
                from_=address,
                to=address,
                headers=(("Expires", str(expires)),),
                username=row.user_name,
                password=row.password,
                timeout=max(0.0, end - self._reactor.seconds()),
                call_id=self._call_id,
                cseq=self._cseq,
                contact=f"<{contact}>",
            )
        except CannotSend as error:
            log.warn("gateway_not_usable gateway={sid} reason={reason}", sid=self.sid, reason=str(error))
            return Outcome(code=400)
        finally:
            self._cseq += 4  # as many as one request may take
        return outcome_of(answer, contact)

    def _tell(self, row: Gateway, code: int) -> None:
        """One line for each change."""
        state, before = self._schedule.state, self._told
        if state == before:
            return
        self._told = state
        report = log.info if state in ("registered", "off", "registering") else log.warn
        report(
            "gateway_changed gateway={sid} state={state} user={user} proxy={proxy} code={code}",
            state=state,
            sid=self.sid,
            user=row.user_name,
            proxy=row.proxy,
            code=code,
        )


def _place(row: Gateway) -> Place:
    return Place(row.proxy, row.user_name)


def _same(one: Gateway, two: Gateway) -> bool:
    """Whether two rows ask for the same registration."""
    return _place(one) == _place(two) and (one.password, one.register, one.time_to_live) == (
        two.password,
        two.register,
        two.time_to_live,
    )


def _contact(user: str, flow: Flow) -> str:
    host, _, port = flow.listener.sent_by.rpartition(":")
    uri = str(URI(scheme="sip", user=user, host=host, port=int(port)))
    return f"{uri};transport=tcp" if flow.transport == "tcp" else uri


def outcome_of(answer: Answer, contact: str) -> Outcome:
    """Read the answer to a REGISTER: the interval stands at our Contact, else in Expires."""
    return Outcome(
        code=answer.code,
        granted=_granted(answer, contact),
        min_expires=_seconds(answer.header("Min-Expires")),
        retry_after=_seconds(answer.header("Retry-After")),
    )


def _granted(answer: Answer, contact: str) -> int | None:
    try:
        values = [item for value in answer.all("Contact") for item in split_list(value)]
    except HeaderError:
        values = []
    for value in values:
        try:
            found = parse_contact(value)
        except RegisterError:
            continue
        # some rewrite the only Contact there is
        if found.expires is not None and (same_uri(found.uri, contact) or len(values) == 1):
            return found.expires
    return _seconds(answer.header("Expires"))


def _seconds(text: str) -> int | None:
    found = _NUMBER.match(text.strip())
    return int(found[0]) if found is not None else None
