"""Handing e-mail over by SMTP, against the sandbox's mail server."""

import socket
from collections.abc import AsyncIterator
from email.message import EmailMessage

import pytest

from domain.errors import VendorDown, VendorRefused
from domain.vendors.mail import client
from domain.vendors.mail.client import BadMailUrl, MailServer
from domain.vendors.sandbox.mail.post_office import PostOffice


@pytest.fixture
async def office() -> AsyncIterator[PostOffice]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    opened = PostOffice("127.0.0.1", port)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def server(office: PostOffice) -> MailServer:
    return MailServer.parse(f"smtp://127.0.0.1:{office.port}")


def letter() -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Grüße", "bots@mail.example", "ann@agency.example"
    message["Message-ID"] = "<1@mail.example>"
    message.set_content("Hello\nthere")
    message.add_alternative("<p>Hello</p>", subtype="html")
    message.add_attachment(b"a,b\n", maintype="text", subtype="csv", filename="report.csv")
    return message


async def test_a_message_arrives_as_it_was(server: MailServer, office: PostOffice) -> None:
    await server.send(letter(), to="ann@agency.example")
    (mail,) = office.inbox("ann@agency.example")
    assert (mail["subject"], mail["message_id"], mail["copies"]) == ("Grüße", "<1@mail.example>", 1)
    assert (mail["text"].strip(), mail["html"].strip()) == ("Hello\nthere", "<p>Hello</p>")
    assert mail["attachments"] == [{"name": "report.csv", "type": "text/csv", "size": 4, "text": "a,b\n"}]
    assert office.inbox("bob@agency.example") == []


@pytest.mark.parametrize("kind", ["temporary", "permanent", "disconnect", "swallow", "refuse"])
async def test_each_failure_says_whether_to_try_again(server: MailServer, office: PostOffice, kind: str) -> None:
    await office.order(kind)
    with pytest.raises(VendorRefused if kind == "permanent" else VendorDown):
        await server.send(letter(), to="ann@agency.example")
    assert len(office.messages) == (kind == "swallow")
    await office.clear()
    await server.send(letter(), to="ann@agency.example")
    assert office.inbox()[-1]["copies"] == len(office.messages)


async def test_a_server_that_hangs_is_given_up(server: MailServer, office: PostOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.3)
    await office.order("hang")
    with pytest.raises(VendorDown, match="does not answer"):
        await server.send(letter(), to="ann@agency.example")
    await office.clear()


def test_addresses_of_mail_servers() -> None:
    assert MailServer.parse("smtps://ann:p%40ss@mx.example") == MailServer("mx.example", 465, "smtps", "ann", "p@ss")
    assert MailServer.parse("smtp+starttls://mx.example:2525") == MailServer("mx.example", 2525, "smtp+starttls")
    assert "p@ss" not in repr(MailServer.parse("smtps://ann:p%40ss@mx.example"))
    for wrong in ("", "mx.example", "http://mx.example", "smtp://", "smtp://mx.example:port"):
        with pytest.raises(BadMailUrl):
            MailServer.parse(wrong)
