"""The made sounds have the tones, lengths and levels that are promised."""

import numpy as np
import pytest

from media import audio, tones
from media.tones import dominant_frequencies

pytestmark = pytest.mark.unit


def test_assets_are_written_once(tmp_path):
    first = tones.ensure_assets(tmp_path / "assets")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "assets").iterdir()}
    second = tones.ensure_assets(tmp_path / "assets")

    assert first == second
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "assets").iterdir()} == times
    assert [first.beep.name, first.ringing.name, first.music.name, first.alert.name] == [
        "beep.wav",
        "ringing.wav",
        "music.wav",
        "alert.wav",
    ]


def test_a_broken_or_older_asset_is_replaced(tmp_path):
    assets = tones.ensure_assets(tmp_path)
    assets.beep.write_bytes(b"")
    tones.ensure_assets(tmp_path)
    assert audio.duration(assets.beep) == pytest.approx(0.4)

    audio.write_wav(assets.alert, tones.sine(300, 1))
    (tmp_path / "edition").write_text("0")
    tones.ensure_assets(tmp_path)
    assert audio.duration(assets.alert) == pytest.approx(0.5)


def test_the_beep_is_one_clean_tone():
    beep = tones.beep()

    assert len(beep) == 0.4 * 8000
    assert dominant_frequencies(beep, count=3) == pytest.approx([1000], abs=2)
    assert abs(int(beep[0])) < 10
    assert abs(int(beep[-1])) < 10


def test_ringing_has_its_cadence():
    ringing = tones.ringing()

    assert len(ringing) == 6 * 8000
    assert sorted(dominant_frequencies(ringing[:16000], count=2)) == pytest.approx([440, 480], abs=2)
    assert audio.rms_dbfs(ringing[800:15200]) > -25
    assert not ringing[16000:].any()


def test_music_is_long_quiet_and_loops_without_a_click():
    music = tones.music()

    assert 20 <= len(music) / 8000 <= 30
    assert -35 < audio.rms_dbfs(music) < -20
    steps = np.abs(np.diff(music.astype(np.int32)))
    assert abs(int(music[0]) - int(music[-1])) <= np.max(steps)
    assert not any(audio.is_silent(part, -40) for part in np.array_split(music, 25))


@pytest.mark.parametrize("digit", tones.DTMF_FREQUENCIES)
def test_dtmf_holds_its_two_frequencies(digit):
    found = sorted(dominant_frequencies(tones.dtmf(digit, off_seconds=0), count=2))

    assert found == pytest.approx(sorted(tones.DTMF_FREQUENCIES[digit]), abs=5)


def test_dtmf_lengths_and_wrong_digits():
    assert len(tones.dtmf("12#", on_seconds=0.06, off_seconds=0.04)) == 2400
    assert len(tones.dtmf("")) == 0
    with pytest.raises(ValueError, match="allowed"):
        tones.dtmf("1x")


def test_dominant_frequencies_ignores_what_is_far_weaker():
    mix = tones.sine(500, 1, level_dbfs=-6) + tones.sine(1500, 1, level_dbfs=-20)

    assert dominant_frequencies(mix, count=5) == pytest.approx([500, 1500], abs=2)
    assert dominant_frequencies(np.zeros(800, np.int16)) == []
