"""Files of accounts: bytes in an object store, a row that says whose they are and until when.

The bytes are written first. Where the row is then rolled back, what is left is an object that nobody can reach; objects lie
under the day on which they expire, so retention removes it with the others of that day.
"""

import hashlib
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

import obstore
import sqlalchemy as sa
from obstore.store import from_url

from db.base import any_of, new_id
from db.models.files import File
from db.session import Database
from domain.actor import Scope
from domain.errors import NotFound
from domain.unit import Unit

_PART = 5 << 20  # the least that S3 takes as a part of an upload
_CHUNK = 1 << 16
_BATCH = 100


class FileGone(NotFound):
    """The file has expired, or its bytes are not in the store any more."""

    code = "FIL-001"


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes that are in the store, and no file yet."""

    id: UUID
    key: str
    size: int
    sha256: bytes
    expires_at: datetime


class FileStore:
    """Where the bytes are: `file:///folder`, `s3://bucket/prefix`, `gs://` or `az://`; credentials by the usual environment."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def put(self, account_id: UUID, chunks: AsyncIterator[bytes], *, kept: timedelta) -> Stored:
        """Write a stream; memory does not grow with its length. `record` makes a file of it."""
        file_id, expires_at = new_id(), datetime.now(UTC) + kept
        key = f"{expires_at.date()}/{account_id}-{file_id}"
        digest, size = hashlib.sha256(), 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        await obstore.put_async(self._objects, key, counted(), chunk_size=_PART, max_concurrency=2)
        return Stored(file_id, key, size, digest.digest(), expires_at)

    async def open(self, key: str) -> AsyncIterator[bytes]:
        """The bytes. Raises FileGone before the first of them."""
        try:
            found = await obstore.get_async(self._objects, key)
        except FileNotFoundError:
            raise FileGone("This file is not there any more.") from None
        return _bytes(found)

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is gone already is no error."""
        try:
            await obstore.delete_async(self._objects, list(keys))
        except FileNotFoundError:  # a folder says so, and may not have come to the others
            for key in keys:
                with suppress(FileNotFoundError):
                    await obstore.delete_async(self._objects, key)

    async def expired(self, today: date) -> AsyncIterator[list[str]]:
        """The keys of objects whose day is over, whether a file knows them or not."""
        days = (await obstore.list_with_delimiter_async(self._objects))["common_prefixes"]
        for day in days:
            if day < today.isoformat():
                async for batch in obstore.list(self._objects, day, chunk_size=_BATCH):
                    yield [item["path"] for item in batch]

    @cached_property
    def _objects(self) -> Any:
        # Made when it is first used: a command that never touches a file leaves no folder behind.
        return from_url(self._url, mkdir=True) if self._url.startswith("file:") else from_url(self._url)


async def keep(
    unit: Unit,
    store: FileStore,
    *,
    name: str,
    media_type: str,
    chunks: AsyncIterator[bytes],
    kept: timedelta,
    needs: Collection[Scope] = (Scope.JOBS_READ,),
) -> File:
    """Write a stream and make it a file of the account in this unit, whose transaction is open meanwhile.

    Where that would be long, use `store.put` outside and `record` in the unit.
    """
    stored = await store.put(unit.account_id, chunks, kept=kept)
    return await record(unit, stored, name=name, media_type=media_type, needs=needs)


async def record(
    unit: Unit, stored: Stored, *, name: str, media_type: str, needs: Collection[Scope] = (Scope.JOBS_READ,)
) -> File:
    """Make stored bytes a file of the account. Who lacks one of the scopes `needs` does not see it."""
    file = File(
        id=stored.id,
        account_id=unit.account_id,
        name=name,
        media_type=media_type,
        size=stored.size,
        sha256=stored.sha256,
        storage_key=stored.key,
        needs=sorted(needs),
        expires_at=stored.expires_at,
    )
    unit.session.add(file)
    await unit.session.flush()
    return file


async def by_ids(unit: Unit, ids: Sequence[UUID]) -> list[File | None]:
    """Files in the order of their ids; None for one that does not exist, is another account's or needs more scopes."""
    rows = await unit.session.scalars(sa.select(File).where(any_of(File.id, ids)))
    found = {file.id: file for file in rows if unit.actor.scopes.issuperset(file.needs)}
    return [found.get(file_id) for file_id in ids]


async def read(store: FileStore, file: File) -> AsyncIterator[bytes]:
    """The bytes of a file, in chunks; needs no transaction. Raises FileGone before the first of them."""
    if file.expires_at <= datetime.now(UTC):
        raise FileGone("This file has expired.")
    return await store.open(file.storage_key)


async def delete_expired(database: Database, store: FileStore) -> int:
    """Delete what has expired in every account, and objects that never became a file; how many files went."""
    deleted = 0
    expired = sa.select(File.id, File.storage_key).where(File.expires_at <= sa.func.now()).order_by(File.expires_at)
    while True:
        async with database.system_across_accounts() as session:
            found = (await session.execute(expired.limit(_BATCH))).all()
        # Before the rows, by whose names it is tried again after a failure; and in no transaction, since a store may be slow.
        await store.delete([key for _, key in found])
        async with database.system_across_accounts() as session:
            await session.execute(sa.delete(File).where(any_of(File.id, [file_id for file_id, _ in found])))
        deleted += len(found)
        if len(found) < _BATCH:
            break
    async for batch in store.expired(datetime.now(UTC).date()):
        await store.delete(batch)
    return deleted


async def _bytes(found: Any) -> AsyncIterator[bytes]:
    async for chunk in found.stream(min_chunk_size=_CHUNK):
        yield bytes(chunk)
