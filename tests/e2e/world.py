"""What one scenario works with: numbers, documents and phones of its own in a shared engine.

Scenarios marked with `case` run at the same time, all those of a module that were selected; each is still a
test of its own, which waits for its scenario. So twenty callers who wait five seconds cost five seconds.
"""

from __future__ import annotations

import functools
import itertools
import re
import time
from collections.abc import Callable, Coroutine
from typing import Any
from xml.sax.saxutils import quoteattr

import attrs
from harness import ENDED, EngineProcess, Rest
from pytest_twisted import ensureDeferred
from sipcall import Call
from sipphone import OUTSIDE, Phone
from siptext import uri_of
from twisted.internet.defer import Deferred, DeferredSemaphore
from waiting import eventually
from webapp import Reply, Seen, WebApp, document, prompt

AT_ONCE = 10
_counter = itertools.count(int(time.time()) % 100000 * 1000)


@attrs.frozen
class Number:
    """A phone number whose application is the test."""

    number: str
    path: str
    """Path of its VoiceUrl."""
    url: str
    callback_path: str


def element(name: str, *inner: str, **attributes: object) -> str:
    """An element of a document; attributes are escaped, what is inside is markup already."""
    given = "".join(f" {key}={quoteattr(str(value))}" for key, value in attributes.items())
    return f"<{name}{given}>{''.join(inner)}</{name}>"


def dial(*inner: str, **attributes: object) -> str:
    """A Dial."""
    return element("Dial", *inner, **attributes)


class World:
    """One scenario's surroundings."""

    def __init__(self, engine: EngineProcess, app: WebApp, name: str) -> None:
        self.engine = engine
        self.app = app
        self.name = name
        self._phones: list[Phone] = []
        self._numbers: list[str] = []

    @property
    def rest(self) -> Rest:
        """The REST API."""
        return self.engine.rest

    # -------------------------------------------------------------- the application

    def path(self, name: str) -> str:
        """A path of this scenario."""
        return f"/{self.name}/{name}"

    def script(self, name: str, *replies: Reply | str) -> str:
        """Set what a path answers (a text: an RCML document with these verbs); returns its URL."""
        made = [document(reply) if isinstance(reply, str) else reply for reply in replies]
        return self.app.script(self.path(name), *made)

    def tone(self, frequency: float, seconds: float) -> str:
        """URL of a prompt."""
        return self.script(f"{frequency:g}hz-{seconds:g}s.wav", prompt(frequency, seconds))

    def play(self, frequency: float, seconds: float, more: str = "") -> str:
        """A Play verb with a tone."""
        return f"<Play{more}>{self.tone(frequency, seconds)}</Play>"

    async def asked(self, name: str, number: int = 1, within: float = 3.0) -> Seen:
        """The n-th request of a path of this scenario."""
        return await self.app.request(self.path(name), number, within)

    def count(self, name: str) -> int:
        """Requests of a path so far."""
        return len(self.app.requests(self.path(name)))

    async def statuses(self, count: int, name: str = "status", within: float = 3.0) -> list[str]:
        """CallStatus of the status callbacks, once there are so many."""
        await self.asked(name, count, within)
        return [seen.parameters["CallStatus"] for seen in self.app.requests(self.path(name))]

    async def number(
        self, *replies: Reply | str, name: str = "voice", text: str = "", **settings: str
    ) -> str:
        """Create a number whose VoiceUrl answers so; returns the number."""
        text = text or str(next(_counter))
        url = self.script(name, *replies)
        await self.rest.number(text, settings.pop("voice_url", url), **settings)
        self._numbers.append(text)
        return text

    # -------------------------------------------------------------- phones

    async def phone(self, user: str = OUTSIDE, transport: str = "udp") -> Phone:
        """A phone."""
        phone = await Phone(self.engine.address(transport), user, transport).open()
        self._phones.append(phone)
        return phone

    def forget(self, phone: Phone) -> None:
        """Leave a phone alone in the end: it is closed already."""
        self._phones.remove(phone)

    async def call(self, number: str, **options: Any) -> Call:
        """Call a number from a phone of its own."""
        return (await self.phone()).call(number, **options)

    async def answered(self, number: str, **options: Any) -> Call:
        """Call a number and wait until it is answered."""
        call = await self.call(number, **options)
        await call.answered()
        return call

    async def registered(self, login: str, password: str = "RestComm1234", **settings: str) -> Phone:
        """A registered client; it is created."""
        await self.rest.client(login, password, **settings)
        phone = await self.phone(login)
        response = await phone.register(login, password)
        assert response.code == 200, response
        return phone

    async def device(self, login: str, password: str = "RestComm1234") -> Phone:
        """One more registered phone of a client that exists."""
        phone = await self.phone(login)
        response = await phone.register(login, password)
        assert response.code == 200, response
        return phone

    async def dialed(self, number: str, count: int = 1, within: float = 5.0) -> list[dict[str, Any]]:
        """Records of the calls that the only call to a number dialed, once all are over; oldest first."""
        parent = await self.sid(number, within)
        return await self.children(parent, count, within)

    async def children(self, parent: str, count: int = 1, within: float = 5.0) -> list[dict[str, Any]]:
        """Records of the calls that a call dialed, once all are over; oldest first."""
        rows = await eventually(
            lambda: self.rest.calls(ParentCallSid=parent),
            lambda rows: len(rows) == count and all(row["status"] in ENDED for row in rows),
            within,
            f"{count} dialed calls are over",
        )
        return list(reversed(rows))

    async def sid(self, number: str, within: float = 3.0) -> str:
        """CallSid of the only call to a number."""
        rows = await eventually(
            lambda: self.rest.calls(To=number), lambda rows: len(rows) == 1, within, f"one call to {number}"
        )
        return str(rows[0]["sid"])

    async def row(self, number: str, within: float = 3.0) -> dict[str, Any]:
        """The record of the only call to a number, once it is over."""
        return await self.rest.ended(await self.sid(number, within), within)

    # -------------------------------------------------------------- the end

    async def close(self) -> None:
        """Put the phones down; no call of this scenario may be left in the engine."""
        for phone in self._phones:
            await phone.close()
        for number in self._numbers:
            await eventually(
                functools.partial(self.rest.calls, To=number),
                lambda rows: all(row["status"] in ENDED for row in rows),
                5.0,
                f"no call to {number} is left",
            )


