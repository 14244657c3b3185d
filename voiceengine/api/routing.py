"""From a request to a handler: paths, formats, credentials, tenancy and permissions."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import attrs
from twisted.internet.threads import deferToThreadPool
from twisted.web.server import Request

from voiceengine.api.auth import Action, Authenticator, credentials, is_administrator, permitted, unauthorized
from voiceengine.api.cors import Cors
from voiceengine.api.declare import PAGE, Operation
from voiceengine.api.deps import ApiDeps
from voiceengine.api.errors import CLOSED, ApiError, bad, forbidden, not_found
from voiceengine.api.parameters import Parameters, parse_body, parse_form
from voiceengine.api.representation import Content, Format, Render
from voiceengine.api.twilio_shape import TWILIO_MOUNT, TWILIO_NAMES, in_twilio_shape
from voiceengine.config import Settings
from voiceengine.store.rows import Account

LONG_BODY: Final = 64 * 1024
"""Bytes; a longer body is decoded in a thread: escapes of megabytes take seconds."""
NOT_ACTIVE = "Provided Account is not active"
NOBODY: Final = Account(
    sid="", organization_sid="", friendly_name="", email_address="", role="", status="closed", auth_token=""
)
"""Acts on paths that need no credentials and name no account."""

_SID = re.compile(r"[a-zA-Z0-9]{34}")
_SUFFIX = re.compile(r"(.+)\.(json|xml)", re.DOTALL)


@attrs.frozen
class Reply:
    """What a handler answers; without content the body is empty."""

    content: Content | None = None
    status: int = 200
    deliver: Callable[[Request], object] | None = None
    """Writes the reply itself (media)."""
    only: Format | None = None
    """The format of a resource that knows no other; None: what the request asks for."""
    modified: float | None = None
    """When the resource changed, wall time; given: the reply has an ETag and may be answered with 304."""


class Owned(Protocol):
    """A row that belongs to an account."""

    @property
    def account_sid(self) -> str:
        """Whose it is."""


O = TypeVar("O", bound=Owned)  # noqa: E741 - a type


@attrs.frozen(kw_only=True)
class Context:
    """A request that may be carried out."""

    deps: ApiDeps
    request: Request
    acting: Account
    """Whose credentials were used; the account of the path when none are needed."""
    account: Account
    """The account of the path; the acting account when the path has none."""
    variables: Mapping[str, str]
    """The variable segments of the path, without format suffix."""
    query: Parameters
    body: Parameters
    twilio: bool = False
    """Whether the request came by the mount in the shape of Twilio."""

    @property
    def is_super_admin(self) -> bool:
        """Whether the super admin acts."""
        return self.deps.store.accounts.is_super_admin(self.acting.sid)

    def sid(self) -> str:
        """The sid of the path; a malformed one names nothing.

        Raises:
            ApiError: 404.
        """
        sid = self.variables["sid"]
        if not _SID.fullmatch(sid):
            raise not_found()
        return sid

    def account_sids(self) -> tuple[str, ...]:
        """The account of the path, and with SubAccounts=true all below it."""
        accounts = [self.account.sid]
        if self.query.flag("SubAccounts"):
            accounts += [account.sid for account in self.deps.store.accounts.descendants(self.account.sid)]
        return tuple(accounts)

    def path(self, *rest: str) -> str:
        """Path below the prefix: the account and these segments."""
        return "/".join(["/Accounts", self.account.sid, *rest])

    def own(self, account_sid: str) -> None:
        """Refuse a resource that belongs to another account than the one in the path.

        Raises:
            ApiError: 403.
        """
        if account_sid != self.account.sid:
            raise forbidden("The resource belongs to another account.")

    def owned(self, row: O | None, what: str) -> O:
        """The row that was found by the sid of the path.

        Raises:
            ApiError: 404 without one, 403 for that of another account.
        """
        if row is None:
            raise not_found(what)
        self.own(row.account_sid)
        return row

    def active(self) -> None:
        """Refuse new traffic for an account that may have none (now); its parent could still ask for it.

        Raises:
            ApiError: 403.
        """
        if self._status() != "active":
            raise forbidden(NOT_ACTIVE)

    def still_open(self) -> None:
        """Refuse to add something to an account that was closed while the request waited for something.

        Raises:
            ApiError: 400.
        """
        if self._status() == "closed":
            raise bad(CLOSED)

    def _status(self) -> str:
        return (self.deps.store.accounts.get(self.account.sid) or self.account).status

    def changed(self) -> None:
        """Tell that provisioning changed."""
        if self.deps.provisioning_changed is not None:
            self.deps.provisioning_changed()


Handler = Callable[[Context], Awaitable[Reply]]


@attrs.frozen(kw_only=True)
class Route:
    """A path and what it offers; `{name}` matches any segment, `{name:.wav}` one with that ending."""

    path: str
    resource: str
    """Name in the permissions."""
    handlers: Mapping[str, Operation]
    """Method -> what it takes, gives and does."""
    public: Callable[[Settings], bool] = attrs.field(default=lambda _: False)
    """Whether these settings let it be served without credentials."""
    permissions: Mapping[str, str] = attrs.field(factory=dict)
    """Method -> name in the permissions, where it differs from `resource`."""
    owner_only: bool = False
    """Whether only the account of the path itself may come here, not those above it."""
    super_admin: bool = False
    """Whether only the super admin may come here."""
    hidden: bool = False
    """Left out of the OpenAPI document and the reference (another spelling of a route that is there)."""

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The variables, None when the path is another."""
        wanted = self.path.split("/")
        if len(wanted) != len(segments):
            return None
        found: dict[str, str] = {}
        for pattern, segment in zip(wanted, segments, strict=True):
            if not pattern.startswith("{"):
                if pattern != segment:
                    return None
                continue
            name, _, ending = pattern.strip("{}").partition(":")
            if not segment.endswith(ending):
                return None
            found[name] = segment.removesuffix(ending) if ending else segment
        return found

    def action(self, method: str) -> Action:
        """What a method means here for permissions."""
        if method in ("GET", "HEAD"):
            return "Read"
        if method == "DELETE":
            return "Delete"
        return "Modify" if "{sid}" in self.path or self.path.endswith("}") else "Create"


