"""The espeak-ng engine with the real library in real child processes."""

import io
import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from pytest_twisted import async_yield_fixture, ensureDeferred
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from media import audio
from media.audio import decode
from media.speech import espeak_worker
from media.speech.espeak import EspeakEngine
from media.speech.languages import LANGUAGES
from media.speech.request import SpeechError, SpeechRequest

pytestmark = pytest.mark.loopback

TEXTS = {
    "ar": "مرحبا بكم",
    "ca": "Bon dia a tothom",
    "cs": "Dobrý den všem",
    "cy-gb": "Bore da pawb",
    "da": "God morgen alle sammen",
    "de": "Guten Tag, schöne Grüße",
    "el": "Καλημέρα σας",
    "es": "Buenos días, señores",
    "es-mx": "Buenos días, señores",
    "fi": "Hyvää päivää",
    "fr": "Bonjour à tous",
    "fr-ca": "Bonjour à tous",
    "is": "Góðan daginn",
    "it": "Buongiorno a tutti",
    "ja": "こんにちは",
    "ko": "안녕하세요",
    "nb": "God dag alle sammen",
    "nl": "Goedemorgen allemaal",
    "pl": "Dzień dobry państwu",
    "pt": "Bom dia a todos",
    "pt-br": "Bom dia a todos",
    "ro": "Bună ziua tuturor",
    "ru": "Добрый день",
    "sv": "God morgon på er",
    "tr-tr": "Günaydın arkadaşlar",
    "zh-cn": "你好，早上好",
    "zh-hk": "你好，早晨",
    "zh-tw": "你好，早安",
}


@async_yield_fixture
async def engine():
    from twisted.internet import reactor

    made = EspeakEngine(reactor)
    yield made
    await made.stop()


def pitch(samples):
    """Median pitch of voiced 40 ms frames, by autocorrelation, Hz."""
    found = []
    for start in range(0, len(samples) - 640, 160):
        frame = samples[start : start + 640].astype(float)
        if audio.rms_dbfs(samples[start : start + 640]) < -35:
            continue
        frame -= frame.mean()
        correlation = np.correlate(frame, frame, "full")[639:]
        lag = 25 + int(np.argmax(correlation[25:130]))
        if correlation[lag] > 0.5 * correlation[0]:
            found.append(8000 / lag)
    return float(np.median(found))


@pytest.mark.parametrize("voice", ["man", "woman"])
@ensureDeferred
async def test_every_language_is_spoken(engine, voice):
    for key in LANGUAGES:
        text = TEXTS.get(key, "Good morning everybody")
        samples = decode(await engine.synthesize(SpeechRequest(text, voice, key)))

        assert 0.3 < len(samples) / 8000 < 5, key
        assert audio.rms_dbfs(samples) > -40, key
    assert len(engine.pids) == 1
    assert engine.restarts == 0


@ensureDeferred
async def test_the_language_changes_what_is_said(engine):
    lengths = {}
    for key in ("en", "de", "ru", "ja"):
        lengths[key] = len(await engine.synthesize(SpeechRequest("1999", "man", key)))

    ordered = sorted(lengths.values())
    assert all(after > 1.03 * before for before, after in itertools.pairwise(ordered)), lengths


@ensureDeferred
async def test_man_and_woman_differ_in_pitch(engine):
    for language in ("en", "de", "fr", "ru", "zh-cn"):
        text = TEXTS.get(language, "Good morning everybody, how do you do")
        man = pitch(decode(await engine.synthesize(SpeechRequest(text, "man", language))))
        woman = pitch(decode(await engine.synthesize(SpeechRequest(text, "woman", language))))

        assert 60 < man < 150
        assert woman > 1.4 * man


@ensureDeferred
async def test_the_audio_is_22050_hz_mono_16_bit(engine):
    info = soundfile.info(io.BytesIO(await engine.synthesize(SpeechRequest("hello"))))

    assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")


@ensureDeferred
async def test_digits_are_read_as_a_number_and_spaced_ones_singly(engine):
    number = decode(await engine.synthesize(SpeechRequest("1234")))
    singly = decode(await engine.synthesize(SpeechRequest("1 2 3 4")))
    words = decode(await engine.synthesize(SpeechRequest("one thousand two hundred thirty four")))

    assert len(number) > len(singly)
    assert len(number) == pytest.approx(len(words), rel=0.25)


@ensureDeferred
async def test_odd_texts_do_no_harm(engine):
    for text in ("a\0b", "\ud800", "<speak>hi</speak>", "[[h@'loU]]", "🙂 hello", "a" * 3000, "%s%n" * 50):
        assert (await engine.synthesize(SpeechRequest(text)))[:4] == b"RIFF"
    assert engine.restarts == 0


@ensureDeferred
async def test_a_running_child_answers_fast(engine):
    await engine.synthesize(SpeechRequest("warm up"))
    took = []
    for number in range(9):
        started = time.monotonic()
        await engine.synthesize(SpeechRequest(f"You have {number} new messages"))
        took.append(time.monotonic() - started)

    assert sorted(took)[4] < 0.1  # about 5 ms on an idle machine


@ensureDeferred
async def test_when_the_child_was_killed_the_request_is_tried_again(engine):
    await engine.synthesize(SpeechRequest("one"))
    (first,) = engine.pids
    os.kill(first, signal.SIGKILL)
    data = await engine.synthesize(SpeechRequest("two"))

    assert data[:4] == b"RIFF"
    assert engine.pids != [first]
    assert engine.restarts == 1


