"""The HTTP client against a real server on loopback."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from http.cookiejar import CookieJar
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import protocol, reactor, task
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from rcml.ports import FetchedDocument, FetchError, FetchFailure, FetchRequest, LegEnded
from voiceengine.calls.call_fetcher import CallFetcher
from voiceengine.calls.fetcher import (
    WebClient,
    ascii_url,
    split_credentials,
    with_query,
    x_headers,
)
from voiceengine.calls.leg import CallLeg
from voiceengine.config import Web

pytestmark = pytest.mark.loopback
REACTOR: Any = reactor
PARAMETERS = [("CallSid", "CA1"), ("From", "+1555 é&")]
ENCODED = b"CallSid=CA1&From=%2B1555+%C3%A9%26"


EXTRA = [
    (b"X-Long", b"y" * 1100),
    (b"X-Tenant", b" 42 "),
    (b"X-Tenant", b"43"),
    (b"X-RestComm-CallSid", b"no"),
    (b"X-Name", "Zoë".encode()),
    (b"Y", b"no"),
]


class Root(Resource):
    """Answers by the first path segment; notes every request."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bytes, bytes, bytes]] = []
        self.headers: list[Any] = []
        self.closed: Deferred[None] = Deferred()
        self.arrived: Deferred[None] = Deferred()

    def render(self, request: Request) -> Any:
        body = request.content.read()  # type: ignore[union-attr]
        self.seen.append((request.method, request.uri, body))
        self.headers.append(request.requestHeaders)
        if not self.arrived.called:
            self.arrived.callback(None)
        action = request.path.split(b"/")[1]
        return getattr(self, "do_" + action.decode())(request)

    def do_ok(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", b"text/xml; charset=utf-8")
        return b"<Response/>"

    def do_extra(self, request: Request) -> bytes:
        for name, value in EXTRA:
            request.responseHeaders.addRawHeader(name, value)
        return b"<Response/>"

    def do_big(self, request: Request) -> bytes:
        return b"x" * 5000

    def do_status(self, request: Request) -> bytes:
        request.setResponseCode(int(request.path.split(b"/")[2]))
        request.setHeader(b"X-Why", b"because")
        return b"reason text"

    def do_redirect(self, request: Request) -> bytes:
        code, target = request.path.split(b"/", 3)[2:]
        request.setResponseCode(int(code))
        request.setHeader(b"Location", target.replace(b"~", b"/"))
        return b""

    def do_nowhere(self, request: Request) -> bytes:
        request.setResponseCode(302)
        return b""

    def do_loop(self, request: Request) -> bytes:
        request.setResponseCode(302)
        left = int(request.path.split(b"/")[2])
        request.setHeader(b"Location", b"/loop/%d" % (left - 1) if left > 1 else b"/ok")
        return b""

    def do_cookie(self, request: Request) -> bytes:
        request.addCookie(b"session", b"abc", path=b"/")
        return b""

    def do_slow(self, request: Request) -> int:
        request.notifyFinish().addErrback(lambda _: self.closed.callback(None))
        return NOT_DONE_YET

    def do_drip(self, request: Request) -> int:
        request.write(b"begin")
        return self.do_slow(request)


class World:
    def __init__(self, **settings: Any) -> None:
        self.root = Root()
        site = Site(self.root)
        site.noisy = False  # type: ignore[attr-defined]
        self.port = REACTOR.listenTCP(0, site, interface="127.0.0.1")
        self.base = f"http://127.0.0.1:{self.port.getHost().port}"
        self.observed: list[str] = []
        self.client = WebClient(
            REACTOR, Web(timeout=0.4, **settings), lambda _seconds, result: self.observed.append(result)
        )

    async def get(self, path: str, method: str = "GET", **options: Any) -> FetchedDocument:
        values: dict[str, Any] = {"cookies": None, "timeout": 0.4, "limit": 4000, **options}
        parameters = values.pop("parameters", [])
        url = path if "://" in path else self.base + path
        return await self.client.request(method, url, parameters, **values)

    async def fails(self, path: str, **options: Any) -> FetchError:
        with pytest.raises(FetchError) as found:
            await self.get(path, **options)
        return found.value

    async def close(self) -> None:
        await self.client.close()
        await self.port.stopListening()
        await task.deferLater(REACTOR, 0.02, lambda: None)


@pytest_twisted.async_yield_fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


# ------------------------------------------------------------------------- parameters


@pytest_twisted.ensureDeferred
async def test_get_merges_the_parameters_into_the_query(world: World) -> None:
    await world.get("/ok?a=1#fragment", parameters=PARAMETERS)

    assert world.root.seen == [(b"GET", b"/ok?a=1&" + ENCODED, b"")]


@pytest_twisted.ensureDeferred
async def test_post_sends_a_form_and_keeps_the_query(world: World) -> None:
    found = await world.get("/ok?a=1", "POST", parameters=PARAMETERS)

    assert world.root.seen == [(b"POST", b"/ok?a=1", ENCODED)]
    kinds = world.root.headers[0].getRawHeaders(b"Content-Type")
    assert kinds == [b"application/x-www-form-urlencoded; charset=UTF-8"]
    assert found == FetchedDocument(
        url=f"{world.base}/ok?a=1", content_type="text/xml; charset=utf-8", body=b"<Response/>"
    )


@pytest_twisted.ensureDeferred
async def test_x_headers_of_the_reply_are_kept_as_far_as_there_is_room(world: World) -> None:
    found = await world.get("/extra")

    assert sorted(found.headers) == [("X-Name", "Zoë"), ("X-Tenant", "42"), ("X-Tenant", "43")]


def test_of_very_many_x_headers_the_first_are_kept() -> None:
    headers = Headers()
    for number in range(40):
        headers.addRawHeader(b"X-%d" % number, b"v" if number else b"a\x07b")

    assert x_headers(headers) == tuple((f"X-{number}", "v") for number in range(1, 33))


@pytest_twisted.ensureDeferred
async def test_an_url_in_other_letters_is_encoded(world: World) -> None:
    await world.get("/ok/grüße und mehr")

    assert world.root.seen[0][1] == b"/ok/gr%C3%BC%C3%9Fe%20und%20mehr"


# ------------------------------------------------------------------------- redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest_twisted.ensureDeferred
async def test_redirects_keep_method_and_parameters(world: World, code: int, method: str) -> None:
    found = await world.get(f"/redirect/{code}/~ok?b=2", method, parameters=PARAMETERS)

    seen = world.root.seen[1]
    assert seen[0] == method.encode()
    assert seen[2] == (ENCODED if method == "POST" else b"")
    assert (ENCODED in seen[1]) == (method == "GET")
    assert found.url.startswith(f"{world.base}/ok")


@pytest_twisted.ensureDeferred
async def test_a_relative_location_is_relative_to_the_url(world: World) -> None:
    found = await world.get("/redirect/302/..~..~ok")

    assert found.url == f"{world.base}/ok"


@pytest_twisted.ensureDeferred
async def test_ten_redirects_are_followed_and_no_more(world: World) -> None:
    assert (await world.get("/loop/10", timeout=2.0)).body == b"<Response/>"
    problem = await world.fails("/loop/11", timeout=2.0)

    assert problem.failure is FetchFailure.IO
    assert "10 redirects" in problem.message


@pytest_twisted.ensureDeferred
async def test_a_redirect_to_nowhere(world: World) -> None:
    problem = await world.fails("/nowhere")

    assert (problem.failure, problem.status) == (FetchFailure.IO, 302)


@pytest_twisted.ensureDeferred
async def test_a_redirect_to_another_scheme_is_a_bad_url(world: World) -> None:
    problem = await world.fails("/redirect/302/file:~~~etc~passwd")

    assert problem.failure is FetchFailure.BAD_URL


# ------------------------------------------------------------------------- cookies, credentials


@pytest_twisted.ensureDeferred
async def test_cookies_belong_to_one_call(world: World) -> None:
    mine, theirs = CookieJar(), CookieJar()
    await world.get("/cookie", cookies=mine)
    await world.get("/ok", cookies=mine)
    await world.get("/ok", cookies=theirs)
    await world.get("/ok")

    sent = [headers.getRawHeaders(b"Cookie") for headers in world.root.headers]
    assert sent == [None, [b"session=abc"], None, None]


@pytest_twisted.ensureDeferred
async def test_credentials_in_the_url_become_basic_authentication(world: World) -> None:
    url = world.base.replace("//", "//al%40ice:pa%3Ass@") + "/ok"
    found = await world.get(url)

    token = base64.b64encode(b"al@ice:pa:ss")
    assert world.root.headers[0].getRawHeaders(b"Authorization") == [b"Basic " + token]
    assert world.root.seen[0][1] == b"/ok"
    assert found.body == b"<Response/>"


@pytest.mark.parametrize("path", ["/status/500", "/slow", "/loop/30", "/big", "/redirect/302/ftp:~~x"])
@pytest_twisted.ensureDeferred
async def test_no_failure_shows_the_password(world: World, path: str) -> None:
    problem = await world.fails(world.base.replace("//", "//alice:secret@") + path)

    assert "secret" not in problem.url + problem.message + problem.headers + problem.body + str(problem)


@pytest_twisted.ensureDeferred
async def test_credentials_do_not_follow_to_another_host(world: World) -> None:
    other = World()
    try:
        target = other.base.replace("/", "~") + "~ok"
        await world.get(world.base.replace("//", "//alice:secret@") + f"/redirect/302/{target}")
        assert other.root.headers[0].getRawHeaders(b"Authorization") is None
    finally:
        await other.close()


# ------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("path", "failure", "status"),
    [
        ("/status/404", FetchFailure.NOT_FOUND, 404),
        ("/status/500", FetchFailure.BAD_STATUS, 500),
        ("/status/204", FetchFailure.BAD_STATUS, 204),
        ("/status/401", FetchFailure.BAD_STATUS, 401),
    ],
)
@pytest_twisted.ensureDeferred
async def test_statuses_other_than_200(world: World, path: str, failure: FetchFailure, status: int) -> None:
    problem = await world.fails(path)

    assert (problem.failure, problem.status) == (failure, status)
    assert "X-Why: because" in problem.headers
    assert problem.body == ("" if status == 204 else "reason text")
    assert problem.url == world.base + path
    assert world.observed == [failure.value]


