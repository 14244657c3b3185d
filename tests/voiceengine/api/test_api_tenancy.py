"""No account reaches what belongs to another: every route, every method, every kind of outsider.

The matrix is made from the routes themselves; a route with a variable that nobody gave an object for fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import pytest_twisted
from tenants import (
    ACCOUNT,
    COMMON,
    MARK,
    METHODS,
    MOUNT,
    NUMBER,
    OWNED,
    World,
    body_of,
    make_world,
    owns,
    path_of,
    snapshot,
    variables,
)

from voiceengine.api.routing import Route
from voiceengine.api.twilio_shape import TWILIO_MOUNT
from voiceengine.store.rows import Account

pytestmark = pytest.mark.loopback

Api = Any
PUBLIC = frozenset({"Logout"})
"""Served without credentials whatever the settings say."""
REFUSED = frozenset({401, 403, 404, 405})


def guarded(api: Api) -> Iterator[Route]:
    """Routes that need credentials."""
    settings = api.settings
    for route in api.routes:
        if route.public(settings):
            assert route.path in PUBLIC, f"{route.path} is served without credentials"
        else:
            yield route


def leaks(world: World, text: str, path: str) -> list[str]:
    """What a reply tells of the owner, beyond what the request named."""
    low = text.lower()
    found = [mark for mark in (MARK, NUMBER) if mark in low]
    return found + [sid for sid in world.sids() if sid not in path and sid in text]


class Sweep:
    """Asks everything as one account and collects what should not be.

    Args:
        world: what there is.
        by: whose credentials; None: none.
        account: the account in the paths.
    """

    def __init__(self, world: World, by: Account | None, account: Account) -> None:
        self.world = world
        self.by = by
        self.account = account
        self.problems: list[str] = []
        self.asked = 0

    async def ask(
        self, method: str, path: str, body: dict[str, str], good: Callable[[int], bool], mount: str = MOUNT
    ) -> None:
        """Ask once."""
        self.asked += 1
        data = body if method in ("POST", "PUT") else None
        full = f"{mount}/{path}"
        answer = await self.world.api.ask(method, full, by=self.by, data=data, accept="application/json")
        if not good(answer.code):
            self.problems.append(f"{method} {path}: {answer.code} {answer.text[:200]}")
        # Whose child an account is stands in the account itself.
        known = "" if self.by is None else f"{self.by.parent_sid}"
        told = leaks(self.world, answer.text, f"{path} {body} {known}")
        if told:
            self.problems.append(f"{method} {path}: tells {told}")

    async def refused(self, wanted: Callable[[Route], bool]) -> None:
        """Ask every method of these routes for the owner's objects."""
        for route in guarded(self.world.api):
            if not wanted(route):
                continue
            path = path_of(route, self.world, self.account)
            for method in METHODS:
                body = body_of(route, method, self.world)
                await self.ask(method, path, body, REFUSED.__contains__)

    async def lists(self) -> None:
        """Read all that the account can list of its own, in both shapes."""
        for route in guarded(self.world.api):
            if "GET" in route.handlers and not owns(route):
                path = path_of(route, self.world, self.account) + "?SubAccounts=true&PageSize=1000"
                for mount in (MOUNT, TWILIO_MOUNT):
                    await self.ask("GET", path, {}, lambda code: code != 500, mount)

    def settle(self) -> None:
        """Fail with all that was found."""
        assert self.asked
        assert not self.problems, "\n".join(self.problems)


def of_somebody(route: Route) -> bool:
    """Whether the path names the owner or what it has, or is for the super admin."""
    return route.super_admin or any(prefix in OWNED for prefix, _, _ in variables(route))


def test_every_variable_of_a_path_stands_for_something() -> None:
    from voiceengine.api import RESOURCES

    prefixes = {
        prefix for module in RESOURCES for route in module.routes() for prefix, _, _ in variables(route)
    }
    unknown = prefixes - OWNED.keys() - COMMON.keys()

    assert not unknown, f"say in tenants.py what stands for {sorted(unknown)}"


OUTSIDERS = ("stranger", "sibling", "child", "developer")


@pytest.mark.parametrize("who", [*OUTSIDERS, "nobody"])
@pytest_twisted.ensureDeferred
async def test_outsiders_are_refused_at_the_owners_paths(guarded_api: Api, who: str) -> None:
    world = await make_world(guarded_api)
    before = await snapshot(guarded_api)
    sweep = Sweep(world, None if who == "nobody" else getattr(world, who), world.owner)
    await sweep.refused(of_somebody)

    sweep.settle()
    assert await snapshot(guarded_api) == before


