"""Redirect: go on with another document."""

from __future__ import annotations

from rcml.attributes import http_method
from rcml.flow import DocumentFlow
from rcml.verb import Jump, Text, Verb, verb


@verb("Redirect", text=Text.URL, source="Verbs, Redirect")
class Redirect(Verb):
    """Requests the document its text names; the reply replaces this one. Without text: the next verb."""

    method = http_method(13710, of="the document", source="Verbs, Redirect")

    async def run(self, flow: DocumentFlow) -> Jump | None:
        """Jump."""
        return flow.action("Redirect", self.text, self.method) if self.text else None

    def ends_document(self) -> bool:
        """Nothing follows a jump."""
        return bool(self.text)
