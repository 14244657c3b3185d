"""The outbound proxy of an account: what the settings say. There is one for each account and no fallback."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

from voiceengine.api.declare import Operation
from voiceengine.api.errors import ApiError
from voiceengine.api.representation import One, Representation, plain
from voiceengine.api.routing import Context, Reply, Route

NO_FALLBACK = "There is no fallback proxy to switch to."

_USER = re.compile(r"^((?:sips?:)?)[^@]*@", re.IGNORECASE)


@attrs.frozen
class Proxies:
    """The proxies of an account; URIs without user and password, empty when there is none."""

    active: str
    fallback: str = ""
    uses_fallback: bool = False
    allows_fallback: bool = False


PROXIES: Representation[Proxies] = Representation(
    item="OutboundProxy",
    items="OutboundProxies",
    list_key="proxies",
    doc="The outbound proxy of an account, from the settings `sip.account_proxies` and `sip.outbound_proxy`.",
    fields=(
        plain("ActiveProxy", "active", doc="URI that INVITEs go to; empty: there is none."),
        plain("PrimaryProxy", "active", doc="The same: there is one proxy for each account."),
        plain("FallbackProxy", "fallback", doc="Always empty."),
        plain("UsingFallBackProxy", "uses_fallback", type="boolean", doc="Always false."),
        plain("AllowFallback", "allows_fallback", type="boolean", doc="Always false."),
        plain("AllowFallbackToPrimary", "allows_fallback", type="boolean", doc="Always false."),
    ),
)
ACTIVE: Representation[Proxies] = Representation(
    item="OutboundProxy",
    items="OutboundProxies",
    list_key="proxies",
    doc="The outbound proxy that an account uses now.",
    fields=(plain("ActiveProxy", "active", doc="URI that INVITEs go to; empty: there is none."),),
)


def _proxies(context: Context) -> Proxies:
    sip = context.deps.settings.sip
    proxy = sip.account_proxies.get(context.account.sid, sip.outbound_proxy)
    return Proxies(_USER.sub(r"\1", proxy.uri))


async def _all(context: Context) -> Reply:
    return Reply(One(PROXIES, _proxies(context)))


async def _active(context: Context) -> Reply:
    return Reply(One(ACTIVE, _proxies(context)))


async def _switch(context: Context) -> Reply:
    raise ApiError(409, NO_FALLBACK)


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    base = "Accounts/{account}/OutboundProxy"
    common: dict[str, Any] = {"resource": "OutboundProxies", "super_admin": True}
    return (
        Route(
            path=base,
            handlers={"GET": Operation(run=_all, summary="The proxies of an account.", returns=PROXIES)},
            **common,
        ),
        Route(
            path=base + "/getActiveProxy",
            handlers={"GET": Operation(run=_active, summary="The proxy that is used now.", returns=ACTIVE)},
            **common,
        ),
        Route(
            path=base + "/switchProxy",
            handlers={
                "GET": Operation(
                    run=_switch,
                    summary="Switch to the fallback proxy: refused, since there is none.",
                    returns=ACTIVE,
                    errors=(409,),
                )
            },
            **common,
        ),
    )
