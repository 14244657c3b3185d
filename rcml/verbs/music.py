"""Music that a document names for a wait: one that cannot be obtained never ends the call."""

from __future__ import annotations

from rcml.errors import UrlError
from rcml.flow import Flow
from rcml.ports import Level, Prompt, PromptError
from rcml.urls import resolve, without_userinfo

MUSIC_CODE = 13233


async def music(flow: Flow, attribute: str, reference: str) -> Prompt | None:
    """Make the audio at a URL of the document ready; None, with warning 13233, when that fails.

    Args:
        flow: the flow.
        attribute: for the message, such as `Dial dialMusic`.
        reference: the URL as written.

    Raises:
        LegEnded: the caller left meanwhile.
    """
    try:
        url = resolve(flow.loaded.url, reference, flow.settings.schemes)
    except UrlError as error:
        flow.notify(MUSIC_CODE, Level.WARNING, f"{attribute}: {error.message} It is left out.")
        return None
    try:
        prompt = await flow.ports.prompts.from_url(url)
    except PromptError as error:
        flow.journal("prompt_failed", label=without_userinfo(url), message=str(error))
        flow.notify(
            MUSIC_CODE,
            Level.WARNING,
            f"{attribute}: {without_userinfo(url)} could not be played: {error}. It is left out.",
        )
        return None
    return prompt
