"""What becomes of an inbound call: an application, a dial, or a refusal (reference: SIP, routing order).

Pure: identity and dialed text go in, one decision comes out; the tables are asked through a protocol. Who the
caller is (digest, trunk) was settled before.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol
from urllib.parse import quote, urljoin

import attrs
import phonenumbers

from voiceengine.store.rows import Account, Application, Client, Number

CATCH_ALL = "*"
MAX_DIALED = 64
"""Longest text that can be dialed, characters."""
_MAX_SUBJECT = 32  # longest text that patterns are tried on
_MAX_PATTERN = 64
_USER_SAFE = "-_.!~*'()&=+$,;?/"  # RFC 3261 section 25.1, `user`
_DIALED = re.compile(r"[0-9,*#+]+")
_LITERAL = re.compile(r"[+*]?[0-9A-Za-z_@ -]*")
_FIXED_REPEAT = re.compile(r"\{[0-9]{1,2}\}")
_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")


class Notice(NamedTuple):
    """Something the owner of the account should know (reference: Applications, notification codes)."""

    code: int
    level: Literal["error", "warning", "info"]
    message: str


@attrs.frozen
class Caller:
    """Who calls."""

    kind: Literal["client", "trunk", "outside"]
    client: Client | None = None
    """The row of an authenticated client."""
    address: str = ""
    """Source address of a trunk or of an outside caller."""


@attrs.frozen
class RunApplication:
    """Run an application; URLs are absolute when a base was given."""

    account_sid: str
    url: str
    method: str = "POST"
    fallback_url: str | None = None
    fallback_method: str = "POST"
    status_callback: str | None = None
    status_callback_method: str = "POST"
    number_sid: str | None = None
    """The number that was dialed."""
    client_sid: str | None = None
    """The calling client whose own application this is."""
    number_account_sid: str | None = None
    """Account of the number; names of conferences are looked up there."""


@attrs.frozen
class ImplicitDial:
    """Connect without a document of anybody's, as `<Dial>` would."""

    kind: Literal["client", "number", "uri"]
    target: str
    """Login, dialed text, or SIP URI."""
    account_sid: str
    notices: tuple[Notice, ...] = ()


@attrs.frozen
class Refuse:
    """Answer the INVITE with a final response."""

    code: int
    phrase: str
    notices: tuple[Notice, ...] = ()
    account_sid: str | None = None


Route = RunApplication | ImplicitDial | Refuse


@attrs.frozen
class Pattern:
    """A number whose text is a regular expression, or the catch-all (`expression` None)."""

    number: Number
    expression: re.Pattern[str] | None


class Tables(Protocol):
    """What routing needs to know."""

    def outbound_proxy(self, account_sid: str) -> bool:
        """Whether an account can reach numbers outside."""

    def organization(self, host: str) -> str | None:
        """Sid of the organization that serves a host; the default one for the engine's own addresses."""

    def client(self, login: str, organization_sid: str) -> Client | None:
        """Client by login."""

    def numbers(self, text: str) -> Sequence[Number]:
        """Numbers with exactly this text, of all organizations."""

    def patterns(self) -> Sequence[Pattern]:
        """Result of `compile_patterns` over all pure-SIP numbers."""

    def account(self, sid: str) -> Account | None:
        """Account by sid."""

    def application(self, sid: str) -> Application | None:
        """Application by sid."""

    def registered(self, client: Client) -> bool:
        """Whether a client has a valid binding."""


def _danger(text: str) -> str | None:
    """Why a pattern is not tried: matching could take exponential or high polynomial time."""
    if len(text) > _MAX_PATTERN:
        return "longer than 64 characters"
    plain = _CLASS.sub("x", re.sub(r"\\.", "x", text, flags=re.DOTALL))
    if re.search(r"\\[0-9]", text) or "(?" in plain.replace("(?:", "("):
        return "back references and extension groups are not allowed"
    plain = plain.replace("(?:", "(")
    if re.search(r"\)[*+{]", plain):
        return "a repeated group is not allowed"
    plain = _FIXED_REPEAT.sub("", plain)
    if len(re.findall(r"[*+{]", plain)) > 2 or plain.count("?") > 4 or plain.count("|") > 8:
        return "at most two open repetitions, four question marks and eight alternatives are allowed"
    return None


@functools.lru_cache(maxsize=4096)
def _compile(text: str) -> re.Pattern[str] | str:
    source = "\\" + text if text[:1] in ("+", "*") else text
    reason = _danger(source)
    if reason is not None:
        return reason
    try:
        return re.compile(source)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}"


