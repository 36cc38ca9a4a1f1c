"""Admission with many accounts and a long queue: how long a batch takes, and whether slots are ever exceeded."""

import asyncio
import time
from typing import Final

import asyncpg

from db.models.jobs import Lane
from db.session import Database
from domain.jobs import admission
from domain.jobs.carrier import Carrier
from tests.bench.options import Options
from tests.bench.report import Target, figure, heading, quantile, remark
from tests.bench.system import System, system

_ACCOUNTS: Final = 200
_WAITING: Final = 100_000
_BATCH: Final = 100
_FILL: Final = f"""
with accounts as (
  insert into account (id, name, is_staff)
  select gen_random_uuid(), 'Agency ' || n, false from generate_series(1, {_ACCOUNTS}) n returning id
), slots as (insert into account_slots (account_id, slots) select id, 10 from accounts
), settings as (
  insert into job_setting (account_id, kind, slots, version) select id, 'bench.first', 3, 1 from accounts where id::text < '8'
)
insert into job (id, account_id, kind, lane, title, args, state, priority, fence, attempt, failures, max_retries,
  timeout_seconds, version, done, origin_type, origin_name, request_id)
select gen_random_uuid(), id, (array['bench.first', 'bench.second', 'bench.third'])[1 + n % 3], 'bulk', 'A job', '{{}}',
  'ready', (array[0, 0, 0, 10, -10])[1 + n % 5], 0, 0, 0, 5, 3600, 1, 0, 'user', 'Owner', '-'
from generate_series(1, {_WAITING // _ACCOUNTS}) n, accounts
"""  # noqa: S608 - numbers of ours
_EXCEEDED: Final = """
select (select count(*) from account_slots s where slots < (
    select count(*) from job j where j.account_id = s.account_id and j.state in ('admitted', 'running', 'cancelling')))
  + (select count(*) from job_setting s where slots < (
    select count(*) from job j where j.account_id = s.account_id and j.kind = s.kind
      and j.state in ('admitted', 'running', 'cancelling')))
"""
_END_SOME: Final = """
update job set state = 'succeeded', lease_until = null, finished_at = now() where id in (
  select id from job where state = 'admitted' order by random() limit $1)
"""
_LIVE_WORKER: Final = """
insert into worker (name, lane, capacity, seen_at) values ('bench', 'bulk', 100000, now() + interval '1 day')
on conflict do nothing
"""


async def run(options: Options) -> None:
    """Print the figures."""
    heading(f"admission: {_ACCOUNTS} accounts, {_WAITING:,} waiting jobs, batches of {_BATCH}; the push to Valkey included")
    async with system() as bare, bare.database() as database:
        await database.execute(_FILL)
        await database.execute(_LIVE_WORKER)
        await database.execute("vacuum analyze")
        for dispatchers in (1, 2, 4):
            await _measure(bare, database, dispatchers, rounds=10 if options.quick else 60)


async def _measure(bare: System, database: asyncpg.Connection, dispatchers: int, *, rounds: int) -> None:
    own = [Database(bare.settings.database_url, pool_size=1) for _ in range(dispatchers)]
    carrier = Carrier(bare.settings.redis_url)
    times: list[float] = []
    admitted = exceeded = 0
    try:
        for number in range(rounds + 3):
            batches = await asyncio.gather(*(_admit(each, carrier) for each in own))
            exceeded += await database.fetchval(_EXCEEDED)
            await database.execute(_END_SOME, _BATCH * dispatchers)
            if number >= 3:  # the first rounds fill caches, plans and slots
                times += [milliseconds for milliseconds, _ in batches]
                admitted += sum(jobs for _, jobs in batches)
    finally:
        carrier.close()
        for each in own:
            await each.close()
    who = "1 dispatcher" if dispatchers == 1 else f"{dispatchers} dispatchers at once"
    figure(f"a batch, {who}, p50", [quantile(times, 0.5)], "ms", target=Target(most=50) if dispatchers == 1 else None)
    figure("... p99", [quantile(times, 0.99)], "ms")
    figure("... accounts or kinds found above their slots", [exceeded], "", target=Target(most=0))
    remark(f"... {admitted / len(times):.0f} jobs a batch on average")


async def _admit(database: Database, carrier: Carrier) -> tuple[float, int]:
    began = time.perf_counter()
    jobs = await admission.admit(database, carrier, lane=Lane.BULK, limit=_BATCH)
    return (time.perf_counter() - began) * 1000, len(jobs)