@ensureDeferred
async def test_a_child_that_hangs_is_replaced(engine):
    from twisted.internet import reactor

    hasty = EspeakEngine(reactor, timeout=0.3)
    await engine.synthesize(SpeechRequest("warm the file cache"))
    with_room = EspeakEngine(reactor, timeout=10)
    try:
        await with_room.synthesize(SpeechRequest("one"))
        hasty._pool = with_room._pool
        (hung,) = with_room.pids
        os.kill(hung, signal.SIGSTOP)
        with pytest.raises(SpeechError, match=r"within 0\.3 s"):
            await hasty.synthesize(SpeechRequest("two"))

        assert (await with_room.synthesize(SpeechRequest("three")))[:4] == b"RIFF"
        assert hung not in with_room.pids
    finally:
        await with_room.stop()


@ensureDeferred
async def test_many_requests_share_the_children_and_none_are_mixed_up():
    from twisted.internet import reactor

    two = EspeakEngine(reactor, processes=2)
    try:
        texts = ["number " * count for count in range(1, 13)]
        alone = [len(await two.synthesize(SpeechRequest(text))) for text in texts]
        assert len(two.pids) == 1
        work = [Deferred.fromCoroutine(two.synthesize(SpeechRequest(text))) for text in texts]
        together = [len(data) for data in await gatherResults(work)]

        assert together == pytest.approx(alone, rel=0.03)  # espeak-ng varies a little from time to time
        assert len(two.pids) == 2
        assert two.waiting == 0
    finally:
        await two.stop()
    assert two.pids == []


@ensureDeferred
async def test_a_cancelled_waiter_leaves_the_queue(engine):
    first = Deferred.fromCoroutine(engine.synthesize(SpeechRequest("first " * 50)))
    second = Deferred.fromCoroutine(engine.synthesize(SpeechRequest("second")))
    third = Deferred.fromCoroutine(engine.synthesize(SpeechRequest("third")))
    assert engine.waiting == 2
    second.cancel()

    assert engine.waiting == 1
    with pytest.raises(CancelledError):
        await second
    assert (await first)[:4] == (await third)[:4] == b"RIFF"


@ensureDeferred
async def test_speech_past_the_limit_and_past_the_queue_is_refused():
    from twisted.internet import reactor

    small = EspeakEngine(reactor, limit_seconds=1.0, maximum_waiting=0)
    try:
        long = Deferred.fromCoroutine(small.synthesize(SpeechRequest("very long " * 20)))
        with pytest.raises(SpeechError, match="wait for espeak-ng"):
            await small.synthesize(SpeechRequest("x"))
        with pytest.raises(SpeechError, match="longer than 1 s"):
            await long
        assert (await small.synthesize(SpeechRequest("hi")))[:4] == b"RIFF"
    finally:
        await small.stop()


@ensureDeferred
async def test_after_stop_nothing_is_left_and_nothing_starts(engine):
    await engine.synthesize(SpeechRequest("one"))
    (pid,) = engine.pids
    waiting = [Deferred.fromCoroutine(engine.synthesize(SpeechRequest(f"n {n}"))) for n in range(3)]
    await engine.stop()

    for one in waiting[1:]:
        with pytest.raises(SpeechError, match="stopped"):
            await one
    with pytest.raises(SpeechError, match="stopped"):
        await engine.synthesize(SpeechRequest("two"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_child_ends_when_its_stdin_ends():
    done = subprocess.run(
        [sys.executable, "-m", "media.speech.espeak_worker"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
    )

    assert done.returncode == 0
    assert done.stdout == espeak_worker.frame(b"22050")


def test_the_child_answers_bad_requests_with_an_error():
    bad = [b"not json", b"{}", b'{"text": "a", "voice": "no/such", "limit": 5}']
    done = subprocess.run(
        [sys.executable, "-m", "media.speech.espeak_worker"],
        input=b"".join(map(espeak_worker.frame, bad)),
        capture_output=True,
        timeout=20,
    )
    stream = io.BytesIO(done.stdout)
    replies = [espeak_worker.read_frame(stream) for _ in range(4)]

    assert [reply[:1] for reply in replies[1:]] == [b"E"] * 3
    assert b"no/such" in replies[3]


def test_the_child_imports_nothing_heavy():
    code = (
        "import sys, media.speech.espeak_worker;"
        "print([name for name in ('twisted', 'numpy', 'attr') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)

    assert done.stdout.strip() == "[]"


def test_a_long_path_to_the_data_is_worked_around(tmp_path):
    """espeak-ng cuts its data path at 160 bytes."""
    from espeakng_loader import get_data_path, get_library_path

    deep = tmp_path / ("x" * 200)
    deep.mkdir()
    (deep / "espeak-ng-data").symlink_to(get_data_path())
    code = (
        "import sys; from media.speech.espeak_worker import Espeak; e = Espeak(*sys.argv[1:]);"
        "print(len(e.speak('hello', 'gmw/en', 9)) > 5000); e.close()"
    )
    command = [sys.executable, "-c", code, get_library_path(), str(deep / "espeak-ng-data")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=20, env={**os.environ, "TMPDIR": str(tmp_path)}
    )

    assert done.stdout.strip() == "True", done.stderr
    assert [path for path in tmp_path.iterdir() if path != deep] == []
