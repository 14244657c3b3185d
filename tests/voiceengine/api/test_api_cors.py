"""Scripts of web pages."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from voiceengine.api.cors import Cors

Api = Any

DESIGNER = "https://designer.example.com"
OTHER = "https://other.example.com"
ASK = {"Origin": DESIGNER, "Access-Control-Request-Method": "PUT"}


def shared(answer: Any) -> dict[str, str]:
    prefix = "Access-Control-"
    names = ("Allow-Origin", "Allow-Credentials", "Allow-Methods", "Allow-Headers", "Max-Age")
    return {name: answer.header(prefix + name) for name in names if answer.header(prefix + name)}


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_a_preflight_is_answered_without_credentials(shared_api: Api) -> None:
    for path in ("~/Calls.json", "~/Nothing", "/openapi.json", "/2010-04-01/Accounts.json", "/nope"):
        answer = await shared_api.ask("OPTIONS", path, by=None, headers=ASK)
        found = shared(answer)

        assert (answer.code, answer.raw, answer.header("Vary")) == (204, b"", "Origin"), path
        assert found["Allow-Origin"] == DESIGNER
        assert found["Allow-Credentials"] == "true"
        assert found["Allow-Methods"] == "GET, POST, PUT, DELETE, OPTIONS, HEAD"
        assert {"Authorization", "Content-Type"} <= set(found["Allow-Headers"].split(", "))
        assert found["Max-Age"] == "1209600"


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_answers_and_errors_may_be_read_by_the_page(shared_api: Api) -> None:
    headers = {"Origin": DESIGNER}
    answers = [
        await shared_api.get("~/Calls.json", headers=headers),
        await shared_api.get("~/Calls.json", by=None, headers=headers),
        await shared_api.get("/nope", headers=headers),
        await shared_api.get("~/Recordings/RE0.wav", by=None, headers=headers),
        await shared_api.post("~/Calls.json", {"From": "a" * 3000}, headers=headers),
    ]

    assert [answer.code for answer in answers] == [200, 401, 404, 404, 413]
    for answer in answers:
        assert shared(answer) == {"Allow-Origin": DESIGNER, "Allow-Credentials": "true"}
        assert answer.header("Vary") == "Origin"


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_other_pages_get_nothing(shared_api: Api) -> None:
    headers = {**ASK, "Origin": OTHER}
    preflight = await shared_api.ask("OPTIONS", "~/Calls.json", headers=headers)
    answer = await shared_api.get("~/Calls.json", headers=headers)

    assert (preflight.code, shared(preflight)) == (405, {})
    assert (answer.code, shared(answer), answer.header("Vary")) == (200, {}, "Origin")


@pytest.mark.loopback
@pytest_twisted.ensureDeferred
async def test_without_the_setting_no_page_gets_anything(api: Api) -> None:
    preflight = await api.ask("OPTIONS", "~/Calls.json", headers=ASK)
    answer = await api.get("~/Calls.json", headers=ASK)

    assert (preflight.code, shared(preflight)) == (405, {})
    assert (answer.code, shared(answer), answer.header("Vary")) == (200, {}, "")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("origins", "origin", "expected"),
    [
        ((), OTHER, {}),
        ((DESIGNER,), None, {"Vary": "Origin"}),
        ((DESIGNER + "/",), "https://Designer.example.com", {"Allow-Credentials": "true"}),
        (("*",), OTHER, {"Allow-Origin": "*"}),
        (("*",), None, {"Vary": "Origin"}),
        (("*", DESIGNER), DESIGNER, {"Allow-Origin": DESIGNER, "Allow-Credentials": "true"}),
        ((DESIGNER,), "null", {"Vary": "Origin"}),
        ((DESIGNER,), DESIGNER + ".evil.example", {"Vary": "Origin"}),
    ],
)
def test_who_may_use_it(origins: tuple[str, ...], origin: str | None, expected: dict[str, str]) -> None:
    found = {name.removeprefix("Access-Control-"): value for name, value in Cors(origins).headers(origin)}

    assert expected.items() <= found.items()
    assert ("Allow-Origin" in found) == Cors(origins).allows(origin)
    assert found.get("Allow-Origin") != "*" or "Allow-Credentials" not in found
