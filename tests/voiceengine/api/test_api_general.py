"""Acceptance cases 1 to 11, 19, 20, 24, and the behaviour that all resources share."""

from __future__ import annotations

import re
import threading
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from voiceengine.api import routing
from voiceengine.api.parameters import parse_body
from voiceengine.store.rows import Account

pytestmark = pytest.mark.loopback

Api = Any


@pytest_twisted.ensureDeferred
async def test_credentials_are_needed_and_checked(api: Api) -> None:
    nobody = await api.get("~.json", by=None)
    wrong = await api.get("~.json", by=(api.admin.sid, "f" * 32))
    by_name = await api.get("~.json", by=("Support desk", api.admin.auth_token))
    empty = await api.get("~.json", by=(api.admin.sid, ""))
    not_text = await api.get("~.json", by=(b"\xff\xfe", b"\xff"))
    without_hash = await api.get("/2012-04-24/Accounts.json", by=(api.child.email_address, "RestComm12"))

    assert [answer.code for answer in (nobody, wrong, by_name, empty, not_text, without_hash)] == [401] * 6
    assert nobody.header("WWW-Authenticate") == 'Basic realm="Restcomm realm"'
    assert nobody.json["status"] == 401


@pytest_twisted.ensureDeferred
async def test_sid_or_email_with_token_or_password(api: Api) -> None:
    answers = [
        await api.get("~.json", by=by)
        for by in (
            (api.admin.sid, api.admin.auth_token),
            (api.admin.email_address, api.admin.auth_token),
            (api.admin.email_address.upper(), "RestComm12"),
            (api.admin.sid, "RestComm12"),
        )
    ]

    assert [answer.code for answer in answers] == [200] * 4
    assert answers[0].header("Content-Type") == "application/json"
    assert answers[0].json["sid"] == api.admin.sid
    assert answers[0].header("Cache-Control") == "no-store"


@pytest_twisted.ensureDeferred
async def test_the_format_follows_suffix_then_accept(api: Api) -> None:
    sid = api.admin.sid
    base = "/restcomm/2012-04-24"
    cases = [
        ("~.xml", None, "application/xml"),
        ("~", None, "application/xml"),
        ("~", "application/json", "application/json"),
        ("~.json", "text/xml", "application/json"),
        (f"{base}/Accounts.json/{sid}", None, "application/json"),
        (f"{base}/Accounts.json/{sid}.json", None, "application/json"),
        (f"{base}/Accounts/{sid}/", "application/json", "application/json"),
        (f"/api/2012-04-24/Accounts/{sid}.json", None, "application/json"),
        (f"/2012-04-24/Accounts/{sid}.json", None, "application/json"),
        (f"{base}/Accounts/admin%40example.com.json", None, "application/json"),
    ]
    answers = [await api.get(path, accept=accept) for path, accept, _ in cases]

    assert [answer.code for answer in answers] == [200] * len(cases)
    assert [answer.header("Content-Type") for answer in answers] == [kind for _, _, kind in cases]
    assert answers[0].xml.tag == "RestcommResponse"
    assert answers[0].xml[0].tag == "Account"
    assert len({answer.text for answer in answers if answer.text.startswith("{")}) == 1


@pytest_twisted.ensureDeferred
async def test_inactive_accounts_are_refused(api: Api) -> None:
    for status in ("suspended", "closed", "inactive"):
        await api.store.accounts.update(attrs.evolve(api.child, status=status))
        answer = await api.get(f"/2012-04-24/Accounts/{api.child.sid}/Calls.json", by=api.child)
        assert (answer.code, answer.json["message"]) == (403, "Provided Account is not active")
    await api.store.accounts.update(attrs.evolve(api.child, status="uninitialized"))

    assert (await api.get(f"/2012-04-24/Accounts/{api.child.sid}.json", by=api.child)).code == 200
    assert (await api.get(f"/2012-04-24/Accounts/{api.child.sid}/Calls.json", by=api.child)).code == 403


@pytest_twisted.ensureDeferred
async def test_dates_are_rfc_2822_without_padding(api: Api) -> None:
    row = attrs.evolve(api.child, date_created=1562223748.9)
    await api.store.accounts.update(row)
    found = (await api.get(f"/2012-04-24/Accounts/{api.child.sid}.json")).json

    assert found["date_created"] == "Thu, 4 Jul 2019 07:02:28 +0000"
    pattern = r"^[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}$"
    assert re.match(pattern, found["date_updated"])