Scenario = Callable[[World], Coroutine[Any, Any, None]]


class Running:
    """The scenarios of a module, which run at the same time."""

    def __init__(self, engine: EngineProcess, app: WebApp, scenarios: list[Scenario]) -> None:
        self._results: dict[str, Deferred[Any]] = {}
        gate = DeferredSemaphore(AT_ONCE)
        for scenario in scenarios:
            name = getattr(scenario, "__name__", "")
            work = gate.run(lambda s=scenario: Deferred.fromCoroutine(run_scenario(s, engine, app)))
            self._results[name] = work.addCallbacks(
                lambda _: None,
                lambda failure: failure,  # kept for the test that asks
            )

    async def result(self, name: str) -> None:
        """Wait for a scenario; raises what it raised."""
        await self._results.pop(name)

    async def all_over(self) -> None:
        """Wait for those that nobody asked for (their tests were not reached)."""
        for work in self._results.values():
            work.addErrback(lambda _: None)
            await work


async def run_scenario(scenario: Scenario, engine: EngineProcess, app: WebApp) -> None:
    """Run a scenario in a world of its own."""
    world = World(engine, app, re.sub(r"^test_", "", getattr(scenario, "__name__", "")))
    try:
        await scenario(world)
    except BaseException:
        try:
            await world.close()
        except AssertionError as problem:
            print(f"after the failure: {problem}")
        raise
    await world.close()


def case(scenario: Scenario) -> Callable[..., Any]:
    """Make a test of a scenario that may run beside others of its module."""

    @functools.wraps(scenario)
    async def test(running: Running) -> None:
        await running.result(scenario.__name__)

    del test.__wrapped__  # type: ignore[attr-defined]  # pytest would look for the scenario's arguments
    test.scenario = scenario  # type: ignore[attr-defined]
    made: Callable[..., Any] = ensureDeferred(test)
    return made


__all__ = ["Number", "Running", "World", "case", "dial", "element", "run_scenario", "uri_of"]
