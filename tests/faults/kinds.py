"""Jobs for processes that are killed: they leave traces of everything they did, so that doing it twice would show."""

import asyncio
import sys
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from db.models.jobs import Lane, LogLevel
from domain.errors import VendorDown, VendorRefused
from domain.jobs import effects
from domain.jobs.args import JobArgs
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from jobs.handlers import handles
from tests.faults.barriers import stand


@dataclass(frozen=True)
class Steps(JobArgs, kind="test.steps", title="A job of many steps", lane=Lane.INTERACTIVE):
    """Does `steps` things one by one, each with a line in its log and a checkpoint.

    It stands at the barrier `step:N` before each one, and at `kept:N` before that is committed.
    """

    steps: int = 4
    pause_ms: int = 0


@dataclass(frozen=True)
class BulkSteps(Steps, kind="test.steps.bulk", title="A job of many steps in bulk", lane=Lane.BULK):
    """The same in another lane."""


@dataclass(frozen=True)
class Acts(JobArgs, kind="test.acts", title="A job with an effect outside", lane=Lane.INTERACTIVE):
    """Makes something at the receiver by a key of its own, once; the receiver itself would make it as often as it is asked."""

    key: str = ""
    receiver: str = ""


@dataclass(frozen=True)
class Fails(JobArgs, kind="test.fails", title="A job that fails", lane=Lane.INTERACTIVE, max_retries=2):
    """Fails `times` times because the vendor is down, then succeeds; with `refused` it is told no at once."""

    times: int = 1
    refused: bool = False


@dataclass(frozen=True)
class Ends(JobArgs, kind="test.ends", title="A job whose task just ends", lane=Lane.INTERACTIVE):
    """Ends in a way that no handler should: it leaves the process (`exit`), or cancels itself."""

    how: str = "exit"


@handles(Ends)
async def run_end(job: Running[Ends], runtime: Runtime) -> Done:
    """In its first attempt."""
    if job.attempt > 1:
        return Done("This time it stayed")
    if job.args.how == "exit":
        sys.exit(3)
    raise asyncio.CancelledError


@handles(BulkSteps)
async def run_bulk_steps(job: Running[BulkSteps], runtime: Runtime) -> Done:
    """As in the other lane."""
    return await _step(job)


@handles(Steps)
async def run_steps(job: Running[Steps], runtime: Runtime) -> Done:
    """Steps from the checkpoint on."""
    return await _step(job)


async def _step(job: Running[Any]) -> Done:
    for number in range(job.checkpoint.get("next", 1), job.args.steps + 1):
        await stand(f"step:{number}")
        if job.args.pause_ms:
            await asyncio.sleep(job.args.pause_ms / 1000)  # a vendor takes its time
        async with job.unit() as unit:
            job.log(unit, level=LogLevel.INFO, code="STEP", message=f"step {number}", subject=str(number))
            await job.advance(unit, done=number, total=job.args.steps, checkpoint={"next": number + 1})
            await stand(f"kept:{number}")
    return Done(f"{job.args.steps} steps", {"attempt": job.attempt})


@handles(Acts)
async def run_act(job: Running[Acts], runtime: Runtime) -> Done:
    """Intent, act, done."""
    async with httpx.AsyncClient(base_url=job.args.receiver) as http:

        async def act(key: str) -> str:
            try:
                answer = await http.post(f"/{key}")
            except httpx.TransportError as error:
                raise VendorDown(str(error)) from None
            return str(UUID(answer.text))

        async def find(key: str) -> str | None:
            answer = await http.get(f"/{key}")
            return answer.text or None

        made = await effects.once(job, key=job.args.key, act=act, find=find)
    return Done("Done once", {"made": made})


@handles(Fails)
async def run_failure(job: Running[Fails], runtime: Runtime) -> Done:
    """As often as asked."""
    if job.args.refused:
        raise VendorRefused("The vendor says no.", status=422)
    if job.failures < job.args.times:
        raise VendorDown("The vendor does not answer.", status=503)
    return Done("In the end")
