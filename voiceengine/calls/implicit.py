"""The document of a call that nobody's application handles: client to client, client to the world."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote
from xml.sax.saxutils import escape

_NOUNS = {"client": "Client", "number": "Number", "uri": "Sip"}


def dial_document(kind: str, target: str, timeout: float, headers: Mapping[str, str] | None = None) -> str:
    """A Dial of one target; the caller is answered when the target answers.

    Args:
        kind: client, number or uri.
        target: login, number or SIP URI.
        timeout: ring time, seconds.
        headers: `X-...` headers that go on to the target.
    """
    noun = _NOUNS[kind]
    suffix = "&".join(
        f"{name}={quote(value, safe='')}"
        for name, value in (headers or {}).items()
        if name.lower().startswith("x-") and not name.lower().startswith("x-restcomm-")
    )
    text = f"{target}?{suffix}" if suffix else target
    return (
        f'<Response><Dial answerOnBridge="true" timeout="{int(timeout)}">'
        f"<{noun}>{escape(text)}</{noun}></Dial></Response>"
    )
