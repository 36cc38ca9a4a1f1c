"""5,000 contacts from the sandbox into PostgreSQL: the worker's CPU and memory, and the vendor's real limit."""

import asyncio
import time
from asyncio.subprocess import Process
from dataclasses import dataclass
from pathlib import Path

from domain.vendors.sandbox.gohighlevel.seed import LARGE, LOCATIONS
from tests.bench import report
from tests.bench.options import Options
from tests.bench.report import Target, figure, heading, remark
from tests.bench.system import Owner, System, connect, system
from tests.factories.crm import CREATE, start_sync

_RICH = LOCATIONS[1].id
"""A location to fill with many contacts."""
_BURST, _SECONDS, _PUSHED = 100, 10, 250


@dataclass(frozen=True, slots=True)
class Run:
    """What one sync took: seconds, CPU seconds of the worker, and MB of memory that it had at most."""

    contacts: int
    wall: float
    cpu: float
    peak: float

    @property
    def speed(self) -> float:
        """Contacts per second of CPU."""
        return self.contacts / self.cpu


async def run(options: Options) -> None:
    """Print the figures."""
    heading("sync: contacts from the sandbox into PostgreSQL, and searchable")
    async with system(GHL_BURST="1000000") as vendor:
        await _unthrottled(vendor, options)
    async with system() as vendor:
        await _throttled(vendor)


async def _unthrottled(vendor: System, options: Options) -> None:
    await vendor.sandbox(throttled=False)
    _, url = await vendor.web()
    worker = await vendor.worker("bulk")
    idle = await _idle(worker)
    first: list[Run] = []
    unchanged: list[Run] = []
    changed: list[Run] = []
    for number in range(options.rounds + 1):
        owner = await vendor.owner(url)
        locations = await connect(vendor, owner)
        rows = [await _sync(vendor, owner, locations[LARGE.id], worker, idle)]
        rows.append(await _sync(vendor, owner, locations[LARGE.id], worker, idle))
        await _change(vendor, LARGE.id, share=10, mark=f"Round {number}")
        rows.append(await _sync(vendor, owner, locations[LARGE.id], worker, idle))
        if number:  # the first round warms the worker and the sandbox
            for kept, row in zip((first, unchanged, changed), rows, strict=True):
                kept.append(row)
    report.figure("new contacts per second of worker CPU", [row.speed for row in first], "/s", target=Target(least=10_000))
    figure("... and per second of wall clock, one worker", [row.contacts / row.wall for row in first], "/s")
    figure("the second sync, nothing changed, per second of worker CPU", [row.speed for row in unchanged], "/s")
    figure("a sync after 10 % changed, per second of worker CPU", [row.speed for row in changed], "/s")
    await _memory(vendor, owner, locations, worker, idle, rows=10_000 if options.quick else 50_000)


async def _memory(vendor: System, owner: Owner, locations: dict[str, str], worker: Process, idle: float, *, rows: int) -> None:
    small = await _sync(vendor, owner, locations[LARGE.id], worker, idle)
    await vendor.control("POST", "/contacts", {"location": _RICH, "count": rows})
    large = await _sync(vendor, owner, locations[_RICH], worker, idle)
    figure(f"worker's memory at most, {small.contacts:,} contacts", [small.peak], "MB")
    figure(
        f"worker's memory at most, {large.contacts:,} contacts", [large.peak], "MB", target=Target(most=round(small.peak + 8))
    )
    figure("... of which contacts per second of worker CPU", [large.speed], "/s")


async def _throttled(vendor: System) -> None:
    await vendor.sandbox(throttled=True)
    _, url = await vendor.web()
    worker = await vendor.worker("bulk")
    owner = await vendor.owner(url)
    locations = await connect(vendor, owner)
    pull = await _sync(vendor, owner, locations[LARGE.id], worker, 0)
    remark(f"at the vendor's limit of {_BURST} requests in {_SECONDS} s, in the same location:")
    figure(f"{pull.contacts:,} contacts, pulled", [pull.wall], "s", target=Target(most=_SECONDS))
    for number in range(_PUSHED):
        fields = {"firstName": "Push", "lastName": f"Number {number}", "email": f"push{number}@agency.example"}
        await owner.client.ask(CREATE, input={"locationId": locations[LARGE.id], "fields": fields})
    push = await _sync(vendor, owner, locations[LARGE.id], worker, 0, direction="BB_TO_GHL")
    state = await vendor.control("GET", "/state")
    requests = sum(number for path, number in state["paths"].items() if "/contacts" in path or LARGE.id in path)
    least = (requests - 1) // _BURST * _SECONDS
    figure(f"{_PUSHED} contacts of ours pushed", [push.wall], "s", target=Target(most=least + 5))
    remark(f"{requests} requests, which the limit allows in {least} s at the least; refused with 429: {state['throttled']}")


async def _sync(vendor: System, owner: Owner, location_id: str, worker: Process, idle: float, **options: str) -> Run:
    """Sync a location to the end; `idle` is the worker's CPU for each second in which it does nothing."""
    _forget_peak(worker)
    started, before = time.monotonic(), report.cpu_seconds(worker.pid)
    job = await start_sync(owner.client, location_id, **options)
    state, done, message = await _until_ended(vendor, job["id"], owner)
    wall, cpu = time.monotonic() - started, report.cpu_seconds(worker.pid) - before
    if state != "succeeded":
        raise RuntimeError(f"the sync {state}: {message}")
    return Run(done, wall, cpu - idle * wall, _peak(worker))


async def _until_ended(vendor: System, job_id: str, owner: Owner) -> tuple[str, int, str]:
    from graph import ids

    row_id = ids.read("job", job_id, field="id")
    query = """select state, (select sum(coalesce(v.value::int, 0)) from jsonb_each_text(result) v
      where v.key in ('created', 'updated', 'unchanged', 'merged', 'skipped', 'pushed')), message, finished_at
      from job where id = $1"""
    async with vendor.database() as database, asyncio.timeout(120):
        while True:
            row = await database.fetchrow(query, row_id)
            if row["finished_at"] is not None or row["state"] == "backoff":
                return row["state"], row[1] or 0, row["message"]
            await asyncio.sleep(0.02)


async def _change(vendor: System, location_id: str, *, share: int, mark: str) -> None:
    """Change the company of one in `share` of a location's contacts, at the vendor."""
    async with vendor.database() as database:
        rows = await database.fetch(
            "select distinct r.external_id from contact_ref r join location l on l.id = r.location_id "
            "where l.external_id = $1 order by 1",
            location_id,
        )
    ids = [row["external_id"] for row in rows][::share]
    await vendor.control("PATCH", "/contacts", {"location": location_id, "ids": ids, "set": {"companyName": mark}})


async def _idle(worker: Process, seconds: float = 3.0) -> float:
    """CPU seconds that the worker takes in each second with nothing to do."""
    before = report.cpu_seconds(worker.pid)
    await asyncio.sleep(seconds)
    return (report.cpu_seconds(worker.pid) - before) / seconds


def _forget_peak(process: Process) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def _peak(process: Process) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
