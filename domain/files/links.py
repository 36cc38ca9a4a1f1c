"""Signed links to files: whoever has one may download that one file for a quarter of an hour, without signing in."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from db.models.files import File
from db.session import Database
from domain.errors import NotFound
from domain.files.store import FileGone

PATH = "/files/"
VALID = timedelta(minutes=15)
_MAC = 32
_LENGTH = 16 + 16 + 8 + _MAC  # file, account, expiry in seconds, signature


class LinkExpired(FileGone):
    """The link was valid for a quarter of an hour; `File.downloadUrl` gives a new one."""

    code = "FIL-002"


class Links:
    """Makes and checks links with a key of its own, which is derived from the deployment's secret."""

    def __init__(self, secret: SecretStr, public_url: str) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=b"file links")
        self._key = derived.derive(secret.get_secret_value().encode())
        self._base = public_url.rstrip("/") + PATH

    def url(self, file: File) -> str:
        """A link that is valid for a quarter of an hour, and no longer than the file."""
        until = min(datetime.now(UTC) + VALID, file.expires_at)
        signed = file.id.bytes + file.account_id.bytes + int(until.timestamp()).to_bytes(8)
        return self._base + urlsafe_b64encode(signed + self._sign(signed)).decode()

    async def resolve(self, database: Database, token: str) -> File:
        """The file that a link leads to. Raises NotFound where we did not make it, LinkExpired and FileGone."""
        try:
            raw = urlsafe_b64decode(token)
        except ValueError:
            raw = b""
        signed = raw[:-_MAC]
        if len(raw) != _LENGTH or not hmac.compare_digest(self._sign(signed), raw[-_MAC:]):
            raise NotFound("There is no such file.")
        file_id, account_id, until = UUID(bytes=signed[:16]), UUID(bytes=signed[16:32]), int.from_bytes(signed[32:])
        if until <= datetime.now(UTC).timestamp():
            raise LinkExpired("This link has expired; ask for a new one.")
        async with database.account(account_id) as session:
            file = (await session.scalars(sa.select(File).where(File.id == file_id))).one_or_none()
        if file is None:
            raise FileGone("This file is not there any more.")
        return file

    def _sign(self, signed: bytes) -> bytes:
        return hmac.new(self._key, signed, hashlib.sha256).digest()
