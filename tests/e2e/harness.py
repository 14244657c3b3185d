"""A real engine as a child process, and its REST API."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import treq
from processes import children, is_alive
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from waiting import Changes, eventually, reactor

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 20.0
STOP_SECONDS = 10.0
ENDED = frozenset({"completed", "busy", "failed", "no-answer", "canceled", "not-found"})


@attrs.frozen
class RestReply:
    """An answer of the REST API."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Rest:
    """The REST API as a program uses it."""

    def __init__(self, base_url: str, account_sid: str, auth_token: str) -> None:
        self.root = re.sub(r"/restcomm/.*$", "", base_url)
        self.base_url = base_url
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.base = f"{base_url}/Accounts/{account_sid}"
        self._auth = (account_sid, auth_token)

    async def _ask(self, method: str, url: str, **options: Any) -> RestReply:
        response = await treq.request(
            method, url, auth=self._auth, persistent=False, timeout=10, reactor=reactor, **options
        )
        return RestReply(response.code, await treq.content(response))

    async def get(self, path: str, **query: str) -> RestReply:
        """GET below the account."""
        return await self._ask("GET", f"{self.base}/{path}", params=query)

    async def post(self, path: str, *pairs: tuple[str, str], **form: str) -> RestReply:
        """POST below the account."""
        body = urlencode([*form.items(), *pairs]).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._ask("POST", f"{self.base}/{path}", data=body, headers=headers)

    async def delete(self, path: str) -> RestReply:
        """DELETE below the account."""
        return await self._ask("DELETE", f"{self.base}/{path}")

    async def below(self, email: str, password: str, name: str) -> Rest:
        """Create an account below this one; returns the REST API as it sees it."""
        body = urlencode({"EmailAddress": email, "Password": password, "FriendlyName": name}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        reply = await self._ask("POST", f"{self.base_url}/Accounts.json", data=body, headers=headers)
        assert reply.status == 200, reply.body
        return Rest(self.base_url, reply.json["sid"], reply.json["auth_token"])

    async def fetch(self, url: str) -> RestReply:
        """GET of a whole URL, without credentials."""
        response = await treq.get(url, persistent=False, timeout=10, reactor=reactor)
        return RestReply(response.code, await treq.content(response))

    async def _made(self, path: str, **form: str) -> dict[str, Any]:
        reply = await self.post(path, **form)
        assert reply.status == 200, reply.body
        found: dict[str, Any] = reply.json
        return found

    async def number(self, number: str, voice_url: str, **settings: str) -> dict[str, Any]:
        """Create a pure-SIP number."""
        return await self._made(
            "IncomingPhoneNumbers.json", PhoneNumber=number, isSIP="true", VoiceUrl=voice_url, **settings
        )

    async def client(self, login: str, password: str, **settings: str) -> dict[str, Any]:
        """Create a client."""
        return await self._made("Clients.json", Login=login, Password=password, **settings)

    async def start_call(self, *pairs: tuple[str, str], **form: str) -> dict[str, Any]:
        """Start a call."""
        reply = await self.post("Calls.json", *pairs, **form)
        assert reply.status == 200, reply.body
        found: dict[str, Any] = reply.json
        return found

    async def calls(self, **filters: str) -> list[dict[str, Any]]:
        """Records of calls."""
        found: list[dict[str, Any]] = (await self.get("Calls.json", **filters)).json["calls"]
        return found

    async def call(self, sid: str) -> dict[str, Any]:
        """One record."""
        found: dict[str, Any] = (await self.get(f"Calls/{sid}.json")).json
        return found

    async def ended(self, sid: str, within: float = 3.0) -> dict[str, Any]:
        """The record of a call, once it is over."""
        return await eventually(
            lambda: self.call(sid), lambda row: row["status"] in ENDED, within, f"the end of call {sid}"
        )

    async def notifications(self, **filters: str) -> list[dict[str, Any]]:
        """Notifications."""
        found: list[dict[str, Any]] = (await self.get("Notifications.json", **filters)).json["notifications"]
        return found

    async def notified(self, code: int, call_sid: str, within: float = 3.0) -> dict[str, Any]:
        """A notification of a call, once it is there."""
        found = await eventually(
            lambda: self.notifications(ErrorCode=str(code), CallSid=call_sid),
            lambda rows: len(rows) > 0,
            within,
            f"notification {code} of {call_sid}",
        )
        return found[0]

    async def recordings(self, **filters: str) -> list[dict[str, Any]]:
        """Recordings."""
        found: list[dict[str, Any]] = (await self.get("Recordings.json", **filters)).json["recordings"]
        return found

    async def health(self) -> dict[str, Any]:
        """What /healthz says."""
        found: dict[str, Any] = (await self.fetch(f"{self.root}/healthz")).json
        return found

    async def metrics(self) -> dict[str, float]:
        """Metrics: name with labels -> value."""
        text = (await self.fetch(f"{self.root}/metrics")).body.decode()
        lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}


