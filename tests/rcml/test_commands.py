"""The terminal commands `lint` and `try`."""

import argparse
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from voiceengine.commands import lint, simulate

pytestmark = pytest.mark.unit


def run(command, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(arguments)
    return args.run(args)


@pytest.fixture
def menu(tmp_path):
    path = tmp_path / "menu.xml"
    path.write_text(
        '<Response><Gather numDigits="1" action="sub/next.xml"><Say>Press one</Say></Gather></Response>'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "next.xml").write_text("<Response><Say>Thanks</Say></Response>")
    return path


def test_lint_of_a_good_file_is_silent(menu, capsys):
    assert run(lint, "lint", str(menu)) == 0
    assert capsys.readouterr().out == ""


def test_lint_names_file_line_and_column(tmp_path, capsys):
    path = tmp_path / "bad.xml"
    path.write_text("<Response>\n <Foo/>\n</Response>")

    assert run(lint, "lint", str(path)) == 1
    assert capsys.readouterr().out == f"{path}:2:2: error: unknown verb Foo, it is skipped\n"


def test_lint_of_a_document_with_warnings_only_succeeds(tmp_path):
    path = tmp_path / "warning.xml"
    path.write_text("<Response><Say/></Response>")

    assert run(lint, "lint", str(path)) == 0


def test_lint_of_a_document_about_messages_takes_its_verbs_only(tmp_path, capsys):
    path = tmp_path / "sms.xml"
    path.write_text("<Response><Sms>x</Sms><sms/></Response>")

    assert run(lint, "lint", "--sms", str(path)) == 1
    found = "error: sms is no verb for messages, it is skipped; allowed: Sms, Redirect, Email"
    assert capsys.readouterr().out == f"{path}:1:23: {found}; did you mean Sms?\n"


def test_lint_of_a_missing_file_is_2(tmp_path, menu):
    assert run(lint, "lint", str(tmp_path / "none.xml"), str(menu)) == 2


def test_try_runs_a_file_and_the_files_it_names(menu, capsys):
    assert run(simulate, "try", "--fast", "--digits", "1:4", str(menu)) == 0
    shown = capsys.readouterr().out
    assert 'plays: "Press one"' in shown
    assert "next.xml" in shown
    assert "Digits=4" in shown
    assert 'plays: "Thanks"' in shown


def test_try_runs_a_file_for_a_message(tmp_path, capsys):
    path = tmp_path / "sms.xml"
    path.write_text('<Response><Sms to="client:bob">Got it</Sms><Redirect>next.xml</Redirect></Response>')
    (tmp_path / "next.xml").write_text(
        '<Response><Email to="a@h" from="b@h" subject="S">x</Email></Response>'
    )

    assert run(simulate, "try", "--sms", "hello", "--from", "alice", "--to", "1234", str(path)) == 0
    shown = capsys.readouterr().out
    assert "From=alice To=1234 Body=hello SmsStatus=received" in shown
    assert 'sends to client:bob from 1234: "Got it"' in shown
    assert 'mails to a@h from b@h: "S"' in shown
    assert shown.endswith("\nended\n")


def test_try_fails_when_a_document_for_a_message_is_missing(tmp_path, capsys):
    path = tmp_path / "sms.xml"
    path.write_text("<Response><Redirect>none.xml</Redirect></Response>")

    assert run(simulate, "try", "--sms", "", str(path)) == 1
    assert "21402" in capsys.readouterr().out


def test_try_fails_when_a_document_is_missing(tmp_path, capsys):
    path = tmp_path / "a.xml"
    path.write_text("<Response><Redirect>none.xml</Redirect></Response>")

    assert run(simulate, "try", "--fast", str(path)) == 1
    assert "21402" in capsys.readouterr().out


def test_try_fails_when_an_audio_file_is_missing(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<Response><Play>none.wav</Play></Response>")

    assert run(simulate, "try", "--fast", str(path)) == 1


@pytest.mark.parametrize(
    "arguments", [["none.xml"], ["--digits", "x", "none.xml"], ["--header", "x", "none.xml"]]
)
def test_try_refuses_wrong_arguments(arguments, capsys):
    assert run(simulate, "try", *arguments) == 1
    assert capsys.readouterr().err.startswith("voiceengine try: ")


class Application(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/start":
            self.send_response(302)
            self.send_header("Location", "/second")
            self.end_headers()
        elif self.path == "/second":
            self._reply("<Response><Redirect method='GET'>third?x=1</Redirect></Response>")
            self.server.seen.append(body)
        else:
            self.send_error(503)

    def do_GET(self):
        self.server.seen.append(self.path)
        self._reply("<Response><Say>got it</Say></Response>")

    def _reply(self, text):
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def application():
    server = HTTPServer(("127.0.0.1", 0), Application)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_try_lets_those_who_are_dialed_do_as_told(tmp_path, capsys):
    path = tmp_path / "dial.xml"
    path.write_text("<Response><Dial><Client>bob</Client><Number>1234</Number></Dial></Response>")

    assert run(simulate, "try", "--fast", "--callees", "bob=busy,1234=3/5", str(path)) == 0
    shown = capsys.readouterr().out
    assert "bob answers 486" in shown
    assert "joined with 1234" in shown
    assert run(simulate, "try", "--fast", "--callees", "bob", str(path)) == 1


def test_try_requests_an_application_and_keeps_method_and_parameters_in_a_redirect(application, capsys):
    server, base = application

    assert run(simulate, "try", "--fast", "--from", "alice", "--header", "X-T: 4", f"{base}/start") == 0
    assert "From=alice" in server.seen[0]
    assert "SipHeader_X-T=4" in server.seen[0]
    assert server.seen[1].startswith("/third?x=1&CallSid=")
    assert 'plays: "got it"' in capsys.readouterr().out


def test_try_shows_what_an_application_answered(application, capsys):
    _, base = application

    assert run(simulate, "try", "--fast", f"{base}/broken") == 1
    assert "the application answered 503" in capsys.readouterr().out


def test_try_reports_an_application_that_is_not_there(capsys):
    assert run(simulate, "try", "--fast", "http://127.0.0.1:9/") == 1
    assert "11205" in capsys.readouterr().out


@pytest.fixture
def keyboard(monkeypatch):
    """A terminal; gives the function that types."""
    master, slave = os.openpty()
    with os.fdopen(slave) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield lambda text: os.write(master, text.encode())
    os.close(master)


def test_try_takes_keys_from_the_terminal(menu, keyboard, capsys):
    keyboard("4")

    assert run(simulate, "try", str(menu)) == 0
    assert "Digits=4" in capsys.readouterr().out


def test_q_hangs_up(menu, keyboard, capsys):
    keyboard("xq")

    assert run(simulate, "try", str(menu)) == 0
    assert "caller hangs up" in capsys.readouterr().out


def test_a_script_presses_keys_in_a_terminal_too(menu, keyboard, capsys):
    assert run(simulate, "try", "--digits", "0.2:7,0.4:hangup", str(menu)) == 0
    shown = capsys.readouterr().out
    assert "Digits=7" in shown
    assert "caller hangs up" in shown
