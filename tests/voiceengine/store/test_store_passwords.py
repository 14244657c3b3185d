from __future__ import annotations

import hashlib

import pytest

from voiceengine.store.passwords import (
    ha1_md5,
    ha1_sha256,
    hash_password,
    is_strong,
    score,
    verify_password,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("1234", 4),
        ("asdf123", 37),
        ("RestComm", 36),
        ("NewPassword", 43),
        ("RestComm12", 70),
        ("mynewpassword12", 51),
        ("asd123$#@", 68),
        ("RestComm1234", 88),
        ("", 0),
        ("a" * 30, 22),
    ],
)
def test_scores_are_those_of_the_reference(password: str, expected: int) -> None:
    assert score(password) == expected
    assert is_strong(password) == (expected >= 50)


def test_a_hash_verifies_its_password_only() -> None:
    stored = hash_password("RestComm1234")

    assert verify_password("RestComm1234", stored)
    assert not verify_password("RestComm1235", stored)
    assert stored != hash_password("RestComm1234")
    assert "RestComm" not in stored


@pytest.mark.parametrize(
    "stored",
    ["", "x", "scrypt$1$2$3", "scrypt$a$8$1$AA==$AA==", "md5$16384$8$1$AA==$AA==", "scrypt$3$8$1$AA==$AA=="],
)
def test_a_hash_that_cannot_be_read_verifies_nothing(stored: str) -> None:
    assert not verify_password("anything", stored)


def test_digests_are_those_of_the_rfcs() -> None:
    text = b"Mufasa:http-auth@example.org:Circle of Life"

    assert ha1_md5("Mufasa", "http-auth@example.org", "Circle of Life") == hashlib.md5(text).hexdigest()
    assert ha1_sha256("Mufasa", "http-auth@example.org", "Circle of Life") == hashlib.sha256(text).hexdigest()
