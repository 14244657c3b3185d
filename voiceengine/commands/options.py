"""Options that several commands share: the configuration file and the settings on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from voiceengine.config import Settings, load


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that change settings."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")
    parser.add_argument(
        "--data", metavar="DIR", help="folder for the database, recordings and credentials (./var)"
    )
    parser.add_argument(
        "--sip",
        action="append",
        metavar="URL",
        help="listener, udp://ADDRESS:PORT or tcp://ADDRESS:PORT; repeatable",
    )
    parser.add_argument("--http", metavar="HOST:PORT", help="REST API, health and metrics (127.0.0.1:8080)")
    parser.add_argument("--bind", metavar="ADDRESS", help="bind all listeners to this address, e.g. 0.0.0.0")
    parser.add_argument("--public-address", metavar="ADDRESS", help="address that phones are told to use")
    parser.add_argument("--no-demo", action="store_true", help="no demo clients, numbers and documents")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, e.g. media.max_legs=100"
    )


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Dotted key -> value of what was given on the command line."""
    found: dict[str, Any] = {}
    for pair in arguments.set:
        key, _, value = pair.partition("=")
        found[key.strip()] = _value(value.strip())
    if arguments.data:
        found["data.directory"] = arguments.data
    if arguments.sip:
        found["sip.listen"] = arguments.sip
    if arguments.http:
        found["http.listen"] = arguments.http
    if arguments.public_address:
        found["sip.public_address"] = arguments.public_address
    if arguments.no_demo:
        found["demo.enabled"] = False
    return found


def _value(text: str) -> Any:
    import json

    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _bound(address: str, settings: Settings) -> dict[str, Any]:
    host = f"[{address}]" if ":" in address else address
    listen = [f"{uri.split('://')[0]}://{host}:{uri.rpartition(':')[2]}" for uri in settings.sip.listen]
    return {"sip.listen": listen, "http.listen": f"{host}:{settings.http.listen.rpartition(':')[2]}"}


def settings_of(arguments: argparse.Namespace) -> tuple[Settings, dict[str, str]]:
    """Settings and their origins.

    Raises:
        ConfigError: a setting cannot be used.
    """
    given = overrides(arguments)
    settings, origin = load(arguments.config, given)
    if arguments.bind:
        given = {**_bound(arguments.bind, settings), **given}
        if not arguments.http:
            given["http.listen"] = _bound(arguments.bind, settings)["http.listen"]
        settings, origin = load(arguments.config, given)
    return settings, origin
