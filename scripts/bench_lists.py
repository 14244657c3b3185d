"""Times lists of a million call records, through the repository and through the REST API.

    .venv/bin/python scripts/bench_lists.py [--rows 1000000] [--rounds 30] [--calls-per-second 0]

Generates the records in a temporary folder as an engine of before the fast lists would have left them, so
that opening the store also shows how long that step of the schema takes. Everything runs in one process, the
client of the REST API too.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import sqlite_utils
import treq
from twisted.internet import defer, task
from twisted.web.client import Agent, HTTPConnectionPool

from voiceengine.api import ApiDeps, build_site
from voiceengine.config import load
from voiceengine.store import Filter, ListQuery, Store
from voiceengine.store.migrations import migrate, registered
from voiceengine.store.rows import Account, CallRow
from voiceengine.store.tables import CALLS
from voiceengine.testing.call_control import FakeCallControl

DAY = 86400.0
DAYS = 30
FIRST = 20_700 * DAY
SHARES = (50, 20, 15, 10, 5)
"""Of the accounts, percent."""
STATUSES = {"completed": 70, "no-answer": 15, "busy": 8, "failed": 5, "canceled": 2}
DIRECTIONS = {"inbound": 60, "outbound-dial": 30, "outbound-api": 10}
NUMBERS = 5000
LARGE = "page of 1000"
TOKEN = "0123456789abcdef0123456789abcdef"


def accounts() -> list[Account]:
    found: list[Account] = []
    for number in range(len(SHARES)):
        sid = f"AC{number:032x}"
        found.append(
            Account(
                sid=sid,
                organization_sid="OR" + "0" * 32,
                parent_sid=found[0].sid if found else None,
                friendly_name=f"bench {number}",
                email_address=f"bench{number}@example.com",
                auth_token=TOKEN,
            )
        )
    return found


class Records:
    """Makes call records as a busy engine leaves them."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.owners = [account.sid for account in accounts()]
        self.numbers = [f"+1{self.chance.randrange(10**10):010d}" for _ in range(NUMBERS)]
        self.names = [f"client:user{number}" for number in range(300)]
        self.last_parent = ""

    def row(self, created: float) -> CallRow:
        chance = self.chance
        (status,) = chance.choices(list(STATUSES), list(STATUSES.values()))
        (direction,) = chance.choices(list(DIRECTIONS), list(DIRECTIONS.values()))
        ring = chance.expovariate(1 / 8)
        length = int(chance.expovariate(1 / 120)) if status == "completed" else 0
        # Some numbers are dialed far more often than others.
        called = self.numbers[int(chance.random() ** 3 * NUMBERS)]
        party = chance.choice(self.names) if chance.random() < 0.2 else chance.choice(self.numbers)
        sid = f"CA{chance.getrandbits(128):032x}"
        parent = self.last_parent if direction == "outbound-dial" and self.last_parent else None
        if direction == "inbound":
            self.last_parent = sid
        return CallRow(
            sid=sid,
            instance_id="ID" + "0" * 32,
            account_sid=chance.choices(self.owners, SHARES)[0],
            parent_call_sid=parent,
            conference_sid=f"CF{chance.getrandbits(10):032x}" if chance.random() < 0.02 else None,
            to=called,
            from_=party,
            direction=direction,
            status=status,
            sip_code=200 if status == "completed" else 486,
            sip_call_id=f"{chance.getrandbits(96):024x}@192.0.2.1",
            start_time=created + ring,
            answer_time=created + ring if length else None,
            end_time=created + ring + length,
            duration=length,
            ring_duration=int(ring),
            codec="PCMU",
            date_created=created,
            date_updated=created + ring + length,
        )


def generate(path: Path, count: int) -> None:
    """Write the records into a file with the schema of before the fast lists."""
    records = Records()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    migrate(sqlite_utils.Database(connection), tuple(s for s in registered() if s.name < "m0004"))
    marks = ", ".join("?" * len(CALLS.columns))
    step = DAYS * DAY / count
    rows = (records.row(FIRST + number * step) for number in range(count))
    values = (CALLS.parameters(row)[: len(CALLS.columns)] for row in rows)
    connection.execute("BEGIN")
    connection.executemany(f"INSERT INTO calls ({CALLS.listed}) VALUES ({marks})", values)
    connection.execute("COMMIT")
    connection.close()


