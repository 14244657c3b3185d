"""Digest authentication of callers and towards outbound proxies (RFC 7616, RFC 8760, RFC 3261 section 22).

Pure: time comes in as an argument (wall or monotonic seconds, but always the same kind). Nothing is kept
about callers that have not proven who they are: nonces carry their own time and signature, and the counter of
a nonce is remembered only after a success.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import itertools
import re
import secrets
import struct
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal
from urllib.parse import unquote

import attrs
from sipmessage import AuthCredentials

from voiceengine.sip.headers import quote

Algorithm = Literal["SHA-256", "MD5"]
STRENGTH: tuple[Algorithm, ...] = ("SHA-256", "MD5")
"""Known algorithms, strongest first."""

LookUp = Callable[[str, str, Algorithm], str | None]
"""(username, realm, algorithm) -> HA1 in hex, None when there is no such user."""

_HASHES: Mapping[Algorithm, Callable[[bytes], hashlib._Hash]] = {
    "SHA-256": hashlib.sha256,
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False),
}
_NAMES: Mapping[str, Algorithm] = {"sha-256": "SHA-256", "md5": "MD5", "": "MD5"}

_MAX_TEXT = 4_096
_MAX_FIELD = 512
_PARAMETER = re.compile(
    r'[ \t]*([A-Za-z0-9*_.!%+~-]{1,32})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))[ \t]*(,|$)', re.DOTALL
)
_SCHEME = re.compile(r"\s*digest[ \t]+", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]{32,128}")
_NC = re.compile(r"[0-9a-fA-F]{8}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_URI = re.compile(
    r"(sips?):(?:([^@]*)@)?(\[[0-9A-Fa-f:.]+\]|[^:;?@\[\]]+)(?::([0-9]{1,5}))?(?:[;?].*)?",
    re.IGNORECASE | re.DOTALL,
)

_FUTURE = 5.0  # seconds a nonce may come from the future, after a step of the clock


class DigestError(ValueError):
    """A challenge or credentials that cannot be used."""


def _hash(algorithm: Algorithm, text: str) -> str:
    return _HASHES[algorithm](text.encode("utf-8", "surrogatepass")).hexdigest()


def ha1(username: str, realm: str, password: str, algorithm: Algorithm) -> str:
    """Hex digest of `username:realm:password` (RFC 7616 section 3.4.2)."""
    return _hash(algorithm, f"{username}:{realm}:{password}")


def _response(algorithm: Algorithm, secret: str, method: str, fields: Mapping[str, str]) -> str:
    ha2 = _hash(algorithm, f"{method}:{fields['uri']}")
    if "qop" in fields:
        middle = f"{fields['nonce']}:{fields['nc']}:{fields['cnonce']}:{fields['qop']}"
    else:
        middle = fields["nonce"]  # RFC 2069
    return _hash(algorithm, f"{secret}:{middle}:{ha2}")


def parameters(text: str) -> dict[str, str]:
    """Read a challenge or credentials of the scheme Digest; names become lower case.

    Unlike `sipmessage`, commas within quotes (`qop="auth,auth-int"`, realms) are part of the value.

    Raises:
        DigestError: another scheme, a malformed text, or a name given twice.
    """
    start = _SCHEME.match(text)
    if start is None or len(text) > _MAX_TEXT:
        raise DigestError("The scheme is not Digest, or the text is too long.")
    text = text.rstrip()
    found: dict[str, str] = {}
    position = start.end()
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None or match[1].lower() in found:
            raise DigestError("The digest parameters are malformed.")
        quoted = match[2]
        found[match[1].lower()] = (
            match[3]
            if quoted is None
            else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
            if "\\" in quoted
            else quoted
        )
        position = match.end()
        if match[4] and position >= len(text):
            raise DigestError("The digest parameters end with a comma.")
    return found


class NonceState(enum.Enum):
    """What is known about a nonce."""

    VALID = "valid"
    STALE = "stale"
    """Ours, but too old."""
    INVALID = "invalid"
    """Not made by us with this secret for this realm."""


class NonceFactory:
    """Makes nonces that prove their own age: milliseconds, a counter and an HMAC over both and the realm.

    Args:
        secret: at least 16 random bytes; nonces of another secret are invalid.
        lifetime: seconds.
    """

    def __init__(self, secret: bytes, lifetime: float) -> None:
        if len(secret) < 16:
            raise ValueError("The secret of nonces needs at least 16 bytes.")
        self._secret = secret
        self.lifetime = lifetime
        self._count = itertools.count(secrets.randbits(32))

    def _sign(self, stamp: bytes, realm: str) -> bytes:
        return hmac.digest(self._secret, stamp + realm.encode("utf-8", "surrogatepass"), "sha256")[:18]

    def make(self, now: float, realm: str) -> str:
        """Make a new nonce; no two are equal."""
        stamp = struct.pack(">QI", max(0, int(now * 1000)), next(self._count) & 0xFFFFFFFF)
        return base64.urlsafe_b64encode(stamp + self._sign(stamp, realm)).decode("ascii")

    def issued(self, nonce: str, realm: str) -> float | None:
        """When a nonce was made, None when it is not one of ours."""
        if len(nonce) != 40 or not nonce.isascii():
            return None
        try:
            data = base64.b64decode(nonce, b"-_", validate=True)
        except ValueError:
            return None
        if len(data) != 30 or not hmac.compare_digest(data[12:], self._sign(data[:12], realm)):
            return None
        return float(struct.unpack(">Q", data[:8])[0]) / 1000

    def check(self, nonce: str, now: float, realm: str) -> NonceState:
        """Tell whether a nonce may be used now."""
        issued = self.issued(nonce, realm)
        if issued is None:
            return NonceState.INVALID
        return NonceState.VALID if -_FUTURE <= now - issued <= self.lifetime else NonceState.STALE


class ReplayGuard:
    """Remembers the highest nonce count per nonce, after success only (RFC 7616 section 3.4, `nc`).

    Args:
        lifetime: seconds a nonce can be used, at least that of the factory.
        limit: nonces remembered at once. Beyond it the oldest are forgotten, and everything as old as them is
            refused as stale, so forgetting never permits a replay.
    """

    def __init__(self, lifetime: float, limit: int = 50_000) -> None:
        self._lifetime = lifetime
        self._limit = limit
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._floor = float("-inf")

    def __len__(self) -> int:
        return len(self._seen)

    def accept(self, nonce: str, nc: int, issued: float, now: float) -> bool:
        """Record a use; False when this count, or a higher one, was used before."""
        while self._seen:
            oldest, (_, made) = next(iter(self._seen.items()))
            if now - made <= self._lifetime + _FUTURE and len(self._seen) < self._limit:
                break
            self._floor = max(self._floor, made)
            del self._seen[oldest]
        last = self._seen.get(nonce)
        if (last is not None and nc <= last[0]) or (last is None and issued <= self._floor) or nc < 1:
            return False
        self._seen[nonce] = (nc, issued)
        return True


class State(enum.Enum):
    """Outcome of a check."""

    OK = "ok"
    STALE = "stale"
    """The password is right, the nonce is not (any more): challenge again with stale=true."""
    BAD = "bad"
    """Challenge again."""
    MALFORMED = "malformed"
    """400."""


@attrs.frozen
class Verdict:
    """What credentials are worth."""

    state: State
    reason: str = ""
    """For logs; never contains secrets."""
    username: str = ""
    """As claimed; proven only with OK."""
    algorithm: Algorithm | None = None

    @property
    def ok(self) -> bool:
        """Whether the caller is who it says."""
        return self.state is State.OK


def same_target(uri: str, request_uri: str, own_hosts: Collection[str] = ()) -> bool:
    """Whether the uri of credentials stands for the Request-URI (RFC 7616 section 3.4.6).

    Equal texts do. Otherwise scheme, host and port (5060 when absent) must agree, and the user as far as the
    credentials name one; escapes and parameters do not matter. `Differs:` a uri without user passes, and
    `own_hosts` may stand for the host of the Request-URI then: sipp writes `sip:<remote address>:<port>`.
    """
    if uri == request_uri:
        return True
    one, two = _URI.fullmatch(uri), _URI.fullmatch(request_uri)
    if one is None or two is None or one[1].lower() != two[1].lower():
        return False
    if one[2] is not None and unquote(one[2]) != unquote(two[2] or ""):
        return False
    if one[3].lower() == two[3].lower() and (one[4] or "5060") == (two[4] or "5060"):
        return True
    return one[2] is None and one[3].lower() in own_hosts


class Authenticator:
    """Challenges requests and checks their credentials.

    Args:
        nonces: makes and reads nonces.
        guard: refuses replays; None: one with the lifetime of the nonces.
        algorithms: those offered and accepted, in this order.
        allow_no_qop: accept answers in the manner of RFC 2069, which cannot be guarded against replay.
        own_hosts: addresses and domains of this engine, see `same_target`.
    """

    def __init__(
        self,
        nonces: NonceFactory,
        guard: ReplayGuard | None = None,
        *,
        algorithms: Sequence[Algorithm] = STRENGTH,
        allow_no_qop: bool = False,
        own_hosts: Collection[str] = (),
    ) -> None:
        self._nonces = nonces
        self._guard = guard or ReplayGuard(nonces.lifetime)
        self._algorithms = tuple(algorithms)
        self._allow_no_qop = allow_no_qop
        self._own_hosts = frozenset(host.lower() for host in own_hosts)

    def challenge(self, realm: str, now: float, *, stale: bool = False) -> list[str]:
        """Values of WWW-Authenticate or Proxy-Authenticate, one per algorithm (RFC 8760 section 2.3)."""
        nonce = self._nonces.make(now, realm)
        tail = ", stale=true" if stale else ""
        return [
            f'Digest realm={quote(realm)}, nonce="{nonce}", algorithm={algorithm}, qop="auth"{tail}'
            for algorithm in self._algorithms
        ]

    def verify(
        self,
        credentials: str | AuthCredentials,
        method: str,
        request_uri: str,
        look_up: LookUp,
        now: float,
        realm: str,
    ) -> Verdict:
        """Check credentials; the text of the header is preferred to the parsed form.

        Args:
            credentials: value of Authorization or Proxy-Authorization.
            method: of the request.
            request_uri: text of the Request-URI.
            look_up: finds the HA1 of a user.
            now: seconds.
            realm: ours; credentials for another one are BAD.
        """
        try:
            fields = _fields(credentials)
            algorithm = self._checked(fields, realm)
        except DigestError as error:
            return Verdict(State.MALFORMED, str(error))
        user = fields["username"]
        if algorithm is None or fields["realm"] != realm:
            return Verdict(State.BAD, "another realm or an algorithm that was not offered", user)
        if not same_target(fields["uri"], request_uri, self._own_hosts):
            return Verdict(State.BAD, "the uri is not that of the request", user, algorithm)
        if "qop" not in fields and not self._allow_no_qop:
            return Verdict(State.BAD, "no qop", user, algorithm)
        secret = look_up(user, realm, algorithm)
        expected = _response(algorithm, secret or "-", method, fields).encode("ascii")
        given = fields["response"].lower().encode("ascii")
        if not hmac.compare_digest(expected, given) or secret is None:
            return Verdict(State.BAD, "no such user or a wrong password", user, algorithm)
        nonce = fields["nonce"]
        if self._nonces.check(nonce, now, realm) is not NonceState.VALID:
            return Verdict(State.STALE, "the nonce is old or not from here", user, algorithm)
        issued = self._nonces.issued(nonce, realm)
        if "qop" in fields and not self._guard.accept(nonce, int(fields["nc"], 16), issued or 0.0, now):
            return Verdict(State.STALE, "the nonce count was used before", user, algorithm)
        return Verdict(State.OK, "", user, algorithm)

    def _checked(self, fields: Mapping[str, str], realm: str) -> Algorithm | None:
        if any(not fields.get(name) for name in ("username", "realm", "nonce", "uri", "response")):
            raise DigestError("A digest parameter is missing.")
        if any(len(value) > _MAX_FIELD or _CONTROL.search(value) for value in fields.values()):
            raise DigestError("A digest parameter is too long or has control characters.")
        if not _HEX.fullmatch(fields["response"]):
            raise DigestError("The response is not hexadecimal.")
        if "qop" in fields:
            if fields["qop"].lower() != "auth":
                raise DigestError("Only qop=auth was offered.")
            if not _NC.fullmatch(fields.get("nc", "")) or not fields.get("cnonce"):
                raise DigestError("nc or cnonce is missing or malformed.")
        if fields.get("userhash", "false").lower() != "false":
            raise DigestError("userhash was not offered.")
        algorithm = _NAMES.get(fields.get("algorithm", "").lower())  # -sess variants are unknown here
        return algorithm if algorithm in self._algorithms else None


def _fields(credentials: str | AuthCredentials) -> dict[str, str]:
    if isinstance(credentials, str):
        return parameters(credentials)
    if credentials.scheme.lower() != "digest" or credentials.parameters is None:
        raise DigestError("The scheme is not Digest.")
    return {name.lower(): value for name, value in credentials.parameters.items()}


def username_of(credentials: str) -> str | None:
    """The user that credentials claim to be from, None when they are malformed. Nothing is proven by it."""
    try:
        return parameters(credentials).get("username")
    except DigestError:
        return None


def authorization(
    challenges: str | Sequence[str],
    method: str,
    uri: str,
    username: str,
    password: str,
    *,
    nc: int = 1,
    cnonce: str | None = None,
) -> str:
    """Answer a challenge: value of Authorization or Proxy-Authorization (RFC 7616 section 3.4).

    Args:
        challenges: header values; the strongest known algorithm among them is used.
        method: of the request to be sent.
        uri: its Request-URI.
        username: of the account there.
        password: clear.
        nc: how often this nonce is used, from 1.
        cnonce: None: random.

    Raises:
        DigestError: no challenge can be answered.
    """
    usable: dict[Algorithm, dict[str, str]] = {}
    for text in [challenges] if isinstance(challenges, str) else challenges:
        try:
            fields = parameters(text)
        except DigestError:
            continue
        algorithm = _NAMES.get(fields.get("algorithm", "").lower())
        offered = {item.strip().lower() for item in fields.get("qop", "auth").split(",")}
        if algorithm and fields.get("nonce") and "realm" in fields and "auth" in offered:
            usable.setdefault(algorithm, fields)
    best = next((algorithm for algorithm in STRENGTH if algorithm in usable), None)
    if best is None:
        raise DigestError("There is no challenge with a known algorithm and qop.")
    asked = usable[best]
    fields = {"nonce": asked["nonce"], "uri": uri}
    if "qop" in asked:
        fields |= {"qop": "auth", "nc": f"{nc:08x}", "cnonce": cnonce or secrets.token_hex(8)}
    secret = ha1(username, asked["realm"], password, best)
    parts = [
        f"username={quote(username)}",
        f"realm={quote(asked['realm'])}",
        f"nonce={quote(asked['nonce'])}",
    ]
    parts += [
        f"uri={quote(uri)}",
        f'response="{_response(best, secret, method, fields)}"',
        f"algorithm={best}",
    ]
    if "qop" in fields:
        parts += ["qop=auth", f"nc={fields['nc']}", f"cnonce={quote(fields['cnonce'])}"]
    if "opaque" in asked:
        parts.append(f"opaque={quote(asked['opaque'])}")
    return "Digest " + ", ".join(parts)
