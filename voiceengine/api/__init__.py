"""The REST API: one module per resource on a common base."""

from __future__ import annotations

from twisted.web.server import Site

from voiceengine.api import (
    accounts,
    calls,
    clients,
    conferences,
    notifications,
    numbers,
    operations,
    participants,
    recordings,
    refers,
)
from voiceengine.api.deps import ApiDeps
from voiceengine.api.ports import CallControl, ConferenceControl, CreateCall, ModifyCall
from voiceengine.api.site import make_site

__all__ = ["ApiDeps", "CallControl", "ConferenceControl", "CreateCall", "ModifyCall", "build_site"]

RESOURCES = (
    accounts,
    calls,
    operations,
    conferences,
    participants,
    clients,
    numbers,
    recordings,
    refers,
    notifications,
)
"""Modules with a function `routes() -> Sequence[Route]`; more specific paths come first inside a module."""


def build_site(deps: ApiDeps) -> Site:
    """Build the site that serves the API, /healthz, /metrics and the extra resources."""
    return make_site(deps, [route for module in RESOURCES for route in module.routes()])
