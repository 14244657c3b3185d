"""Supervisor: counters and live calls (REST case 80)."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import pytest_twisted

pytestmark = pytest.mark.loopback

Api = Any
PREFIX = "/restcomm/2012-04-24"
PATHS = ("", "/metrics", "/livecalls")


def begin(api: Api, **changes: Any) -> Any:
    row = api.call(from_="bob", caller_name="Bob", to="1310", date_created=1464616072.0, **changes)
    call = SimpleNamespace(
        row=row, kind="CLIENT", request_uri="sip:1310@host", leg=SimpleNamespace(last_response=200)
    )
    api.live[row.sid] = call
    api.supervision.began(call)
    return call


def end(api: Api, call: Any, status: str, duration: int) -> None:
    call.row = attrs.evolve(call.row, status=status, duration=duration, end_time=1464616080.0)
    api.supervision.ended(call)
    del api.live[call.row.sid]


@pytest_twisted.ensureDeferred
async def test_rest80_the_super_admin_reads_metrics_and_nobody_else(api: Api) -> None:
    begin(api)
    found = await api.get("~/Supervisor/metrics")

    assert found.code == 200
    assert found.header("Content-Type") == "application/json"
    assert found.json["Metrics"]["LiveCalls"] == 1
    own = f"{PREFIX}/Accounts/{api.child.sid}"
    for path in PATHS:
        assert (await api.get(f"{own}/Supervisor{path}.json", by=api.child)).code == 403
        assert (await api.get(f"~/Supervisor{path}.json", by=None)).code == 401
        assert (await api.get(f"{own}/Supervisor{path}.json")).code == 200
    assert (await api.post(f"{own}/Supervisor/remote", by=api.child)).code == 403


@pytest_twisted.ensureDeferred
async def test_metrics_have_all_counters(api: Api) -> None:
    end(api, begin(api), "completed", 30)
    end(api, begin(api), "busy", 0)
    begin(api)
    api.supervision.messages = lambda: {"TextMessageOutbound": 7}
    body = (await api.get("~/Supervisor.json/metrics")).json

    assert list(body) == ["DateTime", "InstanceId", "Version", "Revision", "Metrics", "LiveCallDetails"]
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2}", body["DateTime"])
    assert body["InstanceId"] == "ID" + "0" * 32
    assert body["Metrics"] == {
        "TotalCallsSinceUptime": 3,
        "IncomingCallsSinceUptime": 3,
        "OutgoingCallsSinceUptime": 0,
        "RegisteredUsers": 1,
        "LiveCalls": 1,
        "LiveIncomingCalls": 1,
        "LiveOutgoingCalls": 0,
        "MaximumConcurrentCalls": 1,
        "MaximumConcurrentIncomingCalls": 1,
        "MaximumConcurrentOutgoingCalls": 0,
        "CompletedCalls": 1,
        "NoAnswerCalls": 0,
        "BusyCalls": 1,
        "FailedCalls": 0,
        "NotFoundCalls": 0,
        "CanceledCalls": 0,
        "TextMessageInboundToApp": 0,
        "TextMessageInboundToClient": 0,
        "TextMessageInboundToProxyOut": 0,
        "TextMessageNotFound": 0,
        "TextMessageOutbound": 7,
        "AverageCallDurationInSecondsLast24Hours": 30.0,
        "AverageCallDurationInSecondsLastHour": 30.0,
    }


@pytest_twisted.ensureDeferred
async def test_live_calls_are_a_url_unless_they_are_asked_for(api: Api) -> None:
    call = begin(api)
    url = (await api.get("~/Supervisor/metrics.json")).json["LiveCallDetails"]
    shown = (await api.get("~/Supervisor/metrics.json?LiveCallDetails=true")).json["LiveCallDetails"]
    listed = (await api.get(url.removeprefix("https://host"))).json

    assert url == f"https://host{PREFIX}/Accounts/{api.admin.sid}/Supervisor.json/livecalls"
    assert shown == listed["LiveCallDetails"]
    assert shown == [
        {
            "sid": call.row.sid,
            "State": "IN_PROGRESS",
            "type": "CLIENT",
            "direction": "inbound",
            "date_created": "Mon, 30 May 2016 13:47:52 +0000",
            "ForwardedFrom": None,
            "CallerName": "Bob",
            "from": "bob",
            "to": "1310",
            "Initial Invite": "sip:1310@host",
            "Last Response": 200,
        }
    ]


@pytest_twisted.ensureDeferred
async def test_media_counters_are_there_when_they_are_asked_for(api: Api) -> None:
    plain = (await api.get("~/Supervisor/metrics.json")).json["Metrics"]
    found = (await api.get("~/Supervisor/metrics.json?MgcpStats=true")).json["Metrics"]

    assert {name: value for name, value in found.items() if name not in plain} == {
        "MgcpConnections": 4,
        "MgcpLinks": 1,
        "MgcpEndpoints": 10,
        "MgcpEndpointsBridge": 1,
        "MgcpEndpointsIvr": 4,
        "MgcpEndpointsConference": 1,
        "MgcpEndpointsPacketRelay": 4,
    }


@pytest_twisted.ensureDeferred
async def test_a_ping_is_a_text_and_a_remote_url_is_answered_with_metrics(api: Api) -> None:
    begin(api)

    assert (await api.get("~/Supervisor.json")).json == "TotalCalls: 1"
    for path in ("remote", "remote/CA" + "0" * 32):
        remote = await api.post(f"~/Supervisor/{path}")
        assert (remote.code, remote.json["Metrics"]["LiveCalls"]) == (200, 1)
    assert (await api.ask("DELETE", "~/Supervisor/metrics")).code == 405
    assert (await api.get("~/Supervisor/remote")).code == 405


@pytest_twisted.ensureDeferred
async def test_an_engine_that_counts_nothing_says_so(roomless_api: Api) -> None:
    for path in PATHS:
        assert (await roomless_api.get(f"~/Supervisor{path}.json")).code == 503