@pytest.mark.parametrize("who", [*OUTSIDERS, "parent"])
@pytest_twisted.ensureDeferred
async def test_own_paths_do_not_lead_to_objects_of_others(guarded_api: Api, who: str) -> None:
    world = await make_world(guarded_api)
    before = await snapshot(guarded_api)
    acting: Account = getattr(world, who)
    sweep = Sweep(world, acting, acting)
    # The parent may do things to the account itself, so only objects below an account count.
    await sweep.refused(lambda route: owns(route) and route.path.startswith(f"{ACCOUNT}/"))

    sweep.settle()
    assert await snapshot(guarded_api) == before


@pytest.mark.parametrize("status", ["suspended", "inactive", "closed", "uninitialized"])
@pytest_twisted.ensureDeferred
async def test_a_parent_that_is_not_active_is_refused(guarded_api: Api, status: str) -> None:
    world = await make_world(guarded_api)
    await guarded_api.store.accounts.update(attrs.evolve(world.parent, status=status))
    before = await snapshot(guarded_api)
    sweep = Sweep(world, world.parent, world.owner)
    # Of an uninitialized account only its Account resource is served, so that its password can be set.
    await sweep.refused(
        lambda route: of_somebody(route) and (status != "uninitialized" or route.resource != "Accounts")
    )

    sweep.settle()
    assert await snapshot(guarded_api) == before


@pytest.mark.parametrize("who", OUTSIDERS)
@pytest_twisted.ensureDeferred
async def test_own_lists_show_nothing_of_others(guarded_api: Api, who: str) -> None:
    world = await make_world(guarded_api)
    acting: Account = getattr(world, who)
    sweep = Sweep(world, acting, acting)
    await sweep.lists()

    sweep.settle()


@pytest_twisted.ensureDeferred
async def test_objects_of_others_cannot_be_referred_to(guarded_api: Api) -> None:
    """What an account makes may not point to an application, call or number of another one and show it."""
    world = await make_world(guarded_api)
    sweep = Sweep(world, world.stranger, world.stranger)
    for route in guarded(guarded_api):
        if "POST" in route.handlers and not owns(route) and not route.super_admin:
            body = body_of(route, "POST", world, foreign=True)
            path = path_of(route, world, world.stranger)
            await sweep.ask("POST", path, body, lambda code: code != 500)
    await sweep.lists()

    sweep.settle()


@pytest.mark.parametrize("who", ["parent", "grandparent", "admin"])
@pytest_twisted.ensureDeferred
async def test_those_above_read_everything_but_applications(guarded_api: Api, who: str) -> None:
    """Proves as well that the owner's objects are there to be seen."""
    world = await make_world(guarded_api)
    acting: Account = guarded_api.admin if who == "admin" else getattr(world, who)
    seen = set()
    for route in guarded(guarded_api):
        if not route.path.startswith(ACCOUNT) or "GET" not in route.handlers:
            continue
        path = path_of(route, world, world.owner)
        answer = await guarded_api.ask("GET", f"{MOUNT}/{path}", by=acting, accept="application/json")
        if route.owner_only or (route.super_admin and who != "admin"):
            assert answer.code == 403, path
            assert MARK not in answer.text.lower()
        elif not route.hidden and not any(prefix in COMMON for prefix, _, _ in variables(route)):
            assert answer.code in (200, 409, 503), f"{path}: {answer.code} {answer.text}"
        if MARK in answer.text.lower():
            seen.add(route.resource)

    assert seen >= {
        "Accounts",
        "Announcements",
        "Calls",
        "Clients",
        "Conferences",
        "IncomingPhoneNumbers",
        "Notifications",
        "OutgoingCallerIds",
        "Recordings",
        "Refers",
        "SmsMessages",
        "Transcriptions",
    }


@pytest_twisted.ensureDeferred
async def test_nothing_can_be_made_or_changed_under_a_closed_account(guarded_api: Api) -> None:
    world = await make_world(guarded_api)
    await guarded_api.store.accounts.update(attrs.evolve(world.owner, status="closed"))
    before = await snapshot(guarded_api)
    asked, problems = 0, []
    for route in guarded(guarded_api):
        if not route.path.startswith(ACCOUNT) or route.owner_only or route.super_admin:
            continue
        for method in {"POST", "PUT"} & set(route.handlers):
            path = f"{MOUNT}/{path_of(route, world, world.owner)}"
            body = body_of(route, method, world)
            answer = await guarded_api.ask(
                method, path, by=world.parent, data=body, accept="application/json"
            )
            asked += 1
            if (answer.code, answer.json["message"]) != (400, "Account is closed"):
                problems.append(f"{method} {path}: {answer.code} {answer.text}")

    assert asked > 20
    assert problems == []
    assert await snapshot(guarded_api) == before
