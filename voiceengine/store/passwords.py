"""Passwords: hash and verify, the strength score of the API, SIP digests and the clients that have them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import math
import re
import secrets
from collections import Counter
from typing import Final

from voiceengine.store.rows import Client, new_sid

STRONG_ENOUGH: Final = 50
"""Least score of an acceptable password."""

_COST, _BLOCK, _PARALLEL, _LENGTH = 2**14, 8, 1, 32
_MEMORY: Final = 64 * 1024 * 1024

# The characters the upstream rule counts as symbols: # and @ are not among them.
_SYMBOLS: Final = frozenset("$%&'()*+,-./:;<=>?{|}~!\"^_`[]")
_LETTER_RUNS: Final = "abcdefghijklmnopqrstuvwxyz"
_DIGIT_RUNS: Final = "01234567890"
_SYMBOL_RUNS: Final = ")!@#$%^&*()"


def hash_password(password: str) -> str:
    """Hash with scrypt and a fresh salt: `scrypt$n$r$p$salt$digest` (base64). Slow: call it in a thread."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, _COST, _BLOCK, _PARALLEL, _LENGTH)
    encoded = [base64.b64encode(part).decode() for part in (salt, digest)]
    return "$".join(["scrypt", str(_COST), str(_BLOCK), str(_PARALLEL), *encoded])


def verify_password(password: str, stored: str) -> bool:
    """Compare with a stored hash; False for a hash that cannot be read. Slow: call it in a thread."""
    try:
        scheme, cost, block, parallel, salt, digest = stored.split("$")
        expected = base64.b64decode(digest, validate=True)
        if scheme != "scrypt" or not expected:
            return False
        found = _scrypt(
            password,
            base64.b64decode(salt, validate=True),
            int(cost),
            int(block),
            int(parallel),
            len(expected),
        )
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(found, expected)


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int, length: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=cost, r=block, p=parallel, maxmem=_MEMORY, dklen=length)


def ha1_md5(login: str, realm: str, password: str) -> str:
    """MD5 hex of login:realm:password (RFC 2617)."""
    return hashlib.md5(f"{login}:{realm}:{password}".encode(), usedforsecurity=False).hexdigest()


def ha1_sha256(login: str, realm: str, password: str) -> str:
    """SHA-256 hex of login:realm:password (RFC 7616)."""
    return hashlib.sha256(f"{login}:{realm}:{password}".encode()).hexdigest()


def make_client(account_sid: str, login: str, password: str, realm: str) -> Client:
    """A client row; only digests of the password are in it."""
    return Client(
        sid=new_sid("CL"),
        account_sid=account_sid,
        login=login,
        friendly_name=login,
        ha1_md5=ha1_md5(login, realm, password),
        ha1_sha256=ha1_sha256(login, realm, password),
    )


def _runs(text: str, alphabet: str) -> int:
    """Count the three-character pieces of the alphabet, and of its reverse, that the text contains."""
    pieces = {alphabet[at : at + 3] for at in range(len(alphabet) - 2)}
    return sum(piece in text or piece[::-1] in text for piece in pieces)


def _adjacent(pattern: str, text: str) -> int:
    return sum(bool(re.fullmatch(pattern, a + b)) for a, b in itertools.pairwise(text))


def score(password: str) -> int:
    """Strength from 0 to 100 (API reference, "Password score")."""
    length = len(password)
    if not length:
        return 0
    lower = sum("a" <= c <= "z" for c in password)
    upper = sum("A" <= c <= "Z" for c in password)
    digits = sum("0" <= c <= "9" for c in password)
    symbols = sum(c in _SYMBOLS for c in password)
    middle = password[1:-1]
    middle_digits = sum("0" <= c <= "9" for c in middle)
    middle_symbols = sum(c in _SYMBOLS for c in middle)
    kinds = sum(count > 0 for count in (lower, upper, digits, symbols)) + (length >= 8)
    repeated = sum(n for n in Counter(password.lower()).values() if n > 1)
    folded = password.lower()
    total = (
        4 * length
        + (2 * (length - upper) if upper else 0)
        + (2 * (length - lower) if lower else 0)
        + (4 * digits if lower + upper else 0)
        + 6 * symbols
        + 2 * (middle_digits + middle_symbols)
        + (2 * kinds if kinds >= 3 else 0)
        - 2
        * (
            _adjacent("[a-z]{2}", password)
            + _adjacent("[A-Z]{2}", password)
            + _adjacent("[0-9]{2}", password)
        )
        - 3 * (_runs(folded, _LETTER_RUNS) + _runs(folded, _DIGIT_RUNS) + _runs(folded, _SYMBOL_RUNS))
        - (length if digits == length else 0)
        - (length if lower + upper == length else 0)
        - 10 * repeated / length
    )
    return max(0, min(100, math.floor(total + 0.5)))


def is_strong(password: str) -> bool:
    """Whether the score is good enough for an account or a client."""
    return score(password) >= STRONG_ENOUGH
