"""What a REGISTER does to the bindings of an address of record (RFC 3261 section 10.3, steps 6 to 8).

Pure: a request and the present bindings give a decision; the caller stores it and answers. A request is
carried out completely or not at all. Authentication (steps 3 to 5) comes before.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence

import attrs
from sipmessage import URI, Request

from voiceengine.sip.headers import HeaderError, parameters, split_list
from voiceengine.store.rows import BindingRow

Binding = BindingRow

_NUMBER = re.compile(r"[0-9]{1,10}")
_Q = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_NAME_ADDR = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^<>"]*)\s*<([^<>]*)>(.*)', re.DOTALL)
_URI_TEXT = re.compile(r"[\x21\x23-\x3b\x3d\x3f-\x7e]{1,512}")
_STRICT = ("transport", "user", "method", "maddr", "ttl")
_MAX_ITEMS = 64
_MAX_EXPIRES = 2**32 - 1


class RegisterError(ValueError):
    """A REGISTER that is malformed; answered 400."""


@attrs.frozen(kw_only=True)
class Limits:
    """What the registrar grants, seconds; the fields of the settings."""

    min_expires: int = 60
    max_expires: int = 3600
    default_expires: int = 3600
    max_contacts: int = 10


@attrs.frozen
class Contact:
    """One Contact of a REGISTER."""

    uri: str
    """As written."""
    expires: int | None = None
    q: float = 1.0
    instance: str | None = None
    """Value of `+sip.instance` (RFC 5626 section 4.1), the device behind the contact."""
    parameters: Mapping[str, str] = attrs.field(factory=dict, eq=False)


@attrs.frozen(kw_only=True)
class RegisterRequest:
    """A REGISTER, read."""

    aor: str
    """`user@host` of To, the host in lower case."""
    contacts: tuple[Contact, ...] = ()
    wildcard: bool = False
    """`Contact: *` was among the contacts."""
    expires: int | None = None
    """The Expires header."""
    call_id: str
    cseq: int


@attrs.frozen(kw_only=True)
class Source:
    """Where a REGISTER came from; kept with its bindings."""

    client_sid: str
    transport: str
    remote_host: str
    remote_port: int
    listener: str
    user_agent: str = ""


@attrs.frozen
class Decision:
    """What to answer and what to store; on a code other than 200 nothing is to be stored."""

    code: int
    phrase: str
    saved: tuple[Binding, ...] = ()
    """New and refreshed bindings."""
    removed: tuple[Binding, ...] = ()
    """Bindings to delete: cancelled, replaced, or expired before."""
    bindings: tuple[Binding, ...] = ()
    """All that are valid afterwards, best first."""
    instances: Mapping[str, str] = attrs.field(factory=dict)
    """`+sip.instance` per contact of `saved`; hand it in again to let a device replace its contact."""
    min_expires: int | None = None
    """Value of Min-Expires, with 423."""
    now: float = 0.0

    def contact_values(self) -> list[str]:
        """Values of the Contact headers of the 200, with the remaining seconds (section 10.3 step 8)."""
        return [
            f"<{binding.contact}>;expires={max(0, round(binding.expires_at - self.now))}"
            + (f";q={binding.q:.3g}" if binding.q != 1 else "")
            for binding in self.bindings
        ]


@functools.lru_cache(maxsize=4096)
def _key(text: str) -> tuple[tuple[object, ...], Mapping[str, str]]:
    try:
        uri = URI.parse(text)
        given = {name.lower(): (value or "").lower() for name, value in uri.parameters.items()}
    except (ValueError, TypeError):  # TypeError: sipmessage 0.7.1 and a parameter named `self`
        return (text,), {}
    strict = tuple(given.get(name) for name in _STRICT)
    return (uri.scheme, uri.user, uri.password, uri.host.lower(), uri.port, *strict), given


def same_uri(one: str, two: str) -> bool:
    """Compare URIs (RFC 3261 section 19.1.4): user exactly, host in any case, an absent port is not 5060.

    Of the parameters transport, user, method, maddr and ttl must be in both or in none; others must agree
    only when both have them.
    """
    if one == two:
        return True
    (key_one, given_one), (key_two, given_two) = _key(one), _key(two)
    return key_one == key_two and all(
        given_two.get(name, value) == value for name, value in given_one.items()
    )


def ordered(bindings: Iterable[Binding], now: float) -> list[Binding]:
    """Valid bindings by preference: higher q first, then the most recently refreshed."""
    return sorted((b for b in bindings if b.expires_at > now), key=lambda b: (-b.q, -b.refreshed_at))


class Registrar:
    """Decides about REGISTER requests."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def process(
        self,
        request: RegisterRequest,
        bindings: Sequence[Binding],
        now: float,
        source: Source,
        instances: Mapping[str, str] | None = None,
    ) -> Decision:
        """Decide about a request.

        Args:
            request: the REGISTER.
            bindings: those of its address of record, expired ones may be among them.
            now: wall time, seconds.
            source: where it came from.
            instances: `+sip.instance` per present contact, as far as known.

        Returns:
            200; 400 bad use of `*`; 403 too many contacts; 423 too short; 500 an older CSeq than one seen.
        """
        live = [binding for binding in bindings if binding.expires_at > now]
        expired = [binding for binding in bindings if binding.expires_at <= now]
        if request.wildcard:
            return self._remove_all(request, live, expired, now)
        removed: list[Binding] = []
        saved: list[Binding] = []
        known = dict(instances or {})
        fresh: dict[str, str] = {}
        for contact in request.contacts:
            seconds = self._seconds(contact, request)
            if 0 < seconds < self._limits.min_expires:
                return Decision(423, "Interval Too Brief", min_expires=self._limits.min_expires, now=now)
            present = [b for b in live if same_uri(b.contact, contact.uri)]
            if any(_outdated(request, binding) for binding in present):
                return Decision(500, "CSeq Out Of Order", now=now)
            if contact.instance:
                present += [
                    b
                    for b in live
                    if b not in present
                    and known.get(b.contact) == contact.instance
                    and not _outdated(request, b)
                    and not any(same_uri(b.contact, other.uri) for other in request.contacts)
                ]
            removed += [b for b in present if b not in removed]
            saved = [b for b in saved if not same_uri(b.contact, contact.uri)]
            if seconds:
                saved.append(_binding(request, contact, seconds, now, source))
                if contact.instance:
                    fresh[contact.uri] = contact.instance
        kept = [binding for binding in live if binding not in removed]
        if saved and len(kept) + len(saved) > self._limits.max_contacts:
            return Decision(403, "Too Many Contacts", now=now)
        texts = {binding.contact for binding in saved}
        gone = tuple(binding for binding in (*removed, *expired) if binding.contact not in texts)
        result = tuple(ordered([*kept, *saved], now))
        return Decision(200, "OK", tuple(saved), gone, result, fresh, now=now)

    def _remove_all(
        self, request: RegisterRequest, live: list[Binding], expired: list[Binding], now: float
    ) -> Decision:
        if request.contacts or request.expires != 0:
            return Decision(400, "Contact * Needs To Be Alone With Expires 0", now=now)
        if any(_outdated(request, binding) for binding in live):
            return Decision(500, "CSeq Out Of Order", now=now)
        return Decision(200, "OK", removed=(*live, *expired), now=now)

    def _seconds(self, contact: Contact, request: RegisterRequest) -> int:
        seconds = contact.expires if contact.expires is not None else request.expires
        if seconds is None:
            seconds = self._limits.default_expires
        return min(seconds, self._limits.max_expires)


