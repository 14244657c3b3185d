"""The gTTS engine against a stand-in of the service on loopback, with real MP3 bytes."""

import base64
import json
import threading
import time
import urllib.parse
from pathlib import Path

import pytest
from pytest_twisted import async_yield_fixture, ensureDeferred
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from media import audio
from media.audio import decode
from media.speech.espeak import EspeakEngine
from media.speech.gtts_engine import GttsEngine
from media.speech.request import SpeechError, SpeechRequest
from media.speech.service import SpeechService
from media.tones import dominant_frequencies

pytestmark = pytest.mark.loopback

MP3 = (Path(__file__).parents[1] / "data" / "audio" / "tone-700hz-24k.mp3").read_bytes()


class Google(Resource):
    """Answers like translate.google.com/_/TranslateWebserverUi/data/batchexecute."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.texts = []
        self.mode = "ok"
        self.open = []
        self.paths = []
        self.asked = Deferred()

    def render_POST(self, request):
        self.paths.append(request.path)
        rpc = json.loads(request.args[b"f.req"][0])
        text, language, _, _ = json.loads(rpc[0][0][1])
        self.texts.append((text, language))
        if self.mode == "hang":
            self.open.append(request)
            if not self.asked.called:
                self.asked.callback(None)
            return NOT_DONE_YET
        if self.mode == "drip":
            request.write(b")]}'\n")
            self.open.append(request)
            return NOT_DONE_YET
        if self.mode == "broken":
            request.setHeader(b"content-length", b"100000")
            request.write(b"x")
            request.transport.loseConnection()
            return NOT_DONE_YET
        if isinstance(self.mode, int):
            request.setResponseCode(self.mode)
            return b"no"
        audio_text = {"ok": base64.b64encode(MP3).decode(), "bad base64": "A"}.get(self.mode)
        inner = json.dumps([audio_text], separators=(",", ":")) if audio_text else "[]"
        if self.mode == "not audio":
            inner = json.dumps([base64.b64encode(b"<html>").decode()], separators=(",", ":"))
        outer = json.dumps([["wrb.fr", "jQ1olc", inner, None, None, None, "generic"]], separators=(",", ":"))
        return f')]}}\'\n\n{len(outer)}\n{outer}\n25\n[["e",4,null,null,100]]\n'.encode()


@async_yield_fixture
async def google():
    from twisted.internet import reactor

    made = Google()
    listening = reactor.listenTCP(0, Site(made), interface="127.0.0.1")
    made.url = f"http://127.0.0.1:{listening.getHost().port}"
    yield made
    for request in made.open:
        request.transport.abortConnection()
    await listening.stopListening()


def engine_for(google, **options):
    from twisted.internet import reactor

    return GttsEngine(reactor, base_url=options.pop("base_url", google.url), **options)


@ensureDeferred
async def test_a_text_is_spoken(google):
    engine = engine_for(google)
    data = await engine.synthesize(SpeechRequest("Hello there", "man", "en-gb"))
    await engine.stop()

    assert data == MP3
    assert google.texts == [("Hello there", "en")]
    assert google.paths == [b"/_/TranslateWebserverUi/data/batchexecute"]


@ensureDeferred
async def test_a_base_with_a_prefix_is_kept(google):
    engine = engine_for(google, base_url=google.url + "/google/")
    await engine.synthesize(SpeechRequest("Hello", "man", "pt-br"))
    await engine.stop()

    assert google.paths == [b"/google/_/TranslateWebserverUi/data/batchexecute"]
    assert google.texts == [("Hello", "pt")]


@ensureDeferred
async def test_a_long_text_is_sent_in_parts_and_joined(google):
    engine = engine_for(google)
    text = "This is a sentence of some length, is it not? " * 6
    data = await engine.synthesize(SpeechRequest(text))
    await engine.stop()

    assert len(google.texts) > 2
    assert len(decode(data)) > 0.98 * len(google.texts) * len(decode(MP3))
    assert {part for part, _ in google.texts} == {"This is a sentence of some length", "is it not?"}


def test_without_a_base_the_google_host_of_the_language_is_asked():
    from media.speech.gtts_engine import _requests

    (prepared,) = _requests(SpeechRequest("Hello", "man", "en-gb"), "")

    assert prepared.url == "https://translate.google.co.uk/_/TranslateWebserverUi/data/batchexecute"
    assert urllib.parse.quote("Hello") in prepared.body


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (429, "429"),
        (500, "500"),
        (302, "302"),
        ("no audio", "no audio"),
        ("bad base64", "base64"),
        ("broken", "gTTS could not be reached"),
    ],
)
@ensureDeferred
async def test_failures_are_speech_errors(google, mode, message):
    google.mode = mode
    engine = engine_for(google)
    with pytest.raises(SpeechError, match=message):
        await engine.synthesize(SpeechRequest("Hello"))
    await engine.stop()

    assert engine.waiting == 0


@ensureDeferred
async def test_a_refused_connection_is_a_speech_error(google):
    engine = engine_for(google, base_url="http://127.0.0.1:1")
    with pytest.raises(SpeechError, match="could not be reached"):
        await engine.synthesize(SpeechRequest("Hello"))
    await engine.stop()


@ensureDeferred
async def test_a_text_of_punctuation_only_is_a_speech_error(google):
    engine = engine_for(google)
    with pytest.raises(SpeechError, match="nothing to speak"):
        await engine.synthesize(SpeechRequest("?!."))
    await engine.stop()


@pytest.mark.parametrize("mode", ["hang", "drip"])
@ensureDeferred
async def test_the_whole_time_is_limited(google, mode):
    google.mode = mode
    engine = engine_for(google, timeout=0.3)
    started = time.monotonic()
    with pytest.raises(SpeechError, match="gTTS"):
        await engine.synthesize(SpeechRequest("Hello"))

    assert time.monotonic() - started < 2
    assert engine.waiting == 0
    await engine.stop()


@ensureDeferred
async def test_a_hanging_service_does_not_hold_up_the_end(google):
    google.mode = "hang"
    engine = engine_for(google, timeout=5)
    open_request = Deferred.fromCoroutine(engine.synthesize(SpeechRequest("Hello")))
    await google.asked
    started = time.monotonic()
    await engine.stop()

    assert time.monotonic() - started < 0.5
    assert all(thread.daemon for thread in threading.enumerate() if "gtts" in thread.name)
    for request in google.open:
        request.transport.abortConnection()
    with pytest.raises(SpeechError):
        await open_request
    with pytest.raises(SpeechError, match="stopped"):
        await engine.synthesize(SpeechRequest("Hello"))


@ensureDeferred
async def test_no_more_texts_than_allowed_are_in_hand(google):
    google.mode = "hang"
    engine = engine_for(google, timeout=0.3, maximum_waiting=1, threads=1)
    first = Deferred.fromCoroutine(engine.synthesize(SpeechRequest("Hello")))
    with pytest.raises(SpeechError, match="1 texts wait"):
        await engine.synthesize(SpeechRequest("Hello again"))
    with pytest.raises(SpeechError):
        await first
    await engine.stop()


# ---------------------------------------------------------------- with espeak-ng behind it


@async_yield_fixture
async def service(google, tmp_path):
    from twisted.internet import reactor

    pool = ThreadPool(0, 2, "audio")
    pool.start()
    engines = [engine_for(google, timeout=0.5), EspeakEngine(reactor)]
    made = SpeechService(reactor, engines, tmp_path / "speech", pool=pool)
    yield made
    await made.stop()
    pool.stop()


@ensureDeferred
async def test_the_mp3_becomes_a_playable_file(service):
    spoken = await service.synthesize(SpeechRequest("Hello"))
    samples, rate = audio.read_wav(spoken.path)

    assert rate == 8000
    assert dominant_frequencies(samples)[0] == pytest.approx(700, abs=3)
    assert spoken.seconds == pytest.approx(1.2, abs=0.1)
    assert service.last_errors == {}


@pytest.mark.parametrize("mode", [429, "hang", "no audio", "not audio"])
@ensureDeferred
async def test_when_gtts_fails_espeak_speaks_within_the_same_request(service, google, mode):
    google.mode = mode
    spoken = await service.synthesize(SpeechRequest("Hello, this is the other engine"))
    samples, _ = audio.read_wav(spoken.path)

    assert dominant_frequencies(samples)[0] != pytest.approx(700, abs=20)
    assert 1 < spoken.seconds < 4
    assert service.last_errors == {"gtts": 1}
    assert len(google.texts) == 1


@ensureDeferred
async def test_many_callers_of_a_failing_service_all_hear_espeak(service, google):
    google.mode = 429
    requests = [SpeechRequest(f"Caller {number % 5}") for number in range(20)]
    spoken = await gatherResults([Deferred.fromCoroutine(service.synthesize(one)) for one in requests])

    assert len({one.path for one in spoken}) == 5
    assert service.last_errors == {"gtts": 5}
