"""Fixtures of the end-to-end tests: one engine and one web application that modules share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import async_yield_fixture

for _name in ("harness", "processes", "rtp", "sipcall", "siptext", "sipphone", "sound", "waiting", "webapp"):
    pytest.register_assert_rewrite(_name)
pytest.register_assert_rewrite("world", "session", "rooms", "dialing", "texting")

from harness import EngineProcess  # noqa: E402 - after the rewriting was arranged
from session import idle, run  # noqa: E402
from webapp import WebApp  # noqa: E402
from world import Running, World  # noqa: E402


@pytest.fixture(scope="session")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """The engine that modules share; it must stop by itself in the end."""
    folder: Path = tmp_path_factory.mktemp("engine") / "data"
    engine = run(lambda: EngineProcess.start(folder))
    yield engine
    run(engine.stop)


@pytest.fixture(scope="session")
def shared_app() -> Iterator[WebApp]:
    """The web application that modules share."""

    async def make() -> WebApp:
        return WebApp()

    app = run(make)
    yield app
    run(app.close)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., EngineProcess]]:
    """Starts engines of a module's own; those that still run in the end must stop by themselves."""
    started: list[EngineProcess] = []

    def start(*settings: str, **options: Any) -> EngineProcess:
        folder = options.pop("data", None) or tmp_path_factory.mktemp("engine") / "data"
        started.append(run(lambda: EngineProcess.start(folder, *settings, **options)))
        return started[-1]

    yield start
    for one in started:
        if one.exit is None:
            run(one.stop)


@pytest.fixture(scope="module")
def engine(shared_engine: EngineProcess) -> EngineProcess:
    """The engine of a module; modules that do it harm have their own."""
    return shared_engine


@pytest.fixture(scope="module")
def app(shared_app: WebApp) -> WebApp:
    """The web application of a module."""
    return shared_app


@async_yield_fixture(scope="module")
async def running(
    request: pytest.FixtureRequest, engine: EngineProcess, app: WebApp
) -> AsyncIterator[Running]:
    """The concurrent scenarios of a module; afterwards nothing may be left."""
    here = [item for item in request.session.items if getattr(item, "module", None) is request.module]
    found = [item.function.scenario for item in here if hasattr(item.function, "scenario")]
    works = Running(engine, app, found)
    yield works
    await works.all_over()
    await idle(engine)
    assert not engine.problems


@async_yield_fixture
async def world(request: pytest.FixtureRequest, engine: EngineProcess, app: WebApp) -> AsyncIterator[World]:
    """Surroundings of a test that has the engine for itself; afterwards nothing may be left in it."""
    made = World(engine, app, request.node.name.removeprefix("test_"))
    yield made
    await made.close()
    if engine.exit is None:
        await idle(engine)
        assert not engine.problems
