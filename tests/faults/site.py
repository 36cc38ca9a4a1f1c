"""The engine with real processes, barriers at which they are killed, and a clock that says how long recovery took.

The bounds are the design's, for a lease of 30 s: it, and 5 s. Here a lease is FAULTS_LEASE seconds, three unless told
otherwise, and 2 s must do for the rest, which does not shrink with it. FAULTS_LEASE=30 measures the real ones. FAULTS_REPORT
names a file for the figures.
"""

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from db.models.jobs import AttemptOutcome, Job, JobState
from domain.jobs.args import JobArgs
from tests.factories.engine import Engine, eventually
from tests.factories.processes import Program, Programs, programs
from tests.faults.barriers import Arrival, Barriers, barriers
from tests.faults.nursery import Nursery

LEASE = float(os.environ.get("FAULTS_LEASE", "3"))
BOUND = LEASE + (5 if LEASE >= 30 else 2)


@dataclass
class Timed:
    """How long a part of a test took, in seconds."""

    seconds: float = 0.0


@contextmanager
def measured(row: str, *, bound: float) -> Iterator[Timed]:
    """Fails where what happens inside takes longer than `bound` seconds."""
    timed, began = Timed(), time.monotonic()
    yield timed
    timed.seconds = time.monotonic() - began
    if report := os.environ.get("FAULTS_REPORT"):
        with Path(report).open("a") as file:
            file.write(f"{row} | {timed.seconds:.2f} | {bound:g}\n")
    assert timed.seconds <= bound, f"{row}: {timed.seconds:.2f} s"


@dataclass(frozen=True)
class Site:
    """`engine` is this process's hand in the database that the processes share."""

    engine: Engine
    programs: Programs
    barriers: Barriers

    async def ask(self, args: JobArgs, **options: Any) -> Job:
        """A new job of a new account, which a dispatcher has to find by itself."""
        return await self.engine.enqueue(await self.engine.account(), args, **options)

    async def until(self, job: Job, *states: str) -> Job:
        """Wait until the job is in one of `states`."""
        return await self.engine.until(job, *states, within=20 + 2 * BOUND)

    async def skip_delay(self, job: Job) -> None:
        """Let the delay before a retry be over, which has nothing to do with what is measured."""
        assert (await self.engine.job(job.id)).state is JobState.BACKOFF
        await self.engine.due(job)

    async def kill(self, arrival: Arrival) -> Program:
        """End the process that stands at a barrier with kill -9."""
        program = self.programs.of(arrival.pid)
        await program.kill()
        return program

    async def outcomes(self, job: Job) -> list[AttemptOutcome | None]:
        """How its attempts ended."""
        return [attempt.outcome for attempt in await self.engine.attempts(job)]

    async def has_a_sound_history(self, job: Job) -> None:
        """Its events have no gap and progress never went back, its attempts neither, and each step was kept once."""
        now, events = await self.engine.job(job.id), await self.engine.events(job)
        assert [event.version for event in events] == list(range(1, now.version + 1))
        assert [event.done for event in events] == sorted(event.done for event in events)
        assert [attempt.number for attempt in await self.engine.attempts(job)] == list(range(1, now.attempt + 1))
        steps = [int(line.subject or 0) for line in await self.engine.lines(job) if line.code == "STEP"]
        assert steps == list(range(1, now.done + 1))


@asynccontextmanager
async def open_site(engine: Engine, nursery: Nursery, folder: Path) -> AsyncIterator[Site]:
    """Nothing runs yet. PostgreSQL has been up for a lease, within which it takes nothing back."""
    settings = engine.settings.model_copy(update={"lease_seconds": LEASE, "log_level": "info", "data_dir": folder / "data"})
    told = replace(engine, runtime=replace(engine.runtime, settings=settings))
    up = f"select 1 where pg_postmaster_start_time() < now() - interval '{LEASE} s'"
    await eventually(lambda: engine.sql(up), within=20 + LEASE)
    async with barriers(folder) as stops, programs(settings, folder, nursery, stops.environment) as started:
        yield Site(told, started, stops)