class Pauses:
    """Looks how late the reactor comes to a call that is due every 2 ms."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._loop = task.LoopingCall(self._look)
        self._loop.clock = reactor
        self._last = 0.0
        self.found: list[float] = []

    def start(self) -> None:
        self.found.clear()
        self._last = time.perf_counter()
        self._loop.start(0.002, now=False)

    def stop(self) -> None:
        self._loop.stop()

    def _look(self) -> None:
        now = time.perf_counter()
        self.found.append(now - self._last - 0.002)
        self._last = now


Times = dict[str, list[float]]
Parameters = dict[str, str]


@attrs.frozen
class Kind:
    """One kind of query: parameters of the REST API, and what they are for the repository."""

    name: str
    make: Callable[[Records], tuple[Parameters, ListQuery]]


def day_of(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def moment_of(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def kinds(count: int, samples: list[CallRow]) -> list[Kind]:
    """The mix; each has the same weight."""
    shares = [sum(row.account_sid == f"AC{0:032x}" for row in samples) / len(samples)]
    own = int(count * shares[0])

    def plain(parameters: Parameters, **query: Any) -> Callable[[Records], tuple[Parameters, ListQuery]]:
        return lambda _: (parameters, ListQuery(**query))

    def suffix(name: str, field: str, digits: int) -> Callable[[Records], tuple[Parameters, ListQuery]]:
        def make(records: Records) -> tuple[Parameters, ListQuery]:
            end = records.chance.choice(records.numbers)[-digits:]
            return {name: end}, ListQuery(filters=(Filter(field, "suffix", end),))

        return make

    def status(name: str, page: int = 0) -> Callable[[Records], tuple[Parameters, ListQuery]]:
        return plain({"Status": name, "Page": str(page)}, filters=(Filter("status", "eq", name),), page=page)

    def dates(days: int, *, of_day: bool) -> Callable[[Records], tuple[Parameters, ListQuery]]:
        def make(records: Records) -> tuple[Parameters, ListQuery]:
            start = FIRST + records.chance.randrange(DAYS - days) * DAY
            if of_day:
                end = start + (days - 1) * DAY
                filters = (Filter("start_time", "ge", start), Filter("end_time", "lt", end + DAY))
                return {"StartTime": day_of(start), "EndTime": day_of(end)}, ListQuery(filters=filters)
            start += records.chance.randrange(86400)
            end = start + days * DAY - 7200
            filters = (Filter("start_time", "ge", start), Filter("end_time", "le", end))
            return {"StartTime": moment_of(start), "EndTime": moment_of(end)}, ListQuery(filters=filters)

        return make

    def both(*makers: Callable[[Records], tuple[Parameters, ListQuery]]) -> Any:
        def make(records: Records) -> tuple[Parameters, ListQuery]:
            made = [maker(records) for maker in makers]
            parameters = {name: value for found, _ in made for name, value in found.items()}
            filters = tuple(item for _, query in made for item in query.filters)
            return parameters, attrs.evolve(made[-1][1], filters=filters)

        return make

    def sort(name: str, field: str, direction: str) -> Callable[[Records], tuple[Parameters, ListQuery]]:
        return plain({"SortBy": f"{name}:{direction}"}, sort=field, descending=direction == "desc")

    def parent(records: Records) -> tuple[Parameters, ListQuery]:
        sid = next(row.parent_call_sid for row in records.chance.sample(samples, 100) if row.parent_call_sid)
        return {"ParentCallSid": sid}, ListQuery(filters=(Filter("parent_call_sid", "eq", sid),))

    def page(number: int) -> Callable[[Records], tuple[Parameters, ListQuery]]:
        return plain({"Page": str(number)}, page=number)

    def after(records: Records) -> tuple[Parameters, ListQuery]:
        own_rows = [row for row in samples if row.account_sid == f"AC{0:032x}"]
        sid = records.chance.choice(own_rows).sid
        number = records.chance.randrange(1, own // 50)
        return {"Page": str(number), "AfterSid": sid}, ListQuery(page=number, after_sid=sid)

    first = dates(7, of_day=True)
    return [
        Kind("first page", plain({})),
        Kind(LARGE, plain({"PageSize": "1000"}, page_size=1000)),
        Kind("Status common", status("completed")),
        Kind("Status rare", status("canceled")),
        Kind("To, whole number", suffix("To", "to", 10)),
        Kind("To, last 4 digits", suffix("To", "to", 4)),
        Kind("To, last digit", suffix("To", "to", 1)),
        Kind("From, whole number", suffix("From", "from_", 10)),
        Kind("From, last 2 digits", suffix("From", "from_", 2)),
        Kind("one week, whole days", first),
        Kind("one day", dates(1, of_day=True)),
        Kind("8 days, times of day", dates(8, of_day=False)),
        Kind("Status and one week", both(status("busy"), first)),
        Kind("To, 4 digits, Status, week", both(suffix("To", "to", 4), status("busy"), first)),
        Kind("From, 1 digit, and one week", both(suffix("From", "from_", 1), first)),
        Kind("To and From, 2 digits", both(suffix("To", "to", 2), suffix("From", "from_", 2))),
        Kind("ParentCallSid", parent),
        Kind("SortBy=DateCreated:asc", sort("DateCreated", "date_created", "asc")),
        Kind("SortBy=From:asc", sort("From", "from_", "asc")),
        Kind("SortBy=To:desc", sort("To", "to", "desc")),
        Kind("SortBy=Status:asc", sort("Status", "status", "asc")),
        Kind("SortBy=Duration:desc", sort("Duration", "duration", "desc")),
        Kind("SortBy=Price:asc", sort("Price", "price", "asc")),
        Kind("Status, SortBy=Duration", both(status("completed"), sort("Duration", "duration", "desc"))),
        Kind("week, SortBy=From", both(first, sort("From", "from_", "asc"))),
        Kind("second page by AfterSid", after),
        Kind("page 100 by number", page(100)),
        Kind("page in the middle", page(own // 100)),
        Kind("last page", page(own // 50 - 1)),
        Kind("SubAccounts", plain({"SubAccounts": "true"}, account_sids=())),
        Kind(
            "SubAccounts, Status busy",
            plain(
                {"SubAccounts": "true", "Status": "busy"},
                account_sids=(),
                filters=(Filter("status", "eq", "busy"),),
            ),
        ),
    ]


def part(found: list[float], share: float) -> float:
    ordered = sorted(found)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def show(title: str, times: Times, pauses: Pauses) -> None:
    print(f"\n{title}\n{'':30} {'p50':>8} {'p95':>8} {'p99':>8} ms")
    for name, found in times.items():
        print(f"{name:30} {part(found, 0.5):8.2f} {part(found, 0.95):8.2f} {part(found, 0.99):8.2f}")
    every = [value for name, found in times.items() if name != LARGE for value in found]
    print(f"{'all pages of 50':30} {part(every, 0.5):8.2f} {part(every, 0.95):8.2f} {part(every, 0.99):8.2f}")
    late = pauses.found
    print(f"the reactor came late by {part(late, 0.99):.2f} ms (p99), at most {max(late) * 1000:.1f} ms")


async def timed(
    mix: list[Kind], rounds: int, pauses: Pauses, ask: Callable[[Parameters, ListQuery], Awaitable[Any]]
) -> Times:
    records = Records(seed=1)
    times: Times = {kind.name: [] for kind in mix}
    pauses.start()
    for _ in range(rounds):
        for kind in mix:
            parameters, query = kind.make(records)
            started = time.perf_counter()
            await ask(parameters, query)
            times[kind.name].append(time.perf_counter() - started)
    pauses.stop()
    return times


async def time_writes(store: Store, count: int) -> None:
    """How fast new records and their changes are written."""
    records = Records(seed=2)
    rows = [records.row(FIRST + DAYS * DAY + number) for number in range(count)]
    used, started = time.process_time(), time.perf_counter()
    for row in rows:
        store.calls.save(attrs.evolve(row, status="ringing", end_time=None, duration=None))
    await store.flush()
    inserted = time.perf_counter()
    for row in rows:
        store.calls.save(row)
    await store.flush()
    ended = time.perf_counter()
    cpu = (time.process_time() - used) / count / 2 * 1e6
    print(f"written: {count / (inserted - started):.0f} new records/s,", end=" ")
    print(f"{count / (ended - inserted):.0f} changed records/s, {cpu:.0f} us of CPU for each")


class Load:
    """Saves records as a number of calls per second does: three times each."""

    def __init__(self, reactor: Any, store: Store, rate: float) -> None:
        self._records, self._store, self._rate = Records(seed=3), store, rate
        self._loop = task.LoopingCall(self._save)
        self._loop.clock = reactor
        self._live: list[CallRow] = []

    def start(self) -> None:
        if self._rate > 0:
            self._loop.start(0.1, now=False)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    def _save(self) -> None:
        for row in self._live:
            self._store.calls.save(row)
        self._live = [self._records.row(FIRST + DAYS * DAY) for _ in range(int(self._rate / 10))]
        for row in self._live:
            self._store.calls.save(attrs.evolve(row, status="ringing", end_time=None))
        for row in self._live:
            self._store.calls.save(attrs.evolve(row, status="in-progress", end_time=None))


async def through_http(
    reactor: Any, store: Store, folder: Path, mix: list[Kind], rounds: int, pauses: Pauses
) -> Times:
    settings, _ = load(environ={})
    site = build_site(
        ApiDeps(
            store=store,
            settings=settings,
            control=FakeCallControl(store),
            recordings_folder=folder,
            health=lambda: (True, {}),
            metrics=lambda: b"",
            reactor=reactor,
            realm="example.com",
        )
    )
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    pool = HTTPConnectionPool(reactor)
    agent = Agent(reactor, pool=pool)
    admin = accounts()[0]
    base = f"http://127.0.0.1:{port.getHost().port}/restcomm/2012-04-24/Accounts/{admin.sid}/Calls.json"

    async def ask(parameters: Parameters, _: ListQuery) -> None:
        url = f"{base}?{urlencode(parameters)}"
        response = await treq.get(url, auth=(admin.sid, TOKEN), agent=agent)
        body = await response.content()
        if response.code != 200:
            raise SystemExit(f"{url}: {response.code} {body[:300]!r}")

    times = await timed(mix, rounds, pauses, ask)
    await port.stopListening()
    await pool.closeCachedConnections()
    return times


async def bench(reactor: Any, arguments: argparse.Namespace, folder: Path) -> None:
    path = folder / "voiceengine.sqlite"
    started = time.perf_counter()
    generate(path, arguments.rows)
    print(f"{arguments.rows} records generated in {time.perf_counter() - started:.0f} s", end="; ")
    size = path.stat().st_size
    started = time.perf_counter()
    store = await Store.open(path, reactor)
    print(f"m0004 took {time.perf_counter() - started:.0f} s; the file grew from {size >> 20} to", end=" ")
    for account in accounts():
        await store.accounts.add(account)
    await store.close()
    print(f"{path.stat().st_size >> 20} MiB")
    store = await Store.open(path, reactor)
    samples = list((await store.calls.list(ListQuery(page_size=1000, page=3))).items)
    mix = kinds(arguments.rows, samples)
    pauses = Pauses(reactor)
    load_ = Load(reactor, store, arguments.calls_per_second)
    everyone = tuple(account.sid for account in accounts())

    async def ask(_: Parameters, query: ListQuery) -> None:
        wanted = everyone if query.account_sids == () else everyone[:1]
        await store.calls.list(attrs.evolve(query, account_sids=wanted))

    load_.start()
    show("through the repository", await timed(mix, arguments.rounds, pauses, ask), pauses)
    times = await through_http(reactor, store, folder, mix, arguments.rounds, pauses)
    show("through the REST API", times, pauses)
    load_.stop()
    await store.flush()
    print()
    await time_writes(store, 20_000)
    await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=30, help="queries of each kind")
    parser.add_argument("--calls-per-second", type=float, default=0, help="written meanwhile")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        task.react(lambda reactor: defer.Deferred.fromCoroutine(bench(reactor, arguments, Path(folder))))


if __name__ == "__main__":
    sys.exit(main())
