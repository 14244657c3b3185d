"""Fixtures of the tests of the edge."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

pytest.register_assert_rewrite("edge_world")

from edge_world import World  # noqa: E402 - after the rewriting was arranged


@pytest_twisted.async_yield_fixture
async def world() -> AsyncIterator[World]:
    made = World(["udp://127.0.0.1:0", "tcp://127.0.0.1:0"])
    yield made
    await made.close()
