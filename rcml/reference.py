"""The reference page of the verbs, made from their declarations.

`python -m rcml.reference > docs/reference/verbs.md` writes it; a test compares the page with the code.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import rcml.verbs
from rcml.attributes import Attribute
from rcml.verb import Text, Verb

_HEAD = """\
# Verbs of RCML

This page is made from the declarations in `rcml/verbs` by `python -m rcml.reference`; do not edit it.

Verbs run in the order of the document. Names are case-sensitive, values are trimmed. An attribute that a
verb does not have is ignored; a value that is not allowed is replaced by the default, and the notification
that is named in the table is stored. Numbers are whole numbers; a truth value is `true` in any case, and
everything else is false. URLs are relative to the document.
"""


def render() -> str:
    """Give the page as Markdown."""
    verbs = [cls for cls in rcml.verbs.VERBS.values() if cls.available]
    parts = [_HEAD, *(_verb(cls) for cls in sorted(verbs, key=lambda cls: cls.name)), _unavailable()]
    return "\n".join(parts)


def _verb(cls: type[Verb]) -> str:
    lines = [f"## {cls.name}", "", inspect.cleandoc(cls.__doc__ or ""), ""]
    text = {Text.NONE: "none", Text.WORDS: "what is spoken", Text.URL: "a URL"}[cls.text_is]
    lines += [f"Text: {text}. Elements inside: {', '.join(cls.children) or 'none'}.", ""]
    if cls.attributes:
        lines += [
            "| Attribute | Type | Default | Allowed | Notification | Meaning |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(attribute) for attribute in cls.attributes]
        lines.append("")
    if cls.sends:
        lines += ["The action gets these parameters besides the standard ones:", ""]
        lines += [f"- `{name}`: {meaning}" for name, meaning in cls.sends]
        lines.append("")
    if cls.source:
        lines += [f"Source: RCML reference, {cls.source}.", ""]
    return "\n".join(lines)


def _row(attribute: Attribute[Any]) -> str:
    default = attribute.shown
    if default and attribute.kind != "URL":
        default = f"`{default}`"
    code = str(attribute.code) if attribute.code else "-"
    if attribute.nested_code != attribute.code:
        code += f", in Gather {attribute.nested_code}"
    cells = (f"`{attribute.xml}`", attribute.kind, default or "none", attribute.allowed, code, attribute.doc)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _unavailable() -> str:
    names = ", ".join(sorted(rcml.verbs.UNAVAILABLE))
    return (
        "## Not available\n\n"
        f"These verbs belong to the language and are skipped, with warning 11001: {names}.\n"
    )


if __name__ == "__main__":
    sys.stdout.write(render())