def pattern_problem(text: str) -> str | None:
    """Why a number that is meant as a pattern would be ignored; None: it is not."""
    found = None if text == CATCH_ALL or _LITERAL.fullmatch(text) else _compile(text)
    return found if isinstance(found, str) else None


def compile_patterns(numbers: Iterable[Number]) -> tuple[list[Pattern], list[str]]:
    """Find the numbers that are patterns, longest first, the catch-all `*` last.

    Only pure-SIP numbers count. A leading + or * is meant literally. Patterns that are invalid, or that could
    keep the matcher busy, are left out.

    Returns:
        The patterns, and a sentence for each number left out.
    """
    found: list[Pattern] = []
    problems: list[str] = []
    for number in numbers:
        text = number.phone_number
        if not number.is_sip or (text != CATCH_ALL and _LITERAL.fullmatch(text)):
            continue
        expression = None if text == CATCH_ALL else _compile(text)
        if isinstance(expression, str):
            problems.append(f"The number {text!r} ({number.sid}) is ignored: {expression}.")
        else:
            found.append(Pattern(number, expression))
    found.sort(key=lambda p: (p.expression is None, -len(p.number.phone_number)))
    return found, problems


@functools.lru_cache(maxsize=8192)
def e164(text: str) -> str | None:
    """E.164 form of a text dialed in the US, None when it has none."""
    if "*" in text or "#" in text or not any(char.isdigit() for char in text):
        return None
    try:
        parsed = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException:
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _other_plus(text: str) -> str:
    return text[1:] if text.startswith("+") else "+" + text


def _active(tables: Tables, account_sid: str) -> Account | None:
    account = tables.account(account_sid)
    return account if account is not None and account.status == "active" else None


def _inactive(account_sid: str) -> Refuse:
    notice = Notice(11005, "error", "The account is not active, so the call was refused.")
    return Refuse(403, "Account Is Not Active", (notice,), account_sid)


def _not_found(dialed: str, account_sid: str | None) -> Refuse:
    notice = Notice(11005, "error", f"Nobody was found for {dialed[:MAX_DIALED]!r}.")
    return Refuse(404, "Not Found", (notice,), account_sid)