@pytest_twisted.ensureDeferred
async def test_accounts_reach_down_the_tree_only(api: Api) -> None:
    child, sibling = (f"/2012-04-24/Accounts/{sid}" for sid in (api.child.sid, api.sibling.sid))

    assert (await api.get("~.json", by=api.child)).code == 403
    assert (await api.get(sibling + ".json", by=api.child)).code == 403
    assert (await api.get(f"/2012-04-24/Accounts/AC{'f' * 32}.json")).code == 404
    for resource in ("Calls", "Clients", "Recordings", "Notifications", "IncomingPhoneNumbers"):
        assert (await api.get(f"{child}/{resource}.json")).code == 200
        assert (await api.get(f"~/{resource}.json", by=api.child)).code == 403
    children = (await api.get("/2012-04-24/Accounts.json")).json
    assert [row["sid"] for row in children] == [api.child.sid, api.sibling.sid]


@pytest_twisted.ensureDeferred
async def test_only_the_super_admin_lists_by_organization(api: Api) -> None:
    path = "/2012-04-24/Accounts.json"

    assert len((await api.get(path, params={"OrganizationSid": api.admin.organization_sid})).json) == 3
    assert (await api.get(path, params={"OrganizationSid": "OR" + "9" * 32})).json == []
    assert len((await api.get(path, params={"DomainName": "example.com"})).json) == 3
    assert (await api.get(path, params={"DomainName": "nowhere"})).code == 404
    assert (await api.get(path, params={"DomainName": "example.com"}, by=api.child)).code == 403


@pytest_twisted.ensureDeferred
async def test_roles_limit_what_an_account_may_do(api: Api) -> None:
    base = f"/2012-04-24/Accounts/{api.child.sid}"
    await api.store.accounts.update(attrs.evolve(api.child, role="Developer"))
    assert (await api.get(f"{base}/Calls.json", by=api.child)).code == 200
    assert (await api.get(f"{base}.json", by=api.child)).code == 200
    assert (await api.get("/2012-04-24/Accounts.json", by=api.child)).code == 403
    await api.store.accounts.update(attrs.evolve(api.child, role="ProvisioningAgent"))
    assert (await api.ask("DELETE", f"{base}/Recordings/RE{'0' * 32}.json", by=api.child)).code == 403
    await api.store.accounts.update(attrs.evolve(api.child, role="nonsense"))
    assert (await api.get(f"{base}/Calls.json", by=api.child)).code == 403


@pytest_twisted.ensureDeferred
async def test_methods_and_paths_that_do_not_exist(api: Api) -> None:
    delete = await api.ask("DELETE", "~.json")
    put = await api.ask("PUT", "~/Calls.json")

    assert (delete.code, put.code) == (405, 405)
    assert delete.header("Allow") == "GET, HEAD, POST, PUT"
    for path in (
        "/",
        "/nope",
        "/restcomm",
        "/restcomm/2012-04-24",
        "~/Nothing.json",
        "/api/2012-04-24/%ff%fe",
    ):
        answer = await api.get(path, accept="application/json")
        assert (answer.code, answer.json["status"]) == (404, 404)
    assert (await api.get("/nope")).xml.find("Status").text == "404"
    head = await api.ask("HEAD", "~.json")
    assert (head.code, head.raw) == (200, b"")
    for sid in ("x", "CL" + "0" * 31, "CL" + "0" * 33, "CL%00", "..%2f..%2fetc"):
        assert (await api.get(f"~/Clients/{sid}.json")).code == 404


