"""E-mail by SMTP."""

import asyncio
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Self
from urllib.parse import unquote, urlsplit

import aiosmtplib
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)
from prometheus_client import Counter

from domain.errors import VendorDown, VendorRefused, VendorUnauthorized

TIMEOUT = 8.0
"""Seconds from connecting until the server has taken the message."""

_PORTS = {"smtp": 587, "smtp+starttls": 587, "smtps": 465}
_FINAL = range(500, 600)

_sent = Counter("bots_mail_sent", "E-mails handed to the mail server.", ["outcome"])


class BadMailUrl(ValueError):
    """The mail server's address is not usable; the message says why."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where e-mail is handed over.

    smtp://user:password@host:587 uses STARTTLS where the server offers it, smtp+starttls:// insists on it, smtps:// speaks
    TLS from the first byte.
    """

    host: str
    port: int
    scheme: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises BadMailUrl; its message does not have the password."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise BadMailUrl("this is not a URL") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise BadMailUrl(f"write {', '.join(f'{scheme}://host' for scheme in _PORTS)}, with user:password@ where needed")
        return cls(
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            scheme=parts.scheme,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    async def send(self, message: EmailMessage, *, to: str) -> None:
        """Hand a message over. Raises VendorRefused (for good), VendorUnauthorized (our login), VendorDown (try again).

        The message has its Message-ID already: sent again after an answer that was lost, it is the same message.
        """
        outcome = "failed"
        try:
            async with asyncio.timeout(TIMEOUT):
                await aiosmtplib.send(
                    message,
                    recipients=[to],
                    hostname=self.host,
                    port=self.port,
                    username=self.username,
                    password=self.password,
                    use_tls=self.scheme == "smtps",
                    start_tls={"smtps": False, "smtp": None, "smtp+starttls": True}[self.scheme],
                    timeout=TIMEOUT,
                )
            outcome = "sent"
        except (SMTPException, OSError) as error:  # a TimeoutError is an OSError
            raise _failure(error) from None
        finally:
            _sent.labels(outcome).inc()


def _failure(error: Exception) -> VendorDown | VendorRefused | VendorUnauthorized:
    if isinstance(error, SMTPRecipientsRefused) and error.recipients:
        error = error.recipients[0]
    if isinstance(error, SMTPAuthenticationError):
        return VendorUnauthorized(f"The mail server does not accept our login ({error.code}).", status=error.code)
    if not isinstance(error, SMTPResponseException):
        return VendorDown(f"The mail server does not answer ({type(error).__name__}).")
    text = f"The mail server said {error.code}: {' '.join(str(error.message).split())[:200]}"
    if error.code in _FINAL and not isinstance(error, SMTPSenderRefused):
        return VendorRefused(text, status=error.code)
    return VendorDown(text, status=error.code)
