"""Bridges: legs that hear each other, in whatever workers they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from media.legs import MediaLeg, RecordingReport


class BridgeListener(Protocol):
    """Who hears what happens to a bridge."""

    def bridge_recorded(self, report: RecordingReport) -> None:
        """A recording of the bridge ended (`end` is stopped or failed)."""
        ...


class Bridge:
    """Legs that hear each other; made by `Pool.new_bridge`. A leg is in one bridge at most."""

    def set(self, leg: MediaLeg, *, speak: bool = True, hear: bool = True) -> None:
        """Take a leg in (out of another bridge, if it is in one), or change how it takes part.

        Args:
            leg: any leg that has not ended; without media yet, it joins when it has.
            speak: the others hear it.
            hear: it hears the others, and what the bridge plays.
        """

    def remove(self, leg: MediaLeg) -> None:
        """Take a leg out; one that ends is taken out by the pool."""

    def play(self, paths: Sequence[str]) -> None:
        """Play WAV files (8 kHz, mono, 16 bits) once, to everybody who hears."""

    def record(self, recording: str, path: str) -> None:
        """Record everybody into a WAV file until it is stopped or the bridge is closed."""

    def pause_recording(self, recording: str, paused: bool) -> None:
        """Let a recording pause, or go on."""

    def stop_recording(self, recording: str) -> None:
        """End a recording; the listener is told."""

    def close(self) -> None:
        """Take everybody out and end recordings."""
