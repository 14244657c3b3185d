"""`voiceengine demo` as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from media.audio import read_wav

pytestmark = pytest.mark.loopback


def test_the_demo_calls_records_and_plays_back(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "voiceengine", "demo", "--keep", str(tmp_path), "--json"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["softphone"]["call"]["answered"]
    assert found["softphone"]["call"]["hung_up_by"] == "remote"
    events = [name for _, name, _ in found["journal"]]
    assert events.count("recording_stored") == 1
    statuses = [fields["status"] for _, name, fields in found["journal"] if name == "status"]
    assert statuses == ["in-progress", "completed"]
    (recording,) = Path(tmp_path, "recordings").glob("*.wav")
    said, rate = read_wav(recording)
    heard, _ = read_wav(tmp_path / "heard.wav")
    assert 2.0 < len(said) / rate < 10.0
    assert _correlation(said[rate : 2 * rate], heard) > 0.5, "the caller did not hear the recording"


def _correlation(part: np.ndarray, whole: np.ndarray) -> float:
    """Highest normalised correlation of a piece of audio with any place of another."""
    piece = part.astype(float) - part.mean()
    long = whole.astype(float)
    size = 1 << (len(long) + len(piece) - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(long, size) * np.conj(np.fft.rfft(piece, size)), size)[
        : len(long) - len(piece)
    ]
    energy = np.cumsum(np.insert(long**2, 0, 0.0))
    windows = energy[len(piece) :] - energy[: -len(piece)]
    scale = np.sqrt(np.maximum(windows[: len(products)], 1.0) * float(piece @ piece))
    return float(np.max(products / scale))
