"""Email over SMTP: a text and an HTML part, STARTTLS unless told otherwise, one connection per message.

Options of the channel: to (one address or a list), subject (see ``message.with_subject``) and, overriding the
project's ``smtp``: from, host, port (587; 465 for tls), tls (starttls | tls | none), user, password, ca_file (a
private authority's certificate).
The Message-ID is made of the message's id: a mail sent again after a crash is the same mail.
All recipients get it or none do: when one is refused for now (greylisting), the whole is tried again later; those
refused for good are left out, and named in the history, as long as one remains.
"""

from __future__ import annotations

import base64
import hashlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.deadline import Deadline
from core.errors import ConfigInvalid
from core.model import Channel
from core.notify.message import Message, one_line, with_subject
from core.notify.send import Resolver, SendFailed, SendResult, texts

_COLOURS = {"alert": "#c4320a", "warn": "#b54708", "ok": "#067647"}
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_DOMAIN = "omnisentinel"


@dataclass(frozen=True, slots=True)
class Route:
    """Where mail goes, resolved. ``password`` is the secret itself."""

    channel: str
    host: str
    port: int
    tls: str
    user: str
    password: str
    ca_file: str
    sender: str
    to: tuple[str, ...]


def send_email(
    message: Message, channel: Channel, resolve: Resolver, smtp: Mapping[str, Any], deadline: Deadline
) -> SendResult:
    """Send once. SendFailed is final for a 5xx answer about the mail, retryable for 4xx, network and login trouble."""
    route = _route(channel, resolve, smtp)
    subject = channel.options.get("subject")
    message = with_subject(message, str(subject)) if subject else message
    content = compose(message, route).as_bytes(policy=SMTP)
    with _mapped(route), _connected(route, deadline) as client:
        return _transfer(client, route, content)


def compose(message: Message, route: Route) -> EmailMessage:
    """The mail itself."""
    from datetime import datetime

    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = message.subject
    mail["From"] = route.sender
    mail["To"] = ", ".join(route.to)
    mail["Date"] = format_datetime(datetime.now().astimezone())
    mail["Message-ID"] = _message_id(message.id)
    mail["References"] = f"<{hashlib.sha256(message.thread.encode()).hexdigest()[:32]}@{_DOMAIN}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-OmniSentinel-Alert"] = one_line(message.alert, 200)
    mail.set_content(message.text, cte="quoted-printable")
    mail.add_alternative(html(message), subtype="html", cte="quoted-printable")
    return mail


def html(message: Message) -> str:
    """The HTML part: every value escaped by the template."""
    runbook = message.runbook
    link = runbook if runbook.startswith(("https://", "http://")) else ""
    return str(_template().render(m=message, colour=_COLOURS[message.tone], link=link))


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(Path(__file__).with_name("email.html.j2").read_text("utf-8"))


def _message_id(text: str) -> str:
    """An id as a Message-ID, whose left side knows neither commas nor dots beside dots, but percent codes."""
    return f"<{text.replace('.', '%2E').replace(',', '%2C')}@{_DOMAIN}>"


# ── the route ────────────────────────────────────────────────────────────────────────────────────────────────────


def _route(channel: Channel, resolve: Resolver, smtp: Mapping[str, Any]) -> Route:
    chosen: dict[str, Any] = {**smtp, **{k: v for k, v in channel.options.items() if v is not None}}

    def text(name: str, default: str = "") -> str:
        return resolve(str(chosen.get(name) or default).strip())

    tls = text("tls", "starttls").lower()
    if tls not in _PORTS:
        raise _wrong(channel, "tls", f"tls has to be starttls, tls or none, not {tls[:20]!r}")
    if not text("host"):
        raise _wrong(channel, "host", "no mail server is set: give smtp.host in omni.yaml, or host here")
    port = text("port", str(_PORTS[tls] if tls != "none" else 25))
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise _wrong(channel, "port", f"port has to be a number, not {port[:20]!r}")
    user = text("user")
    to = tuple(_address(channel, "to", a) for a in texts(chosen.get("to")))
    if not to:
        raise _wrong(channel, "to", "it has no recipients: give to: [name@example.com]")
    sender = text("from") or (user if "@" in user else "")
    if not sender:
        raise _wrong(channel, "from", "no sender is set: give smtp.from in omni.yaml, or from here")
    return Route(
        channel.name, text("host"), int(port), tls, user, text("password") if user else "", text("ca_file"),
        _address(channel, "from", sender), to,
    )  # fmt: skip


def _address(channel: Channel, key: str, text: str) -> str:
    """One address in header form; a line break in it would be another header."""
    if not text.isprintable():
        raise _wrong(channel, key, "an address holds a line break or another control character")
    name, address = parseaddr(text)
    user, at, domain = address.rpartition("@")
    if not at or not user or not domain or any(c in address for c in " ,;<>"):
        raise _wrong(channel, key, f"{text[:80]!r} is not an address")
    return str(Address(name, user, domain)) if name else address


def _wrong(channel: Channel, key: str, what: str) -> ConfigInvalid:
    return ConfigInvalid(f"Channel {channel.name!r} (email): {what}.", channel=channel.name, key=key)


