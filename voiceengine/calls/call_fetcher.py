"""Requests of one call to its applications."""

from __future__ import annotations

from http.cookiejar import CookieJar

import attrs

from rcml.ports import FetchedDocument, FetchRequest
from voiceengine.calls.fetcher import WebClient
from voiceengine.calls.leg import CallLeg


@attrs.define
class CallFetcher:
    """The fetcher of one call: keeps its cookies, and gives up when the caller leaves."""

    client: WebClient
    leg: CallLeg
    cookies: CookieJar = attrs.field(factory=CookieJar)

    async def fetch(self, request: FetchRequest, *, after_end: bool = False) -> FetchedDocument:
        """Implements `rcml.ports.Fetcher`."""
        settings = self.client.settings
        work = self.client.request(
            request.method,
            request.url,
            request.parameters,
            cookies=self.cookies,
            timeout=settings.timeout,
            limit=settings.max_document_bytes,
        )
        if after_end:
            return await work
        return await self.leg.unless_ended(work)
