"""What a call leaves behind: notifications and its journal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from twisted.logger import Logger

from rcml.ports import Level, Notice
from voiceengine.store.rows import JournalEvent, NotificationRow, new_sid, now
from voiceengine.store.store import Store

log = Logger()

_ENCODE = json.JSONEncoder(default=str, ensure_ascii=False, separators=(",", ":")).encode
_CREDENTIALS = re.compile(r"(?<=://)[^/\s\"]+@")


def mask(text: str) -> str:
    """Take user information out of URLs in a text."""
    return _CREDENTIALS.sub("", text) if "@" in text else text


class CallRecords:
    """Implements `rcml.ports.Records` for one call.

    Args:
        store: where it goes.
        account_sid: owner of the notifications.
        call_sid: the call.
        wall: wall time, seconds.
    """

    def __init__(
        self, store: Store, account_sid: str, call_sid: str, wall: Callable[[], float] = now
    ) -> None:
        self._store = store
        self._account_sid = account_sid
        self._call_sid = call_sid
        self._wall = wall
        self.on_transcription: Callable[[str], None] | None = None
        """Told the sid of a recording whose transcription a document asks for."""

    def notify(self, notice: Notice) -> None:
        """Store a notification and journal it."""
        store_notice(self._store, notice, account_sid=self._account_sid, call_sid=self._call_sid)
        self.journal("notification", code=notice.code, message=notice.message)

    def journal(self, event: str, **fields: object) -> None:
        """Append an event to the journal of the call."""
        if event == "transcription_requested" and self.on_transcription is not None:
            self.on_transcription(str(fields["recording"]))
        text = _ENCODE(fields)
        self._store.journal.append(
            JournalEvent(call_sid=self._call_sid, at=self._wall(), event=event, fields=mask(text))
        )


def store_notice(store: Store, notice: Notice, *, account_sid: str, call_sid: str | None) -> None:
    """Store a notification; also logged."""
    store.notifications.add(
        NotificationRow(
            sid=new_sid("NO"),
            account_sid=account_sid,
            call_sid=call_sid,
            log=int(notice.level),
            error_code=notice.code,
            message_text=mask(notice.message),
            request_url=mask(notice.request_url),
            request_method=notice.request_method,
            request_variables=notice.request_variables,
            response_headers=notice.response_headers,
            response_body=notice.response_body,
        )
    )
    (log.error if notice.level is Level.ERROR else log.warn)(
        "notification call={call} account={account} code={code} message={message}",
        call=call_sid,
        account=account_sid,
        code=notice.code,
        message=mask(notice.message),
    )
