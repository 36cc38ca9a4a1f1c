"""The clock process: what time alone brings about. Several may run; rows that one sweeps are skipped by the others."""

import asyncio
import signal

import structlog

from db.models.jobs import Lane
from domain import runtime as runtimes
from domain import settings as environment
from domain.crm.connections import commands as connections
from domain.jobs import sweeps
from domain.logs import configure
from domain.runtime import Runtime

SWEEP = 5.0
_PRUNE_EVERY = 720  # sweeps: an hour
_SOONEST = 0.05

SWEEPS: tuple[sweeps.Sweep, ...] = (sweeps.ready_due, sweeps.take_back_lapsed, connections.wake_reauthorized)

log = structlog.get_logger(__name__)


def main() -> None:
    """Sweep until SIGTERM or SIGINT; raises SettingsError."""
    settings = environment.load()
    configure(settings.log_level, process="clock")
    asyncio.run(_main(settings))


async def _main(settings: environment.Settings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with runtimes.open_runtime(settings, pool_size=2) as runtime:
        log.info("clock.started")
        round_number = 0
        while not stopping.is_set():
            pause = await _round(runtime, prune=round_number % _PRUNE_EVERY == 0)
            round_number += 1
            try:
                await asyncio.wait_for(stopping.wait(), timeout=pause)
            except TimeoutError:
                continue
        log.info("clock.stopped")


async def _round(runtime: Runtime, *, prune: bool) -> float:
    """Sweep once; returns the seconds until something is due, or until the next sweep."""
    try:
        await sweep(runtime)
        async with runtime.database.system_across_accounts() as session:
            if prune:
                await sweeps.prune(session)
            due = await sweeps.next_due_in(session)
    except Exception as error:  # noqa: BLE001 -- the database may be away; the next round tries again
        log.warning("clock.failed", error=str(error), kind=type(error).__name__)
        return SWEEP
    return SWEEP if due is None else min(SWEEP, max(due, _SOONEST))


async def sweep(runtime: Runtime) -> None:
    """One round: move what is due, then admit in every lane."""
    for step in SWEEPS:
        async with runtime.database.system_across_accounts() as session:
            moved = await step(session)
        for job in moved:
            log.info("job.swept", job_id=str(job.id), state=job.state.value)
            await runtime.announce(job)
    await runtime.react()
    for lane in Lane:
        await runtime.admit(lane)