def _outdated(request: RegisterRequest, binding: Binding) -> bool:
    return binding.call_id == request.call_id and request.cseq <= binding.cseq


def _binding(request: RegisterRequest, contact: Contact, seconds: int, now: float, source: Source) -> Binding:
    return Binding(
        aor=request.aor,
        contact=contact.uri,
        client_sid=source.client_sid,
        call_id=request.call_id,
        cseq=request.cseq,
        q=contact.q,
        expires_at=now + seconds,
        transport=source.transport,
        remote_host=source.remote_host,
        remote_port=source.remote_port,
        listener=source.listener,
        user_agent=source.user_agent,
        refreshed_at=now,
    )


def _expires(text: str | None) -> int | None:
    """Seconds; a malformed value counts as absent (RFC 3261 section 10.2.1.1: treated as 3600)."""
    if text is None or not _NUMBER.fullmatch(text.strip()):
        return None
    return min(int(text), _MAX_EXPIRES)


def _split_address(text: str) -> tuple[str, dict[str, str]]:
    match = _NAME_ADDR.fullmatch(text)
    if match is not None:
        uri, rest = match[1].strip(), match[2]
    else:
        uri, semicolon, tail = text.partition(";")
        uri, rest = uri.strip(), semicolon + tail
    if not _URI_TEXT.fullmatch(uri) or uri.partition(":")[0].lower() not in ("sip", "sips"):
        raise RegisterError("An address is not a sip or sips URI.")
    if _key(uri)[0] == (uri,):
        raise RegisterError("An address is not a valid URI.")
    return uri, parameters(rest)


def parse_contact(text: str) -> Contact:
    """Read one Contact value that is not `*`.

    Raises:
        RegisterError: it is malformed.
    """
    try:
        uri, found = _split_address(text)
    except HeaderError as error:
        raise RegisterError(str(error)) from error
    q = found.get("q", "1")
    if not _Q.fullmatch(q):
        raise RegisterError("The q value of a Contact is not between 0 and 1.")
    return Contact(uri, _expires(found.get("expires")), float(q), found.get("+sip.instance") or None, found)


def parse_register(message: Request) -> RegisterRequest:
    """Read a REGISTER that passed `headers.check`.

    Raises:
        RegisterError: To, CSeq or a Contact is malformed.
    """
    headers = message.headers
    try:
        to, _ = _split_address(headers.get("To", "") or "")
        items = [item for value in headers.getlist("Contact") for item in split_list(value)]
    except HeaderError as error:
        raise RegisterError(str(error)) from error
    if len(items) > _MAX_ITEMS:
        raise RegisterError("There are too many contacts.")
    uri = URI.parse(to)
    if not uri.user or not uri.user.isprintable():
        raise RegisterError("The To header names no user.")
    number = (headers.get("CSeq") or "").split(None, 1)
    if not number or not _NUMBER.fullmatch(number[0]):
        raise RegisterError("The CSeq header is malformed.")
    return RegisterRequest(
        aor=f"{uri.user}@{uri.host.lower()}",
        contacts=tuple(parse_contact(item) for item in items if item != "*"),
        wildcard="*" in items,
        expires=_expires(headers.get("Expires")),
        call_id=headers.get("Call-ID") or "",
        cseq=int(number[0]),
    )