@attrs.frozen
class Router:
    """Decides about calls.

    Args:
        tables: the data.
        base_url: relative URLs of applications are resolved against it.
    """

    tables: Tables
    base_url: str = ""

    def route(self, caller: Caller, dialed: str, host: str) -> Route:
        """Decide about a call.

        Args:
            caller: who calls.
            dialed: user part of To or of the Request-URI, as the setting says; decoded.
            host: host of the same URI.
        """
        client = caller.client if caller.kind == "client" else None
        if client is None:
            return self._from_outside(dialed, self.tables.organization(host))
        account = _active(self.tables, client.account_sid)
        if account is None:
            return _inactive(client.account_sid)
        if client.status != 1:
            return Refuse(403, "Client Is Disabled", account_sid=client.account_sid)
        own = self._client_application(client)
        if own is not None:
            return own
        return self._from_client(client, account, dialed, host)

    def _from_client(self, client: Client, account: Account, dialed: str, host: str) -> Route:
        organization = self.tables.organization(host)
        if not dialed or len(dialed) > MAX_DIALED:
            return _not_found(dialed, client.account_sid)
        callee = self._callee(dialed, organization, account.organization_sid)
        if isinstance(callee, Refuse):
            return callee
        if callee is not None:
            if callee.status == 1 and self.tables.registered(callee):
                return ImplicitDial("client", callee.login, client.account_sid)
            notice = Notice(11001, "warning", f"The client {callee.login!r} is not registered.")
            return Refuse(404, "Cannot complete P2P call", (notice,), client.account_sid)
        number = self.match(dialed, organization, account.organization_sid)
        if number is not None:
            return self._number(number, client.account_sid)
        if self._elsewhere(dialed, organization, account.organization_sid):
            return _not_found(dialed, client.account_sid)
        notice = Notice(11002, "info", f"A client dialed {dialed!r}, which is not a number of this platform.")
        if organization is None and host:
            return ImplicitDial(
                "uri", f"sip:{quote(dialed, safe=_USER_SAFE)}@{host}", client.account_sid, (notice,)
            )
        if self.tables.outbound_proxy(client.account_sid):
            return ImplicitDial("number", dialed, client.account_sid, (notice,))
        missing = Notice(11004, "warning", f"No outbound proxy is configured to dial {dialed!r}.")
        return Refuse(404, "No Outbound Proxy", (missing,), client.account_sid)

    def _from_outside(self, dialed: str, organization: str | None) -> Route:
        if not dialed or len(dialed) > MAX_DIALED:
            return _not_found(dialed, None)
        callee = self._callee(dialed, organization, None)
        if isinstance(callee, Refuse):
            return callee
        if callee is not None and callee.status == 1:
            return ImplicitDial("client", callee.login, callee.account_sid)
        number = self.match(dialed, organization, None)
        return _not_found(dialed, None) if number is None else self._number(number, None)

    def _callee(self, dialed: str, organization: str | None, caller: str | None) -> Client | Refuse | None:
        """The called client, never one of another organization than the caller's."""
        if organization is None or caller not in (None, organization):
            return None
        client = self.tables.client(dialed, organization)
        if client is None:
            return None
        if _active(self.tables, client.account_sid) is None:
            return _inactive(client.account_sid)
        return client

    def _client_application(self, client: Client) -> RunApplication | None:
        url = self._url(client.voice_application_sid, client.voice_url)
        if url is None:
            return None
        return RunApplication(
            account_sid=client.account_sid,
            url=url,
            method=client.voice_method,
            fallback_url=self._absolute(client.voice_fallback_url),
            fallback_method=client.voice_fallback_method,
            client_sid=client.sid,
        )

    def _number(self, number: Number, caller_account: str | None) -> Route:
        if _active(self.tables, number.account_sid) is None:
            return _inactive(number.account_sid)
        url = self._url(number.voice_application_sid, number.voice_url)
        if url is None:
            notice = Notice(11007, "error", f"The number {number.phone_number!r} has no application.")
            return Refuse(404, "Number Has No Application", (notice,), number.account_sid)
        return RunApplication(
            account_sid=caller_account or number.account_sid,
            url=url,
            method=number.voice_method,
            fallback_url=self._absolute(number.voice_fallback_url),
            fallback_method=number.voice_fallback_method,
            status_callback=self._absolute(number.status_callback),
            status_callback_method=number.status_callback_method,
            number_sid=number.sid,
            number_account_sid=number.account_sid,
        )

    def _url(self, application_sid: str | None, url: str | None) -> str | None:
        """URL of the application, which wins over the URL of the row."""
        application = self.tables.application(application_sid) if application_sid else None
        chosen = application.rcml_url if application is not None else None
        return self._absolute(chosen or url)

    def _absolute(self, url: str | None) -> str | None:
        if not url:
            return None
        try:
            return urljoin(self.base_url, url)
        except ValueError:
            return url  # the fetch will report it

    def match(self, dialed: str, organization: str | None, caller: str | None) -> Number | None:
        """Find the number that was dialed.

        Args:
            dialed: the text.
            organization: of the callee, None: unknown host.
            caller: organization of the calling client, None: outside caller.
        """
        forms: list[str] = []
        for convert in (str, e164, _other_plus):
            text = convert(dialed)
            if text is None or text in forms:
                continue
            forms.append(text)
            for number in self.tables.numbers(text):
                if self._reachable(number, organization, caller):
                    return number
        if organization is None or caller not in (None, organization) or not _DIALED.fullmatch(dialed):
            return None
        subjects = [text for text in forms if len(text) <= _MAX_SUBJECT]
        for pattern in self.tables.patterns():
            if (
                pattern.expression is None or any(pattern.expression.search(text) for text in subjects)
            ) and self._organization(pattern.number) == organization:
                return pattern.number
        return None

    def _organization(self, number: Number) -> str | None:
        account = self.tables.account(number.account_sid)
        return account.organization_sid if account is not None else None

    def _reachable(self, number: Number, organization: str | None, caller: str | None) -> bool:
        """Scope of exact matches: pure-SIP numbers only within the organization that was called."""
        if number.phone_number == CATCH_ALL:
            return False
        if number.is_sip:
            own = self._organization(number)
            return organization is not None and own == organization and caller in (None, organization)
        return organization is None or self._organization(number) == organization

    def _elsewhere(self, dialed: str, organization: str | None, caller: str) -> bool:
        """Whether only the organization keeps a client from what it dialed; that is never dialed outside."""
        if organization is None:
            return False
        forms = {text for text in (dialed, e164(dialed), _other_plus(dialed)) if text and text != CATCH_ALL}
        return organization != caller or any(self.tables.numbers(text) for text in forms)
