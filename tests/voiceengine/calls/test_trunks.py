"""Trunks: whose proxy a number goes through, and how it is written there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceengine.calls.trunks import number_for, proxy_for
from voiceengine.config import OutboundProxy, Sip

pytestmark = pytest.mark.unit

ALL = OutboundProxy(uri="sip:trunk.example.org")
OWN = OutboundProxy(uri="sip:own.example.org", number_format="digits")


def test_an_account_with_a_proxy_of_its_own_uses_that_one() -> None:
    settings = Sip(outbound_proxy=ALL, account_proxies={"AC1": OWN})
    assert proxy_for(settings, "AC1") is OWN
    assert proxy_for(settings, "AC2") is ALL


def test_without_any_setting_there_is_no_proxy() -> None:
    assert proxy_for(Sip(), "AC1").uri == ""


def test_an_account_may_be_kept_from_the_proxy_of_all() -> None:
    settings = Sip(outbound_proxy=ALL, account_proxies={"AC1": OutboundProxy()})
    assert proxy_for(settings, "AC1").uri == ""


@pytest.mark.parametrize(
    ("dialed", "normalize", "form", "written"),
    [
        ("(512) 555-0100", False, "as-dialed", "(512) 555-0100"),
        ("(512) 555-0100", True, "as-dialed", "+15125550100"),
        ("5125550100", False, "e164", "+15125550100"),
        ("5125550100", True, "e164", "+15125550100"),
        ("+15125550100", False, "digits", "15125550100"),
        ("5125550100", True, "digits", "15125550100"),
        ("+15125550100", False, "national", "5125550100"),
        ("+442071838750", False, "e164", "+442071838750"),
        ("+442071838750", True, "digits", "442071838750"),
        ("+442071838750", False, "national", "2071838750"),
        ("*98#", False, "as-dialed", "*98#"),
        ("1234", False, "as-dialed", "1234"),
    ],
)
def test_a_number_is_written_as_the_trunk_wants_it(
    dialed: str, normalize: bool, form: str, written: str
) -> None:
    assert number_for(dialed, normalize, form) == written


@pytest.mark.parametrize("form", ["e164", "digits", "national"])
@pytest.mark.parametrize("dialed", ["*98#", "", "bob", "+", "+999999999999999999999"])
def test_what_is_no_phone_number_cannot_be_written_otherwise(dialed: str, form: str) -> None:
    assert number_for(dialed, False, form) is None


@pytest.mark.parametrize("dialed", ["*98#", "bob"])
def test_what_is_no_phone_number_cannot_be_normalized(dialed: str) -> None:
    assert number_for(dialed, True, "as-dialed") is None


@given(st.text(max_size=20), st.booleans(), st.sampled_from(["as-dialed", "e164", "digits", "national"]))
def test_whatever_is_dialed_the_form_is_kept_and_nothing_raises(
    dialed: str, normalize: bool, form: str
) -> None:
    written = number_for(dialed, normalize, form)
    if written is None or (form == "as-dialed" and not normalize):
        return
    digits = written.removeprefix("+")
    assert digits.isdecimal()
    assert digits.isascii()
    assert written.startswith("+") == (form in ("e164", "as-dialed"))