class EngineProcess(ProcessProtocol):
    """An engine that was started by these tests."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.changes = Changes()
        self.output = ""
        self.log = ""
        self.exit: int | None = None
        """Exit code; negative for a signal."""
        self.pid = 0
        self.credentials: dict[str, Any] = {}
        self.rest: Rest
        self.log_checked = 0
        self._workers: set[int] = set()

    @classmethod
    async def start(
        cls,
        data: Path,
        *settings: str,
        demo: bool = False,
        listen: Sequence[str] = ("udp://127.0.0.1:0", "tcp://127.0.0.1:0"),
        http: str = "127.0.0.1:0",
    ) -> EngineProcess:
        """Start one, on free ports unless told otherwise; returns when it is ready.

        Args:
            data: its data directory.
            settings: `key=value`.
            demo: with demo clients and numbers.
            listen: SIP listeners.
            http: HTTP listener.
        """
        engine = cls(data)
        command = [sys.executable, "-m", "voiceengine", "serve", "--data", str(data)]
        command += ["--http", http]
        for uri in listen:
            command += ["--sip", uri]
        for setting in ("calls.drain_seconds=3", *settings):
            command += ["--set", setting]
        if not demo:
            command.append("--no-demo")
        process: Any = reactor.spawnProcess(engine, command[0], command, env=dict(os.environ), path=str(ROOT))
        engine.pid = process.pid
        await engine.changes.until(
            lambda: "voiceengine is ready." in engine.output or engine.exit is not None,
            START_SECONDS,
            lambda: f"the engine is ready; {engine.output} {engine.log}",
        )
        assert engine.exit is None, f"the engine ended with {engine.exit}: {engine.log}"
        engine.credentials = json.loads((data / "credentials.json").read_text())
        found = engine.credentials
        engine.rest = Rest(found["base_url"], found["account_sid"], found["auth_token"])
        return engine

    # -------------------------------------------------------------- what the reactor tells

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode("utf-8", "replace")
        self.changes.tell()

    def errReceived(self, data: bytes) -> None:
        self.log += data.decode("utf-8", "replace")
        self.changes.tell()

    def processEnded(self, reason: Any) -> None:
        ended = reason.value
        if isinstance(ended, ProcessTerminated) and ended.signal:
            self.exit = -ended.signal
        else:
            self.exit = 0 if isinstance(ended, ProcessDone) else ended.exitCode
        self.changes.tell()

    # -------------------------------------------------------------- what it is

    def address(self, transport: str = "udp") -> tuple[str, int]:
        """Address of a SIP listener."""
        uri = next(x for x in self.credentials["sip"] if x.startswith(f"{transport}://"))
        host, _, port = uri.partition("://")[2].rpartition(":")
        return host, int(port)

    def workers(self) -> list[int]:
        """Process ids of the media workers: children of the zygote, or once seen as such (it may die)."""
        self._workers |= {pid for zygote in children(self.pid) for pid in children(zygote)}
        return sorted(pid for pid in self._workers if is_alive(pid))

    @property
    def problems(self) -> list[str]:
        """Lines of the log that no engine should write, since the last look."""
        fresh, self.log_checked = self.log[self.log_checked :], len(self.log)
        bad = ("Traceback", "Unhandled", "flow_failed", "worker_silent", "assertion", "Assertion")
        found = [line for line in fresh.splitlines() if any(word in line for word in bad)]
        return [f"{line}\n{_after(fresh, line)}" for line in found]

    # -------------------------------------------------------------- ends

    async def stop(self) -> None:
        """SIGTERM; it must end by itself with exit code 0 and leave no process behind."""
        if self.exit is not None:
            return
        family = [*children(self.pid), *self.workers()]
        os.kill(self.pid, signal.SIGTERM)
        await self.ended(STOP_SECONDS)
        assert self.exit == 0, f"exit code {self.exit}: {self.log[-2000:]}"

        async def left() -> list[int]:
            return [pid for pid in family if is_alive(pid)]

        await eventually(left, lambda pids: not pids, 3.0, "all processes of the engine are gone")

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    async def ended(self, within: float) -> int:
        """Wait for the end; returns the exit code."""
        await self.changes.until(lambda: self.exit is not None, within, "the end of the engine process")
        assert self.exit is not None
        return self.exit


def _after(text: str, line: str) -> str:
    start = text.find(line)
    lines: Sequence[str] = text[start:].splitlines()[1:12]
    return "\n".join(lines)
