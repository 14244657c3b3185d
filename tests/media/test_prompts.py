"""The cache of sound files: against a scripted fetch, and against a real server on loopback."""

import json
import os
from pathlib import Path

import pytest
from pytest_twisted import async_yield_fixture, ensureDeferred
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.python.threadpool import ThreadPool
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from media import audio
from media.audio import wav_bytes
from media.prompts import AudioCache, FetchReply, PromptFetchError, PromptUrlError, TreqAudioFetch, trim
from media.tones import dominant_frequencies, sine

pytestmark = pytest.mark.loopback

URL = "http://app.example/hello.wav"
TONE = wav_bytes(sine(600, 0.5, rate=11025), 11025)
OTHER = wav_bytes(sine(900, 0.25, rate=44100), 44100)
DATA = Path(__file__).parents[1] / "data" / "audio"


class Scripted:
    """A fetch whose answers are given by the test; without any it waits."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.pending = []

    async def __call__(self, url, headers):
        self.asked.append((url, dict(headers)))
        if self.answers:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        else:
            self.pending.append(Deferred())
            answer = await self.pending[-1]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Wall:
    def __init__(self):
        self.time = 1_700_000_000.0

    def __call__(self):
        return self.time


def ok(body=TONE, **headers):
    return FetchReply(200, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@async_yield_fixture
async def make(tmp_path):
    from twisted.internet import reactor

    pool = ThreadPool(0, 2, "audio")
    pool.start()

    def build(fetch, wall=None, **options):
        folder = tmp_path / "prompts"
        return AudioCache(reactor, folder, fetch, pool=pool, now=wall or Wall(), **options)

    yield build
    pool.stop()


def waves(tmp_path):
    return sorted((tmp_path / "prompts").glob("*.wav"))


@ensureDeferred
async def test_a_file_is_fetched_without_parameters_and_converted(make):
    fetch = Scripted(ok())
    got = await make(fetch).get(URL, "AC1")
    samples, rate = audio.read_wav(got.path)

    assert fetch.asked == [(URL, {})]
    assert rate == 8000
    assert dominant_frequencies(samples) == pytest.approx([600], abs=3)
    assert got.seconds == pytest.approx(0.5, abs=0.001)


@ensureDeferred
async def test_a_second_use_within_the_age_asks_nobody_and_needs_no_turn(make):
    fetch, wall = Scripted(ok()), Wall()
    cache = make(fetch, wall, max_age_seconds=300)
    first = await cache.get(URL, "AC1")
    wall.time += 299
    second = Deferred.fromCoroutine(cache.get(URL, "AC1"))

    assert second.called
    assert await second == first
    assert len(fetch.asked) == 1
    assert (cache.hits, cache.misses) == (1, 1)


@ensureDeferred
async def test_accounts_and_queries_do_not_share(make, tmp_path):
    fetch = Scripted(ok())
    cache = make(fetch)
    paths = {
        (await cache.get(url, account)).path
        for url, account in [(URL, "AC1"), (URL, "AC2"), (URL + "?a=1", "AC1"), (URL + "?a=2", "AC1")]
    }

    assert len(paths) == 4
    assert (await cache.get(URL + "#part", "AC1")).path in paths
    assert len(fetch.asked) == 4


@ensureDeferred
async def test_past_the_age_the_server_is_asked_conditionally_and_304_keeps_the_file(make):
    fetch, wall = Scripted(ok(etag='"v1"', last_modified="yesterday"), FetchReply(304, {}, b"")), Wall()
    cache = make(fetch, wall, max_age_seconds=300)
    first = await cache.get(URL, "AC1")
    wall.time += 301
    second = await cache.get(URL, "AC1")
    wall.time += 299
    third = await cache.get(URL, "AC1")

    assert first == second == third
    assert fetch.asked[1:] == [(URL, {"If-None-Match": '"v1"', "If-Modified-Since": "yesterday"})]


@ensureDeferred
async def test_a_changed_file_replaces_the_old_one(make):
    fetch, wall = Scripted(ok(etag='"v1"'), ok(OTHER, etag='"v2"'), FetchReply(304, {}, b"")), Wall()
    cache = make(fetch, wall)
    await cache.get(URL, "AC1")
    wall.time += 301
    second = await cache.get(URL, "AC1")
    wall.time += 301
    await cache.get(URL, "AC1")

    assert second.seconds == pytest.approx(0.25, abs=0.001)
    assert fetch.asked[2][1] == {"If-None-Match": '"v2"'}


@ensureDeferred
async def test_when_the_server_cannot_be_reached_the_old_file_is_used(make):
    gone = PromptFetchError("connection refused")
    fetch, wall = Scripted(ok(etag='"v1"'), gone, gone, ok(OTHER)), Wall()
    cache = make(fetch, wall)
    first = await cache.get(URL, "AC1")
    wall.time += 301
    stale = await cache.get(URL, "AC1")
    again = await cache.get(URL, "AC1")

    assert (stale.path, stale.seconds) == (first.path, first.seconds)
    assert stale.stale_reason == "connection refused"
    assert again == stale
    assert len(fetch.asked) == 2  # not asked at each use while it is down
    wall.time += 11
    await cache.get(URL, "AC1")
    wall.time += 11
    assert (await cache.get(URL, "AC1")).stale_reason == ""


@pytest.mark.parametrize("status", [404, 500, 401, 204, 206])
@ensureDeferred
async def test_any_status_but_200_is_a_failure_and_is_not_cached(make, tmp_path, status):
    cache = make(Scripted(FetchReply(status, {}, TONE), ok()))
    with pytest.raises(PromptFetchError, match=str(status)) as failed:
        await cache.get(URL, "AC1")

    assert failed.value.status == status
    assert waves(tmp_path) == []
    assert (await cache.get(URL, "AC1")).seconds > 0


@ensureDeferred
async def test_a_304_that_was_not_asked_for_is_a_failure(make):
    with pytest.raises(PromptFetchError, match="304"):
        await make(Scripted(FetchReply(304, {}, b""))).get(URL, "AC1")


@pytest.mark.parametrize("body", [b"", b"<html>login</html>", TONE[:44]])
@ensureDeferred
async def test_what_cannot_be_played_is_not_cached(make, tmp_path, body):
    cache = make(Scripted(ok(body), ok()))
    with pytest.raises(PromptFetchError, match="cannot be played") as failed:
        await cache.get(URL, "AC1")

    assert failed.value.status == 200
    assert list((tmp_path / "prompts").iterdir()) == []
    assert (await cache.get(URL, "AC1")).seconds > 0


@ensureDeferred
async def test_a_changed_file_that_cannot_be_played_leaves_the_old_one(make, tmp_path):
    fetch, wall = Scripted(ok(etag='"v1"'), ok(b"junk"), FetchReply(304, {}, b"")), Wall()
    cache = make(fetch, wall)
    first = await cache.get(URL, "AC1")
    wall.time += 301
    with pytest.raises(PromptFetchError):
        await cache.get(URL, "AC1")

    assert await cache.get(URL, "AC1") == first


@ensureDeferred
async def test_concurrent_fetches_are_one_and_leaving_harms_nobody(make):
    fetch = Scripted()
    cache = make(fetch)
    waiting = [Deferred.fromCoroutine(cache.get(URL, "AC1")) for _ in range(20)]
    waiting[0].cancel()
    fetch.pending[0].callback(ok())
    results = await gatherResults(waiting[1:])

    assert len(set(results)) == 1
    assert len(fetch.asked) == 1
    with pytest.raises(CancelledError):
        await waiting[0]


@ensureDeferred
async def test_the_cache_survives_a_restart_with_its_validators(make, tmp_path):
    wall = Wall()
    first = await make(Scripted(ok(etag='"v1"')), wall).get(
        "http://me:secret@app.example/a.wav?token=1", "AC1"
    )
    fetch = Scripted(FetchReply(304, {}, b""))
    cache = make(fetch, wall)
    second = await cache.get("http://me:secret@app.example/a.wav?token=1", "AC1")
    assert second == first
    assert fetch.asked == []
    wall.time += 301
    await make(fetch, wall).get("http://me:secret@app.example/a.wav?token=1", "AC1")

    assert fetch.asked[0][1] == {"If-None-Match": '"v1"'}
    (note,) = (tmp_path / "prompts").glob("*.json")
    assert json.loads(note.read_text())["url"] == "http://app.example/a.wav"


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"checked": "x"}', '{"checked": null}'])
@ensureDeferred
async def test_a_broken_note_means_fetching_again(make, tmp_path, note):
    await make(Scripted(ok())).get(URL, "AC1")
    (path,) = (tmp_path / "prompts").glob("*.json")
    path.write_text(note)
    fetch = Scripted(ok())
    await make(fetch).get(URL, "AC1")

    assert len(fetch.asked) == 1


@ensureDeferred
async def test_a_clock_that_went_back_means_asking_again(make):
    fetch, wall = Scripted(ok()), Wall()
    cache = make(fetch, wall)
    await cache.get(URL, "AC1")
    wall.time -= 1000
    await cache.get(URL, "AC1")

    assert len(fetch.asked) == 2


@ensureDeferred
async def test_a_removed_file_is_fetched_again(make):
    fetch = Scripted(ok(etag='"v1"'))
    cache = make(fetch)
    (await cache.get(URL, "AC1")).path.unlink()
    assert (await cache.get(URL, "AC1")).path.exists()

    assert fetch.asked[1] == (URL, {})


@ensureDeferred
async def test_without_caching_every_use_fetches(make, tmp_path):
    fetch = Scripted(ok(), ok(OTHER))
    cache = make(fetch, enabled=False)
    await cache.get(URL, "AC1")
    second = await cache.get(URL, "AC1")

    assert len(fetch.asked) == 2
    assert second.seconds == pytest.approx(0.25, abs=0.001)
    assert len(list((tmp_path / "prompts").iterdir())) == 1


@pytest.mark.parametrize(
    "url", ["hello.wav", "", "ftp://a/b", "file:///etc/passwd", "http://", "http://a:99999/", "http://a/ b"]
)
@ensureDeferred
async def test_what_is_no_http_url_is_refused_without_a_request(make, url):
    fetch = Scripted(ok())
    with pytest.raises(PromptUrlError):
        await make(fetch).get(url, "AC1")

    assert fetch.asked == []


# ---------------------------------------------------------------- folder


def test_trim_removes_what_was_not_used_for_longest(tmp_path):
    for age, name in enumerate(["new", "middle", "old"]):
        for suffix in (".wav", ".json"):
            path = tmp_path / (name + suffix)
            path.write_bytes(bytes(100))
            os.utime(path, (1000 - age, 1000 - age))
    os.utime(tmp_path / "middle.json", (1, 1))
    (tmp_path / "left.over.tmp").write_bytes(bytes(5000))

    assert trim(tmp_path, 450) == 400
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "middle.json",
        "middle.wav",
        "new.json",
        "new.wav",
    ]
    assert trim(tmp_path, 450) == 400
    assert trim(tmp_path, 0) == 0
    assert trim(tmp_path / "missing", 0) == 0


# ---------------------------------------------------------------- over HTTP


class Server(Resource):
    isLeaf = True

    def __init__(self):
        super().__init__()
        self.requests = []
        self.open = []

    def render_GET(self, request):
        self.requests.append((request.uri, request.getUser(), request.getPassword()))
        name = request.uri.rpartition(b"/")[2]
        if name == b"moved.wav":
            request.redirect(b"/files/tone.mp3")
            return b""
        if name == b"circle.wav":
            request.redirect(b"/circle.wav")
            return b""
        if name == b"hang.wav":
            self.open.append(request)
            return NOT_DONE_YET
        if name == b"drip.wav":
            request.write(b"RIFF")
            self.open.append(request)
            return NOT_DONE_YET
        if name == b"endless.wav":
            for _ in range(100):
                request.write(bytes(10_000))
            self.open.append(request)
            return NOT_DONE_YET
        if name == b"broken.wav":
            request.setHeader(b"content-length", b"5000")
            request.write(TONE[:100])
            request.transport.loseConnection()
            return NOT_DONE_YET
        if name == b"missing.wav":
            request.setResponseCode(404)
            return b"gone"
        if request.setETag(b'"v1"'):
            return b""
        return (DATA / "tone-700hz-24k.mp3").read_bytes()


@async_yield_fixture
async def server():
    from twisted.internet import reactor

    made = Server()
    listening = reactor.listenTCP(0, Site(made), interface="127.0.0.1")
    made.port = listening.getHost().port
    made.url = f"http://127.0.0.1:{made.port}"
    connections = HTTPConnectionPool(reactor, persistent=False)
    agent = Agent(reactor, connectTimeout=2, pool=connections)
    made.fetch = lambda **options: TreqAudioFetch(reactor, agent, **options)
    yield made
    for request in made.open:
        if request.transport is not None:
            request.transport.abortConnection()
    await connections.closeCachedConnections()
    await listening.stopListening()


@ensureDeferred
async def test_over_http_with_redirect_and_conditional_refresh(make, server):
    wall = Wall()
    cache = make(server.fetch(), wall)
    first = await cache.get(server.url + "/moved.wav", "AC1")
    wall.time += 301
    second = await cache.get(server.url + "/moved.wav", "AC1")

    assert first == second
    assert first.seconds == pytest.approx(1.2, abs=0.1)
    assert [uri for uri, _, _ in server.requests] == [b"/moved.wav", b"/files/tone.mp3"] * 2


@ensureDeferred
async def test_a_304_over_http_has_no_body(server):
    fetch = server.fetch()
    reply = await fetch(server.url + "/a.mp3", {})
    again = await fetch(server.url + "/a.mp3", {"If-None-Match": reply.headers["etag"]})

    assert (reply.status, reply.body[:3]) == (200, b"ID3")
    assert (again.status, again.body) == (304, b"")


@ensureDeferred
async def test_user_information_becomes_basic_authentication(server):
    await server.fetch()(f"http://me:p%40ss@127.0.0.1:{server.port}/a.mp3", {})

    assert server.requests == [(b"/a.mp3", b"me", b"p@ss")]


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("missing.wav", 404, "404"),
        ("hang.wav", None, "no answer within"),
        ("drip.wav", None, "did not end"),
        ("endless.wav", 200, "longer than"),
        ("broken.wav", None, "broke off"),
        ("circle.wav", None, "cannot be fetched"),
    ],
)
@ensureDeferred
async def test_failures_over_http(make, server, tmp_path, name, status, message):
    cache = make(server.fetch(timeout=0.3, total_timeout=0.3, max_bytes=50_000, max_redirects=2))
    with pytest.raises(PromptFetchError, match=message) as failed:
        await cache.get(f"{server.url}/{name}", "AC1")

    assert failed.value.status == status
    assert waves(tmp_path) == []


@ensureDeferred
async def test_a_closed_port_is_an_io_error(make, server):
    with pytest.raises(PromptFetchError, match="cannot be reached") as failed:
        await make(server.fetch()).get("http://127.0.0.1:1/a.wav", "AC1")

    assert failed.value.status is None
