"""One job's events to many subscribers of one web process, beside strawberry's own way (`tests.bench.own_door`)."""

import asyncio
import sys
import time
from asyncio.subprocess import Process
from dataclasses import dataclass
from uuid import UUID

from db.base import new_id
from db.models.jobs import Lane
from domain import actor as actors
from domain.crm.contacts.sync import SyncContacts
from domain.jobs import commands, leases
from domain.jobs.running import Running
from domain.runtime import Runtime, open_runtime
from graph import ids
from jobs import runner
from tests.bench import report
from tests.bench.options import Options
from tests.bench.report import Target, figure, heading, quantile
from tests.bench.subscribers import Crowd
from tests.bench.system import System, free_port, system, until_listening


@dataclass(frozen=True, slots=True)
class Audience:
    """A server with its crowd, and the job that they watch."""

    process: Process
    crowd: Crowd
    job: Running[SyncContacts]


@dataclass(frozen=True, slots=True)
class Round:
    """CPU microseconds of the server for each event delivered; milliseconds from the job's write to the subscriber."""

    cpu: float
    p50: float
    p99: float


async def run(options: Options) -> None:
    """Print the figures."""
    size, events = (200, 10) if options.quick else (1_000, 20)
    heading(f"fanout: events of one job to {size:,} subscribers of one web process, {events} events a round")
    async with system() as vendor, open_runtime(vendor.settings) as runtime:
        async with runtime.database.system_across_accounts() as session:
            await leases.register(session, worker="bench", lane=Lane.BULK, capacity=10)
        audiences = {name: await _audience(vendor, runtime, name, size) for name in ("sockets", "streams", "strawberry")}
        rounds: dict[str, list[Round]] = {name: [] for name in audiences}
        for number in range(min(options.rounds, 3) + 1):
            for name, audience in audiences.items():
                row = await _measure(audience, size=size, events=events)
                if number:  # the first round warms
                    rounds[name].append(row)
        for audience in audiences.values():
            audience.crowd.leave()
    for name, title in (
        ("sockets", "graphql-transport-ws"),
        ("streams", "server-sent events"),
        ("strawberry", "strawberry's own"),
    ):
        rows, ours = rounds[name], name != "strawberry"
        figure(f"{title}: CPU of the server for each event delivered", [row.cpu for row in rows], "us")
        figure("... from the job's write to the subscriber, p50", [row.p50 for row in rows], "ms")
        figure("... p99", [row.p99 for row in rows], "ms", target=Target(most=100) if ours and not options.quick else None)
    for name, title in (("sockets", "graphql-transport-ws"), ("streams", "server-sent events")):
        ratios = [theirs.cpu / ours.cpu for ours, theirs in zip(rounds[name], rounds["strawberry"], strict=True)]
        figure(
            f"{title} against strawberry's own", ratios, "times less CPU", target=None if options.quick else Target(least=10)
        )


async def _audience(vendor: System, runtime: Runtime, name: str, size: int) -> Audience:
    port = free_port()
    if name == "strawberry":
        process = await vendor.run(str(port), program=(sys.executable, "-m", "tests.bench.own_door"), name="own-door")
        await until_listening(port, process)
        url = f"http://127.0.0.1:{port}"
    else:
        process, url = await vendor.web(port=port)
    owner = await vendor.owner(url)
    job = await _running_job(runtime, owner.account_id)
    crowd = Crowd(url, owner.token, ids.encode("job", job.id), streaming=name == "streams")
    await crowd.gather(size)
    return Audience(process, crowd, job)


async def _running_job(runtime: Runtime, account_id: UUID) -> Running[SyncContacts]:
    """A job in this process's hands, as a worker would hold it."""
    args = SyncContacts(run_id=new_id())
    async with runtime.unit(actors.system(account_id)) as unit:
        job = (await commands.enqueue(unit, args)).job
    claimed = await runner.claim(runtime, job_id=job.id, fence=job.fence + 1, worker="bench")
    if claimed is None:
        raise RuntimeError("the job was not admitted")
    return Running(claimed, args, open_unit=runtime.unit, draining=asyncio.Event())


async def _measure(audience: Audience, *, size: int, events: int) -> Round:
    latencies: list[float] = []
    await asyncio.sleep(0.5)
    before = report.cpu_seconds(audience.process.pid)
    for number in range(events):
        audience.crowd.expect(size)
        async with audience.job.unit() as unit:
            await audience.job.advance(unit, done=number, total=number, message=repr(time.monotonic()))
        latencies += await audience.crowd.all()
    cpu = report.cpu_seconds(audience.process.pid) - before
    return Round(cpu / len(latencies) * 1e6, quantile(latencies, 0.5) * 1e3, quantile(latencies, 0.99) * 1e3)
