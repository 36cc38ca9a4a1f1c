"""The job engine alone, on real servers: accounts, jobs that do what a test says, and workers when a test wants them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest
import sqlalchemy as sa

from db.base import new_id
from db.embedded.postgres import EmbeddedPostgres
from db.embedded.valkey import EmbeddedValkey
from db.models.jobs import Job, JobAttempt, JobEvent, JobLog, Lane
from db.models.queues import AccountSlots
from db.models.tenancy import Account
from db.session import Database
from domain import actor as actors
from domain.jobs import admission, commands, leases
from domain.jobs.args import JobArgs
from domain.jobs.running import Done, Running
from domain.runtime import Runtime, open_runtime
from domain.settings import Settings
from jobs import runner, worker
from jobs.handlers import handles
from jobs.worker import LaneWorker
from tests import servers
from tests.factories.house import make_settings

WORKER = "worker-of-the-test"
Play = Callable[["Running[Scripted]", Runtime], Awaitable[Done]]


@dataclass(frozen=True)
class Scripted(JobArgs, kind="test.scripted", title="A scripted job", lane=Lane.INTERACTIVE):
    """Does what the test says that gave `play` its function."""

    script: str = ""


@dataclass(frozen=True)
class Bulky(JobArgs, kind="test.bulky", title="A job of another lane", lane=Lane.BULK):
    """Is never run."""


T = TypeVar("T")
_SCRIPTS: dict[str, Play] = {}


async def eventually(look: Callable[[], Awaitable[T | None]], *, within: float = 20) -> T:
    """What `look` finds, as soon as it finds something. For what has no event: rows, queues, locks, processes."""
    async with asyncio.timeout(within):
        while not (found := await look()):  # noqa: ASYNC110 -- that is what it is for
            await asyncio.sleep(0.01)
    return found


def play(script: Play) -> Scripted:
    """What to ask for so that `script` runs as the job's handler."""
    name = uuid4().hex
    _SCRIPTS[name] = script
    return Scripted(name)


def failing(error: Exception) -> Scripted:
    """A job whose every attempt raises `error`."""

    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        raise error

    return play(script)


@handles(Scripted)
async def run_script(job: Running[Scripted], runtime: Runtime) -> Done:
    """Runs what `play` was given."""
    return await _SCRIPTS[job.args.script](job, runtime)