@pytest.mark.parametrize("path", ["/slow", "/drip"])
@pytest_twisted.ensureDeferred
async def test_the_time_limit_holds_for_the_whole_reply(world: World, path: str) -> None:
    problem = await world.fails(path)

    assert problem.failure is FetchFailure.IO
    assert problem.message == "No complete answer within 0.4 s"
    assert world.observed == ["timeout"]
    await world.root.closed.addTimeout(1, REACTOR)


@pytest_twisted.ensureDeferred
async def test_the_size_limit(world: World) -> None:
    problem = await world.fails("/big")
    assert problem.failure is FetchFailure.TOO_LARGE
    assert problem.url == f"{world.base}/big"
    assert len((await world.get("/big", limit=5000)).body) == 5000


@pytest_twisted.ensureDeferred
async def test_nobody_listens(world: World) -> None:
    spare = REACTOR.listenTCP(0, protocol.Factory(), interface="127.0.0.1")
    port = spare.getHost().port
    await spare.stopListening()

    problem = await world.fails(f"http://127.0.0.1:{port}/")

    assert problem.failure is FetchFailure.IO
    assert "refused" in problem.message.lower()


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (b"this is no HTTP\r\n\r\n", FetchFailure.PROTOCOL),
        (b"HTTP/1.1 abc OK\r\n\r\n", FetchFailure.PROTOCOL),
        (b"", FetchFailure.IO),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour", FetchFailure.IO),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_server_that_speaks_nonsense(world: World, reply: bytes, failure: FetchFailure) -> None:
    class Nonsense(protocol.Protocol):
        transport: Any

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(reply)
            self.transport.loseConnection()

    port = REACTOR.listenTCP(0, protocol.Factory.forProtocol(Nonsense), interface="127.0.0.1")
    try:
        problem = await world.fails(f"http://127.0.0.1:{port.getHost().port}/")
        assert problem.failure is failure
    finally:
        await port.stopListening()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "http://",
        "nothing",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://a b\x01/",
        "http://x:port/",
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_url(world: World, url: str) -> None:
    with pytest.raises(FetchError) as found:
        await world.client.request("GET", url, [], cookies=CookieJar(), timeout=0.4, limit=4000)

    assert found.value.failure is FetchFailure.BAD_URL


