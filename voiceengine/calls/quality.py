"""Estimated call quality: the E-model (ITU-T G.107), reduced to what RTCP tells."""

from __future__ import annotations

import math
from typing import Any

_R0 = 93.2
"""Default transmission rating of G.107 (all parameters at their defaults), without equipment impairment."""
_BPL = 25.1
"""Packet-loss robustness of G.711 with concealment (ITU-T G.113 appendix I, 10 ms PLC); Ie is 0."""
_KNEE_MS = 177.3
_CODEC_MS = 20.0


def _within(value: float, low: float, high: float) -> float:
    if math.isnan(value):
        return low
    return min(high, max(low, value))


def mos(loss: float, jitter_ms: float, rtt_ms: float) -> float:
    """Estimate the mean opinion score of a G.711 leg.

    Source: ITU-T G.107 (R = R0 - Id - Ie,eff; annex B for MOS from R), with the delay impairment in the
    simplified form of Cole and Rosenbluth (2001): Id = 0.024 d + 0.11 (d - 177.3) H(d - 177.3). The one-way
    delay d is taken as half the round trip, one packet, and a jitter buffer of twice the jitter.

    Args:
        loss: lost packets, 0.0 to 1.0.
        jitter_ms: mean interarrival jitter, milliseconds.
        rtt_ms: round trip, milliseconds; 0 when unknown.

    Returns:
        1.0 (bad) to about 4.4 (as good as G.711 gets), never more than 4.5; monotone in every argument.
    """
    percent = 100 * _within(loss, 0.0, 1.0)
    delay = _within(rtt_ms, 0.0, 10_000.0) / 2 + 2 * _within(jitter_ms, 0.0, 10_000.0) + _CODEC_MS
    delay_impairment = 0.024 * delay + 0.11 * max(0.0, delay - _KNEE_MS)
    loss_impairment = 95 * percent / (percent + _BPL)
    rating = _R0 - delay_impairment - loss_impairment
    if rating <= 6.5:  # below, the polynomial is no longer monotone
        return 1.0
    return _within(1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6, 1.0, 4.5)


def media_columns(stats: dict[str, Any]) -> dict[str, Any]:
    """Columns of the record from the statistics of the leg."""
    if not stats.get("codec"):
        return {}
    received, lost = int(stats["rx_packets"]), int(stats["rx_lost"])
    columns = {
        "codec": stats["codec"],
        "rx_packets": received,
        "tx_packets": stats["tx_packets"],
        "rx_lost": lost,
        "tx_lost": stats["tx_lost"],
        "rx_jitter_ms": round(stats["jitter_ms"], 2),
        "rtt_ms": round(stats["rtt_ms"], 2),
    }
    if received:
        share = lost / (received + lost)
        columns["mos"] = round(mos(share, stats["jitter_ms"], stats["rtt_ms"]), 2)
    return columns
