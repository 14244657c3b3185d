"""Softphones that call each other, and a small SIP server, on loopback."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pytest
import pytest_twisted  # type: ignore[import-untyped]
from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol

from voiceengine.softphone.process import SoftphoneError, SoftphoneProcess

pytestmark = pytest.mark.loopback

RATE = 8000

AsyncTest = TypeVar("AsyncTest", bound=Callable[..., Any])
in_reactor = cast("Callable[[AsyncTest], AsyncTest]", pytest_twisted.ensureDeferred)


def write_tone(path: Path, seconds: float, rate: int = RATE, frequency: float = 440.0) -> str:
    time = np.arange(int(seconds * rate)) / rate
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes((12000 * np.sin(2 * np.pi * frequency * time)).astype("<i2").tobytes())
    return str(path)


def read_wav(path: Path) -> npt.NDArray[np.float64]:
    with wave.open(str(path), "rb") as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, RATE)
        return np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2").astype(np.float64)


def dominant_frequency(samples: npt.NDArray[np.float64]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * RATE / len(samples)


def longest_sound(samples: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Beginning and end, in seconds, of what is louder than silence."""
    loud = np.flatnonzero(np.abs(samples) > 300)
    return float(loud[0]) / RATE, float(loud[-1]) / RATE


def outcome(result: dict[str, Any]) -> tuple[bool, int, str]:
    call = result["call"]
    return call["answered"], call["final_code"], call["hung_up_by"]


@asynccontextmanager
async def phones() -> AsyncIterator[Callable[..., SoftphoneProcess]]:
    """A maker of phones, none of which outlives the test."""
    made: list[SoftphoneProcess] = []

    def make(**options: Any) -> SoftphoneProcess:
        made.append(SoftphoneProcess(reactor, **{"timeout": 30, **options}))
        return made[-1]

    try:
        yield make
    finally:
        for phone in made:
            phone.kill()


async def waiting(phone: SoftphoneProcess) -> str:
    """URI of a phone that waits for a call."""
    started = await phone.wait_for("started")
    await phone.wait_for("waiting")
    return f"sip:bob@127.0.0.1:{started['port']}"


@in_reactor
async def test_a_played_tone_is_in_the_other_phones_recording(tmp_path: Path) -> None:
    tone = write_tone(tmp_path / "tone.wav", 1.5)
    async with phones() as make:
        bob = make(wait=True, record=str(tmp_path / "heard.wav"), answer_delay=0.3, header="X-Bob: here")
        alice = make(dial=await waiting(bob), play=tone, hangup_after=2.5, header="X-Alice: calls")
        called, answered = await alice.result(), await bob.result()

    assert (alice.exit_code, bob.exit_code) == (0, 0)
    assert (called["errors"], answered["errors"]) == ([], [])
    samples = read_wav(tmp_path / "heard.wav")
    begin, end = longest_sound(samples)
    assert end - begin == pytest.approx(1.5, abs=0.06)
    assert dominant_frequency(samples[int(begin * RATE) : int(end * RATE)]) == pytest.approx(440, abs=2)
    assert len(samples) / RATE == pytest.approx(2.5, abs=0.15)
    call = called["call"]
    assert tuple(call[k] for k in ("state", "answered", "final_code", "hung_up_by")) == (
        "ended",
        True,
        200,
        "local",
    )
    assert 250 <= call["answer_delay_ms"] <= 800
    assert 180 in [entry["code"] for entry in call["provisional"]]
    assert call["headers"] == [["X-Bob", "here"]]
    assert answered["call"]["headers"] == [["X-Alice", "calls"]]
    assert answered["call"]["hung_up_by"] == "remote"
    assert answered["call"]["heard_seconds"] == pytest.approx(1.5, abs=0.2)
    assert answered["call"]["recording_seconds"] == pytest.approx(len(samples) / RATE, abs=0.001)
    assert answered["call"]["rtp"]["rx_packets"] > 100
    assert answered["call"]["rtp"]["codec"] == "PCMU"


@pytest.mark.parametrize("method", ["rfc4733", "info", "inband"])
@in_reactor
async def test_digits_are_received(method: str) -> None:
    async with phones() as make:
        bob = make(wait=True, detect_inband=method == "inband")
        alice = make(dial=await waiting(bob), digits="0.3:1,0.8:42#", digit_method=method)
        await bob.wait_for("digit_received", digit="#")
        alice.hangup()
        called, answered = await alice.result(), await bob.result()

    received = answered["call"]["digits_received"]
    assert "".join(entry["digit"] for entry in received) == "142#"
    assert {method} == {entry["method"] for entry in received}
    assert received[1]["at_ms"] - received[0]["at_ms"] == pytest.approx(500, abs=120)
    assert "".join(entry["digit"] for entry in called["call"]["digits_sent"]) == "142#"


