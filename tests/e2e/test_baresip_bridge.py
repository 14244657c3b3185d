"""Baresip, a softphone of other people, in calls that are joined with a test phone: as caller and as callee.

Baresip 1.0.0 knows no challenge but MD5, so this engine offers that alone.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import numpy as np
import pytest
from dialing import hears_music
from harness import EngineProcess
from processes import Program
from sipcall import AUDIBLE, Call, strength
from sipphone import Phone
from sound import RATE, Samples
from test_baresip import baresip_folder
from waiting import eventually
from world import World, case, dial, element

pytestmark = pytest.mark.loopback

PATIENT = 20.0
"""Seconds that the engine and baresip get where their speed is not what is tested."""
BARESIP, PHONE, CAROL = 440.0, 1000.0, 1400.0
"""Frequencies of the voices."""
PASSWORD = "RestComm1234"
HEADER = 44
"""Bytes of a WAV file before its samples."""


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine with a challenge that baresip can answer."""
    return engines('sip.digest_algorithms=["MD5"]', "media.spare_workers=1")


class Baresip:
    """A registered baresip that says a tone, records what it hears, and does what it is told."""

    def __init__(self, world: World, login: str, folder: Path) -> None:
        self.login = login
        self.folder = baresip_folder(world.engine, folder, login, PASSWORD)
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as free:
            free.bind(("127.0.0.1", 0))
            self._console = free.getsockname()
        with (self.folder / "config").open("a") as config:
            config.write(f"module_app cons.so\ncons_listen 127.0.0.1:{self._console[1]}\n")
        accounts = self.folder / "accounts"
        accounts.write_text(accounts.read_text().rstrip() + ";answermode=auto\n")
        self.program = Program([shutil.which("baresip") or "baresip", "-f", str(self.folder)], self.folder)

    def command(self, text: str) -> None:
        """Type a command."""
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            sender.sendto(f"/{text}\n".encode(), self._console)

    def heard(self) -> Samples:
        """What it heard in its latest call; the file may still be growing."""
        files = sorted(self.folder.glob("dump-*-dec.wav"), key=lambda file: file.stat().st_mtime_ns)
        data = files[-1].read_bytes()[HEADER:] if files else b""
        return np.frombuffer(data[: len(data) // 2 * 2], np.int16)

    async def hears(self, frequency: float, seconds: float = 0.4) -> None:
        """Wait until the latest that it heard is this tone."""

        async def latest() -> float:
            return strength(self.heard()[-round(seconds * RATE) :], frequency)

        what = f"baresip hears {frequency:g} Hz: {self.program.output[-1500:]}"
        await eventually(latest, lambda amplitude: amplitude > AUDIBLE, PATIENT, what)


@asynccontextmanager
async def baresip(world: World, login: str) -> AsyncIterator[Baresip]:
    """A baresip that is registered, and is gone afterwards."""
    await world.rest.client(login, PASSWORD)
    phone = Baresip(world, login, world.engine.data.parent / login)
    try:
        await phone.program.says("200 OK", PATIENT)
        yield phone
    finally:
        await phone.program.end()


async def talk(phone: Baresip, call: Call, says: float = PHONE) -> None:
    """Both hear the other one."""
    call.hum(says)
    await call.hears(BARESIP, within=PATIENT)
    await phone.hears(says)
    await call.hears_none_of(says)


async def taken(phone: Phone) -> Call:
    """The call to a phone, which answers."""
    call = await phone.offered(1, PATIENT)
    call.ring()
    call.answer()
    await call.answered(PATIENT)
    return call


async def as_caller(
    world: World, phone: Baresip, bob: Phone, after: str = "", **settings: str
) -> tuple[str, Call]:
    """Baresip calls a number, and is joined with Bob: the number, and Bob's call."""
    number = await world.number(dial(element("Sip", bob.uri)) + after, **settings)
    host, port = world.engine.address()
    phone.command(f"dial sip:{number}@{host}:{port}")
    bobs = await taken(bob)
    await talk(phone, bobs)
    return number, bobs


async def as_callee(world: World, phone: Baresip, after: str = "") -> tuple[str, Call]:
    """A test phone calls a number, and is joined with baresip: the number, and the call of the test phone."""
    number = await world.number(dial(element("Client", phone.login)) + after)
    call = await world.answered(number)
    await talk(phone, call)
    return number, call


async def completed(world: World, number: str) -> None:
    """The records of the caller and of the one who was dialed say so."""
    assert (await world.row(number, PATIENT))["status"] == "completed"
    (row,) = await world.dialed(number, 1, PATIENT)
    assert row["status"] == "completed"


@case
async def test_baresip_calls_a_phone_and_hangs_up(world: World) -> None:
    async with baresip(world, "barecaller") as phone:
        number, bobs = await as_caller(world, phone, await world.phone("bob"))
        phone.command("hangup")
        await bobs.over(PATIENT)
        await completed(world, number)


@case
async def test_baresip_calls_a_phone_which_hangs_up(world: World) -> None:
    async with baresip(world, "bareleft") as phone:
        number, bobs = await as_caller(world, phone, await world.phone("bob"))
        assert (await bobs.bye()).code == 200
        await completed(world, number)
        await phone.program.says("session closed", PATIENT)


@case
async def test_baresip_is_dialed_and_hangs_up(world: World) -> None:
    async with baresip(world, "barecallee") as phone:
        number, call = await as_callee(world, phone, world.play(800, 0.8))
        phone.command("hangup")
        await call.hears(800, within=PATIENT)
        await call.over(PATIENT)
        await completed(world, number)


@case
async def test_baresip_is_dialed_by_a_caller_who_hangs_up(world: World) -> None:
    async with baresip(world, "baredialed") as phone:
        number, call = await as_callee(world, phone)
        assert (await call.bye()).code == 200
        await completed(world, number)
        await phone.program.says("session closed", PATIENT)


@case
async def test_baresip_holds_and_the_other_side_hears_music_until_it_resumes(world: World) -> None:
    async with baresip(world, "bareholder") as phone:
        _, call = await as_callee(world, phone)
        phone.command("hold")
        await hears_music(call)
        await call.hears_none_of(BARESIP)
        phone.command("resume")
        await talk(phone, call)
        await call.bye()


@case
async def test_baresip_transfers_the_one_it_called(world: World) -> None:
    carol = await world.phone("carol")
    refer = world.script("refer", dial(element("Sip", carol.uri)))
    async with baresip(world, "baretransfer") as phone:
        _, bobs = await as_caller(world, phone, await world.phone("bob"), ReferUrl=refer)
        phone.command("transfer sip:carol@127.0.0.1")
        carols = await taken(carol)
        bobs.hum(PHONE)
        carols.hum(CAROL)
        await bobs.hears(CAROL, within=PATIENT)
        await carols.hears(PHONE, within=PATIENT)
        # baresip tells nothing when its own BYE, after the last NOTIFY, crosses ours
        await eventually(
            lambda: world.rest.calls(From="baretransfer"),
            lambda rows: [row["status"] for row in rows if row["direction"] == "inbound"] == ["completed"],
            PATIENT,
            "the call of the one who transferred is over",
        )
        seen = await world.asked("refer")
        assert (seen.form["ReferTarget"], seen.form["Transferor"]) == ("carol", "baretransfer")
        await carols.bye()
        await bobs.over(PATIENT)