class _Raw(Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(self.received)


async def raw(api: Api, *pieces: bytes) -> bytes:
    endpoint = HostnameEndpoint(reactor, b"127.0.0.1", api.port)
    protocol = await endpoint.connect(Factory.forProtocol(_Raw))
    for piece in pieces:
        protocol.transport.write(piece)
    return await protocol.done


@pytest_twisted.ensureDeferred
async def test_a_body_that_is_too_large_is_refused_before_it_is_sent(api: Api) -> None:
    path = f"/2012-04-24/Accounts/{api.admin.sid}/Calls.json".encode()
    head = (
        b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10000001\r\n\r\n"
    )
    answer = await raw(api, head)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"status": 413' in answer
    assert b"100 Continue" not in answer


@pytest_twisted.ensureDeferred
async def test_a_chunked_body_is_limited_too(guarded_api: Api) -> None:
    chunk = b"400\r\n" + b"a" * 1024 + b"\r\n"
    head = b"POST /2012-04-24/Accounts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await raw(guarded_api, head, chunk * 4, b"0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"<Status>413</Status>" in answer


@pytest_twisted.ensureDeferred
async def test_malformed_bodies_are_400(api: Api) -> None:
    form, json_type = "application/x-www-form-urlencoded", "application/json"
    cases = [
        (form, b"Login=%ff%fe", 400),
        (form, b"&".join(b"a%d=1" % n for n in range(1001)), 400),
        (json_type, b"{", 400),
        (json_type, b"[1]", 400),
        (json_type, b"[" * 100_000, 400),
        (json_type, b'{"Login": {"a": 1}}', 400),
        (json_type, b'{"Login": "\\ud800"}', 400),
        (json_type, b'{"Login": "a\\nb", "Password": "RestComm1234"}', 400),
        ("application/xml", b"<a/>", 415),
        ("multipart/form-data; boundary=x", b"--x", 415),
    ]
    for content_type, body, code in cases:
        answer = await api.post("~/Clients.json", body, headers={"Content-Type": content_type})
        assert (answer.code, answer.json["status"]) == (code, code), body[:40]


@pytest_twisted.ensureDeferred
async def test_a_json_body_has_the_same_names(api: Api) -> None:
    body = {
        "Login": "alice",
        "Password": "RestComm1234",
        "Status": 0,
        "IsPushEnabled": True,
        "VoiceUrl": None,
    }
    found = (await api.ask("POST", "~/Clients.json", json=body)).json

    assert (found["login"], found["status"], found["push_client_identity"]) == ("alice", "0", found["sid"])
    assert "voice_url" not in found


@pytest_twisted.ensureDeferred
async def test_an_unexpected_failure_is_a_uniform_500(api: Api) -> None:
    api.control.failure = RuntimeError("secret detail")
    call = {"From": "a", "To": "b", "Url": "http://app/"}
    answer = await api.post("~/Calls", call)

    assert answer.code == 500
    assert answer.xml.find("Message").text == "The server failed to carry out the request."
    assert "secret" not in answer.text


@pytest_twisted.ensureDeferred
async def test_health_metrics_and_extra_paths(api: Api) -> None:
    ready, metrics, demo = [await api.get(path, by=None) for path in ("/healthz", "/metrics", "/demo")]
    api.ready = False
    busy = await api.get("/healthz", by=None)
    api.ready = RuntimeError("x")
    broken = await api.get("/healthz", by=None)

    assert (ready.code, ready.json) == (200, {"ok": True, "workers": 1})
    assert (metrics.code, metrics.raw) == (200, b"calls_total 1\n")
    assert metrics.header("Content-Type").startswith("text/plain; version=0.0.4")
    assert demo.text == "<Response/>"
    assert (busy.code, busy.json["ok"]) == (503, False)
    assert broken.code == 503
    assert (await api.post("/healthz", by=None)).code == 405


@pytest_twisted.ensureDeferred
async def test_the_prefix_of_uris_is_configurable_and_served(guarded_api: Api) -> None:
    path = f"/voice/v1/Accounts/{guarded_api.admin.sid}.json"
    answer = await guarded_api.get(path)

    assert answer.json["uri"] == path
    assert (await guarded_api.get(f"/2012-04-24/Accounts/{guarded_api.admin.sid}.json")).code == 200


@pytest_twisted.ensureDeferred
async def test_requests_at_once_all_get_their_answer(api: Api) -> None:
    paths = ["~.json", "~/Calls.json", "~/Clients.json"] * 10
    answers = await gatherResults([Deferred.fromCoroutine(api.get(path)) for path in paths])

    assert {answer.code for answer in answers} == {200}


@pytest_twisted.ensureDeferred
async def test_a_right_password_is_checked_by_scrypt_once(api: Api) -> None:
    from voiceengine.api.auth import Authenticator

    asked: list[str] = []

    def verify(password: str, stored: str) -> bool:
        asked.append(password)
        return password == "right"

    found = Authenticator(api.store, reactor, verify)
    sid = api.admin.sid
    for _ in range(3):
        account = await found.authenticate(sid, "right")
        assert isinstance(account, Account) and account.sid == sid
    assert await found.authenticate(sid, "wrong") is None
    assert asked == ["right", "wrong"]
    # A new password ends what was remembered of the old one.
    stored = api.store.accounts.get(sid)
    await api.store.accounts.update(attrs.evolve(stored, password_hash="other"))
    await found.authenticate(sid, "right")
    assert asked == ["right", "wrong", "right"]


@pytest_twisted.ensureDeferred
async def test_who_acts_is_looked_up_again_after_a_password_was_checked(api: Api) -> None:
    from voiceengine.api.auth import Authenticator

    entered, go_on = threading.Event(), threading.Event()

    def verify(password: str, stored: str) -> bool:
        entered.set()
        return go_on.wait(10)

    async def authenticated(**changes: str) -> Account | None:
        entered.clear()
        go_on.clear()
        waiting = Deferred.fromCoroutine(
            Authenticator(api.store, reactor, verify).authenticate(api.admin.sid, "x")
        )
        await deferToThread(entered.wait, 10)
        row = api.store.accounts.get(api.admin.sid)
        await api.store.accounts.update(attrs.evolve(row, **changes))
        go_on.set()
        found: Account | None = await waiting
        return found

    suspended = await authenticated(status="suspended")
    assert suspended is not None and suspended.status == "suspended"
    assert await authenticated(password_hash="another") is None


@pytest_twisted.ensureDeferred
async def test_page_uris_repeat_filters_url_encoded(api: Api) -> None:
    for _ in range(3):
        api.call(to="+1512600&=%")
    query = {"To": "00&=%", "SortBy": "DateCreated:asc", "PageSize": "1", "SubAccounts": "true"}
    seen = []
    page = (await api.get("~/Calls.json", params=query)).json
    while True:
        seen += [row["sid"] for row in page["calls"]]
        if page["next_page_uri"] == "null":
            break
        assert "&To=00%26%3D%25&SortBy=DateCreated%3Aasc&SubAccounts=true" in page["next_page_uri"]
        page = (await api.get(page["next_page_uri"], accept="application/json")).json

    assert (len(set(seen)), len(seen), page["total"]) == (3, 3, 3)


@pytest_twisted.ensureDeferred
async def test_what_no_list_understands_is_400_in_both_shapes(api: Api) -> None:
    queries = ("Page=-1", "Page=x", "Page=1", "PageSize=0", "PageSize=x", "StartTime=yesterday")
    queries += ("StartTime=2017-02-30", "SortBy=:asc", "SortBy=DateCreated:up")
    for mount in ("/restcomm/2012-04-24", "/2010-04-01"):
        for query in queries:
            answer = await api.get(f"{mount}/Accounts/{api.admin.sid}/Calls.json?{query}")
            assert (answer.code, answer.json["status"]) == (400, 400), query
        for query in ("localOnly=false", "PageSize=9999", "Nonsense=1", "AfterSid=x", "EndTime=2017-02-28"):
            answer = await api.get(f"{mount}/Accounts/{api.admin.sid}/Calls.json?{query}")
            assert (answer.code, answer.json["page_size"]) == (200, 1000 if "9999" in query else 50)


@pytest_twisted.ensureDeferred
async def test_suffixes_slashes_and_accept_on_lists_and_instances(api: Api) -> None:
    sid = api.call().sid
    for path in (f"~/Calls.json/{sid}", f"~/Calls/{sid}.json", f"~/Calls/{sid}.json/", f"~/Calls/{sid}/"):
        answer = await api.get(path, accept="application/json")
        assert (answer.code, answer.json["sid"]) == (200, sid), path
    for path in (f"~/Calls.xml/{sid}", f"~/Calls/{sid}.xml", f"~/Calls/{sid}"):
        assert (await api.get(path)).xml[0].find("Sid").text == sid, path
    twilio = f"/2010-04-01/Accounts/{api.admin.sid}/Calls/{sid}"
    assert (await api.get(twilio)).json["sid"] == sid
    assert (await api.get(twilio + ".xml")).xml[0].find("Sid").text == sid


@pytest_twisted.ensureDeferred
async def test_the_same_rights_hold_in_the_shape_of_twilio(api: Api) -> None:
    base = "/2010-04-01/Accounts"
    nobody = await api.get(f"{base}/{api.admin.sid}.json", by=None)

    assert (nobody.code, nobody.json["status"]) == (401, 401)
    assert nobody.header("WWW-Authenticate") == 'Basic realm="Restcomm realm"'
    assert (await api.get(f"{base}/{api.admin.sid}/Calls.json", by=api.child)).code == 403
    assert (await api.get(f"{base}/AC{'f' * 32}/Calls.json")).code == 404
    assert (await api.ask("PUT", f"{base}/{api.admin.sid}/Calls.json")).code == 405


@pytest_twisted.ensureDeferred
async def test_an_account_that_is_suspended_while_its_long_body_is_read_is_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/restcomm/2012-04-24/Accounts/{api.child.sid}/Applications.json"
    form = b"FriendlyName=Menu&Padding=" + b"%41" * 30_000
    entered, go_on = threading.Event(), threading.Event()

    def parse(content_type: str, body: bytes) -> Any:
        entered.set()
        assert go_on.wait(10)
        return parse_body(content_type, body)

    async def post() -> Any:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await api.ask("POST", path, by=api.child, data=form, headers=headers)

    assert (await post()).code == 200
    monkeypatch.setattr(routing, "parse_body", parse)
    posting = Deferred.fromCoroutine(post())
    await deferToThread(entered.wait, 10)
    await api.store.accounts.update(attrs.evolve(api.child, status="suspended"))
    go_on.set()
    answer = await posting

    assert (answer.code, answer.json["message"]) == (403, "Provided Account is not active")
    assert len(api.store.applications) == 1
