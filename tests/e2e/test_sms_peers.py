"""Text messages with programs that others wrote: sipp, sipsak (when it is installed) and baresip."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from harness import EngineProcess
from processes import Program
from test_baresip import baresip_folder
from texting import PASSWORD, outside, reaches, rows, send, sms, sms_number, the_row, user_of
from waiting import eventually
from webapp import document
from world import World, case

pytestmark = pytest.mark.loopback

SCENARIOS = Path(__file__).parent / "sipp"
PATIENT = 20.0
"""Seconds that the engine and the programs get where their speed is not what is tested."""
MESSAGES = 200


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine with a challenge that baresip can answer."""
    return engines('sip.digest_algorithms=["MD5"]', "media.spare_workers=1")


# ------------------------------------------------------------------ sipp and sipsak


async def sipp(world: World, transport: str) -> None:
    """200 messages at 50 a second: all are taken, told and recorded."""
    number = await sms_number(world, document(""))
    host, port = world.engine.address("tcp" if transport == "t1" else "udp")
    folder = world.engine.data.parent / f"sipp-{transport}"
    folder.mkdir()
    command = [shutil.which("sipp") or "sipp", f"{host}:{port}", "-sf", str(SCENARIOS / "message.xml")]
    command += ["-s", number, "-m", str(MESSAGES), "-r", "50", "-i", "127.0.0.1", "-nostdin"]
    command += ["-t", transport, "-trace_err", "-timeout", "25"]
    program = Program(command, folder, TERM="dumb")
    try:
        code = await program.ended(PATIENT + 5)
    finally:
        await program.end()
    errors = [file.read_text() for file in folder.glob("*errors.log")]
    assert (code, errors) == (0, []), program.output[-3000:]
    await world.asked("sms", MESSAGES, PATIENT)
    expected = {f"message number {count} of sipp" for count in range(1, MESSAGES + 1)}
    seen = world.app.requests(world.path("sms"))
    assert {one.form["Body"] for one in seen} == expected
    assert all(one.form["Body"].split()[2] == one.form["SipHeader_X-Number"] for one in seen)
    found: list[dict[str, Any]] = []
    for page in range(2):
        found += await rows(world, To=number, PageSize="100", Page=str(page))
    assert {one["body"] for one in found} == expected
    assert {one["sid"] for one in found} == {one.form["SmsSid"] for one in seen}
    assert {one["status"] for one in found} == {"received"}


@case
async def test_sipp_sends_200_messages_at_50_a_second_over_udp(world: World) -> None:
    await sipp(world, "u1")


@case
async def test_sipp_sends_200_messages_at_50_a_second_over_tcp(world: World) -> None:
    await sipp(world, "t1")


@case
async def test_sipsak_sends_a_message_to_a_number(world: World) -> None:
    number = await sms_number(world, document(""))
    host, port = world.engine.address()
    file = world.engine.data.parent / "sipsak.txt"  # its option -M crashes (0.9.8.1), so it sends a file
    lines = [
        f"MESSAGE sip:{number}@{host}:{port} SIP/2.0",
        "From: <sip:sipsak@127.0.0.1>;tag=1",
        f"To: <sip:{number}@{host}>",
        "Call-ID: from-sipsak",
        "CSeq: 1 MESSAGE",
        "Max-Forwards: 70",
        "Content-Type: text/plain",
        "Content-Length: 11",
    ]
    file.write_bytes("\r\n".join([*lines, "", "from sipsak"]).encode())
    command = [shutil.which("sipsak") or "sipsak", "-f", str(file), "-vv"]
    program = Program([*command, "-s", f"sip:{number}@{host}:{port}"])
    try:
        code = await program.ended(PATIENT)
    finally:
        await program.end()
    seen = await world.asked("sms", within=PATIENT)

    assert (code, "202 Accepted" in program.output) == (0, True), program.output
    assert (seen.form["Body"], seen.form["From"]) == ("from sipsak", "sipsak")


# ------------------------------------------------------------------ baresip


class Baresip:
    """A registered baresip with one contact that it writes to."""

    def __init__(self, world: World, login: str, contact: str) -> None:
        self.folder = baresip_folder(world.engine, world.engine.data.parent / login, login, PASSWORD)
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as free:
            free.bind(("127.0.0.1", 0))
            self._console = free.getsockname()
        with (self.folder / "config").open("a") as config:
            config.write(
                f"module_app contact.so\nmodule_app cons.so\ncons_listen 127.0.0.1:{self._console[1]}\n"
            )
        host, port = world.engine.address()
        (self.folder / "contacts").write_text(f'"Peer" <sip:{contact}@{host}:{port}>;access=allow\n')
        (self.folder / "current_contact").write_text(f"sip:{contact}@{host}:{port}")
        self.program = Program([shutil.which("baresip") or "baresip", "-f", str(self.folder)], self.folder)

    def command(self, text: str) -> None:
        """Type a command."""
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            sender.sendto(f"/{text}\n".encode(), self._console)


@asynccontextmanager
async def baresip(world: World, login: str, contact: str) -> AsyncIterator[Baresip]:
    """A baresip that is registered, and is gone afterwards."""
    await world.rest.client(login, PASSWORD)
    phone = Baresip(world, login, contact)
    try:
        await phone.program.says("200 OK", PATIENT)
        yield phone
    finally:
        await phone.program.end()


@case
async def test_baresip_shows_what_programs_and_clients_send_to_it(world: World) -> None:
    alice = await world.registered("alicetobaresip")
    async with baresip(world, "bareread", "nobody") as phone:
        found = await send(world, To="client:bareread", Body="From the API, Zoë")
        await phone.program.says("From the API, Zoë", PATIENT)
        answer = await alice.send_text("bareread", "From Alice 😀", login=("alicetobaresip", PASSWORD))
        await phone.program.says("From Alice 😀", PATIENT)
        await reaches(world, found["sid"], "delivered")
    assert answer.code == 200
    assert "sip:alicetobaresip@" in phone.program.output


@case
async def test_baresip_writes_to_a_number_and_shows_its_answer(world: World) -> None:
    number = await sms_number(world, sms("You are number 1"))
    async with baresip(world, "barewrite", number) as phone:
        phone.command("message Hello from baresip")
        seen = await world.asked("sms", within=PATIENT)
        await phone.program.says("You are number 1", PATIENT)
    inbound = await the_row(world, "received", From="barewrite")

    assert (seen.form["From"], seen.form["To"]) == ("barewrite", number)
    assert seen.form["Body"] == "Hello from baresip"
    assert inbound["sid"] == seen.form["SmsSid"]


@case
async def test_baresip_writes_to_a_client(world: World) -> None:
    bob = await world.registered("bobofbaresip")
    async with baresip(world, "barepeer", "bobofbaresip") as phone:
        phone.command("message Hello Bob")
        text = await bob.text(within=PATIENT)
        found = await eventually(lambda: rows(world, From="barepeer"), bool, PATIENT, "a record")
        await reaches(world, found[0]["sid"], "delivered")

    assert text.body == b"Hello Bob"
    assert user_of(text.get("From")) == "barepeer"


@case
async def test_a_phone_without_an_account_writes_from_outside(world: World) -> None:
    number, sender = await sms_number(world, document("")), outside()
    tcp = await world.phone(sender, "tcp")
    answer = await tcp.send_text(number, "over TCP " + "é" * 4000)
    seen = await world.asked("sms", within=PATIENT)

    assert answer.code == 202
    assert seen.form["Body"] == "over TCP " + "é" * 4000
