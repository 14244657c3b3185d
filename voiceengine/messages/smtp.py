"""One delivery by SMTP (RFC 5321), in a thread of its own that keeps nothing from ending."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from voiceengine.config import Mail

_PORTS: Final = {"none": 25, "starttls": 587, "tls": 465}


def server_of(settings: Mail) -> tuple[str, int]:
    """Host and port of the mail server."""
    host, colon, port = settings.server.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.startswith("[")):
        return host.strip("[]"), int(port)
    return settings.server.strip("[]"), _PORTS[settings.security]


def explain(failure: Failure) -> str:
    """Why a delivery failed, in words; holds no credentials."""
    error = failure.value
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        refused = [f"{name}: {code} {_text(why)}" for name, (code, why) in error.recipients.items()]
        return f"the mail server refused {'; '.join(refused)}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered {error.smtp_code} {_text(error.smtp_error)}"
    if isinstance(error, UnicodeError):
        return "user or password of the mail server is not ASCII"  # the error quotes them
    return str(error) or type(error).__name__


def _text(answer: bytes | str) -> str:
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer


@attrs.define(kw_only=True)
class Delivery:
    """A message for the mail server."""

    settings: Mail
    sender: str
    recipients: Sequence[str]
    message: bytes
    name: str
    """What the engine calls itself in EHLO."""
    trust: Callable[[], ssl.SSLContext]
    _client: smtplib.SMTP | None = None
    _given_up: bool = False
    """Nobody waits any more: a connection that comes about too late carries nothing."""

    def start(self, reactor: Any) -> Deferred[None]:
        """Begin; cancelling breaks the connection off.

        Args:
            reactor: IReactorFromThreads.
        """
        done: Deferred[None] = Deferred(lambda _: self._abort())

        def finish(failure: Failure | None) -> None:
            if not done.called:
                done.callback(None) if failure is None else done.errback(failure)

        def run() -> None:
            failure = None
            try:
                self._send()
            except Exception:
                failure = Failure()
                failure.cleanFailure()
            reactor.callFromThread(finish, failure)

        threading.Thread(target=run, name="voiceengine-mail", daemon=True).start()
        return done

    def _abort(self) -> None:
        self._given_up = True
        sock = self._client.sock if self._client is not None else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already

    def _send(self) -> None:
        """Deliver; blocks.

        Raises:
            smtplib.SMTPException, OSError: it was not delivered to everybody.
        """
        settings = self.settings
        host, port = server_of(settings)
        client: smtplib.SMTP
        if settings.security == "tls":
            client = smtplib.SMTP_SSL(host, port, self.name, timeout=settings.timeout, context=self.trust())
        else:
            client = smtplib.SMTP(host, port, self.name, timeout=settings.timeout)
        self._client = client
        try:
            if self._given_up:
                return  # the failure was told already
            if settings.security == "starttls":
                client.starttls(context=self.trust())
            if settings.username:
                client.login(settings.username, settings.password)
            refused = client.sendmail(self.sender, list(self.recipients), self.message)
            try:
                client.quit()
            except (smtplib.SMTPException, OSError):
                pass  # the mail was taken
        finally:
            client.close()
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)
