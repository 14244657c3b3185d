"""What the REST API asks of call control (`voiceengine.calls` defines it, the API only uses it)."""

from voiceengine.calls.requests import CALL_EVENTS, CallControl, CreateCall, ModifyCall

__all__ = ["CALL_EVENTS", "CallControl", "CreateCall", "ModifyCall"]