# ------------------------------------------------------------------------- the caller leaves


class Owner:
    """As much of a call as a leg uses when it ends."""

    response_headers = ()

    def leg_holds(self) -> None:
        return

    def leg_over(self, report: Any, wanted: Any) -> None:
        return


def leg() -> CallLeg:
    return CallLeg(REACTOR, Owner(), "")  # type: ignore[arg-type]


def end(it: CallLeg) -> None:
    from media.pool import EndReport

    it.leg_ended(EndReport(code=200, phrase="", cause="", remote=True, headers=[], stats={}))


@pytest.mark.parametrize("path", ["/slow", "/drip"])
@pytest_twisted.ensureDeferred
async def test_a_caller_who_leaves_ends_the_request(world: World, path: str) -> None:
    caller = leg()
    fetcher = CallFetcher(world.client, caller)
    work: Any = Deferred.fromCoroutine(fetcher.fetch(FetchRequest(url=world.base + path, method="GET")))
    await world.root.arrived
    await task.deferLater(REACTOR, 0.05, lambda: None)
    end(caller)

    with pytest.raises(LegEnded):
        await work
    await world.root.closed.addTimeout(1, REACTOR)
    assert world.observed == ["cancelled"]


@pytest_twisted.ensureDeferred
async def test_a_request_after_the_end_is_made_when_it_belongs_there(world: World) -> None:
    caller = leg()
    end(caller)
    fetcher = CallFetcher(world.client, caller)
    request = FetchRequest(url=world.base + "/ok", method="POST", parameters=PARAMETERS)

    with pytest.raises(LegEnded):
        await fetcher.fetch(request)
    found = await fetcher.fetch(request, after_end=True)

    assert found.body == b"<Response/>"


