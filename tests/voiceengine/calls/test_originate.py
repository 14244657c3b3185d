from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import pytest_twisted

from voiceengine.calls.originate import Originator
from voiceengine.calls.requests import CreateCall
from voiceengine.errors import CallControlError
from voiceengine.store.rows import Account

pytestmark = pytest.mark.unit

AC = "AC" + "1" * 32


@pytest.mark.parametrize("status", ["suspended", "closed"])
@pytest_twisted.ensureDeferred
async def test_no_call_starts_for_an_account_that_is_stopped_while_a_name_is_looked_up(status: str) -> None:
    account = Account(
        sid=AC, organization_sid="OR", friendly_name="x", email_address="x@example.com", auth_token="t"
    )
    accounts = {AC: account}
    begun: list[Any] = []

    class Outbound:
        async def to_uri(self, to: str, username: str, password: str) -> str:
            accounts[AC] = attrs.evolve(account, status=status)
            return to

        def new_call(self, target: str, **values: Any) -> None:
            begun.append(target)

    context: Any = SimpleNamespace(store=SimpleNamespace(accounts=accounts))
    outbound: Any = Outbound()
    with pytest.raises(CallControlError, match="Provided Account is not active") as found:
        await Originator(context, outbound).create(
            CreateCall(account_sid=AC, from_="alice", to="sip:bob@example.com", url="http://example.com/")
        )

    assert found.value.status == 403
    assert begun == []
