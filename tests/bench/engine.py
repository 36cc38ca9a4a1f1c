"""What the job engine costs: a job that does nothing beside plain RQ, and many jobs that wait for a vendor at once."""

import asyncio
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final
from uuid import UUID

import psutil

from db.session import Database
from domain import actor as actors
from domain.jobs import commands
from domain.jobs.args import JobArgs
from domain.runtime import open_runtime
from domain.unit import Unit
from graph import ids
from tests.bench import plain_rq
from tests.bench.options import Options
from tests.bench.report import Target, cpu_seconds, figure, heading, quantile
from tests.bench.system import Owner, System, end, system
from tests.bench.worker import Noop, Wait

WORKER: Final = (sys.executable, "-m", "tests.bench.worker")
_WAITERS: Final = 200
_SECONDS: Final = 10.0
_RETRY: Final = "mutation ($id: ID!) { retryJob(input: {id: $id}) { userErrors { code message } } }"
_WATCH: Final = "subscription ($id: ID!) { jobUpdated(id: $id) { event { state } job { state } } }"


async def run(options: Options) -> None:
    """Print the figures."""
    heading("engine: a job that does nothing, with its transitions, attempt, events, checkpoint and progress")
    async with system() as house:
        await _overhead(house, options)
        await _latency(house, options)
    heading(f"engine: {_WAITERS} jobs that each wait {_SECONDS:.0f} s for a vendor, the default processes")
    async with system() as house:
        await _waiting(house)


async def _overhead(house: System, options: Options) -> None:
    jobs = 400 if options.quick else 1_000
    ours: list[float] = []
    plain: dict[str, list[float]] = {name: [] for name in plain_rq.WORKERS}
    for _ in range(options.rounds):
        ours.append(await _drain(house, jobs))
        for name, seconds in (await plain_rq.measure(house, jobs=60 if options.quick else 200)).items():
            plain[name].append(seconds * 1000)
    figure("worker's CPU a job", ours, "ms", target=Target(most=6))
    for name, values in plain.items():
        figure(f"RQ's {name} with four writes", values, "ms")


async def _drain(house: System, jobs: int) -> float:
    """Milliseconds of the worker's CPU for a job, from a tenth of them to all."""
    await _enqueue(house, Noop(), accounts=20, each=jobs // 20)
    process = await house.run("interactive", program=WORKER, name="bench-worker")
    async with house.database() as database:

        async def ended() -> int:
            return int(await database.fetchval("select count(*) from job where state = 'partial'"))

        before = await ended()
        while (first := await ended() - before) < jobs // 10:  # noqa: ASYNC110 - another process has no event for us
            await asyncio.sleep(0.01)
        cpu = cpu_seconds(process.pid)
        while (last := await ended() - before) < jobs:  # noqa: ASYNC110 - another process has no event for us
            await asyncio.sleep(0.01)
        cpu = cpu_seconds(process.pid) - cpu
        await database.execute("delete from job")
    await end(process)
    return 1000 * cpu / (last - first)


async def _latency(house: System, options: Options) -> None:
    _, url = await house.web()
    process = await house.run("interactive", program=WORKER, name="bench-worker")
    owner = await house.owner(url)
    job_id = await _enqueue_for(house, owner, Noop())
    rounds: list[list[float]] = []
    async with aclosing(owner.client.watch(_WATCH, id=job_id)) as updates:
        async for update in updates:  # until the first run is over
            if update["jobUpdated"]["job"]["state"] == "PARTIAL":
                break
        for _ in range(min(options.rounds, 3)):
            times: list[float] = []
            for _ in range(40 if options.quick else 200):
                sent = time.perf_counter()
                await owner.client.ask(_RETRY, id=job_id)
                async for update in updates:
                    if (update["jobUpdated"]["event"] or {}).get("state") == "PARTIAL":
                        break
                times.append((time.perf_counter() - sent) * 1000)
                await asyncio.sleep(0.02)  # the worker has still to tell that it is free
            rounds.append(times[5:])
    await end(process)
    figure(
        "mutation to the subscriber's last event, p50", [quantile(each, 0.5) for each in rounds], "ms", target=Target(most=60)
    )
    figure("... p99", [quantile(each, 0.99) for each in rounds], "ms")


async def _waiting(house: System) -> None:
    web, _ = await house.web()
    processes = [web, await house.run("clock"), await house.worker("bulk")]
    processes.append(await house.run("interactive", program=WORKER, name="bench-worker"))
    async with _slow_vendor() as url, house.database() as database:
        while await database.fetchval("select count(*) from worker") < 2:  # noqa: ASYNC110 - another process has no event for us
            await asyncio.sleep(0.05)
        began = time.perf_counter()
        await _enqueue(house, Wait(url), accounts=20, each=_WAITERS // 20)
        most = 0.0
        while await database.fetchval("select count(*) from job where state = 'succeeded'") < _WAITERS:
            if time.perf_counter() - began > 120:
                raise RuntimeError("the jobs do not end")
            most = max(most, _megabytes())
            await asyncio.sleep(0.5)
        seconds = time.perf_counter() - began
    figure("until all have ended", [seconds], "s", target=Target(most=20))
    figure("all processes together, PostgreSQL and Valkey included, at most", [most], "MB", target=Target(most=500))


def _megabytes() -> float:
    """Proportional set size of everything that the benchmark started; shared pages count once."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 1_000_000


async def _enqueue(house: System, args: JobArgs, *, accounts: int, each: int) -> None:
    """Jobs of several accounts, asked for as mutations ask: whoever has a slot starts at once."""
    async with house.database() as admin:
        found = [row["id"] for row in await admin.fetch("select id from account limit $1", accounts)]
        for number in range(accounts - len(found)):
            account_id = await admin.fetchval(
                "insert into account (id, name, is_staff) values (gen_random_uuid(), $1, false) returning id", f"Bench {number}"
            )
            await admin.execute("insert into account_slots (account_id, slots) values ($1, 10)", account_id)
            found.append(account_id)
    async with open_runtime(house.settings, pool_size=2) as runtime:
        for account_id in found:
            async with runtime.unit(actors.system(account_id)) as unit:
                for _ in range(each):
                    await commands.enqueue(unit, args)


async def _enqueue_for(house: System, owner: Owner, args: JobArgs) -> str:
    database = Database(house.settings.database_url, pool_size=1)
    try:
        async with database.account(owner.account_id) as session:
            job_id: UUID = (await commands.enqueue(Unit(session, actors.system(owner.account_id)), args)).job.id
    finally:
        await database.close()
    async with house.database() as admin:  # nobody admits it but a mutation
        await admin.execute("update job set state = 'cancelled' where id = $1", job_id)
    identifier = ids.encode("job", job_id)
    await owner.client.ask(_RETRY, id=identifier)
    return identifier


@asynccontextmanager
async def _slow_vendor() -> AsyncIterator[str]:
    """A server whose every answer takes its time."""

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(_SECONDS)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1_000)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
