"""Text messages to the phone network by SIP: MESSAGE to the outbound proxy of the account (RFC 3428)."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from sipmessage import URI
from twisted.logger import Logger

from voiceengine.calls.trunks import number_for, proxy_for
from voiceengine.config import OutboundProxy, Settings
from voiceengine.messages.delivery import (
    HOPS_HEADER,
    SID_HEADER,
    TEXT,
    DeliveryReport,
    Handover,
    OutboundText,
    SipRequests,
    extra_headers,
    failed,
    outcome,
    own_address,
)

log = Logger()

REPORT_TYPE: Final = "message/imdn+xml"
"""Content type of a delivery report (RFC 5438)."""

NO_CARRIER, NO_HANDSET, UNDELIVERABLE = 30006, 30005, 30003

_SHORT_CODE = re.compile(r"[0-9]{3,6}")
_MESSAGE_ID = re.compile(r"<(?:\w+:)?message-id>\s*(SM[0-9a-zA-Z]{32})\s*</")
_STATUS = re.compile(
    r"<(?:\w+:)?delivery-notification>\s*<(?:\w+:)?status>\s*<(?:\w+:)?(delivered|failed|forbidden|error)\b"
)


class SipTrunkProvider:
    """Implements `SmsProvider` with the outbound proxies of the settings."""

    def __init__(self, edge: SipRequests, settings: Settings) -> None:
        self._edge = edge
        self._settings = settings

    async def send(self, text: OutboundText, timeout: float) -> Handover:
        """Send a MESSAGE to the trunk of the account."""
        proxy = proxy_for(self._settings.sip, text.account_sid)
        if not proxy.uri:
            return failed(NO_CARRIER, 404, "No Outbound Proxy")
        number = self._number(text.to, proxy)
        if number is None:
            return failed(NO_HANDSET, 404, "Not A Phone Number")
        try:
            target = dataclasses.replace(URI.parse(proxy.uri), user=number)
            flow = await self._edge.flow_to_uri(target)
        except (OSError, ValueError) as error:
            log.warn(
                "message_trunk_unreachable message={message} uri={uri} reason={reason}",
                message=text.sid,
                uri=proxy.uri.rpartition("@")[2],
                reason=str(error),
            )
            return failed(NO_CARRIER, 503, "Trunk Unreachable")
        host = target.host if proxy.from_host == "proxy" else flow.listener.public_host
        sender = own_address(text.from_, host)
        user = proxy.username if proxy.from_user == "username" else text.from_
        headers = [(SID_HEADER, text.sid), *extra_headers(text.headers)]
        if text.hops:
            headers.append((HOPS_HEADER, str(text.hops)))
        if proxy.asserted_identity:
            headers.append(("P-Asserted-Identity", sender))
        answer = await self._edge.request(
            "MESSAGE",
            str(target),
            flow,
            from_=own_address(user, host),
            headers=headers,
            body=text.body.encode("utf-8", "replace"),
            content_type=TEXT,
            username=proxy.username,
            password=proxy.password,
            timeout=timeout,
        )
        return outcome(answer)

    def _number(self, to: str, proxy: OutboundProxy) -> str | None:
        if _SHORT_CODE.fullmatch(to):
            return to
        number = number_for(to, self._settings.calls.normalize_numbers, "as-dialed")
        return None if number is None else number_for(number, False, proxy.number_format)


def read_report(body: str) -> DeliveryReport | None:
    """Read a delivery report of a trunk (RFC 5438 section 7.2); None when it is none of ours.

    Its `message-id` must be the sid that went out in X-Message-Sid.
    """
    sid, status = _MESSAGE_ID.search(body), _STATUS.search(body)
    if sid is None or status is None:
        return None
    delivered = status[1] == "delivered"
    return DeliveryReport(sid[1], delivered, None if delivered else UNDELIVERABLE)
