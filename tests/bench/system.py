"""The whole product for a benchmark: embedded servers and real processes, in a folder that is gone afterwards."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import httpx

from db import migrate
from db.embedded.postgres import EmbeddedPostgres
from db.embedded.process import die_with_parent
from db.embedded.valkey import EmbeddedValkey
from domain import development
from domain.settings import Settings
from domain.tenancy import accounts, sessions
from domain.tenancy.sessions import Device
from tests.bench.report import write
from tests.factories.client import Client
from tests.factories.crm import COMPLETE, START

ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = (sys.executable, str(ROOT / "bots.py"))
PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Owner:
    """Somebody who is signed in."""

    account_id: UUID
    token: str
    client: Client


@dataclass
class System:
    """PostgreSQL and Valkey run; the processes are started by whoever needs them, and end with this."""

    folder: Path
    postgres: EmbeddedPostgres
    environment: dict[str, str]
    settings: Settings
    stack: AsyncExitStack
    sandbox_url: str
    _accounts: int = field(default=0)

    async def run(
        self, *arguments: str, program: tuple[str, ...] = PROGRAM, name: str | None = None, **environment: str
    ) -> Process:
        """Start `bots ARGUMENTS`; its output goes into a log beside the data."""
        with (self.folder / f"{name or arguments[0]}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *program,
                *arguments,
                env=self.environment | environment,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),
            )
        self.stack.push_async_callback(end, process)
        return process

    async def web(self, *, port: int | None = None) -> tuple[Process, str]:
        """A web process, ready; and its address."""
        port = port or free_port()
        process = await self.run("web", "--port", str(port))
        url = f"http://127.0.0.1:{port}"
        await until_answered(f"{url}/readyz", process)
        return process, url

    async def sandbox(self, *, throttled: bool) -> Process:
        """The vendors, ready."""
        port = str(urlsplit(self.sandbox_url).port)
        process = await self.run("sandbox", "--port", port, SANDBOX_RATE_LIMIT="on" if throttled else "off")
        await until_answered(f"{self.sandbox_url}/__control__/state", process)
        return process

    async def worker(self, lane: str) -> Process:
        """A worker, ready to pop."""
        process = await self.run("worker", lane)
        async with self.database() as database, asyncio.timeout(PATIENCE):
            while not await database.fetchval(  # noqa: ASYNC110 - another process has no event for us
                "select 1 from worker where name like $1", f"{lane}-%-{process.pid}-%"
            ):
                await asyncio.sleep(0.02)
        return process

    async def owner(self, url: str) -> Owner:
        """The owner of a new account, signed in at `url`."""
        from db.session import Database

        self._accounts += 1
        database = Database(self.settings.database_url, pool_size=1)
        try:
            account, user = await accounts.create_account(
                database,
                name=f"Agency {self._accounts}",
                owner_name="Owner",
                email=f"owner{self._accounts}@agency.example",
                password="correct horse battery staple",
            )
            tokens = await sessions.start_session(database, self.settings, user=user, device=Device())
        finally:
            await database.close()
        http = await self.stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False))
        return Owner(account.id, tokens.access_token, Client(http, tokens.access_token))

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection as the superuser, who sees every account's rows."""
        connection = await asyncpg.connect(self.postgres.url_of("bots", role="postgres"))
        try:
            yield connection
        finally:
            await connection.close()

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the sandbox's control endpoint."""
        async with httpx.AsyncClient(base_url=self.sandbox_url, timeout=PATIENCE, trust_env=False) as http:
            answer = await http.request(method, f"/__control__{path}", json=body)
        answer.raise_for_status()
        return answer.json()


def _show_last_words(folder: Path) -> None:
    for log in folder.glob("*.log"):
        write(f"--- the end of {log.name}\n{log.read_text(errors='replace')[-2_000:]}")


@asynccontextmanager
async def system(**environment: str) -> AsyncIterator[System]:
    """Servers with an empty, migrated database. `environment` are further settings of every process."""
    folder = Path(tempfile.mkdtemp(prefix="bots-bench-"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        valkey = await stack.enter_async_context(EmbeddedValkey(folder / "valkey"))
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres"))
        sandbox_url = f"http://127.0.0.1:{free_port()}"
        values = development.environment(
            development.generated_secrets() | {"DATABASE_URL": postgres.url, "REDIS_URL": valkey.url, **environment},
            public_url="http://127.0.0.1:1",
            sandbox_url=sandbox_url,
        )
        values |= {"DATA_DIR": str(folder), "SANDBOX_WEBHOOK_URL": "", "LOG_LEVEL": "warning"}
        await asyncio.to_thread(migrate.upgrade, postgres.url)
        settings = Settings.model_validate({name.lower(): value for name, value in values.items()})
        try:
            yield System(folder, postgres, os.environ | values, settings, stack, sandbox_url)
        except BaseException:
            _show_last_words(folder)
            raise


async def connect(vendor: System, owner: Owner) -> dict[str, str]:
    """Connect the sandbox's agency; the ids of its locations by the vendor's."""
    started = (await owner.client.ask(START))["startGhlAuthorization"]
    async with httpx.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(started["authorizationUrl"] + "&decision=allow")
    given = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    done = (await owner.client.ask(COMPLETE, input=given))["completeGhlAuthorization"]
    if done["userErrors"]:
        raise RuntimeError(done["userErrors"])
    return {node["externalId"]: node["id"] for node in done["account"]["locations"]["nodes"]}


async def until_answered(url: str, process: Process) -> None:
    """Wait until a GET is answered with 200. Raises RuntimeError when the process ends before."""
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient(trust_env=False) as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(url)).status_code == 200:
                    return
            if process.returncode is not None:
                raise RuntimeError(f"a process ended with code {process.returncode} before it answered {url}")
            await asyncio.sleep(0.02)


async def until_listening(port: int, process: Process) -> None:
    """Wait until a port takes connections. Raises RuntimeError when the process ends before."""
    async with asyncio.timeout(PATIENCE):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
    raise RuntimeError(f"a process ended with code {process.returncode} before it listened")


async def end(process: Process) -> None:
    """Stop a process that was started here."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