@dataclass(frozen=True)
class Engine:
    """A runtime, and what tests of the engine do with it. `admin` is the superuser's connection."""

    runtime: Runtime
    admin: asyncpg.Connection

    @property
    def settings(self) -> Settings:
        """Of the runtime."""
        return self.runtime.settings

    @property
    def impatient(self) -> "Engine":
        """The same with a short lease: PostgreSQL has been up for longer than that, so it takes back what lapsed."""
        settings = self.settings.model_copy(update={"lease_seconds": 1.0})
        return replace(self, runtime=replace(self.runtime, settings=settings))

    @property
    def database(self) -> Database:
        """Of the runtime."""
        return self.runtime.database

    async def account(self, *, slots: int = 10) -> UUID:
        """A new account without people."""
        account_id = new_id()
        async with self.database.account(account_id) as session:
            session.add(Account(id=account_id, name=f"Account {account_id}"))
            await session.flush()
            session.add(AccountSlots(account_id=account_id, slots=slots))
        return account_id

    async def enqueue(self, account_id: UUID, args: JobArgs | None = None, **options: Any) -> Job:
        """A new job; nothing is admitted."""
        async with self.runtime.unit(actors.system(account_id)) as unit:
            job = (await commands.enqueue(unit, args or Scripted(), **options)).job
            unit.lanes_to_admit.clear()
        return job

    async def ask(self, account_id: UUID, args: JobArgs) -> Job:
        """A new job, as a mutation asks for it: it is admitted right after the commit."""
        async with self.runtime.unit(actors.system(account_id)) as unit:
            return (await commands.enqueue(unit, args)).job

    async def capacity(self, jobs: int = 100, *, lane: Lane = Lane.INTERACTIVE, name: str = WORKER) -> None:
        """Let a worker for so many jobs be alive, which takes none by itself."""
        async with self.database.system_across_accounts() as session:
            await leases.register(session, worker=name, lane=lane, capacity=jobs)

    async def admit(self, account_id: UUID | None = None, *, lane: Lane = Lane.INTERACTIVE, limit: int = 100) -> list[Job]:
        """One round of admission."""
        return await admission.admit(self.database, self.runtime.carrier, lane=lane, account_id=account_id, limit=limit)

    async def claim(self, job: Job, *, fence: int | None = None, name: str = WORKER) -> Job | None:
        """Claim what was pushed."""
        return await runner.claim(self.runtime, job_id=job.id, fence=job.fence if fence is None else fence, worker=name)

    async def start(self, job: Job) -> Job:
        """Admit a ready job and claim it."""
        await self.capacity()
        admitted = {each.id: each for each in await self.admit(job.account_id)}
        claimed = await self.claim(admitted[job.id])
        assert claimed is not None
        return claimed

    async def attempt(self, job: Job, *, draining: asyncio.Event | None = None) -> Job:
        """Run one attempt of a ready job to its outcome, in the handler's own way; the job then."""
        await runner.run(self.runtime, await self.start(job), draining=draining or asyncio.Event())
        return await self.job(job.id)

    async def held(self, job: Job, *, draining: asyncio.Event | None = None) -> "Running[Any]":
        """What a handler would hold of a claimed job."""
        return Running(job, Scripted(), open_unit=self.runtime.unit, draining=draining or asyncio.Event())

    async def sql(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Run a statement as the superuser, who turns clocks and sees every account."""
        return list(await self.admin.fetch(statement, *values))

    async def empty(self) -> None:
        """Forget every account and worker."""
        await self.sql("delete from account")
        await self.sql("delete from worker")

    async def due(self, job: Job) -> None:
        """Let the time come for which a job waits."""
        await self.sql("update job set run_at = now() - interval '1 ms' where id = $1", job.id)

    async def lapse(self, job: Job) -> None:
        """Let a lease end."""
        await self.sql("update job set lease_until = now() - interval '1 ms' where id = $1", job.id)

    async def job(self, job_id: UUID) -> Job:
        """A job as it is now."""
        (job,) = await self._rows(Job, Job.id == job_id)
        assert isinstance(job, Job)
        return job

    async def attempts(self, job: Job) -> list[JobAttempt]:
        """A job's attempts in order."""
        return await self._rows(JobAttempt, JobAttempt.job_id == job.id, order=JobAttempt.number)

    async def events(self, job: Job) -> list[JobEvent]:
        """A job's events in order."""
        return await self._rows(JobEvent, JobEvent.job_id == job.id, order=JobEvent.version)

    async def lines(self, job: Job) -> list[JobLog]:
        """A job's log in order."""
        async with self.database.account(job.account_id) as session:
            return list((await session.scalars(sa.select(JobLog).where(JobLog.job_id == job.id).order_by(JobLog.id))).all())

    @asynccontextmanager
    async def worker(self, *, capacity: int = 10, lane: Lane = Lane.INTERACTIVE) -> AsyncIterator[LaneWorker]:
        """A real worker in this process, with a runtime of its own; it drains in the end."""
        async with open_runtime(self.settings, pool_size=5) as runtime:
            carrier = LaneWorker(runtime, lane, capacity=capacity)
            working = asyncio.create_task(carrier.work())
            try:
                yield carrier
            finally:
                carrier.drain()
                await working

    async def until(self, job: Job, *states: str, within: float = 20) -> Job:
        """Wait until a job is in one of `states`; the job then."""

        async def arrived() -> Job | None:
            now = await self.job(job.id)
            return now if now.state in states else None

        return await eventually(arrived, within=within)

    async def _rows(self, entity: Any, condition: Any, *, order: Any = None) -> list[Any]:
        async with self.database.system_across_accounts() as session:
            return list((await session.scalars(sa.select(entity).where(condition).order_by(order))).all())


@pytest.fixture(scope="session")
async def shared_engine(postgres: EmbeddedPostgres, valkey: EmbeddedValkey, template_url: str) -> AsyncIterator[Engine]:
    """One runtime and database for all tests of the engine: anew for each of so many, they would take most of the time."""
    nowhere = "http://127.0.0.1:1"
    url = await servers.clone(postgres)
    settings = make_settings(url, valkey.url, public_url=nowhere, sandbox_url=nowhere, log_level="critical")
    admin = await asyncpg.connect(url.replace("bots@", "postgres@", 1))
    old_enough = "select 1 where pg_postmaster_start_time() < now() - interval '1 s'"
    await eventually(lambda: admin.fetch(old_enough))  # for `Engine.impatient`
    async with open_runtime(settings, pool_size=8) as runtime:
        yield Engine(runtime, admin)
    await admin.close()


@pytest.fixture
async def engine(shared_engine: Engine, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine without any rows or queues; nothing runs yet."""
    monkeypatch.setattr(worker, "POP_SECONDS", 0.1)
    await shared_engine.empty()
    return shared_engine
