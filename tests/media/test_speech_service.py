"""The speech service: cache, collapse, order of engines, limits. Engines here are scripted."""

import numpy as np
import pytest
from pytest_twisted import async_yield_fixture, ensureDeferred
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.python.threadpool import ThreadPool

from media import audio
from media.audio import wav_bytes
from media.speech.request import SpeechError, SpeechRequest
from media.speech.service import SpeechService
from media.tones import sine

pytestmark = pytest.mark.loopback

TONE = wav_bytes(sine(600, 0.5, rate=22050), 22050)


class Scripted:
    """An engine whose answers are given by the test; without any it waits for `answer`."""

    def __init__(self, name="scripted", answers=None):
        self.name = name
        self.answers = answers
        self.asked = []
        self.pending = []
        self.cancelled = 0
        self.stopped = False

    async def synthesize(self, request):
        self.asked.append(request)
        if self.answers is not None:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        else:
            self.pending.append(Deferred())
            try:
                answer = await self.pending[-1]
            except CancelledError:
                self.cancelled += 1
                raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def stop(self):
        self.stopped = True


class SteppedClock:
    """The reactor, with a clock that can be put forward."""

    def __init__(self, reactor):
        self._reactor = reactor
        self.ahead = 0.0

    def seconds(self):
        return self._reactor.seconds() + self.ahead

    def __getattr__(self, name):
        return getattr(self._reactor, name)


@async_yield_fixture
async def make(tmp_path):
    from twisted.internet import reactor

    pool = ThreadPool(0, 2, "audio")
    pool.start()
    made = []

    def build(*engines, reactor=reactor, **options):
        made.append(SpeechService(reactor, engines, tmp_path / "speech", pool=pool, **options))
        return made[-1]

    yield build
    for service in made:
        await service.stop()
    pool.stop()


def files(tmp_path):
    return sorted((tmp_path / "speech").iterdir())


@ensureDeferred
async def test_the_file_is_what_a_worker_can_play(make, tmp_path):
    spoken = await make(Scripted(answers=[TONE])).synthesize(SpeechRequest("Hello"))
    samples, rate = audio.read_wav(spoken.path)

    assert rate == 8000
    assert spoken.seconds == len(samples) / 8000 == pytest.approx(0.5, abs=0.001)
    assert files(tmp_path) == [spoken.path]


@ensureDeferred
async def test_a_text_is_spoken_once(make):
    engine = Scripted(answers=[TONE])
    service = make(engine)
    first = await service.synthesize(SpeechRequest("Hello", "woman", "en"))
    again = await service.synthesize(SpeechRequest("Hello", "Woman", "en-US"))

    assert again == first
    assert len(engine.asked) == 1
    assert (service.hits, service.misses) == (1, 1)


@ensureDeferred
async def test_a_hit_needs_no_turn_of_the_reactor(make):
    service = make(Scripted(answers=[TONE]))
    await service.synthesize(SpeechRequest("Hello"))

    assert Deferred.fromCoroutine(service.synthesize(SpeechRequest("Hello"))).called


@ensureDeferred
async def test_the_cache_outlives_the_service(make):
    first = await make(Scripted(answers=[TONE])).synthesize(SpeechRequest("Hello"))
    engine = Scripted(answers=[TONE])
    second = await make(engine).synthesize(SpeechRequest("Hello"))

    assert second == first
    assert engine.asked == []


@ensureDeferred
async def test_a_file_that_was_removed_is_made_again(make):
    engine = Scripted(answers=[TONE])
    service = make(engine)
    (await service.synthesize(SpeechRequest("Hello"))).path.unlink()
    again = await service.synthesize(SpeechRequest("Hello"))

    assert again.path.exists()
    assert len(engine.asked) == 2


def test_the_key_covers_the_whole_request_and_the_engines(make):
    one, two = Scripted("one"), Scripted("two")
    service = make(one, two)
    keys = {
        service.key(SpeechRequest("Hello")),
        service.key(SpeechRequest("Hello ")),
        service.key(SpeechRequest("hello")),
        service.key(SpeechRequest("Hello", "woman")),
        service.key(SpeechRequest("Hello", "man", "fr")),
        make(two, one).key(SpeechRequest("Hello")),
        make(one).key(SpeechRequest("Hello")),
    }

    assert len(keys) == 7
    assert make(one, two).key(SpeechRequest("Hello", "MAN", "tlh")) in keys


@ensureDeferred
async def test_concurrent_equal_requests_are_one(make):
    engine = Scripted()
    service = make(engine)
    waiting = [Deferred.fromCoroutine(service.synthesize(SpeechRequest("Hello"))) for _ in range(50)]
    assert len(engine.asked) == 1
    assert service.under_way == 1
    engine.pending[0].callback(TONE)

    assert len(set(await gatherResults(waiting))) == 1
    assert service.under_way == 0


