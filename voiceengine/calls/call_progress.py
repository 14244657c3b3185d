"""What the callbacks of a call are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from rcml.parameters import standard_parameters
from rcml.ports import CallStatus
from voiceengine.calls.callbacks import ProgressCallback, StatusCallback, progress_parameters, rfc2822

if TYPE_CHECKING:
    from voiceengine.calls.call import Call
    from voiceengine.calls.context import CallContext


class CallProgress:
    """Tells each event of a call once.

    Args:
        context: what all calls share.
        call: whose progress.
        callback: where it is told; None: nowhere.
    """

    def __init__(
        self, context: CallContext, call: Call, callback: StatusCallback | ProgressCallback | None
    ) -> None:
        self._context = context
        self._call = call
        self._callback = callback
        self._reported: set[str] = set()

    def redirect(self, url: str, method: str) -> None:
        """Tell the rest somewhere else."""
        if isinstance(self._callback, ProgressCallback):
            self._callback = attrs.evolve(self._callback, url=url, method=method)
        else:
            self._callback = StatusCallback(url=url, method=method)

    def tell(self, event: str) -> None:
        """Send the callback for an event, if one is configured for it."""
        callback, call = self._callback, self._call
        if callback is None or event in self._reported:
            return
        self._reported.add(event)
        wall = self._context.wall()
        extra = call.recordings.parameters() if event == "completed" else []
        if isinstance(callback, ProgressCallback):
            if event in callback.events:
                parameters = progress_parameters(
                    call.info,
                    event,
                    status=call.status,
                    at=wall,
                    parent_call_sid=call.row.parent_call_sid,
                    duration=call.row.duration,
                    recording=extra,
                )
                call.callbacks.send(callback.url, callback.method, parameters)
            return
        if call.status is CallStatus.NOT_FOUND or event == "initiated":
            return
        parameters = standard_parameters(call.info, call.status, self._context.null_literals)
        if event == "completed":
            parameters.append(("CallDuration", str(call.row.duration or 0)))
            parameters.append(("Timestamp", rfc2822(wall)))
            parameters += extra[:1]
        call.callbacks.send(callback.url, callback.method, parameters)
