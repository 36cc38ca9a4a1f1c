"""A worker that also knows the benchmarks' kinds: `python -m tests.bench.worker interactive`."""

import sys
from dataclasses import dataclass

from db.models.jobs import Lane
from domain.jobs.args import JobArgs
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from jobs import worker
from jobs.handlers import handles


@dataclass(frozen=True)
class Noop(JobArgs, kind="bench.noop", title="Nothing", lane=Lane.INTERACTIVE):
    """Tells how far it is once, with a checkpoint, and ends in part, so that it can be retried for ever."""


@dataclass(frozen=True)
class Wait(JobArgs, kind="bench.wait", title="Wait for a vendor", lane=Lane.INTERACTIVE):
    """Asks a vendor at `url` and waits for the answer."""

    url: str


@handles(Noop)
async def noop(job: Running[Noop], runtime: Runtime) -> Done:
    """What any job does at least."""
    async with job.unit() as unit:
        await job.advance(unit, done=1, total=1, message="Doing nothing", checkpoint={"done": 1})
    return Done("Did nothing", partial=True)


@handles(Wait)
async def wait(job: Running[Wait], runtime: Runtime) -> Done:
    """What most jobs do most of the time."""
    await runtime.ghl.http.request("GET", job.args.url, operation="bench")
    async with job.unit() as unit:
        await job.advance(unit, done=1, total=1, message="The vendor has answered")
    return Done("Waited")


if __name__ == "__main__":
    worker.main(sys.argv[1])
