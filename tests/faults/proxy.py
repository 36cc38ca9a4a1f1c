"""A road to PostgreSQL or Redis that can be cut: both ends stay connected, and nothing arrives any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_SOCKET = ".s.PGSQL.5432"


@dataclass
class Road:
    """`url` leads to the same server as the one it was made for."""

    url: str
    _target: Path
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def cut(self) -> None:
        """Let nothing through; what is sent meanwhile waits."""
        self._open.clear()

    def mend(self) -> None:
        """Let everything through, also what has waited."""
        self._open.set()

    async def _travel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(self._target)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._open.wait()
                sink.write(data)
        except OSError:
            pass  # one end is gone; so is the other, then
        finally:
            sink.close()
            with suppress(OSError):
                await sink.wait_closed()


@asynccontextmanager
async def road(database_url: str, folder: Path) -> AsyncIterator[Road]:
    """A road to a database on a unix socket, open at first."""
    host = parse_qs(urlsplit(database_url.replace("@/", "@localhost/")).query)["host"][0]
    folder.mkdir()  # noqa: ASYNC240 -- a folder of a test
    async with _open(Road(database_url.replace(host, str(folder)), Path(host) / _SOCKET), folder / _SOCKET) as made:
        yield made


@asynccontextmanager
async def redis_road(redis_url: str, entry: Path) -> AsyncIterator[Road]:
    """A road to a Redis on a unix socket, open at first; `entry` is the socket where it begins."""
    async with _open(Road(f"unix://{entry}", Path(urlsplit(redis_url).path)), entry) as made:
        yield made


@asynccontextmanager
async def _open(made: Road, entry: Path) -> AsyncIterator[Road]:
    made.mend()
    server = await asyncio.start_unix_server(made._travel, entry)
    try:
        yield made
    finally:
        server.close()
        for task in made._tasks:
            task.cancel()
        await asyncio.gather(*made._tasks, return_exceptions=True)
