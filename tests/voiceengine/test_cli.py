"""The console script as people use it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from voiceengine import __version__
from voiceengine.cli import COMMANDS, main

pytestmark = pytest.mark.loopback
PROJECT = Path(__file__).parents[2]


def run(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voiceengine", *words],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=PROJECT,
        env={**os.environ, **(environ or {})},
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as found:
        main([command, "--help"])

    assert found.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: voiceengine {command}")


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as found:
        main(["--help"])
    out = " ".join(capsys.readouterr().out.split())

    assert found.value.code == 0
    assert all(f" {name} " in out for name in COMMANDS)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as found:
        main(["--version"])

    assert found.value.code == 0
    assert capsys.readouterr().out == f"voiceengine {__version__}\n"


@pytest.mark.parametrize("words", [["nonsense"], ["config", "--nonsense"], ["lint"]])
def test_what_is_not_a_command_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as found:
        main(words)

    assert found.value.code == 2
    assert "usage: voiceengine" in capsys.readouterr().err


def test_config_prints_every_setting_with_its_origin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "engine.toml"
    file.write_text('[sip]\ndomain = "example.org"\n[sip.outbound_proxy]\npassword = "s3cret"\n')
    monkeypatch.setenv("VOICEENGINE_MEDIA__MAX_LEGS", "12")
    words = ["--config", str(file), "--http", "127.0.0.1:9999", "--set", "calls.drain_seconds=5", "--no-demo"]

    assert main(["config", *words, "--bind", "0.0.0.0", "--set", 'media.codecs=["PCMA"]']) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()

    assert f'sip.domain = "example.org"  # file {file}' in lines
    assert "media.max_legs = 12  # environment VOICEENGINE_MEDIA__MAX_LEGS" in lines
    assert 'http.listen = "127.0.0.1:9999"  # command line' in lines
    assert 'sip.listen = ["udp://0.0.0.0:5060", "tcp://0.0.0.0:5060"]  # command line' in lines
    assert 'media.codecs = ["PCMA"]  # command line' in lines
    assert "demo.enabled = false  # command line" in lines
    assert any(line.startswith("calls.drain_seconds = 5") for line in lines)
    assert "web.max_redirects = 10  # default" in lines
    assert "s3cret" not in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set", "sip.listne=x"], "sip.listne: no such setting (command line)"),
        (["--set", "media.max_legs=many"], "media.max_legs = 'many' (command line)"),
        (["--set", "nothing"], "nothing: no such setting"),
        (["--http", "nowhere"], "http.listen = 'nowhere' (command line)"),
        (["--config", "/none/engine.toml"], "cannot read the configuration file /none/engine.toml"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_clear_line(words: list[str], expected: str) -> None:
    for command in ("config", "serve"):
        found = run(command, *words)

        assert found.returncode == 1
        assert found.stdout == ""
        assert found.stderr.startswith(f"voiceengine: {expected}")
        assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize("taken", ["sip", "http"])
def test_a_port_in_use_is_one_clear_line(tmp_path: Path, taken: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        sip, http = (port, 0) if taken == "sip" else (0, port)
        found = run(
            "serve",
            *("--data", str(tmp_path / "data"), "--sip", f"tcp://127.0.0.1:{sip}"),
            *("--http", f"127.0.0.1:{http}", "--set", "media.spare_workers=1", "--log-level", "error"),
        )

    assert found.returncode == 1
    assert f"voiceengine: {taken}.listen" in found.stderr
    assert f"127.0.0.1:{port}" in found.stderr
    assert "in use" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = run("serve", "--data", str(tmp_path / "file" / "data"))

    assert found.returncode == 1
    assert found.stderr.startswith("voiceengine: data.directory = ")
    assert "Traceback" not in found.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "voiceengine", "config"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate(timeout=20)

    assert process.returncode == 0
    assert error == b""
