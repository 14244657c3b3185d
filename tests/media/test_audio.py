"""Decoding, resampling, WAV files and levels, on real sound files."""

import io
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media import audio
from media.audio import RATE, AudioError, decode
from media.tones import dominant_frequencies, sine

pytestmark = pytest.mark.unit

DATA = Path(__file__).parents[1] / "data" / "audio"


def encoded(frequency, rate, *, subtype="PCM_16", channels=1, seconds=0.5, container="WAV"):
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)
    file = io.BytesIO()
    soundfile.write(file, np.repeat(wave[:, None], channels, axis=1), rate, format=container, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(
    ("rate", "subtype", "channels"),
    [
        (8000, "PCM_16", 1),
        (8000, "PCM_U8", 1),
        (11025, "PCM_16", 1),
        (11025, "PCM_U8", 2),
        (16000, "PCM_24", 1),
        (22050, "PCM_32", 2),
        (44100, "FLOAT", 2),
        (48000, "PCM_24", 6),
        (8000, "ULAW", 1),
        (8000, "ALAW", 2),
        (8000, "GSM610", 1),
        (8000, "IMA_ADPCM", 1),
        (6000, "PCM_16", 1),
        (12345, "PCM_16", 1),
        (192000, "PCM_16", 1),
    ],
)
def test_wav_of_any_kind_becomes_8_khz_with_the_right_pitch_level_and_length(rate, subtype, channels):
    samples = decode(encoded(1000, rate, subtype=subtype, channels=channels))

    assert samples.dtype == np.int16
    assert samples.ndim == 1
    assert dominant_frequencies(samples)[0] == pytest.approx(1000, abs=3)
    assert audio.rms_dbfs(samples) == pytest.approx(-9.03, abs=0.6)
    assert len(samples) / RATE == pytest.approx(0.5, abs=0.07)  # GSM and ADPCM end with a whole block


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("tone-700hz*")))
def test_files_of_other_programs_are_decoded(name):
    samples = decode((DATA / name).read_bytes())

    assert dominant_frequencies(samples)[0] == pytest.approx(700, abs=3)
    assert audio.rms_dbfs(samples) > -30


@pytest.mark.parametrize(
    ("container", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
)
def test_other_containers_are_decoded(container, subtype):
    samples = decode(encoded(900, 44100, container=container, subtype=subtype, channels=2))

    assert dominant_frequencies(samples)[0] == pytest.approx(900, abs=3)


@pytest.mark.parametrize("rate", [44100, 22050, 16000, 48000])
@pytest.mark.parametrize("frequency", [4200, 5000, 6000, 7500])
def test_what_8_khz_cannot_carry_is_filtered_out_and_makes_no_alias(rate, frequency):
    """6 kHz, decimated without a filter, would be heard at 2 kHz."""
    middle = decode(encoded(frequency, rate))[800:-800]  # the onset of the tone is a click, which is wide

    assert audio.rms_dbfs(middle) < -65


@pytest.mark.parametrize("rate", [44100, 11025, 48000])
def test_speech_frequencies_keep_their_level(rate):
    for frequency in (200, 1500, 3300):
        middle = decode(encoded(frequency, rate))[800:-800]

        assert audio.rms_dbfs(middle) == pytest.approx(-9.03, abs=0.1)


def test_resampling_keeps_the_time_of_events():
    rate = 44100
    wave = np.zeros(rate, np.float32)
    wave[rate // 2] = 1.0
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="WAV", subtype="FLOAT")

    samples = decode(file.getvalue())

    assert int(np.argmax(np.abs(samples))) == RATE // 2


def test_blocks_leave_no_seams():
    """Decoded in blocks of 65536 frames: the result equals the ideal tone everywhere."""
    samples = decode(encoded(1000, 44100, seconds=5))
    ideal = 0.5 * 32768 * np.sin(2 * np.pi * 1000 * np.arange(len(samples)) / RATE)

    assert np.max(np.abs(samples[100:-100] - ideal[100:-100])) <= 2


def test_an_mp3_behind_rubbish_is_found():
    mp3 = (DATA / "tone-700hz-24k.mp3").read_bytes()
    tag = b"ID3\x03\x00\x00\x00\x00\x01\x00" + bytes(128)

    assert dominant_frequencies(decode(tag + mp3))[0] == pytest.approx(700, abs=3)
    assert dominant_frequencies(decode(mp3 + mp3))[0] == pytest.approx(700, abs=3)


def test_the_length_of_an_mp3_is_not_guessed():
    """Without a Xing frame the bit rate of the first frame tells nothing of the others."""
    mp3 = (DATA / "tone-700hz-24k.mp3").read_bytes()
    plain = mp3.replace(b"Info", bytes(4), 1)

    assert len(decode(plain)) / RATE == pytest.approx(1.25, abs=0.06)


def test_a_wav_from_a_pipe_with_unknown_sizes_is_decoded():
    wav = bytearray(encoded(1000, 16000))
    wav[4:8] = wav[40:44] = b"\xff\xff\xff\xff"

    assert len(decode(bytes(wav))) == pytest.approx(0.5 * RATE, abs=2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>404</html>",
        bytes(2000),
        b"RIFF\x24\0\0\0WAVEfmt ",
        encoded(1000, 8000)[:44],
        b"ID3" + bytes(500),
    ],
)
def test_what_is_no_sound_is_refused(data):
    with pytest.raises(AudioError):
        decode(data)


