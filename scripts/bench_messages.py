"""Text messages per second: from client to client, and from a client to the application of a number.

    .venv/bin/python scripts/bench_messages.py [--messages 2000] [--at-once 20]

Starts an engine of its own in a temporary folder; sender, recipient and application are this process. So many
messages are on their way at once; the next one is sent when one was answered. Prints messages a second, the
time to the final answer, and the CPU of the engine process for each message. The client proves who it is with
every message (digest, with a nonce that it keeps).
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import defer, task
from twisted.internet import reactor as installed
from twisted.internet.protocol import DatagramProtocol
from twisted.web.resource import Resource
from twisted.web.server import Site

from voiceengine.sip.digest import authorization

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PASSWORD = "RestComm1234"
ANSWER_SECONDS = 20.0
reactor: Any = installed


def used(pid: int) -> float:
    """Seconds of CPU a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Engine:
    """An engine in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        command = [sys.executable, "-m", "voiceengine", "serve", "--data", str(self.data), "--no-demo"]
        command += ["--http", "127.0.0.1:0", "--sip", "udp://127.0.0.1:0", "--set", "media.spare_workers=1"]
        self._log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "voiceengine is ready." in line:
                break
        else:
            raise SystemExit(f"the engine did not start: {(folder / 'log').read_text()[-2000:]}")
        known = json.loads((self.data / "credentials.json").read_text("utf-8"))
        uri = next(uri for uri in known["sip"] if uri.startswith("udp://"))
        self.host, _, port = uri.partition("://")[2].rpartition(":")
        self.port = int(port)
        self._base = f"{known['base_url']}/Accounts/{known['account_sid']}"
        token = b64encode(f"{known['account_sid']}:{known['auth_token']}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"}

    def ask(self, path: str, **form: str) -> Any:
        """POST with a form, GET without."""
        data = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(f"{self._base}/{path}", data, self._headers)
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)
        self._log.close()


class Phone(DatagramProtocol):
    """A client that registers, sends messages and takes those that come."""

    def __init__(self, engine: Engine, login: str) -> None:
        self.engine, self.login = engine, login
        self.taken = 0
        self._challenge: dict[str, str] = {}
        self._count = 0
        self._waiting: dict[str, defer.Deferred[tuple[int, str]]] = {}
        self._port = reactor.listenUDP(0, self, interface="127.0.0.1").getHost().port

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:  # noqa: N802 - the name is Twisted's
        """An answer, or a message."""
        text = datagram.decode()
        if not text.startswith("SIP/2.0 "):
            self.taken += 1
            head = text.partition("\r\n\r\n")[0].split("\r\n")[1:]
            kept = [
                x for x in head if x.partition(":")[0].lower() in ("via", "from", "to", "call-id", "cseq")
            ]
            lines = ["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]
            self.transport.write("\r\n".join(lines).encode(), addr)
            return
        branch = text.partition("branch=")[2].partition("\r\n")[0].partition(";")[0]
        waiting = self._waiting.pop(branch, None)
        if waiting is not None:
            waiting.callback((int(text.split(None, 2)[1]), text))

    async def request(self, method: str, user: str, headers: list[str], body: str = "") -> tuple[int, str]:
        """Send a request with what is known of the challenge; returns code and text of the answer."""
        engine = self.engine
        uri = f"sip:{user}@{engine.host}:{engine.port}" if user else f"sip:{engine.host}:{engine.port}"
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self._port};rport;branch={branch}",
            "Max-Forwards: 70",
            f"From: <sip:{self.login}@{engine.host}>;tag={secrets.token_hex(4)}",
            f"To: <sip:{user or self.login}@{engine.host}>",
            f"Call-ID: {secrets.token_hex(8)}",
            f"CSeq: 1 {method}",
            *headers,
        ]
        name, challenge = next(iter(self._challenge.items()), ("", ""))
        if challenge:
            self._count += 1
            answer = authorization([challenge], method, uri, self.login, PASSWORD, nc=self._count)
            lines.append(f"{name}: {answer}")
        lines += [f"Content-Length: {len(body.encode())}", "", body]
        self._waiting[branch] = found = defer.Deferred()
        found.addTimeout(ANSWER_SECONDS, reactor)
        self.transport.write("\r\n".join(lines).encode(), (engine.host, engine.port))
        return await found

    async def prove(self, method: str, user: str, headers: list[str], body: str = "") -> int:
        """The same, again when it is challenged."""
        code, text = await self.request(method, user, headers, body)
        if code in (401, 407):
            head = "WWW-Authenticate: " if code == 401 else "Proxy-Authenticate: "
            challenge = next(x for x in text.split("\r\n") if x.startswith(head)).partition(": ")[2]
            name = "Authorization" if code == 401 else "Proxy-Authorization"
            self._challenge, self._count = {name: challenge}, 0
            code, _ = await self.request(method, user, headers, body)
        return code

    async def register(self) -> None:
        """Register."""
        contact = f"Contact: <sip:{self.login}@127.0.0.1:{self._port}>"
        code = await self.prove("REGISTER", "", [contact, "Expires: 3600"])
        assert code == 200, code
        self._challenge = {}

    async def text(self, to: str, body: str) -> int:
        """Send a message; returns its final answer."""
        return await self.prove("MESSAGE", to, ["Content-Type: text/plain"], body)


class Application(Resource):
    """Answers every request with an empty document."""

    isLeaf = True  # noqa: N815 - the name is Twisted's

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def render_POST(self, request: Any) -> bytes:  # noqa: N802 - the name is Twisted's
        """A message came."""
        self.asked += 1
        request.setHeader("Content-Type", "text/xml")
        return b"<Response/>"


async def run(
    engine: Engine, phone: Phone, to: str, count: int, at_once: int, arrived: Callable[[], int]
) -> None:
    """Send so many messages and print what they took."""

    async def all_arrived(number: int) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS
        while arrived() < number and time.monotonic() < deadline:
            await task.deferLater(reactor, 0.01)

    code = await phone.text(to, "first")
    if code not in (200, 202):
        raise SystemExit(f"the first message was answered {code}")
    await all_arrived(1)
    delays: list[float] = []
    codes: dict[int, int] = {}
    numbers = iter(range(count))

    async def sender() -> None:
        for number in numbers:
            begun = time.perf_counter()
            code = await phone.text(to, f"message {number}")
            delays.append(time.perf_counter() - begun)
            codes[code] = codes.get(code, 0) + 1

    begun, cpu = time.perf_counter(), used(engine.process.pid)
    await defer.gatherResults([defer.Deferred.fromCoroutine(sender()) for _ in range(at_once)])
    seconds = time.perf_counter() - begun
    await all_arrived(count + 1)
    cpu, all_there = used(engine.process.pid) - cpu, time.perf_counter() - begun
    cuts = statistics.quantiles(delays, n=100)
    print(
        f"{count / seconds:7.0f}/s answered, {count / all_there:5.0f}/s through   answers {codes}   "
        f"p50 / p95 / p99 {cuts[49] * 1e3:.1f} / {cuts[94] * 1e3:.1f} / {cuts[98] * 1e3:.1f} ms   "
        f"CPU of the engine {cpu / count * 1e3:.2f} ms each   arrived {arrived() - 1}"
    )


async def bench(arguments: argparse.Namespace, engine: Engine) -> None:
    application = Application()
    port = reactor.listenTCP(0, Site(application), interface="127.0.0.1", backlog=512)
    url = f"http://127.0.0.1:{port.getHost().port}/"
    for login in ("alice", "bob"):
        engine.ask("Clients.json", Login=login, Password=PASSWORD)
    engine.ask("IncomingPhoneNumbers.json", PhoneNumber="1234", isSIP="true", SmsUrl=url)
    alice, bob = Phone(engine, "alice"), Phone(engine, "bob")
    await alice.register()
    await bob.register()
    count, at_once = arguments.messages, arguments.at_once
    print(f"{count} messages, {at_once} at once")
    print("client to client      ", end="", flush=True)
    await run(engine, alice, "bob", count, at_once, lambda: bob.taken)
    print("client to application ", end="", flush=True)
    await run(engine, alice, "1234", count, at_once, lambda: application.asked)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=2000, help="of each kind")
    parser.add_argument("--at-once", type=int, default=20, help="on their way at any time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path(folder))
        try:
            task.react(lambda _: defer.Deferred.fromCoroutine(bench(arguments, engine)))
        finally:
            engine.stop()


if __name__ == "__main__":
    main()
