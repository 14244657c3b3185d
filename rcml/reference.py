"""The reference page of the verbs, made from their declarations.

`python -m rcml.reference > docs/reference/verbs.md` writes it; a test compares the page with the code.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import rcml.verb
import rcml.verbs
from rcml.attributes import Attribute
from rcml.verb import Declared, Verb

_HEAD = """\
# Verbs of RCML

This page is made from the declarations in `rcml/verbs` by `python -m rcml.reference`; do not edit it.

Verbs run in the order of the document. Names are case-sensitive, values are trimmed. An attribute that a
verb does not have is ignored; a value that is not allowed is replaced by the default, and the notification
that is named in the table is stored. Numbers are whole numbers; a truth value is `true` in any case, and
everything else is false. URLs are relative to the document.
"""

_NOUNS = """\
## Nouns

Elements inside Dial (Sip also inside Refer) that name a target. They do nothing by themselves.
"""


def render() -> str:
    """Give the page as Markdown."""
    verbs = [cls for cls in rcml.verbs.VERBS.values() if cls.available]
    nouns = [cls for cls in rcml.verb.NOUNS.values() if cls.available]
    parts = [_HEAD, *(_verb(cls) for cls in sorted(verbs, key=lambda cls: cls.name))]
    parts += [_NOUNS, *("\n".join(_element(cls, 3)) for cls in nouns), _unavailable()]
    return "\n".join(parts)


def _verb(cls: type[Verb]) -> str:
    lines = _element(cls, 2)
    if cls.sends:
        lines += ["The action gets these parameters besides the standard ones:", ""]
        lines += [f"- `{name}`: {meaning}" for name, meaning in cls.sends]
        lines.append("")
    if cls.source:
        lines += [f"Source: RCML reference, {cls.source}.", ""]
    return "\n".join(lines)


def _element(cls: type[Declared], level: int) -> list[str]:
    lines = [f"{'#' * level} {cls.name}", "", inspect.cleandoc(cls.__doc__ or ""), ""]
    lines += [f"Text: {cls.text_is.value}. Elements inside: {', '.join(cls.children) or 'none'}.", ""]
    if cls.attributes:
        lines += [
            "| Attribute | Type | Default | Allowed | Notification | Meaning |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(attribute) for attribute in cls.attributes]
        lines.append("")
    return lines


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
    nouns = ", ".join(sorted(cls.name for cls in rcml.verb.NOUNS.values() if not cls.available))
    return (
        "## Not available\n\n"
        f"These verbs belong to the language and are skipped, with warning 11001: {names}.\n"
        f"These nouns are skipped without one: {nouns}.\n"
    )


if __name__ == "__main__":
    sys.stdout.write(render())
