"""Baresip as a registered client that calls the demo number.

Baresip 1.0.0 gives up with "Function not implemented" when any of the challenges is SHA-256, wherever
it stands, so this engine offers MD5 alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from harness import EngineProcess
from processes import Program
from sound import read_wav, sounding, tone, wav
from waiting import eventually
from world import World, case

pytestmark = pytest.mark.loopback

BARESIP_MODULES = Path("/usr/lib/baresip/modules")


@pytest.fixture(scope="module")
def engine(engines: Callable[..., EngineProcess]) -> EngineProcess:
    """An engine with the demo, and a challenge that baresip can answer."""
    return engines('sip.digest_algorithms=["MD5"]', "media.spare_workers=1", demo=True)


def baresip_folder(engine: EngineProcess, folder: Path, login: str, password: str) -> Path:
    """A configuration that needs no sound card: it plays a tone and records what it hears."""
    folder.mkdir()
    (folder / "said.wav").write_bytes(wav(tone(440, 20)))
    host, port = engine.address()
    (folder / "config").write_text(
        f"module_path {BARESIP_MODULES}\n"
        "module stdio.so\nmodule g711.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\n"
        "module_tmp uuid.so\nmodule_tmp account.so\nmodule_app menu.so\n"
        f"sip_listen 127.0.0.1:0\naudio_source aufile,{folder}/said.wav\naudio_player aubridge,heard\n"
        "audio_channels 1\nausrc_srate 8000\nauplay_srate 8000\nrtp_ports 42000-42100\n"
        f"snd_path {folder}\n"
    )
    uri = f"<sip:{login}@{host}:{port}>;auth_user={login};auth_pass={password};regint=600;audio_codecs=PCMU"
    (folder / "accounts").write_text(uri + "\n")
    return folder


@case
async def test_baresip_registers_and_calls_the_demo_number(world: World) -> None:
    engine = world.engine
    password = engine.credentials["clients"]["alice"]
    folder = baresip_folder(engine, engine.data.parent / "baresip", "alice", password)
    host, port = engine.address()
    baresip = Program(
        [shutil.which("baresip") or "baresip", "-f", str(folder), "-e", f"/dial sip:+1000@{host}:{port}"],
        folder,
    )
    try:
        await baresip.says("200 OK", within=5)
        await baresip.says("Call established", within=5)
        rows = await eventually(
            lambda: world.rest.calls(To="+1000", From="alice"),
            lambda rows: [row["status"] for row in rows] == ["in-progress"],
            3.0,
            f"a call from alice: {baresip.output[-1000:]}",
        )

        async def heard() -> float:
            with suppress(StopIteration, OSError):
                file = next(folder.glob("dump-*-dec.wav"))
                return file.stat().st_size / 16000
            return 0.0

        await eventually(heard, lambda seconds: seconds > 2, 6.0, f"2 s of sound: {baresip.output[-1500:]}")
        url = world.script("next", "<Hangup/>")
        reply = await world.rest.post(f"Calls/{rows[0]['sid']}.json", Url=url)
        assert reply.status == 200
        assert (await world.rest.ended(rows[0]["sid"]))["status"] == "completed"
    finally:
        await baresip.end()
    samples = read_wav(next(folder.glob("dump-*-dec.wav")).read_bytes())
    assert sounding(samples) > 1.0
