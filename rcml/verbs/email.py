"""Email: send a mail. Reference: Verbs, Email."""

from __future__ import annotations

import re

from rcml.attributes import Attribute, text
from rcml.flow import DocumentFlow
from rcml.ports import Level, OutgoingEmail
from rcml.verb import Text, Verb, verb

NOT_ALLOWED = 11001
SUBJECT = "Restcomm Email Service"

_ADDRESS = re.compile(r'(?:[^,"]|"[^"]*"|")+')
"""What stands between two commas that are in no quoted name; a quote that nothing closes begins none."""


def _addresses(xml: str, doc: str) -> Attribute[str]:
    return text(
        xml, doc=doc, kind="addresses", allowed="mail addresses, separated by commas", source="Verbs, Email"
    )


def addresses(text: str) -> tuple[str, ...]:
    """Read a list of mail addresses, each of which may have a name in front."""
    return tuple(filter(None, (_one_line(part) for part in _ADDRESS.findall(text))))


def _one_line(text: str) -> str:
    return " ".join(text.split())


@verb("Email", text=Text.MESSAGE, source="Verbs, Email")
class Email(Verb):
    """Sends a mail through the engine's mail server, in the background; the text is its plain body.

    Without `to` or `from` nothing is sent. Also sent when the caller has hung up.
    """

    to = _addresses("to", "Who gets it; required.")
    from_ = text(
        "from",
        doc="Who sends it; required.",
        kind="address",
        allowed="a mail address",
        source="Verbs, Email",
    )
    cc = _addresses("cc", "Who gets a copy.")
    bcc = _addresses("bcc", "Who gets a copy that the others are not told of.")
    bcc_as_documented = _addresses("Bcc", "The same as `bcc`.")
    subject = text("subject", doc="Its subject.", shown=SUBJECT, source="Verbs, Email")
    subject_as_documented = text("Subject", doc="The same as `subject`.", source="Verbs, Email")
    after_end = True

    async def run(self, flow: DocumentFlow) -> None:
        """Hand it to the mail server, then the next verb."""
        mail = flow.ports.mail
        line = self.element.line
        if mail is None:
            message = f"Email (line {line}): mail cannot be sent here; skipped."
            flow.notify(NOT_ALLOWED, Level.WARNING, message)
        elif missing := self.missing():
            flow.journal("email_incomplete", line=line, missing=missing)
        else:
            mail.send(
                OutgoingEmail(
                    to=addresses(self.to),
                    from_=_one_line(self.from_),
                    cc=addresses(self.cc),
                    bcc=addresses(self.bcc or self.bcc_as_documented),
                    subject=_one_line(self.subject or self.subject_as_documented) or SUBJECT,
                    body=self.text,
                )
            )
            flow.journal("email_handed_over", line=line)

    def missing(self) -> str:
        """Name the required attribute that is missing; empty: none is."""
        if not addresses(self.to):
            return "to"
        return "" if self.from_ else "from"
