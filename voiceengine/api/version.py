"""What this engine is, and the end of a login."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

import voiceengine
from voiceengine.api.declare import Operation
from voiceengine.api.representation import One, Representation, plain
from voiceengine.api.routing import Context, Reply, Route

NAME: Final = "voiceengine (Restcomm API)"


VERSION, _, _local = voiceengine.__version__.partition("+")
REVISION: Final = _local or "release"
"""What stands after the plus of a version such as `1.2+g4711`."""


@attrs.frozen
class Version:
    """Name and version of the software."""

    name: str
    version: str
    revision: str
    date: str
    """When it was installed: yyyy-MM-dd."""


def this_version() -> Version:
    """What is running."""
    installed = Path(voiceengine.__file__).stat().st_mtime
    return Version(NAME, VERSION, REVISION, time.strftime("%Y-%m-%d", time.gmtime(installed)))


VERSION_OF: Representation[Version] = Representation(
    item="Version",
    items="Versions",
    list_key="versions",
    doc="The software that serves the API.",
    fields=(
        plain("Name", "name", doc="Name of the software."),
        plain("Version", "version", doc="Its version."),
        plain("Revision", "revision", doc="Its revision; `release` when it has none."),
        plain("Date", "date", doc="When it was installed, yyyy-MM-dd."),
    ),
)


async def _get(context: Context) -> Reply:
    return Reply(One(VERSION_OF, this_version()))


async def _logout(context: Context) -> Reply:
    return Reply()


def routes() -> Sequence[Route]:
    """Routes of this resource."""
    logout = Operation(
        run=_logout,
        summary="Do nothing: each request brings its own credentials. Needs none itself.",
        shape="empty",
    )
    return (
        Route(
            path="Accounts/{account}/Version",
            resource="Accounts",
            handlers={"GET": Operation(run=_get, summary="Tell what software this is.", returns=VERSION_OF)},
        ),
        Route(path="Logout", resource="Logout", handlers={"GET": logout}, public=lambda _: True),
    )
