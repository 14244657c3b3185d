"""What all verbs have in common, and the registry of verbs and nouns."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs

from rcml import attributes
from rcml.attributes import Attribute, Problem
from rcml.document import Element

if TYPE_CHECKING:
    from rcml.flow import Flow


@attrs.frozen(kw_only=True)
class Jump:
    """Go on with the document at `url`; the rest of the current one is never run."""

    url: str
    """Absolute URL."""
    method: str = "POST"
    extra: tuple[tuple[str, str], ...] = ()
    """Parameters beyond the standard ones."""
    after_end: bool = False
    """The call is over; only verbs that need no call may run in the reply."""
    ends_soon: bool = False
    """The call may end meanwhile; it is requested all the same."""


@attrs.frozen
class End:
    """The document is done with; the verb has ended the call."""

    rejected: bool = False


Step = Jump | End | None
"""What a verb leads to; None: the next verb."""


class Text(enum.Enum):
    """What the text of an element is, in words of the reference page."""

    NONE = "none"
    WORDS = "what is spoken"
    URL = "a URL"
    TARGET = "whom to call"
    NAME = "a name"
    MESSAGE = "the message"


class Declared:
    """An element with declarations, and the values it was given in a document.

    Subclasses declare attributes as class variables and are registered by `verb` or `noun`.
    """

    name: ClassVar[str] = ""
    attributes: ClassVar[tuple[Attribute[Any], ...]] = ()
    children: ClassVar[tuple[str, ...]] = ()
    text_is: ClassVar[Text] = Text.NONE
    available: ClassVar[bool] = True
    """False: known in the language, skipped by this build."""
    source: ClassVar[str] = ""

    __slots__ = ("element", "problems", "values")

    def __init__(self, element: Element) -> None:
        self.element = element
        self.values: dict[str, Any]
        self.problems: list[Problem]
        self.values, self.problems = attributes.read(self.attributes, element.attributes)

    @property
    def text(self) -> str:
        """Text of the element, trimmed."""
        return self.element.text


class Noun(Declared):
    """An element that names a target inside a verb and never acts by itself."""

    __slots__ = ()


class Verb(Declared, ABC):
    """An element that acts: its declarations, the values given in a document, and a coroutine."""

    answers: ClassVar[bool] = True
    """Whether a ringing call is answered before the verb runs."""
    after_end: ClassVar[bool] = False
    """Whether the verb may run when the call is over."""
    sends: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Parameters its request adds: (name, meaning), for the reference page."""

    __slots__ = ()

    @abstractmethod
    async def run(self, flow: Flow) -> Step:
        """Act. Raises HangUpError when the call must end, LegEnded when the caller has left."""

    def answers_first(self, flow: Flow) -> bool:
        """Whether a ringing call is answered before this verb runs."""
        return self.answers

    def ends_document(self) -> bool:
        """Whether no verb behind this one can ever run."""
        return False


V = TypeVar("V", bound=type[Verb])
N = TypeVar("N", bound=type[Noun])

VERBS: dict[str, type[Verb]] = {}
"""Every verb of the language by name."""

NOUNS: dict[str, type[Noun]] = {}
"""Every noun of the language by name."""


def verb(
    name: str, *, children: tuple[str, ...] = (), text: Text = Text.NONE, source: str = ""
) -> Callable[[V], V]:
    """Register a class as the verb `name` and collect the attributes it declares."""

    def register(cls: V) -> V:
        _declare(cls, name, children, text, source, VERBS)
        VERBS[name] = cls
        return cls

    return register


def noun(
    name: str, *, children: tuple[str, ...] = (), text: Text = Text.TARGET, source: str = ""
) -> Callable[[N], N]:
    """Register a class as the noun `name` and collect the attributes it declares or inherits."""

    def register(cls: N) -> N:
        _declare(cls, name, children, text, source, NOUNS)
        NOUNS[name] = cls
        return cls

    return register


def _declare(
    cls: type[Declared],
    name: str,
    children: tuple[str, ...],
    text: Text,
    source: str,
    registry: Mapping[str, type[Declared]],
) -> None:
    if name in registry:
        raise ValueError(f"{name} is declared twice.")
    declared = {key: value for base in reversed(cls.__mro__) for key, value in vars(base).items()}
    cls.name = name
    cls.attributes = tuple(value for value in declared.values() if isinstance(value, Attribute))
    cls.children = children
    cls.text_is = text
    cls.source = source
