"""What a leg's streams counted."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.define
class Stats:
    """Counts of all streams of a leg, added up over media changes."""

    codec: str = ""
    rx_packets: int = 0
    tx_packets: int = 0
    rx_lost: int = 0
    tx_lost: int = 0
    jitter_ms: float = 0.0
    rtt_ms: float = 0.0

    def add(self, whole: Any) -> None:
        """Add the StreamStat of a stream that ends."""
        rtcp = whole.rtcp
        rx, tx, rtt = rtcp.rxStat, rtcp.txStat, rtcp.rttUsec
        self.rx_packets += int(rx.pkt)
        self.tx_packets += int(tx.pkt)
        self.rx_lost += int(rx.loss)
        self.tx_lost += int(tx.loss)
        jitter = rx.jitterUsec
        self.jitter_ms = max(self.jitter_ms, float(jitter.mean) / 1000.0)
        self.rtt_ms = max(self.rtt_ms, float(rtt.mean) / 1000.0)
