"""The document of a call that nobody's application handles: client to client, client to the world."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote
from xml.sax.saxutils import escape

from twisted.logger import Logger

from rcml.nouns import MAX_HEADERS

log = Logger()

_PLAIN = " !\"#$'()*+,-./:;<=>?@[\\]^_`{|}~"
"""What stays as it is in a header behind a noun; `&` and `%` do not."""
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
    suffix = _suffix(headers or {})
    text = f"{target}?{suffix}" if suffix else target
    return (
        f'<Response><Dial answerOnBridge="true" timeout="{int(timeout)}">'
        f"<{noun}>{escape(text)}</{noun}></Dial></Response>"
    )


def _suffix(headers: Mapping[str, str]) -> str:
    """Headers as they stand behind a noun; those for which there is no room are left out."""
    found = ""
    for name, value in headers.items():
        if not name.lower().startswith("x-") or name.lower().startswith("x-restcomm-"):
            continue
        longer = f"{found}&{name}={quote(value, safe=_PLAIN)}".removeprefix("&")
        if len(longer) < MAX_HEADERS:
            found = longer
        else:
            log.info("header_left_out name={name}", name=name)
    return found