@in_reactor
async def test_commands_answer_send_digits_and_hang_up() -> None:
    async with phones() as make:
        bob = make(wait=True, answer_delay=25)
        alice = make(dial=await waiting(bob))
        await alice.wait_for("provisional", code=180)
        bob.answer()
        await alice.wait_for("answered")
        await bob.wait_for("answered")
        alice.send_digits("7")
        await bob.wait_for("digit_received", digit="7")
        alice.command("dance")
        await alice.wait_for("error")
        bob.hangup()
        called, answered = await alice.result(), await bob.result()

    assert (called["call"]["hung_up_by"], answered["call"]["hung_up_by"]) == ("remote", "local")
    assert called["errors"] == ["command 'dance' is not known (answer, digits, hangup, play, quit)"]


@in_reactor
async def test_a_busy_phone_is_reported_with_486() -> None:
    async with phones() as make:
        bob = make(wait=True, answer_code=486, header="X-Why: on the phone")
        alice = make(dial=await waiting(bob))
        called, answered = await alice.result(), await bob.result()

    assert (alice.exit_code, bob.exit_code) == (1, 0)
    assert tuple(called["call"][k] for k in ("answered", "final_code", "hung_up_by")) == (
        False,
        486,
        "remote",
    )
    assert called["call"]["headers"] == [["X-Why", "on the phone"]]
    assert answered["call"]["final_code"] == 486


@in_reactor
async def test_a_second_caller_is_told_busy() -> None:
    async with phones() as make:
        bob = make(wait=True)
        uri = await waiting(bob)
        alice = make(dial=uri)
        await alice.wait_for("answered")
        carol = make(dial=uri)
        second = await carol.result()
        alice.send_digits("1")
        await bob.wait_for("digit_received", digit="1")
        alice.quit()
        called = await alice.result()

    assert second["call"]["final_code"] == 486
    assert called["call"]["answered"]


@in_reactor
async def test_a_call_that_nobody_answers_is_cancelled() -> None:
    async with phones() as make:
        bob = make(wait=True, answer_delay=25)
        alice = make(dial=await waiting(bob), cancel_after=0.7)
        called, answered = await alice.result(), await bob.result()

    assert (alice.exit_code, bob.exit_code) == (1, 1)
    assert outcome(called) == (False, 487, "local")
    assert outcome(answered) == (False, 487, "remote")


@in_reactor
async def test_sigterm_hangs_up_and_still_prints_the_report(tmp_path: Path) -> None:
    async with phones() as make:
        bob = make(wait=True, record=str(tmp_path / "heard.wav"))
        alice = make(dial=await waiting(bob))
        await alice.wait_for("answered")
        await bob.wait_for("answered")
        bob.signal("TERM")
        answered, called = await bob.result(), await alice.result()

    assert (answered["call"]["hung_up_by"], called["call"]["hung_up_by"]) == ("local", "remote")
    assert (bob.exit_code, alice.exit_code) == (0, 0)
    assert len(read_wav(tmp_path / "heard.wav")) % 160 == 0


@in_reactor
async def test_a_phone_that_nobody_calls_fails_after_its_time() -> None:
    async with phones() as make:
        bob = make(wait=0.3)
        result = await bob.result()

    assert (bob.exit_code, result["errors"]) == (1, ["nobody called within 0.3 s"])


@in_reactor
async def test_a_server_that_does_not_answer_ends_with_the_timeout() -> None:
    async with phones() as make:
        alice = make(server="127.0.0.1:9", register=True, user="alice", timeout=0.5)
        result = await alice.result()

    assert (alice.exit_code, result["errors"]) == (1, ["timed out after 0.5 s"])


@in_reactor
async def test_tcp_calls() -> None:
    async with phones() as make:
        bob = make(wait=True, transport="tcp")
        alice = make(dial=await waiting(bob), transport="tcp", hangup_after=0.3, codec="PCMA")
        called, answered = await alice.result(), await bob.result()

    assert called["call"]["answered"]
    assert (called["call"]["hung_up_by"], answered["call"]["hung_up_by"]) == ("local", "remote")
    assert answered["call"]["rtp"]["codec"] == "PCMA"