@ensureDeferred
async def test_a_waiter_that_leaves_does_not_take_the_others_along(make):
    engine = Scripted()
    service = make(engine)
    first, second, third = [
        Deferred.fromCoroutine(service.synthesize(SpeechRequest("Hello"))) for _ in range(3)
    ]
    first.cancel()
    third.cancel()
    engine.pending[0].callback(TONE)

    assert (await second).seconds == pytest.approx(0.5, abs=0.001)
    assert engine.cancelled == 0
    for left in (first, third):
        with pytest.raises(CancelledError):
            await left


@ensureDeferred
async def test_when_all_have_left_the_result_still_enters_the_cache(make):
    engine = Scripted()
    service = make(engine)
    only = Deferred.fromCoroutine(service.synthesize(SpeechRequest("Hello")))
    only.cancel()
    with pytest.raises(CancelledError):
        await only
    later = Deferred.fromCoroutine(service.synthesize(SpeechRequest("Hello")))
    engine.pending[0].callback(TONE)
    await later

    assert len(engine.asked) == 1


@ensureDeferred
async def test_a_shared_failure_reaches_all_and_is_forgotten(make, tmp_path):
    engine = Scripted()
    service = make(engine)
    waiting = [Deferred.fromCoroutine(service.synthesize(SpeechRequest("Hello"))) for _ in range(3)]
    engine.pending[0].errback(SpeechError("no"))
    for one in waiting:
        with pytest.raises(SpeechError, match="scripted: no"):
            await one
    again = Deferred.fromCoroutine(service.synthesize(SpeechRequest("Hello")))
    engine.pending[1].callback(TONE)

    assert (await again).path.exists()
    assert service.last_errors == {"scripted": 1}


@pytest.mark.parametrize(
    "bad",
    [
        SpeechError("refused"),
        b"",
        b"<html>error</html>",
        wav_bytes(np.zeros(0, np.int16)),
        wav_bytes(np.zeros(8000, np.int16)),
    ],
    ids=["error", "nothing", "no audio", "no samples", "silence"],
)
@ensureDeferred
async def test_what_is_bad_never_enters_the_cache_and_the_next_engine_speaks(make, tmp_path, bad):
    first, second = Scripted("one", [bad]), Scripted("two", [TONE])
    alone = make(first)
    with pytest.raises(SpeechError, match="one: "):
        await alone.synthesize(SpeechRequest("Hello"))
    assert files(tmp_path) == []

    both = make(first, second)
    spoken = await both.synthesize(SpeechRequest("Hello"))
    assert spoken.seconds == pytest.approx(0.5, abs=0.001)
    assert both.last_errors == {"one": 1}


@ensureDeferred
async def test_an_engine_that_hangs_is_left_after_its_time(make):
    first, second = Scripted("one"), Scripted("two", [TONE])
    service = make(first, second, engine_timeout=0.05)
    await service.synthesize(SpeechRequest("Hello"))

    assert first.cancelled == 1
    assert service.last_errors == {"one": 1}


@ensureDeferred
async def test_when_all_fail_the_error_names_all_reasons(make):
    service = make(Scripted("one", [SpeechError("busy")]), Scripted("two", [SpeechError("broken")]))
    with pytest.raises(SpeechError, match="one: busy; two: broken"):
        await service.synthesize(SpeechRequest("Hello"))


@ensureDeferred
async def test_the_second_engine_is_used_for_a_while_only(make):
    """A passing failure of the better engine must not stay audible for ever, nor be tried at each use."""
    from twisted.internet import reactor

    clock = SteppedClock(reactor)
    first, second = Scripted("one", [SpeechError("busy"), TONE]), Scripted("two", [TONE])
    service = make(first, second, reactor=clock, fallback_seconds=60)
    request = SpeechRequest("Hello")
    fallback = await service.synthesize(request)
    assert (await service.synthesize(request)) == fallback
    assert len(first.asked) == 1
    clock.ahead = 61
    better = await service.synthesize(request)

    assert better.path != fallback.path
    assert len(first.asked) == 2
    assert len(second.asked) == 1
    assert (await make(first, second).synthesize(request)).path == better.path


@ensureDeferred
async def test_texts_that_are_empty_or_too_long_are_refused(make):
    engine = Scripted(answers=[TONE])
    service = make(engine, max_characters=10)
    with pytest.raises(SpeechError, match="at most 10"):
        await service.synthesize(SpeechRequest("12345678901"))
    with pytest.raises(SpeechError, match="no text"):
        await service.synthesize(SpeechRequest(" \n "))

    assert engine.asked == []


@ensureDeferred
async def test_stop_gives_up_what_is_under_way_and_stops_the_engines(make):
    engine = Scripted()
    service = make(engine)
    waiting = Deferred.fromCoroutine(service.synthesize(SpeechRequest("Hello")))
    await service.stop()

    with pytest.raises(CancelledError):
        await waiting
    assert engine.stopped
    assert engine.cancelled == 1


@ensureDeferred
async def test_a_disk_that_cannot_be_written_is_a_speech_error(make, tmp_path):
    service = make(Scripted(answers=[TONE]))
    (tmp_path / "speech").rmdir()
    with pytest.raises(SpeechError):
        await service.synthesize(SpeechRequest("Hello"))


def test_a_service_without_engines_is_refused(make):
    with pytest.raises(ValueError, match="at least one"):
        make()
