"""URLs of documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcml.errors import UrlError
from rcml.urls import resolve, without_userinfo

pytestmark = pytest.mark.unit

BASE = "http://h/a/b.xml?q=1"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("next", "http://h/a/next"),
        ("/top", "http://h/top"),
        ("../up?x=1&y=2", "http://h/up?x=1&y=2"),
        ("?only=query", "http://h/a/b.xml?only=query"),
        ("//other/x", "http://other/x"),
        (" https://s:8443/x ", "https://s:8443/x"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
    ],
)
def test_references_are_resolved_against_the_document(text, url):
    assert resolve(BASE, text) == url


@pytest.mark.parametrize(
    "text",
    ["http://", "ftp://h/", "mailto:x", "http://h:port/", "http://[", "a b", "a\x00b", 'a"b', "file:///x"],
)
def test_what_is_no_http_url_is_refused(text):
    with pytest.raises(UrlError) as caught:
        resolve(BASE, text)

    assert caught.value.message


def test_without_a_base_a_reference_is_refused():
    with pytest.raises(UrlError):
        resolve("", "next")


def test_more_schemes_can_be_allowed():
    assert resolve("file:///d/a.xml", "b.xml", ("file",)) == "file:///d/b.xml"


@given(st.text(max_size=40))
def test_any_text_gives_a_url_or_a_url_error(text):
    try:
        assert resolve(BASE, text).startswith("http")
    except UrlError as error:
        assert error.message


def test_credentials_are_not_shown():
    assert without_userinfo("http://u:p@h:1/x?a=@") == "http://h:1/x?a=@"
    assert without_userinfo("http://h/x") == "http://h/x"
    assert without_userinfo("http://u:p@[") == "http://["
