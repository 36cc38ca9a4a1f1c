"""Files: streamed in and out, seen by their account only, deleted when they expire."""

import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from obstore.exceptions import BaseError

from db.models.files import File
from db.models.tenancy import ActorType
from domain import actor as actors
from domain.actor import Actor, Scope
from domain.files import store
from domain.files.store import FileGone, FileStore
from tests.factories.engine import Engine

DAY = timedelta(days=1)


async def some(*chunks: bytes) -> AsyncIterator[bytes]:
    """A stream."""
    for chunk in chunks:
        yield chunk


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    """A store of this test's own."""
    return FileStore((tmp_path / "a" / "b").as_uri())


async def kept(engine: Engine, files: FileStore, account_id: UUID, *chunks: bytes, lasts: timedelta = DAY) -> File:
    """A file of the account."""
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        return await store.keep(unit, files, name="a.csv", media_type="text/csv", chunks=some(*chunks), kept=lasts)


async def content(files: FileStore, file: File) -> bytes:
    """All bytes of a file."""
    return b"".join([chunk async for chunk in await store.read(files, file)])


def objects(folder: Path) -> list[str]:
    """What lies in the store."""
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def test_a_file_comes_out_as_it_went_in(engine: Engine, files: FileStore) -> None:
    account_id = await engine.account()
    file = await kept(engine, files, account_id, b"one,", b"two", b"")
    assert await content(files, file) == b"one,two"
    assert file.size == 7
    assert file.sha256 == hashlib.sha256(b"one,two").digest()


async def test_an_empty_file_is_a_file(engine: Engine, files: FileStore) -> None:
    assert await content(files, await kept(engine, files, await engine.account())) == b""


async def test_memory_does_not_grow_with_the_file(engine: Engine, files: FileStore) -> None:
    async def many() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield bytes(100_000)

    account_id = await engine.account()
    tracemalloc.start()
    stored = await files.put(account_id, many(), kept=DAY)
    async for _ in await files.open(stored.key):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stored.size == 100_000_000
    assert peak < 20_000_000


async def test_a_stream_that_fails_leaves_nothing(engine: Engine, files: FileStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("the rows ended")

    with pytest.raises(RuntimeError, match="the rows ended"):
        await files.put(await engine.account(), broken(), kept=DAY)
    assert objects(tmp_path) == []


async def test_another_account_does_not_see_it_nor_one_without_the_scopes(engine: Engine, files: FileStore) -> None:
    account_id, stranger = await engine.account(), await engine.account()
    file = await kept(engine, files, account_id, b"x")
    blind = Actor(ActorType.API_KEY, account_id, "blind", frozenset({Scope.CONTACTS_READ}))
    for actor, seen in ((actors.system(account_id), [file.id]), (actors.system(stranger), [None]), (blind, [None])):
        async with engine.runtime.unit(actor) as unit:
            assert [found and found.id for found in await store.by_ids(unit, [file.id])] == seen


async def test_what_has_expired_is_refused_and_then_deleted(engine: Engine, files: FileStore, tmp_path: Path) -> None:
    account_id = await engine.account()
    gone, stays = await kept(engine, files, account_id, b"old"), await kept(engine, files, account_id, b"new")
    await engine.sql("update file set expires_at = now() - interval '1 s' where id = $1", gone.id)
    gone.expires_at = datetime.now(UTC)
    with pytest.raises(FileGone):
        await content(files, gone)
    assert await store.delete_expired(engine.database, files) == 1
    assert len(objects(tmp_path)) == 1
    assert await content(files, stays) == b"new"
    async with engine.database.account(account_id) as session:
        assert (await session.scalars(sa.select(File.id))).all() == [stays.id]


async def test_what_was_rolled_back_goes_with_the_others_of_its_day(engine: Engine, files: FileStore, tmp_path: Path) -> None:
    account_id = await engine.account()
    with pytest.raises(RuntimeError):
        await fail_after_keeping(engine, files, account_id)
    assert len(objects(tmp_path)) == 1
    assert await store.delete_expired(engine.database, files) == 0
    assert objects(tmp_path) == []


async def fail_after_keeping(engine: Engine, files: FileStore, account_id: UUID) -> None:
    """Roll a unit back in which a file was kept that should have expired two days ago."""
    async with engine.runtime.unit(actors.system(account_id)) as unit:
        await store.keep(unit, files, name="x", media_type="x/y", chunks=some(b"x"), kept=-2 * DAY)
        raise RuntimeError


async def test_bytes_that_are_missing_are_named_as_such(engine: Engine, files: FileStore) -> None:
    file = await kept(engine, files, await engine.account(), b"x")
    await files.delete([file.storage_key, file.storage_key])
    with pytest.raises(FileGone):
        await content(files, file)


class Watching(FileStore):
    """A store that sees how many transactions wait while it deletes."""

    def __init__(self, url: str, engine: Engine) -> None:
        super().__init__(url)
        self._engine = engine
        self.batches: list[int] = []
        self.most_open = 0

    async def delete(self, keys: Sequence[str]) -> None:
        """As ever."""
        self.batches.append(len(keys))
        held = await self._engine.sql("""select 1 from pg_stat_activity
            where datname = current_database() and state like 'idle in transaction%'""")
        self.most_open = max(self.most_open, len(held))
        await super().delete(keys)


async def test_no_transaction_waits_for_the_store(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_BATCH", 2)
    watching = Watching(tmp_path.as_uri(), engine)
    account_id = await engine.account()
    gone = [await kept(engine, watching, account_id, b"x") for _ in range(3)]
    await engine.sql("update file set expires_at = now() - interval '1 s'")
    await watching.delete([gone[0].storage_key])  # a clock that died had begun
    assert await store.delete_expired(engine.database, watching) == 3
    assert (watching.batches, watching.most_open) == ([1, 2, 1], 0)
    assert (objects(tmp_path), await engine.sql("select 1 from file")) == ([], [])


async def test_rows_stay_until_the_store_has_answered(engine: Engine, files: FileStore, tmp_path: Path) -> None:
    file = await kept(engine, files, await engine.account(), b"x")
    await engine.sql("update file set expires_at = now() - interval '1 s'")
    lies_at = tmp_path / "a" / "b" / file.storage_key
    lies_at.unlink()
    lies_at.mkdir()  # which cannot be deleted as an object can
    with pytest.raises(BaseError):
        await store.delete_expired(engine.database, files)
    assert len(await engine.sql("select 1 from file")) == 1
    lies_at.rmdir()
    assert await store.delete_expired(engine.database, files) == 1
