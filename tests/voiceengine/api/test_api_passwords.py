"""How clear passwords are checked: in a thread, a bounded number at a time."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from voiceengine.api.auth import MAX_OF_ONE, Authenticator
from voiceengine.api.errors import ApiError

pytestmark = pytest.mark.loopback


@pytest_twisted.ensureDeferred
async def test_guessing_one_password_does_not_shut_out_others(api: Any) -> None:
    for account in (api.child, api.sibling):
        await api.store.accounts.update(attrs.evolve(account, password_hash=f"hash of {account.sid}"))
    released = threading.Event()

    def verify(password: str, stored: str) -> bool:
        released.wait(20)
        return password == "right"

    authenticator = Authenticator(api.store, reactor, verify)

    def check(user: str, password: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(authenticator.authenticate(user, password))

    guesses = [check(api.child.email_address, f"guess {number}") for number in range(MAX_OF_ONE)]
    with pytest.raises(ApiError) as refused:
        await check(api.child.sid, "right")
    token = await check(api.child.sid, api.child.auth_token)
    other = check(api.sibling.email_address, "right")
    released.set()

    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "2"})
    assert [await guess for guess in guesses] == [None] * MAX_OF_ONE
    assert token is not None
    assert (await other).sid == api.sibling.sid
    assert (await check(api.child.sid, "right")).sid == api.child.sid
