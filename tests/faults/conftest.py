"""What the tests of faults stand on: the engine's own jobs in real processes, and a contact sync of 5,000 contacts.

Whatever disturbs the sync, in the end it must have led to what an undisturbed one leads to.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db.models.jobs import Job, JobAttempt, Lane
from domain import actor as actors
from domain.jobs import queries
from domain.vendors.sandbox.gohighlevel import seed
from domain.vendors.sandbox.gohighlevel.faults import Fault
from graph import ids
from tests.factories.client import Client
from tests.factories.crm import connect, location_of, start_sync, sync
from tests.factories.engine import Engine, eventually
from tests.factories.house import House
from tests.factories.processes import Programs, programs
from tests.faults.barriers import Barriers, barriers
from tests.faults.nursery import Nursery, nursery
from tests.faults.site import BOUND, LEASE, Site, measured, open_site

SEARCH = "/contacts/search"
PAGE = 500
CONTACTS = """
select to_jsonb(contact) - '{id,account_id,location_id,created_at,modified_at}'::text[] as contact,
  (select jsonb_agg(jsonb_build_array(external_id, is_primary, base, synced_version, missing_since) order by external_id)
   from contact_ref where contact_id = contact.id) as refs
from contact where account_id = $1
"""
FIGURES = """
select created, updated, unchanged, merged, skipped, conflicts, pushed, missing,
  (select jsonb_agg(jsonb_build_array(code, subject, field, message) order by code, subject, field)
   from job_log where job_id = sync_run.job_id) as log
from sync_run where account_id = $1
"""

Outcome = tuple[list[tuple[str, str]], list[tuple[Any, ...]]]
_undisturbed: list[Outcome] = []


@dataclass
class Disturbed:
    """A connected account whose large location is about to be synced by real processes."""

    house: House
    owner: Client
    programs: Programs
    barriers: Barriers
    account_id: UUID
    location_id: str
    admin: asyncpg.Connection

    async def start(self, **options: Any) -> UUID:
        """Ask for the sync; the job's id."""
        job = await start_sync(self.owner, self.location_id, **options)
        return UUID(str(ids.read("job", job["id"], field="id")))

    def obstruct(self, kind: str, *, page: int, **how: Any) -> Fault:
        """Let the vendor's answer to the request for a page, counted from 1 and from now on, go wrong."""
        self.house.fault(kind, path=SEARCH, skip=page - 1, **how)
        return list(self.house.world.faults)[-1]

    async def reached(self, fault: Fault, job_id: UUID, *, page: int) -> None:
        """Wait until a worker stands at an obstructed page; all pages before it are kept then."""
        await self.hit(fault)
        assert (await self.job(job_id)).done == PAGE * (page - 1)

    async def hit(self, fault: Fault) -> None:
        """Wait until a request has met a fault."""

        async def look() -> bool:
            return fault.hits > 0

        await eventually(look)

    async def sql(self, statement: str, *values: Any) -> None:
        """Run a statement as the superuser."""
        await self.admin.execute(statement, *values)

    async def silence_lapses(self, job_id: UUID, row: str) -> None:
        """Wait until a clock has noticed that the job's worker is silent; the delay before the retry is skipped."""
        with measured(row, bound=BOUND):
            await self.until(job_id, "backoff", within=20 + BOUND)
        await self.sql("update job set run_at = now() - interval '1 ms' where id = $1", job_id)

    async def job(self, job_id: UUID) -> Job:
        """The job now."""
        async with self.house.runtime.unit(actors.system(self.account_id)) as unit:
            job = await queries.get(unit, job_id)
        assert job is not None
        return job

    async def until(self, job_id: UUID, *states: str, within: float = 25) -> Job:
        """Wait until the job is in one of `states`."""

        async def look() -> Job | None:
            job = await self.job(job_id)
            return job if job.state in states else None

        return await eventually(look, within=within)

    async def attempts(self, job_id: UUID) -> list[JobAttempt]:
        """Its attempts."""
        async with self.house.runtime.unit(actors.system(self.account_id)) as unit:
            return await queries.attempts_of(unit, [job_id])

    async def disconnected(self) -> None:
        """Leave PostgreSQL before it dies."""
        await self.admin.close()

    async def reconnected(self) -> None:
        """Come back to PostgreSQL."""
        self.admin = await _connect(self.house)

    async def versions(self, job_id: UUID) -> list[int]:
        """The versions of its events, in order."""
        rows = await self.admin.fetch("select version from job_event where job_id = $1 order by version", job_id)
        return [row["version"] for row in rows]

    async def done_never_went_back(self, job_id: UUID) -> bool:
        """Whether its events show progress only."""
        rows = await self.admin.fetch("select done from job_event where job_id = $1 order by version", job_id)
        done = [row["done"] for row in rows]
        return done == sorted(done)

    async def outcome(self) -> Outcome:
        """What the sync led to."""
        return await _outcome(self.admin, self.account_id)

    async def undisturbed(self) -> Outcome:
        """What it leads to when nothing happens; found out once in a test run."""
        if not _undisturbed:
            account, user = await self.house.account("Undisturbed")
            client = await self.house.client_of(user)
            connection = await connect(client, self.house)
            async with self.house.workers(Lane.BULK):
                job = await sync(client, location_of(connection, seed.LARGE.id))
            assert job["state"] == "SUCCEEDED"
            _undisturbed.append(await _outcome(self.admin, account.id))
            assert len(_undisturbed[0][0]) > 4_000
        return _undisturbed[0]


async def _connect(house: House) -> asyncpg.Connection:
    return await asyncpg.connect(house.settings.database_url.replace("bots@", "postgres@", 1))


async def _outcome(admin: asyncpg.Connection, account_id: UUID) -> Outcome:
    contacts = sorted((row["contact"], row["refs"]) for row in await admin.fetch(CONTACTS, account_id))
    return contacts, [tuple(row) for row in await admin.fetch(FIGURES, account_id)]


@pytest.fixture
def more_settings() -> dict[str, Any]:
    """A rate limit that is soon over when Valkey forgot it, logs that tell what happens, and leases that are over soon."""
    return {"ghl_burst_seconds": 0.5, "log_level": "info", "lease_seconds": LEASE}


@pytest.fixture
async def disturbed(house: House, owner: Client, brood: Nursery, tmp_path: Path) -> AsyncIterator[Disturbed]:
    """The sync, not yet asked for."""
    await house.control("POST", "/limits", {"interval_seconds": 0.5})
    connection = await connect(owner, house)
    admin = await _connect(house)
    account_id = await admin.fetchval("select account_id from connection")
    async with barriers(tmp_path) as stops, programs(house.settings, tmp_path, brood, stops.environment) as started:
        disturbed = Disturbed(house, owner, started, stops, account_id, location_of(connection, seed.LARGE.id), admin)
        yield disturbed
    await disturbed.admin.close()


@pytest.fixture(scope="session")
async def brood(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nursery]:
    """Where processes come from."""
    async with nursery(tmp_path_factory.mktemp("nursery")) as opened:
        yield opened


@pytest.fixture
async def site(engine: Engine, brood: Nursery, tmp_path: Path) -> AsyncIterator[Site]:
    """The engine, whose processes a test starts."""
    async with open_site(engine, brood, tmp_path) as opened:
        yield opened
