"""Webhooks over TLS: the connection goes to the address that was checked, and the certificate must be the name's."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from domain.tenancy.vault import Vault
from domain.webhooks.sending import Claimed, Sender
from tests.factories.engine import Engine

SECRET = "whsec_eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"


def certificate(folder: Path, name: x509.GeneralName) -> Path:
    """A certificate that signs itself, with its key, for `name` alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "pair.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


class Receiver:
    """A TLS server that answers 200 and remembers which name it was asked for."""

    def __init__(self, pair: Path) -> None:
        self.names: list[str | None] = []
        self.heads: list[str] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair)
        self.context.sni_callback = lambda _, name, __: self.names.append(name)
        self.trust = ssl.create_default_context(cafile=pair)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()


@pytest.fixture
def name() -> x509.GeneralName:
    return x509.DNSName("localhost")


@pytest.fixture
async def receiver(tmp_path: Path, name: x509.GeneralName) -> AsyncIterator[tuple[Receiver, int]]:
    found = Receiver(certificate(tmp_path, name))
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0, ssl=found.context)
    yield found, server.sockets[0].getsockname()[1]
    server.close()


async def post(engine: Engine, receiver: Receiver, port: int) -> tuple[int | None, str | None]:
    """What came of a webhook to https://localhost."""
    vault: Vault = engine.runtime.vault
    sender = Sender(vault, allow_loopback=True, verify=receiver.trust)
    claimed = Claimed(uuid4(), uuid4(), uuid4(), 1, "{}")
    try:
        answer = await sender._post(f"https://localhost:{port}/hook?a=1", claimed, [SECRET])
    finally:
        await sender.close()
    return answer.status, answer.error


async def test_the_name_is_asked_for_at_its_address(engine: Engine, receiver: tuple[Receiver, int]) -> None:
    found, port = receiver
    assert await post(engine, found, port) == (200, None)
    assert set(found.names) == {"localhost"}
    assert found.heads[0].startswith("post /hook?a=1 http/1.1")
    assert f"host: localhost:{port}\r\n" in found.heads[0]


@pytest.mark.parametrize("name", [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("other.example")])
async def test_a_certificate_of_the_address_or_of_another_name_is_not_enough(
    engine: Engine, receiver: tuple[Receiver, int]
) -> None:
    found, port = receiver
    status, error = await post(engine, found, port)
    assert (status, found.heads) == (None, [])
    assert error == "No answer (ConnectError)"