def negotiate(segments: Sequence[str], accept: str) -> tuple[list[str], Format]:
    """Take the format suffix off the segments; without one, Accept decides."""
    found: Format = "json" if "json" in accept.lower() else "xml"
    plain = []
    for segment in segments:
        match = _SUFFIX.fullmatch(segment)
        if match:
            plain.append(match[1])
            found = "json" if match[2] == "json" else "xml"
        else:
            plain.append(segment)
    return plain, found


class Router:
    """Finds the handler of a request and checks that it may run."""

    def __init__(self, deps: ApiDeps, routes: Sequence[Route]) -> None:
        self._deps = deps
        self._routes = tuple(routes)
        self._authenticator = Authenticator(deps.store, deps.reactor)
        self.cors = Cors(deps.settings.http.cors_origins)
        self.documents: dict[tuple[str, str], bytes] = {}
        """OpenAPI documents made so far: (base of URLs, prefix) -> JSON."""

    @property
    def routes(self) -> tuple[Route, ...]:
        """All routes."""
        return self._routes

    @property
    def reactor(self) -> Any:
        """IReactorTime."""
        return self._deps.reactor

    @property
    def settings(self) -> Settings:
        """Of the engine."""
        return self._deps.settings

    def render(self, found: Format, *, twilio: bool = False) -> Render:
        """How replies of this format are rendered."""
        return Render(
            format=found,
            prefix=TWILIO_MOUNT if twilio else self._deps.settings.http.uri_prefix.rstrip("/"),
            base_url=self._deps.public_base(),
            twilio=twilio,
            error_dictionary=self._deps.settings.http.error_dictionary.rstrip("/"),
        )

    async def handle(self, request: Request, segments: Sequence[str], *, twilio: bool = False) -> Reply:
        """Carry out a request.

        Args:
            request: the request.
            segments: of its path below the mount, without format suffixes.
            twilio: whether it came by the mount in the shape of Twilio.

        Raises:
            ApiError: it is refused.
        """
        route, variables = self._find(segments)
        method = request.method.decode("latin-1")
        who = NOBODY if route.public(self._deps.settings) else await self._authenticated(request)
        acting, account, handler = self._admit(who, route, variables, method)
        query = Parameters(parse_form(request.uri.partition(b"?")[2]))
        body = Parameters({})
        if method in ("POST", "PUT"):
            body = await self._body(request)
            # Others ran while a long one was read: what the accounts are now counts.
            acting, account, handler = self._admit(who, route, variables, method)
        declared = handler.reads() | (TWILIO_NAMES if twilio else frozenset())
        context = Context(
            deps=self._deps,
            request=request,
            acting=acting,
            account=account,
            variables=variables,
            query=query.restricted(declared),
            body=body.restricted(declared),
            twilio=twilio,
        )
        reply: Reply = await handler.run(context)
        action: Action = "Create" if handler.creates else route.action(method)
        if not twilio:
            return reply
        pages = {param.name for param in PAGE}
        filters = [param.name for param in handler.query if param.name not in pages]
        return in_twilio_shape(context, action, reply, filters)

    def _find(self, segments: Sequence[str]) -> tuple[Route, dict[str, str]]:
        for route in self._routes:
            variables = route.match(segments)
            if variables is not None:
                return route, variables
        raise not_found("path")

    async def _authenticated(self, request: Request) -> Account:
        found = credentials(request)
        account = await self._authenticator.authenticate(*found) if found else None
        if account is None:
            raise unauthorized()
        return account

    def _admit(
        self, who: Account, route: Route, variables: Mapping[str, str], method: str
    ) -> tuple[Account, Account, Operation]:
        """Who acts, on which account, by what; `who` is NOBODY where no credentials are needed.

        Raises:
            ApiError: the accounts, as they are now, or the route do not let it.
        """
        public = who is NOBODY
        if public:
            account = acting = self._account(variables["account"]) if "account" in variables else NOBODY
        else:
            acting = self._deps.store.accounts.get(who.sid) or who
            if acting.status != "active" and not (
                acting.status == "uninitialized" and route.resource == "Accounts"
            ):
                raise forbidden(NOT_ACTIVE)
            account = self._tenant(acting, variables.get("account"))
        handler = route.handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join(sorted({*route.handlers, *(["HEAD"] if "GET" in route.handlers else [])}))
            raise ApiError(
                405, f"{method} is not offered here; allowed: {allowed}.", headers={"Allow": allowed}
            )
        if not public:
            self._permit(acting, account, route, method)
        if account.status == "closed" and method in ("POST", "PUT") and route.resource != "Accounts":
            raise bad(CLOSED)
        return acting, account, handler

    def _account(self, text: str) -> Account:
        accounts = self._deps.store.accounts
        account = accounts.by_email(text) or accounts.get(text)
        if account is None:
            raise not_found("account")
        return account

    def _tenant(self, acting: Account, text: str | None) -> Account:
        if text is None:
            return acting
        account = self._account(text)
        if not self.may_act_for(acting, account):
            raise forbidden("These credentials give no access to this account.")
        return account

    def may_act_for(self, acting: Account, account: Account) -> bool:
        """Whether one account is the other or stands above it."""
        accounts = self._deps.store.accounts
        own = acting.sid == account.sid or accounts.is_ancestor(acting.sid, account.sid)
        return own or accounts.is_super_admin(acting.sid)

    def _permit(self, acting: Account, account: Account, route: Route, method: str) -> None:
        if route.owner_only and acting.sid != account.sid:
            raise forbidden("Only the account that owns these may use them.")
        if route.super_admin and not self._deps.store.accounts.is_super_admin(acting.sid):
            raise forbidden("Only the super admin may use this.")
        resource = route.permissions.get(method, route.resource)
        allowed = permitted(acting, resource, route.action(method))
        if route.resource == "Accounts" and not is_administrator(acting):
            # Other roles operate on their own Account object only; the list shows children.
            allowed = allowed and "{account}" in route.path and acting.sid == account.sid
        if not allowed:
            raise forbidden(f"The role {acting.role} does not allow this on {resource}.")

    async def _body(self, request: Request) -> Parameters:
        content_type = request.getHeader("Content-Type") or ""
        body = b"" if request.content is None else request.content.read()
        if len(body) <= LONG_BODY:
            return parse_body(content_type, body)
        reactor = self.reactor
        return await deferToThreadPool(reactor, reactor.getThreadPool(), parse_body, content_type, body)
