"""A real SMTP server on a free local port, with STARTTLS or TLS, AUTH, and the ways in which servers fail."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "bot", "pässw0rd-s3cret"


@dataclass
class Inbox:
    """What arrived. ``refuse``: recipient -> reply. ``reply``: to DATA. ``die``: hang up within DATA."""

    host: str = "127.0.0.1"
    port: int = 0
    ca_file: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    reply: str = "250 OK"
    die: bool = False

    async def handle_RCPT(  # noqa: N802 the name aiosmtpd looks for
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd names it)
        if not self.reply.startswith("2"):
            return self.reply
        content = envelope.content
        assert isinstance(content, bytes)
        self.raw.append(content)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients.append(list(envelope.rcpt_tos))
        self.encrypted.append(session.ssl is not None)
        if self.die:  # it took the mail, and nobody will hear of it
            assert server.transport is not None
            server.transport.abort()
            await asyncio.sleep(0)
        return self.reply

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        if isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode()):
            self.logins.append(mechanism)
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False)


@contextlib.contextmanager
def mail_server(folder: Path, *, tls: str = "starttls", auth: bool = True, name: str = "127.0.0.1") -> Iterator[Inbox]:
    """``name``: whom the certificate is for."""
    inbox = Inbox(port=free_port())
    context = None
    if tls != "none":
        ca = trustme.CA()
        ca.cert_pem.write_to_path(folder / "ca.pem")
        inbox.ca_file = str(folder / "ca.pem")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert(name).configure_cert(context)
    options: dict[str, Any] = {}
    if auth:
        options = {"authenticator": inbox.authenticate, "auth_required": True, "auth_require_tls": tls == "starttls"}
    if tls == "starttls":
        options.update(tls_context=context, require_starttls=True)
    around = context if tls == "tls" else None
    controller = Controller(inbox, hostname=inbox.host, port=inbox.port, ssl_context=around, **options)
    controller.start()
    try:
        yield inbox
    finally:
        controller.stop()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
