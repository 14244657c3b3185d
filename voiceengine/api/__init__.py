"""The REST API: one module per resource on a common base."""

from __future__ import annotations

from twisted.web.server import Site

from voiceengine.api import (
    accounts,
    announcements,
    applications,
    available_numbers,
    caller_ids,
    calls,
    clients,
    conferences,
    email,
    gateways,
    notifications,
    numbers,
    operations,
    organizations,
    outbound_proxy,
    participants,
    queues,
    recordings,
    refers,
    sms,
    supervisor,
    transcriptions,
    usage,
    version,
)
from voiceengine.api.deps import ApiDeps
from voiceengine.api.ports import CallControl, ConferenceControl, CreateCall, ModifyCall
from voiceengine.api.site import make_site

__all__ = ["ApiDeps", "CallControl", "ConferenceControl", "CreateCall", "ModifyCall", "build_site"]

RESOURCES = (
    accounts,
    organizations,
    applications,
    calls,
    operations,
    conferences,
    participants,
    clients,
    numbers,
    recordings,
    refers,
    notifications,
    sms,
    email,
    announcements,
    supervisor,
    version,
    gateways,
    outbound_proxy,
    available_numbers,
    caller_ids,
    transcriptions,
    queues,
    usage,
)
"""Modules with a function `routes() -> Sequence[Route]`; more specific paths come first inside a module."""


def build_site(deps: ApiDeps) -> Site:
    """Build the site that serves the API, /healthz, /metrics and the extra resources."""
    return make_site(deps, [route for module in RESOURCES for route in module.routes()])