class Server(DatagramProtocol):
    """Registers alice, if she knows her password, and refuses every call with 404."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.registered: list[str] = []

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        text = datagram.decode()
        method = text.split(" ", 1)[0]
        if method == "REGISTER":
            self.register(text, addr)
        elif method == "INVITE":
            self.reply(text, "404 Nobody Here", addr, "X-Sorry: yes", 'Reason: Q.850;cause=1;text="x"')

    def register(self, text: str, addr: tuple[str, int]) -> None:
        if self.authorised(text):
            self.registered.append(re.findall(r"(?m)^Expires: (\d+)", text)[0])
            self.reply(
                text, "200 OK", addr, re.findall(r"(?m)^Contact:.*?\r", text)[0].strip() + ";expires=60"
            )
        else:
            challenge = f'Digest realm="home", nonce="n1", algorithm={self.algorithm}, qop="auth"'
            self.reply(text, "401 Unauthorized", addr, f"WWW-Authenticate: {challenge}")

    def authorised(self, text: str) -> bool:
        found = re.search(r"(?m)^Authorization: Digest (.*)\r", text)
        if found is None:
            return False
        given = {k: v.strip('"') for k, v in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', found[1])}

        def digest(*parts: str) -> str:
            name = {"MD5": "md5", "SHA-256": "sha256"}[self.algorithm]
            return hashlib.new(name, ":".join(parts).encode()).hexdigest()

        ha1, ha2 = digest("alice", "home", "secret"), digest("REGISTER", given["uri"])
        expected = digest(ha1, given["nonce"], given["nc"], given["cnonce"], given["qop"], ha2)
        return bool(expected == given["response"])

    def reply(self, text: str, status: str, addr: tuple[str, int], *headers: str) -> None:
        kept = [line for line in text.split("\r\n") if re.match(r"(Via|From|To|Call-ID|CSeq):", line)]
        kept = [line + ";tag=1" if line.startswith("To:") and ";tag=" not in line else line for line in kept]
        lines = [f"SIP/2.0 {status}", *kept, *headers, "Content-Length: 0", "", ""]
        assert self.transport is not None
        self.transport.write("\r\n".join(lines).encode(), addr)


@asynccontextmanager
async def server(algorithm: str = "MD5") -> AsyncIterator[tuple[str, Server]]:
    protocol = Server(algorithm)
    port = reactor.listenUDP(0, protocol, interface="127.0.0.1")  # type: ignore[attr-defined]
    try:
        yield f"127.0.0.1:{port.getHost().port}", protocol
    finally:
        await port.stopListening()


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@in_reactor
async def test_it_registers_and_takes_the_registration_back(algorithm: str) -> None:
    async with phones() as make, server(algorithm) as (address, registrar):
        alice = make(server=address, register=True, user="alice", password="secret", expires=60)
        result = await alice.result()

    assert (alice.exit_code, result["register"]["code"], registrar.registered) == (0, 200, ["60", "0"])
    assert result["errors"] == []


@in_reactor
async def test_a_wrong_password_is_reported() -> None:
    async with phones() as make, server() as (address, _):
        alice = make(server=address, register=True, user="alice", password="wrong", dial="123")
        result = await alice.result()

    assert (alice.exit_code, result["register"]["code"]) == (1, 401)
    assert result["call"]["state"] == "idle"
    assert "registering failed: 401" in result["errors"][0]


@in_reactor
async def test_a_refused_number_shows_the_headers_of_the_refusal() -> None:
    async with phones() as make, server() as (address, _):
        alice = make(server=address, dial="+1555#")
        result = await alice.result()

    call = result["call"]
    assert (call["final_code"], call["reason"], call["hung_up_by"]) == (404, "Nobody Here", "remote")
    assert call["headers"] == [["X-Sorry", "yes"], ["Reason", 'Q.850;cause=1;text="x"']]
    assert f"sip:+1555%23@{address}" == call["remote"]


def command_line(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "voiceengine.softphone", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL
    )


def test_bad_arguments_are_explained(tmp_path: Path) -> None:
    odd_rate = write_tone(tmp_path / "odd.wav", 1.0, rate=11025)
    (tmp_path / "text.wav").write_text("no audio")
    uri = "sip:a@127.0.0.1:9"
    cases = {
        ("--dial", uri, "--play", str(tmp_path / "absent.wav")): "No such file",
        ("--dial", uri, "--play", str(tmp_path / "text.wav")): "text.wav: file does not start with RIFF",
        ("--dial", uri, "--play", odd_rate): "rate 11025 cannot be played",
        ("--dial", uri, "--record", str(tmp_path / "no" / "x.wav")): "no such folder",
        ("--dial", "sip:", "--server", "127.0.0.1:9"): "neither a number nor a URI",
        ("--dial", "123"): "needs --server",
        ("--dial", uri, "--digits", "1:x"): "'1:x' is not SECONDS:DIGITS",
        (): "one of --register, --dial and --wait is needed",
    }
    for words, message in cases.items():
        done = command_line(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr


@in_reactor
async def test_the_process_handle_passes_on_why_the_arguments_were_wrong() -> None:
    async with phones() as make:
        alice = make(dial="123")
        with pytest.raises(SoftphoneError, match="needs --server"):
            await alice.result()

    assert alice.exit_code == 2


def test_an_unusable_port_is_an_error_in_the_report() -> None:
    done = command_line("--wait", "1", "--local-port", "1", "--local-address", "192.0.2.1")

    assert done.returncode == 1
    assert "SIP port 192.0.2.1:1 cannot be used" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sip:x@no-such-host.invalid", "no-such-host.invalid"),
        ("sip:%%@127.0.0.1:99999;;x=", "cannot be called"),
    ],
)
def test_a_uri_that_leads_nowhere_is_an_error_in_the_report(uri: str, message: str) -> None:
    done = command_line("--dial", uri)

    assert done.returncode == 1
    assert message in json.loads(done.stdout)["errors"][0]


def test_input_that_ends_is_a_quit() -> None:
    done = command_line("--wait", "--control")

    assert done.returncode == 1
    assert json.loads(done.stdout)["errors"] == []
