"""Requests made from the OpenAPI document: what comes back is what the document says, and never a defect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import pytest_twisted
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from twisted.internet.threads import deferToThread

from voiceengine.store.rows import (
    Application,
    ConferenceRow,
    NotificationRow,
    RecordingRow,
    ReferRow,
    new_sid,
)

pytestmark = pytest.mark.loopback

Api = Any

EXAMPLES = 6
"""Requests of each operation."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ACCOUNTS = "/Accounts/{account}.json"
"""Comes last: it may close the account that asks."""


async def rows(api: Api, account_sid: str) -> Mapping[str, str]:
    """Make one row of each kind; returns the sids by the segment of the path above them."""
    call = api.call(account_sid=account_sid)
    room = ConferenceRow(sid=new_sid("CF"), account_sid=account_sid, friendly_name="room")
    recording = RecordingRow(
        sid=new_sid("RE"), account_sid=account_sid, call_sid=call.sid, conference_sid=room.sid, duration=1.5
    )
    (api.folder / f"{recording.sid}.wav").write_bytes(b"RIFF0123")
    refer = ReferRow(
        sid=new_sid("RF"),
        account_sid=account_sid,
        org_sid=api.admin.organization_sid,
        call_sid=call.sid,
        from_="alice",
        to="sip:bob@example.com",
    )
    notification = NotificationRow(
        sid=new_sid("NO"), account_sid=account_sid, log=0, error_code=11200, message_text="broken"
    )
    application = Application(sid=new_sid("AP"), account_sid=account_sid, friendly_name="app")
    store = api.store
    for repository, row in (
        (store.conferences, room),
        (store.recordings, recording),
        (store.refers, refer),
        (store.notifications, notification),
    ):
        repository.save(row)
    await store.applications.add(application)
    return {
        "Calls": call.sid,
        "Conferences": room.sid,
        "Recordings": recording.sid,
        "Refers": refer.sid,
        "Notifications": notification.sid,
        "Applications": application.sid,
        "Participants": call.sid,
    }


def variables(path: str, account_sid: str, sids: Mapping[str, str]) -> dict[str, str]:
    """Values of the variables of a path that name something that exists."""
    segments = path.strip("/").split("/")
    found = {}
    for above, segment in zip(["", *segments], segments, strict=False):
        name = segment.partition("}")[0].removeprefix("{")
        if segment.startswith("{"):
            value = account_sid if name == "account" else sids.get(above.partition(".")[0])
            if value is not None:
                found[name] = value
    return found


def try_operation(
    operation: Any, base_url: str, auth: tuple[str, str], account_sid: str, sids: Mapping[str, str]
) -> list[str]:
    """Send the requests of one operation; returns what was wrong."""
    wrong: list[str] = []
    real = variables(operation.path, account_sid, sids)

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Any) -> None:
        case.path_parameters = {**(case.path_parameters or {}), **real}
        response = case.call(base_url=base_url, auth=auth, allow_redirects=False, timeout=20)
        try:
            case.validate_response(response, checks=CHECKS)
        except Exception as error:
            wrong.append(f"{operation.label}: {response.status_code} {str(error)[:600]}")

    send()
    return wrong[:1]


def try_all(
    api: Api, mount: str, auth: tuple[str, str], account_sid: str, sids: Mapping[str, str]
) -> list[str]:
    """Send requests of every operation."""
    base_url = f"http://127.0.0.1:{api.port}{mount}"
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{api.port}{mount}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    found.sort(key=lambda operation: (operation.path == ACCOUNTS, operation.method == "delete"))
    wrong = []
    for operation in found:
        wrong += try_operation(operation, base_url, auth, account_sid, sids)
    return wrong


Who = Callable[[Api], Any]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mount", "who"),
    [
        ("/restcomm/2012-04-24", lambda api: api.admin),
        ("/restcomm/2012-04-24", lambda api: api.child),
        ("/2010-04-01", lambda api: api.child),
    ],
    ids=["super-admin", "child", "twilio"],
)
@pytest_twisted.ensureDeferred
async def test_every_operation_answers_as_declared(api: Api, mount: str, who: Who) -> None:
    account = who(api)
    sids = await rows(api, account.sid)
    auth = (account.sid, account.auth_token)

    wrong = await deferToThread(try_all, api, mount, auth, account.sid, sids)

    assert wrong == [], "\n".join(wrong)
