"""Supervisor: counters of the whole engine and its live calls. For the super admin; JSON only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from voiceengine.api.declare import Operation, Param
from voiceengine.api.errors import ApiError
from voiceengine.api.ports import LiveCall, Supervisor
from voiceengine.api.representation import Render, rfc2822
from voiceengine.api.routing import Context, Reply, Route
from voiceengine.api.version import REVISION, VERSION
from voiceengine.store.rows import now

LIVE_CALL_DETAILS: Final = Param(
    "LiveCallDetails", "flag", default=False, doc="Write the live calls, not only the URL of their list."
)
MGCP_STATS: Final = Param("MgcpStats", "flag", default=False, doc="Add the counters of media.")

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_COUNT: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
_LIVE_CALL: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "sid": _TEXT,
        "State": {"type": "string", "enum": ["QUEUED", "RINGING", "IN_PROGRESS"]},
        "type": {"type": "string", "enum": ["CLIENT", "SIP", "PSTN"]},
        "direction": {"type": "string", "enum": ["inbound", "outbound-api", "outbound-dial"]},
        "date_created": _TEXT,
        "ForwardedFrom": {"type": ["string", "null"]},
        "CallerName": {"type": ["string", "null"]},
        "from": _TEXT,
        "to": _TEXT,
        "Initial Invite": {"type": "string", "description": "Request-URI of the INVITE."},
        "Last Response": {"type": "integer", "description": "Last SIP status code; 0: none yet."},
    },
}
_LIVE_CALLS: Final[dict[str, Any]] = {"type": "array", "items": _LIVE_CALL}
_HEAD: Final[dict[str, Any]] = {"DateTime": _TEXT, "InstanceId": _TEXT, "Version": _TEXT, "Revision": _TEXT}
METRICS_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        **_HEAD,
        "Metrics": {
            "type": "object",
            "properties": {
                "AverageCallDurationInSecondsLast24Hours": {"type": "number"},
                "AverageCallDurationInSecondsLastHour": {"type": "number"},
            },
            "additionalProperties": _COUNT,
        },
        "LiveCallDetails": {
            "oneOf": [_LIVE_CALLS, {"type": "string", "description": "URL of the list of live calls."}]
        },
    },
    "required": [*_HEAD, "Metrics", "LiveCallDetails"],
}
LIVE_CALLS_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {**_HEAD, "LiveCallDetails": _LIVE_CALLS},
    "required": [*_HEAD, "LiveCallDetails"],
}


@attrs.frozen
class Json:
    """A body that only exists in JSON."""

    value: Callable[[Render], object]

    def json_value(self, render: Render) -> object:
        """The value."""
        return self.value(render)

    def xml_inner(self, render: Render) -> str:
        """Nothing: it is never asked for."""
        return ""


def _supervisor(context: Context) -> Supervisor:
    supervisor = context.deps.supervisor
    if supervisor is None:
        raise ApiError(503, "This engine counts nothing.")
    return supervisor


def _head(supervisor: Supervisor) -> Mapping[str, str]:
    return {
        "DateTime": rfc2822(now()).rpartition(" ")[0],
        "InstanceId": supervisor.instance_id,
        "Version": VERSION,
        "Revision": REVISION,
    }


def live_call(found: LiveCall) -> Mapping[str, object]:
    """A live call as it is shown."""
    row = found.row
    return {
        "sid": row.sid,
        "State": row.status.upper().replace("-", "_"),
        "type": found.kind,
        "direction": row.direction,
        "date_created": rfc2822(row.date_created),
        "ForwardedFrom": row.forwarded_from,
        "CallerName": row.caller_name,
        "from": row.from_,
        "to": row.to,
        "Initial Invite": found.initial_invite,
        "Last Response": found.last_response,
    }


def _live_calls(supervisor: Supervisor) -> list[Mapping[str, object]]:
    return [live_call(found) for found in supervisor.live_calls()]


async def _ping(context: Context) -> Reply:
    total = int(_supervisor(context).counters()["TotalCallsSinceUptime"])
    return Reply(Json(lambda _: f"TotalCalls: {total}"), only="json")


async def _metrics(context: Context) -> Reply:
    supervisor = _supervisor(context)
    details, media = context.query.read(LIVE_CALL_DETAILS), context.query.read(MGCP_STATS)
    path = f"/Accounts/{context.account.sid}/Supervisor.json/livecalls"

    def value(render: Render) -> object:
        return {
            **_head(supervisor),
            "Metrics": {**supervisor.counters(), **(supervisor.media() if media else {})},
            "LiveCallDetails": (
                _live_calls(supervisor) if details else f"{render.base_url}{render.prefix}{path}"
            ),
        }

    return Reply(Json(value), only="json")


async def _list(context: Context) -> Reply:
    supervisor = _supervisor(context)
    return Reply(
        Json(lambda _: {**_head(supervisor), "LiveCallDetails": _live_calls(supervisor)}), only="json"
    )


def _operation(run: Any, summary: str, schema: dict[str, Any], *, query: bool = False) -> Operation:
    return Operation(
        run=run,
        summary=summary,
        query=(LIVE_CALL_DETAILS, MGCP_STATS) if query else (),
        shape="other",
        schema=schema,
        errors=(503,),
    )


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base = "Accounts/{account}/Supervisor"
    metrics = _operation(_metrics, "Read the counters of the engine.", METRICS_SCHEMA, query=True)
    # Nothing is sent to a remote URL, as in the reference; the counters are the answer.
    remote = _operation(_metrics, "Read the counters; no URL is registered.", METRICS_SCHEMA, query=True)
    found = {
        base: {"GET": _operation(_ping, "Tell how many calls there were.", {"type": "string"})},
        f"{base}/metrics": {"GET": metrics},
        f"{base}/livecalls": {"GET": _operation(_list, "List the live calls.", LIVE_CALLS_SCHEMA)},
        f"{base}/remote": {"POST": remote},
        f"{base}/remote/{{call}}": {"POST": remote},
    }
    return [
        Route(path=path, resource="Supervisor", handlers=handlers, super_admin=True)
        for path, handlers in found.items()
    ]