def test_audio_past_the_limit_is_refused():
    with pytest.raises(AudioError, match=r"longer than 0\.4 s"):
        decode(encoded(1000, 8000), limit_seconds=0.4)


def test_silly_sample_rates_are_refused():
    with pytest.raises(AudioError):
        decode(encoded(10, 100))


def test_samples_that_are_not_numbers_become_silence():
    file = io.BytesIO()
    wave = np.full(8000, np.nan, np.float32)
    soundfile.write(file, wave, 8000, format="WAV", subtype="FLOAT")

    assert not decode(file.getvalue()).any()


# ---------------------------------------------------------------- files


def test_a_written_file_reads_back(tmp_path):
    samples = sine(440, 0.25)
    seconds = audio.write_wav(tmp_path / "a.wav", samples)
    back, rate = audio.read_wav(tmp_path / "a.wav")

    assert seconds == 0.25
    assert rate == 8000
    assert np.array_equal(back, samples)
    assert audio.duration(tmp_path / "a.wav") == 0.25
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_sox_takes_a_written_file_for_what_it_is(tmp_path):
    audio.write_wav(tmp_path / "a.wav", sine(440, 0.25))
    told = subprocess.run(
        ["soxi", tmp_path / "a.wav"], capture_output=True, text=True, timeout=10, check=True
    ).stdout

    assert "8000" in told
    assert "16-bit" in told
    assert "2000 samples" in told


def test_a_file_is_never_shorter_than_40_ms(tmp_path):
    assert audio.write_wav(tmp_path / "a.wav", sine(440, 0.01)) == 0.04
    assert audio.write_wav(tmp_path / "b.wav", np.zeros(0, np.int16)) == 0.04
    assert audio.duration(tmp_path / "b.wav") == 0.04


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(OSError, match=r"a\.wav"):
        audio.write_wav(tmp_path / "a.wav", sine(440, 0.1))

    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def killed(path, samples, *, extra=b""):
    """A file as a recorder leaves it that was killed: sizes 0."""
    wav = bytearray(audio.wav_bytes(samples))
    wav[4:8] = wav[40:44] = bytes(4)
    path.write_bytes(bytes(wav) + extra)


def test_the_header_of_a_killed_recorder_is_repaired(tmp_path):
    path = tmp_path / "r.wav"
    killed(path, sine(440, 1.5), extra=b"\x01")  # half a sample at the end

    assert audio.duration(path) == 1.5
    assert audio.repair_wav_header(path) == 1.5
    assert path.read_bytes() == audio.wav_bytes(sine(440, 1.5))


def test_a_u_law_header_is_repaired_with_its_fact_chunk(tmp_path):
    path = tmp_path / "r.wav"
    fmt = b"fmt " + struct.pack("<IHHIIHHH", 18, 7, 1, 8000, 8000, 1, 8, 0)
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + fmt + b"fact\x04\0\0\0\0\0\0\0data\0\0\0\0" + b"\xff\x80" * 4000)

    assert audio.repair_wav_header(path) == 1.0
    samples, rate = audio.read_wav(path)
    assert (len(samples), rate) == (8000, 8000)


def test_a_sound_header_is_left_alone(tmp_path):
    path = tmp_path / "r.wav"
    whole = audio.wav_bytes(sine(440, 1)) + b"LIST\x04\0\0\0abcd"
    path.write_bytes(whole)

    assert audio.repair_wav_header(path) == 1.0
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"RIFF", audio.wav_bytes(sine(440, 1))[:36], b"OggS" + bytes(100)])
def test_a_file_without_a_header_cannot_be_repaired(tmp_path, content):
    path = tmp_path / "r.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError):
        audio.repair_wav_header(path)

    assert path.read_bytes() == content


# ---------------------------------------------------------------- levels


def test_levels():
    assert audio.rms_dbfs(sine(1000, 1, level_dbfs=0)) == pytest.approx(-3.01, abs=0.01)
    assert audio.peak_dbfs(sine(1000, 1, level_dbfs=-20)) == pytest.approx(-20, abs=0.1)
    assert audio.rms_dbfs(np.zeros(10, np.int16)) == audio.SILENCE_DBFS
    assert audio.rms_dbfs(np.zeros(0, np.int16)) == audio.SILENCE_DBFS
    assert audio.is_silent(np.zeros(100, np.int16))
    assert not audio.is_silent(sine(1000, 0.1, level_dbfs=-40))
    assert audio.peak_dbfs(np.array([-32768], np.int16)) == 0
