"""Parts of an engine that follow from the settings alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.python.threadpool import ThreadPool

from media.audio_fetch import TreqAudioFetch
from media.pool import PoolConfig
from media.prompts import AudioCache, trim
from media.speech.espeak import EspeakEngine
from media.speech.gtts_engine import GttsEngine
from media.speech.service import SpeechService
from media.tones import RINGING_SECONDS, Assets
from rcml.interpreter import InterpreterSettings
from rcml.ports import Prompt
from voiceengine.calls.fetcher import WebClient
from voiceengine.config import Settings, Sip
from voiceengine.sip.transport import default_address, make_listener

CACHE_BYTES = 1_000_000_000
"""Of spoken texts and of fetched files that a start leaves."""


def pool_config(settings: Settings, edge_port: int) -> PoolConfig:
    """How many media workers, and on which ports.

    Args:
        settings: of the engine.
        edge_port: UDP port of the edge that workers speak to.
    """
    media, public = settings.media, settings.sip.public_address
    return PoolConfig(
        edge_port=edge_port,
        rtp_address=rtp_address(settings),
        public_address="" if ":" in public else public,
        rtp_ports=media.rtp_ports,
        codecs=list(media.codecs),
        vad=media.vad,
        inband_digits=media.inband_digits,
        max_legs=media.max_legs,
        spare_workers=media.spare_workers,
        idle_seconds=media.worker_idle_seconds,
        start_rate=media.start_rate,
    )


def rtp_address(settings: Settings) -> str:
    """IPv4 address that RTP is bound to."""
    if settings.media.rtp_address:
        return settings.media.rtp_address
    for uri in settings.sip.listen:
        listener = make_listener(uri, "")
        if not listener.is_v6:
            return default_address(listener.host)
    return "127.0.0.1"


def own_hosts(sip: Sip) -> set[str]:
    """Domains and addresses that mean this engine."""
    hosts = {"localhost", sip.domain}
    for uri in sip.listen:
        listener = make_listener(uri, sip.public_address)
        hosts |= {listener.host, listener.public_host.strip("[]")}
    return hosts


def listens_everywhere(sip: Sip) -> bool:
    """Whether any address of the machine means this engine."""
    return any("//0.0.0.0:" in uri or "//[::]:" in uri for uri in sip.listen)


def make_speech(reactor: Any, settings: Settings, cache: Path, threads: ThreadPool) -> SpeechService:
    """The speech engines in their order; the offline one is always there as the last."""
    speech = settings.speech
    makers: dict[str, Any] = {
        "espeak": lambda: EspeakEngine(reactor),
        "gtts": lambda: GttsEngine(reactor, timeout=speech.gtts_timeout, base_url=speech.gtts_base_url),
    }
    names = [*speech.engines, *({"espeak"} - set(speech.engines))]
    trim(cache / "speech", CACHE_BYTES)
    return SpeechService(
        reactor,
        [makers[name]() for name in names],
        cache / "speech",
        pool=threads,
        max_characters=speech.max_characters,
    )


def make_audio(
    reactor: Any, settings: Settings, cache: Path, threads: ThreadPool, web: WebClient
) -> AudioCache:
    """The cache of audio files that documents name."""
    trim(cache / "audio", CACHE_BYTES)
    fetch = TreqAudioFetch(
        reactor, web.agent, timeout=settings.web.timeout, max_bytes=settings.web.max_audio_bytes
    )
    return AudioCache(
        reactor,
        cache / "audio",
        fetch,
        pool=threads,
        now=time.time,
        max_age_seconds=settings.web.cache_seconds,
        enabled=not settings.web.cache_no_wav,
    )


def interpreter_settings(settings: Settings, assets: Assets) -> InterpreterSettings:
    """How documents are run."""
    return InterpreterSettings(
        max_switches=settings.calls.max_switches,
        null_literals=settings.web.null_literals,
        answer_on_bridge=settings.calls.answer_on_bridge,
        ringing=Prompt(source=str(assets.ringing), seconds=RINGING_SECONDS, label="ringing"),
    )