@pytest_twisted.ensureDeferred
async def test_a_cancelled_request_is_told_as_cancelled(world: World) -> None:
    work: Any = Deferred.fromCoroutine(world.get("/slow"))
    await world.root.arrived
    work.cancel()

    with pytest.raises(CancelledError):
        await work


# ------------------------------------------------------------------------- pure parts


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (split_credentials, "http://h/a@b", ("http://h/a@b", b"")),
        (split_credentials, "http://u:p@q@h:1/", ("http://h:1/", b"Basic " + base64.b64encode(b"u:p@q"))),
        (ascii_url, "http://h/a#b", b"http://h/a"),
        (ascii_url, "http://bücher.example/", b"http://xn--bcher-kva.example/"),
    ],
)
def test_parts_of_urls(function: Callable[[str], Any], given: str, expected: Any) -> None:
    assert function(given) == expected


def test_a_query_is_added_or_extended() -> None:
    assert with_query("http://h/a", "") == "http://h/a"
    assert with_query("http://h/a", "x=1") == "http://h/a?x=1"
    assert with_query("http://h/a?y=2#f", "x=1") == "http://h/a?y=2&x=1#f"


# ------------------------------------------------------------------------- old servers


class OldServer(protocol.Protocol):
    """Speaks HTTP/1.0: one request to a connection."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        if b"\r\n\r\n" in data:
            self.transport.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 11\r\n\r\n")
            self.transport.write(b"<Response/>")
            # as python3 -m http.server: the connection is closed a moment later
            REACTOR.callLater(0.05, self.transport.loseConnection)


@pytest_twisted.ensureDeferred
async def test_the_connection_of_an_old_server_is_not_used_again(world: World) -> None:
    factory = protocol.Factory.forProtocol(OldServer)
    factory.noisy = False
    port = REACTOR.listenTCP(0, factory, interface="127.0.0.1")
    url = f"http://127.0.0.1:{port.getHost().port}/"
    try:
        for _ in range(4):
            assert (await world.get(url, "POST", parameters=PARAMETERS)).body == b"<Response/>"
            await task.deferLater(REACTOR, 0.05, lambda: None)
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_request_that_is_broken_off_while_its_host_is_looked_up_is_no_failure(world: World) -> None:
    work = Deferred.fromCoroutine(world.get("http://nobody.invalid/"))
    work.cancel()

    with pytest.raises(CancelledError):
        await work
    assert world.observed == ["cancelled"]
