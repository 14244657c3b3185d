"""Which trunk a number goes through, and how it is written there."""

from __future__ import annotations

import phonenumbers

from voiceengine.calls.routing import e164
from voiceengine.config import OutboundProxy, Sip


def proxy_for(settings: Sip, account_sid: str) -> OutboundProxy:
    """The outbound proxy of an account: its own, or the one of all."""
    own = {sid.lower(): proxy for sid, proxy in settings.account_proxies.items()}
    return own.get(account_sid.lower(), settings.outbound_proxy)  # names from the environment have no case


def number_for(number: str, normalize: bool, form: str) -> str | None:
    """Write a number as a trunk wants it.

    Args:
        number: as dialed.
        normalize: write it in E.164 first (region US).
        form: as-dialed, e164 (+15125550100), digits (the same without +), or national (5125550100).

    Returns:
        None when it is no phone number that could be written so.
    """
    if normalize:
        normal = e164(number)
        if normal is None:
            return None
        number = normal
    if form == "as-dialed":
        return number
    whole = e164(number)
    if whole is None:
        return None
    if form == "e164":
        return whole
    if form == "digits":
        return whole.removeprefix("+")
    return str(phonenumbers.parse(whole).national_number)