# ── the conversation ─────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _connected(route: Route, deadline: Deadline) -> Iterator[smtplib.SMTP]:
    """A conversation that is logged in. It ends with the deadline, however slowly the server talks."""
    context = None if route.tls == "none" else _context(route)
    where = f"the mail server {route.host}:{route.port}"
    raw = socket.create_connection((route.host, route.port), timeout=deadline.need(where))
    # A timeout of the socket counts anew for each byte; this one does not.
    end = threading.Timer(deadline.left(), socket.socket.shutdown, (raw, socket.SHUT_RDWR))
    end.daemon = True
    end.start()
    client = smtplib.SMTP(local_hostname=_own_name(raw))
    client.sock = raw
    try:
        if context is not None and route.tls == "tls":
            client.sock = context.wrap_socket(raw, server_hostname=route.host)
        code, text = client.getreply()
        if code != 220:
            raise smtplib.SMTPConnectError(code, text)
        client.ehlo_or_helo_if_needed()
        if context is not None and route.tls == "starttls":
            _upgrade(client, context, route)
        if route.user:
            _login(client, route)
        yield client
    finally:
        end.cancel()
        client.close()


def _context(route: Route) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=route.ca_file or None)
    except OSError as error:
        raise ConfigInvalid(
            f"Channel {route.channel!r} (email): ca_file {route.ca_file} cannot be used: {error.strerror or error}.",
            channel=route.channel,
            key="ca_file",
        ) from None


def _own_name(raw: socket.socket) -> str:
    """How we introduce ourselves: by address, for asking the DNS for our own name can take seconds."""
    address = raw.getsockname()[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _upgrade(client: smtplib.SMTP, context: ssl.SSLContext, route: Route) -> None:
    if not client.has_extn("starttls"):
        raise smtplib.SMTPNotSupportedError("STARTTLS")
    code, text = client.docmd("STARTTLS")
    if code != 220:
        raise smtplib.SMTPResponseException(code, text)
    assert client.sock is not None
    client.sock = context.wrap_socket(client.sock, server_hostname=route.host)
    client.file = client.ehlo_resp = client.helo_resp = None  # nothing said before counts any more
    client.ehlo()


def _login(client: smtplib.SMTP, route: Route) -> None:
    if (route.user + route.password).isascii():
        client.login(route.user, route.password)
        return
    if "PLAIN" not in client.esmtp_features.get("auth", "").upper().split():
        raise smtplib.SMTPNotSupportedError("AUTH PLAIN, needed for a password that is not ASCII")
    proof = base64.b64encode(f"\0{route.user}\0{route.password}".encode()).decode("ascii")
    code, text = client.docmd("AUTH", f"PLAIN {proof}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, text)


def _transfer(client: smtplib.SMTP, route: Route, content: bytes) -> SendResult:
    """One transaction: MAIL, every RCPT, and DATA only if nobody is refused for now."""
    options = _options(client, route)
    _expect(client.mail(_bare(route.sender), options), route, f"the sender {_bare(route.sender)}")
    refused: list[str] = []
    reply = (0, b"")
    for recipient in route.to:
        code, text = client.rcpt(_bare(recipient))
        if 400 <= code < 500 or code == -1:
            _expect((code, text), route, f"the recipient {_bare(recipient)}")
        if code >= 500:
            refused.append(_bare(recipient))
            reply = (code, text)
    if len(refused) == len(route.to):
        _expect(reply, route, f"every recipient ({', '.join(refused)[:200]})")
    code, text = client.data(content)
    _expect((code, text), route, "the message")
    with suppress(smtplib.SMTPException, OSError):  # it is accepted: a failing farewell must not send it again
        client.quit()
    detail = f"SMTP {code}" + (f"; refused for good: {', '.join(refused)}" if refused else "")
    return SendResult(detail)


def _options(client: smtplib.SMTP, route: Route) -> Sequence[str]:
    addresses = (_bare(route.sender), *map(_bare, route.to))
    if all(a.isascii() for a in addresses):
        return ()
    if not client.has_extn("smtputf8"):
        raise SendFailed(
            f"The mail server {route.host} cannot take addresses that are not ASCII (no SMTPUTF8).",
            retryable=False,
            channel=route.channel,
        )
    return ("SMTPUTF8",)


def _bare(address: str) -> str:
    user, _, domain = parseaddr(address)[1].rpartition("@")
    if not domain.isascii():
        domain = domain.encode("idna").decode("ascii")
    return f"{user}@{domain}"


def _expect(reply: tuple[int, bytes], route: Route, what: str) -> None:
    code, text = reply
    if 200 <= code < 300:
        return
    raise _refusal(route, code, text, what)


def _refusal(route: Route, code: int, text: bytes | str, what: str) -> SendFailed:
    said = one_line(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text), 200)
    final = 500 <= code < 600
    return SendFailed(
        f"The mail server {route.host}:{route.port} refused {what}{'' if final else ' for now'}: {code} {said}.",
        retryable=not final,
        channel=route.channel,
        smtp_code=code,
    )


@contextmanager
def _mapped(route: Route) -> Iterator[None]:
    """Trouble of the connection as SendFailed, all of it worth another try; a password is in none of it."""
    where = f"{route.host}:{route.port}"
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        text = (
            f"The mail server {where} refused the login of {route.user!r} ({error.smtp_code}). Check smtp.user and "
            "the secret that smtp.password names."
        )
    except smtplib.SMTPNotSupportedError as error:
        text = f"The mail server {where} does not offer what is asked for: {error}. See tls and user of the channel."
    except smtplib.SMTPResponseException as error:
        raise _refusal(route, error.smtp_code, error.smtp_error, "the connection") from None
    except ssl.SSLCertVerificationError as error:
        text = (
            f"The certificate of the mail server {where} does not verify: {error.verify_message}. "
            "For a private authority set ca_file."
        )
    except smtplib.SMTPException as error:
        text = f"The mail server {where} broke off the conversation ({type(error).__name__})."
    except OSError as error:
        reason = error.strerror or type(error).__name__
        text = f"The mail server {where} cannot be reached: {reason}. Check host, port and tls."
    else:
        return
    raise SendFailed(text, retryable=True, channel=route.channel)
