"""The address of a provider, as it stands in the row of a gateway."""

from __future__ import annotations

import re
from typing import Final

from sipmessage import URI

from voiceengine.sip import grammar  # noqa: F401 - widens what sipmessage takes

MAX_LENGTH: Final = 255

_SAFE: Final = re.compile(r"[\x21-\x7e]+")


class ProxyError(ValueError):
    """A proxy that cannot be used; the message is a sentence."""


def parse_proxy(text: str) -> URI:
    """Read `HOST`, `HOST:PORT` or a SIP URI, with `;transport=udp` or `;transport=tcp`.

    Raises:
        ProxyError: it is none of these.
    """
    given = text.strip()
    if len(given) > MAX_LENGTH or not _SAFE.fullmatch(given):
        raise ProxyError("The Proxy must be a host, host:port or a SIP URI.")
    scheme = re.match(r"(?i)(sips?|tel):", given)
    if scheme is not None and scheme[1].lower() != "sip":
        raise ProxyError("The Proxy must be a SIP URI, UDP or TCP.")
    try:
        uri = URI.parse("sip:" + (given[scheme.end() :] if scheme is not None else given))
    except (ValueError, TypeError, AssertionError):
        raise ProxyError("The Proxy must be a host, host:port or a SIP URI.") from None
    if not uri.host or (uri.port is not None and not 0 < uri.port < 65536):
        raise ProxyError("The Proxy must be a host, host:port or a SIP URI.")
    parameters = {name.lower(): (value or "").lower() for name, value in uri.parameters.items()}
    if parameters.get("transport", "udp") not in ("udp", "tcp"):
        raise ProxyError("The Proxy must be a SIP URI, UDP or TCP.")
    return uri


def transport_of(proxy: URI) -> str:
    """`udp` or `tcp`."""
    parameters = {name.lower(): (value or "").lower() for name, value in proxy.parameters.items()}
    return parameters.get("transport", "udp")
