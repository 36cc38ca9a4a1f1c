"""Everything that runs in a chaos run: servers of its own, and processes that are started again whenever they end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from db import migrate
from db.embedded.postgres import EmbeddedPostgres
from db.embedded.valkey import EmbeddedValkey
from domain.settings import Settings
from tests.factories.house import make_settings
from tests.factories.processes import Program, Programs
from tests.faults.nursery import FIRST_DELAY, nursery

LEASE = 2.0
RETRY_AFTER = 0.5  # seconds before the first retry, where it is 30 in production
PAUSE = 0.3  # seconds before what ended is started again

PROCESSES = {
    "web-1": ("web",),
    "web-2": ("web",),
    "worker-1": ("worker", "interactive"),
    "worker-2": ("worker", "interactive"),
    "worker-3": ("worker", "bulk"),
    "clock-1": ("clock",),
    "clock-2": ("clock",),
}


@dataclass
class Stage:
    """The system; `running` has its processes by name, None while one is about to be started again."""

    settings: Settings
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    programs: Programs
    ports: dict[str, int]
    sandbox_url: str
    running: dict[str, Program | None] = field(default_factory=dict)
    starts: int = 0

    @property
    def urls(self) -> list[str]:
        """Where the web servers answer."""
        return [f"http://127.0.0.1:{port}" for port in self.ports.values()]

    @property
    def admin_url(self) -> str:
        """Where the superuser connects."""
        return self.settings.database_url.replace("bots@", "postgres@", 1)

    async def keep(self, name: str) -> None:
        """Start a process again whenever it ends; never returns."""
        arguments = PROCESSES[name]
        if name in self.ports:
            arguments = (*arguments, "--port", str(self.ports[name]))
        while True:
            program = self.running[name] = await self.programs.start(*arguments)
            self.starts += 1
            await program.process.wait()
            self.running[name] = None
            await asyncio.sleep(PAUSE)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """The system, up and answering."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres", durable=False))
        valkey = await stack.enter_async_context(EmbeddedValkey(folder / "valkey"))
        brood = await stack.enter_async_context(nursery(folder))
        await asyncio.to_thread(migrate.upgrade, postgres.url)
        sandbox_port, ports = free_port(), {name: free_port() for name in PROCESSES if name.startswith("web")}
        sandbox_url = f"http://127.0.0.1:{sandbox_port}"
        settings = make_settings(
            postgres.url,
            valkey.url,
            public_url=f"http://127.0.0.1:{next(iter(ports.values()))}",
            sandbox_url=sandbox_url,
            lease_seconds=LEASE,
            log_level="info",
            data_dir=folder / "data",
        )
        programs = Programs(settings, folder, brood, {FIRST_DELAY: str(RETRY_AFTER)})
        stack.push_async_callback(programs.close)
        opened = Stage(settings, postgres, valkey, programs, ports, sandbox_url)
        await programs.start("sandbox", "--port", str(sandbox_port))
        keepers = [asyncio.create_task(opened.keep(name)) for name in PROCESSES]
        stack.push_async_callback(_end, keepers)
        await _until_ready([f"{url}/readyz" for url in opened.urls] + [f"{sandbox_url}/__control__/health"])
        yield opened


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _until_ready(urls: list[str]) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient() as http:
        for url in urls:
            while not await _answers(http, url):  # noqa: ASYNC110 -- other processes have no events
                await asyncio.sleep(0.05)


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.TransportError:
        return False
