"""From a mutation to its handler, with an idle worker."""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from domain.vendors.sandbox.gohighlevel.seed import LOCATIONS
from graph import ids
from tests.bench.options import Options
from tests.bench.report import Target, figure, heading, quantile
from tests.bench.system import Owner, connect, system

_EMPTY = LOCATIONS[2].id
"""A location whose contacts are deleted first, so that its syncs are short."""
_START = """mutation ($input: StartContactSyncInput!) { startContactSync(input: $input) {
  job { id state version } userErrors { code message } } }"""
_TIMES = """select extract(epoch from (select min(at) from job_event where job_id = $1 and state = 'running'))::float8,
  finished_at is not null from job where id = $1"""


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds from sending the request to the answer, and to the attempt's beginning."""

    answered: float
    begun: float


async def run(options: Options) -> None:
    """Print the figures."""
    heading("latency: from sending a mutation to its handler's start, one worker, idle")
    async with system(GHL_BURST="1000000") as vendor:
        await vendor.sandbox(throttled=False)
        _, url = await vendor.web()
        await vendor.worker("bulk")
        owner = await vendor.owner(url)
        location = (await connect(vendor, owner))[_EMPTY]
        await vendor.control("DELETE", "/contacts", {"location": _EMPTY, "all": True})
        async with vendor.database() as database:
            for _ in range(20):  # warms all that is made on first use
                await _measure(database, owner, location)
            rounds = [
                [await _measure(database, owner, location) for _ in range(40 if options.quick else 200)]
                for _ in range(min(options.rounds, 3))
            ]
    begun = [[start.begun for start in starts] for starts in rounds]
    count = len(begun[0])
    figure(
        f"request sent to handler begun, p50 of {count}", [quantile(each, 0.5) for each in begun], "ms", target=Target(most=30)
    )
    figure("... p99", [quantile(each, 0.99) for each in begun], "ms")
    figure("request sent to answer received, p50", [quantile([s.answered for s in each], 0.5) for each in rounds], "ms")


async def _measure(database: asyncpg.Connection, owner: Owner, location: str) -> Start:
    """All clocks are this machine's: PostgreSQL writes down when the worker's claim made the job run."""
    sent = time.time()
    payload = (await owner.client.ask(_START, input={"locationId": location}))["startContactSync"]
    answered = time.time()
    if payload["userErrors"]:
        raise RuntimeError(payload["userErrors"])
    begun = await _begun(database, ids.read("job", payload["job"]["id"], field="id"))
    return Start((answered - sent) * 1000, (begun - sent) * 1000)


async def _begun(database: asyncpg.Connection, job_id: UUID) -> float:
    async with asyncio.timeout(20):
        while True:
            begun, is_ended = await database.fetchrow(_TIMES, job_id)
            if is_ended:
                await asyncio.sleep(0.01)  # the worker has still to tell that it is free
                return float(begun)
            await asyncio.sleep(0.005)
