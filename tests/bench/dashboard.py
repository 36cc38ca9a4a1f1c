"""The dashboard of an account with 100,000 jobs: its numbers, pages, filters and search; its export; a thousand of it live."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from db.base import new_id
from db.models.jobs import Lane
from db.session import Database
from domain import actor as actors
from domain.crm.contacts.sync import SyncContacts
from domain.jobs import catalog, commands, export, leases, queries, summary
from domain.jobs.export import Plan
from domain.jobs.queries import JobFilter, JobOrder, StatusGroup
from domain.jobs.running import Running
from domain.paging import Window, count
from domain.runtime import Runtime, open_runtime
from domain.unit import Unit
from jobs import runner
from tests.bench.options import Options
from tests.bench.report import Target, figure, heading, quantile
from tests.bench.subscribers import Crowd
from tests.bench.system import System, system

_JOBS: Final = 100_000
_EXPORTED: Final = 10_000
_FAST: Final = Target(most=50)
# A fiftieth has not ended; the rest ended over 30 hours, a tenth of it badly.
_FILL: Final = """insert into job (id, account_id, kind, lane, title, args, state, priority, fence, attempt, failures,
    max_retries, timeout_seconds, version, done, total, message, result, error_code, error_message, origin_type, origin_name,
    request_id, created_at, started_at, finished_at, run_at)
  select gen_random_uuid(), $1, (array['crm.contacts.sync', 'mail.draft', 'voice.call', 'images.make'])[n % 4 + 1], 'bulk',
    'Contact sync of location ' || n, '{"run_id": "01234567-89ab-cdef-0123-456789abcdef"}', state, 0, 1, 1, 0, 5, 3600, 7,
    5000, 5000, '5,000 contacts synced, 0 conflicts', '{"created": 5000, "updated": 12}',
    case when state = 'failed' then 'GHL-01' || n % 9 end, case when state = 'failed' then 'The vendor said no' end,
    'user', 'Owner', 'req-' || n, at, at, case when n > $2 / 50 then at + interval '30 s' end, at
  from (select n, now() - n * interval '30 hours' / $2 as at,
    case when n > $2 / 50 then (array['succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded', 'partial', 'cancelled',
      'succeeded', 'succeeded', 'failed'])[n % 10 + 1]
    else (array['ready', 'ready', 'scheduled', 'waiting', 'backoff'])[n % 5 + 1] end as state
    from generate_series(1, $2::int) n) jobs"""

Read = Callable[[Unit], Awaitable[object]]


async def run(options: Options) -> None:
    """Print the figures."""
    heading(f"dashboard: an account of {_JOBS:,} jobs; from BEGIN to COMMIT, rows in the process")
    async with system() as vendor:
        _, url = await vendor.web()
        owner = await vendor.owner(url)
        async with vendor.database() as connection:
            await connection.execute(_FILL, owner.account_id, _JOBS)
            await connection.execute("vacuum analyze job")
        database = Database(vendor.settings.database_url, pool_size=1)
        try:
            await _reads(database, owner.account_id, options)
            await _export(database, owner.account_id, options)
        finally:
            await database.close()
        await _live(vendor, options)


async def _reads(database: Database, account_id: UUID, options: Options) -> None:
    now = datetime.now(UTC)
    groups = [frozenset({group}) for group in (StatusGroup.COMPLETED, StatusGroup.FAILED, StatusGroup.ACTIVE)]
    reads: list[tuple[str, Read, Target | None]] = [
        ("jobSummary", summary.summarize, _FAST),
        ("jobKinds", lambda unit: catalog.kind_counts(unit, housekeeping=False), _FAST),
        ("the newest 50", _page(JobFilter()), _FAST),
        ("... the 50 that ended last", _page(JobFilter(), JobOrder.FINISHED), _FAST),
        ("... totalCount", _count(JobFilter()), _FAST),
        *((f"... {' '.join(wanted)}", _page(JobFilter(groups=wanted)), _FAST) for wanted in groups),
        ("... totalCount of completed", _count(JobFilter(groups=groups[0])), _FAST),
        ("... of a kind", _page(JobFilter(kinds=frozenset({"voice.call"}))), _FAST),
        ("... of a kind, failed", _page(JobFilter(kinds=frozenset({"voice.call"}), groups=groups[1])), _FAST),
        ("... of an hour", _page(JobFilter(since=now - timedelta(hours=9), until=now - timedelta(hours=8))), _FAST),
        ("... of a sub-account that has none", _page(JobFilter(location_id=new_id())), _FAST),
        ("... of a person who asked for none", _page(JobFilter(origin_id=new_id())), _FAST),
        ("... with an error code", _page(JobFilter(error_codes=frozenset({"GHL-013"}))), _FAST),
        ("search for a common word", _page(JobFilter(text="sync")), _FAST),
        ("search for a kind", _page(JobFilter(text="crm.contacts")), _FAST),
        ("search for a word that one job has", _page(JobFilter(text="77777")), _FAST),
        ("search for a word that no job has", _page(JobFilter(text="nowhere")), _FAST),
    ]
    for name, read, target in reads:
        times = []
        for _ in range(2 + 3 * options.rounds):
            began = time.perf_counter()
            async with database.account(account_id) as session:
                await read(Unit(session, actors.system(account_id)))
            times.append((time.perf_counter() - began) * 1000)
        figure(name, times[2:], "ms", target=target)


def _page(wanted: JobFilter, order: JobOrder = JobOrder.NEWEST) -> Read:
    return lambda unit: queries.jobs_page(unit, wanted=wanted, order=order, window=Window(first=50))


def _count(wanted: JobFilter) -> Read:
    async def read(unit: Unit) -> int:
        page = await queries.jobs_page(unit, wanted=wanted, order=JobOrder.NEWEST, window=Window(first=1))
        return await count(unit.session, page)

    return read


async def _export(database: Database, account_id: UUID, options: Options) -> None:
    """As the job does it, but for the store: reading and writing the lines of the newest 10,000."""
    times = []
    for _ in range(options.rounds):
        began = time.perf_counter()
        after, lines = None, 0
        while lines < _EXPORTED:
            async with database.account(account_id) as session:
                unit = Unit(session, actors.system(account_id))
                rows = await export.page(unit, Plan(JobFilter(), datetime.now(UTC), _EXPORTED), after=after)
            after = export.position(rows[-1])
            lines += len(rows)
            await asyncio.to_thread(export.render, rows)
        times.append(time.perf_counter() - began)
    figure(f"CSV of {_EXPORTED:,} jobs, all {len(export.COLUMNS)} columns", times, "s", target=Target(most=1))


async def _live(vendor: System, options: Options) -> None:
    """From a job's progress to the last of the dashboards that list it."""
    size, events = (200, 10) if options.quick else (1_000, 20)
    _, url = await vendor.web()
    owner = await vendor.owner(url)
    async with open_runtime(vendor.settings) as runtime:
        job = await _running(runtime, owner.account_id)
        crowd = Crowd(url, owner.token, "", document=LIST)
        await crowd.gather(size)
        p50, p99 = [], []
        for _ in range(min(options.rounds, 3) + 1):
            latencies: list[float] = []
            for number in range(events):
                crowd.expect(size)
                async with job.unit() as unit:
                    await job.advance(unit, done=number, total=number, message=repr(time.monotonic()))
                latencies += await crowd.all()
            p50.append(quantile(latencies, 0.5) * 1e3)
            p99.append(quantile(latencies, 0.99) * 1e3)
        crowd.leave()
    figure(f"{size:,} live lists on one web process: from a job's write, p50", p50[1:], "ms")
    figure("... p99", p99[1:], "ms", target=None if options.quick else Target(most=250))


LIST: Final = """subscription Job { jobsChanged { kind cursor goneIds jobs { id kind title state priority attempt message
  progress { done total percent rate etaAt } } } }"""


async def _running(runtime: Runtime, account_id: UUID) -> Running[SyncContacts]:
    """A job in this process's hands, as a worker would hold it."""
    async with runtime.database.system_across_accounts() as session:
        await leases.register(session, worker="bench", lane=Lane.BULK, capacity=10)
    args = SyncContacts(run_id=new_id())
    async with runtime.unit(actors.system(account_id)) as unit:
        job = (await commands.enqueue(unit, args)).job
    claimed = await runner.claim(runtime, job_id=job.id, fence=job.fence + 1, worker="bench")
    if claimed is None:
        raise RuntimeError("the job was not admitted")
    return Running(claimed, args, open_unit=runtime.unit, draining=asyncio.Event())
