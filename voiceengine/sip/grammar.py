"""Host names as they occur: `sipmessage` takes them by the letter of RFC 3261, where a name of one label
may not begin with a digit nor hold one (`pbx1`, the names of containers). Importing this module widens it.
"""

from __future__ import annotations

import re

from sipmessage import grammar, uri, via

_STRICT = grammar.HOST
_NAME = rf"(?:{grammar.DOMAINLABEL}\.)*{grammar.DOMAINLABEL}[.]?"
HOST = f"(?:{_NAME}|{grammar.IPV4ADDRESS}|{grammar.IPV6REFERENCE})"


# `received` holds an IPv6 address without brackets (RFC 3261 section 25.1, via-received)
_VALUE = f"(?:[0-9A-Fa-f]*:[0-9A-Fa-f:.]+|{grammar.TOKEN}|{HOST}|{grammar.QUOTED_STRING})"


def _widen(pattern: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(pattern.pattern.replace(grammar.GENERIC_VALUE, _VALUE).replace(_STRICT, HOST))


uri.SIP_URI_PATTERN = _widen(uri.SIP_URI_PATTERN)
via.VIA_PATTERN = _widen(via.VIA_PATTERN)
