"""Settings: where values come from, and what is said about bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from voiceengine.config import Settings, effective, load
from voiceengine.errors import ConfigError

pytestmark = pytest.mark.unit


def toml(folder: Path, text: str) -> Path:
    path = folder / "engine.toml"
    path.write_text(text)
    return path


def refusal(
    overrides: dict[str, Any] | None = None, environ: dict[str, str] | None = None, path: Path | None = None
) -> str:
    with pytest.raises(ConfigError) as found:
        load(path, overrides or {}, environ or {})
    return str(found.value)


def test_the_defaults_are_valid() -> None:
    settings, origin = load(environ={})

    assert settings == Settings()
    assert origin == {}


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = toml(tmp_path, '[sip]\ndomain = "file"\nmax_contacts = 3\nuse_to = false\n')
    environ = {"VOICEENGINE_SIP__DOMAIN": "env", "VOICEENGINE_SIP__MAX_CONTACTS": "4", "OTHER": "x"}

    settings, origin = load(path, {"sip.domain": "line"}, environ)

    assert (settings.sip.domain, settings.sip.max_contacts, settings.sip.use_to) == ("line", 4, False)
    assert origin == {
        "sip.domain": "command line",
        "sip.max_contacts": "environment VOICEENGINE_SIP__MAX_CONTACTS",
        "sip.use_to": f"file {path}",
    }


def test_lists_and_tables_are_json_in_the_environment() -> None:
    environ = {
        "VOICEENGINE_SIP__LISTEN": '["udp://[::1]:5060"]',
        "VOICEENGINE_MEDIA__RTP_PORTS": "[30000, 30999]",
        "VOICEENGINE_SIP__OUTBOUND_PROXY": '{"uri": "sip:p.example", "password": "pw"}',
        "VOICEENGINE_SIP__OUTBOUND_PROXY__USERNAME": "me",
    }

    settings, _ = load(environ=environ)

    assert settings.sip.listen == ["udp://[::1]:5060"]
    assert settings.media.rtp_ports == (30000, 30999)
    proxy = settings.sip.outbound_proxy
    assert (proxy.uri, proxy.username, proxy.password) == ("sip:p.example", "me", "pw")


def test_secrets_are_masked_and_origins_shown() -> None:
    settings, origin = load(
        overrides={"sip.outbound_proxy.password": "hunter2"},
        environ={"VOICEENGINE_SIP__OUTBOUND_PROXY": '{"username": "me"}'},
    )
    rows = {key: (value, where) for key, value, where in effective(settings, origin)}

    assert rows["sip.outbound_proxy.password"] == ("********", "command line")
    assert rows["web.timeout"] == (6.0, "default")
    assert "hunter2" not in repr(rows)
    assert set(rows) >= {"sip.listen", "media.rtp_ports", "data.directory", "demo.enabled"}


def test_an_origin_of_a_whole_table_holds_for_its_values() -> None:
    settings, origin = load(environ={"VOICEENGINE_SIP__OUTBOUND_PROXY": '{"username": "me"}'})
    rows = {key: where for key, _, where in effective(settings, origin)}

    assert rows["sip.outbound_proxy.username"] == "environment VOICEENGINE_SIP__OUTBOUND_PROXY"


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("sip.listen", ["tls://127.0.0.1:5061"], "udp://ADDRESS:PORT"),
        ("sip.listen", ["udp://127.0.0.1:70000"], "udp://ADDRESS:PORT"),
        ("sip.listen", ["udp://localhost:5060"], "udp://ADDRESS:PORT"),
        ("sip.listen", ["udp://999.1.1.1:5060"], "udp://ADDRESS:PORT"),
        ("sip.listen", [], "at least 1"),
        ("sip.domain", "", "at least 1"),
        ("sip.trunks", ["not-a-network"], "allowed"),
        ("sip.digest_algorithms", ["SHA-1"], "'SHA-256' or 'MD5'"),
        ("sip.nonce_seconds", 0, "greater than 0"),
        ("sip.max_message_bytes", 100, "1500"),
        ("sip.use_to", "perhaps", "boolean"),
        ("media.rtp_ports", [5000, 4000], "LOW < HIGH"),
        ("media.rtp_ports", [80, 4000], "1024"),
        ("media.rtp_address", "::1", "IPv4"),
        ("media.codecs", ["OPUS"], "'PCMU'"),
        ("media.start_rate", 11, "10"),
        ("media.max_legs", "many", "integer"),
        ("speech.engines", ["siri"], "'gtts' or 'espeak'"),
        ("web.timeout", -1, "greater than 0"),
        ("http.listen", "8080", "HOST:PORT"),
        ("http.listen", "127.0.0.1:99999", "HOST:PORT"),
        ("calls.drain_seconds", -1, "greater than or equal to 0"),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_what_is_allowed(key: str, value: Any, allowed: str) -> None:
    text = refusal({key: value})

    bad = value[0] if isinstance(value, list) and len(value) == 1 else value
    assert text.startswith(f"{key} = {bad!r}" if key != "media.rtp_ports" else f"{key} = ")
    assert "(command line)" in text
    assert allowed in text


def test_all_bad_values_are_told_at_once() -> None:
    text = refusal({"sip.domain": "", "web.timeout": 0})

    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("sip.listne", "listen"),
        ("spi.listen", "sip"),
        ("sip.outbound_proxy.pasword", "password, uri, username"),
    ],
)
def test_an_unknown_key_is_named_with_what_is_allowed_there(key: str, allowed: str) -> None:
    text = refusal({key: "x"})

    assert "no such setting (command line)" in text
    assert allowed in text


def test_the_origin_of_a_bad_value_is_told(tmp_path: Path) -> None:
    path = toml(tmp_path, "[web]\ntimeout = -3\n")

    assert refusal(path=path) == f"web.timeout = -3 (file {path}): Input should be greater than 0"
    assert "(environment VOICEENGINE_WEB__TIMEOUT)" in refusal(environ={"VOICEENGINE_WEB__TIMEOUT": "soon"})


def test_expiries_that_contradict_each_other_are_refused() -> None:
    assert "min_expires" in refusal({"sip.min_expires": 600, "sip.max_expires": 100})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot read" in refusal(path=tmp_path / "none.toml")
    assert "not valid TOML" in refusal(path=toml(tmp_path, "[sip\n"))
    (tmp_path / "latin.toml").write_bytes(b'x = "\xff"')
    assert "not valid TOML" in refusal(path=tmp_path / "latin.toml")


def test_json_in_the_environment_that_is_not_valid() -> None:
    text = refusal(environ={"VOICEENGINE_SIP__LISTEN": "[udp"})

    assert "VOICEENGINE_SIP__LISTEN" in text
    assert "not valid JSON" in text


@pytest.mark.parametrize(
    "environ",
    [
        {"VOICEENGINE_SIP__DOMAIN": "x", "VOICEENGINE_SIP__DOMAIN__DEEPER": "y"},
        {"VOICEENGINE_SIP__LISTEN": "[]", "VOICEENGINE_SIP__LISTEN__0": "udp://127.0.0.1:1"},
    ],
)
def test_a_key_below_a_value_is_a_configuration_error(environ: dict[str, str]) -> None:
    refusal(environ=environ)


def test_a_section_that_is_a_value_is_a_configuration_error(tmp_path: Path) -> None:
    path = toml(tmp_path, "sip = 5\n")

    assert "sip" in refusal(path=path)
    refusal({"sip.domain": "x"}, path=path)


def test_a_password_of_a_wrong_type_is_not_shown(tmp_path: Path) -> None:
    path = toml(tmp_path, "[sip.outbound_proxy]\npassword = 123456\n")

    assert "123456" not in refusal(path=path)
