"""The clock process: what time alone brings about. Several may run; rows that one sweeps are skipped by the others."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog

from db.models.jobs import Job, Lane
from domain import metrics, tracing
from domain import runtime as runtimes
from domain import settings as environment
from domain.crm.connections import commands as connections
from domain.jobs import dependencies, sweeps
from domain.logs import configure
from domain.notifications import gathering as notifications
from domain.recovery import suspension
from domain.runtime import Runtime
from domain.schedules import firing as schedules
from jobs.housekeeping import keep_house
from jobs.outlets import deliver_all

_SWEEPS_A_LEASE = 6
_DISPATCHES_A_LEASE = 30
_SOONEST = 0.05

SWEEPS: tuple[sweeps.Sweep, ...] = (
    sweeps.ready_due,
    dependencies.release_blocked,
    connections.wake_reauthorized,
    suspension.wake_resumed,
    notifications.close_lapsed,
)

log = structlog.get_logger(__name__)


def main() -> None:
    """Sweep until SIGTERM or SIGINT; raises SettingsError."""
    settings = environment.load()
    configure(settings.log_level, process="clock")
    tracing.configure(settings.otel_exporter_otlp_endpoint, process="clock")
    metrics.serve(settings.metrics_port, host=settings.metrics_host)
    asyncio.run(_main(settings))


async def _main(settings: environment.Settings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with runtimes.open_runtime(settings, pool_size=5) as runtime:
        log.info("clock.started")
        keeping_house = asyncio.create_task(keep_house(runtime))
        delivering = asyncio.create_task(deliver_all(runtime))
        dispatching = asyncio.create_task(_dispatch(runtime))
        while not stopping.is_set():
            pause = await _round(runtime)
            try:
                await asyncio.wait_for(stopping.wait(), timeout=pause)
            except TimeoutError:
                continue
        keeping_house.cancel()
        delivering.cancel()
        dispatching.cancel()
        await asyncio.wait({keeping_house, delivering, dispatching})
        log.info("clock.stopped")


async def _round(runtime: Runtime) -> float:
    """Sweep once; returns the seconds until something is due, or until the next sweep."""
    longest = runtime.settings.lease_seconds / _SWEEPS_A_LEASE
    try:
        more = await sweep(runtime)
        async with runtime.database.system_across_accounts() as session:
            due = [await sweeps.next_due_in(session), await schedules.next_due_in(session)]
    except Exception as error:  # noqa: BLE001 -- the database may be away; the next round tries again
        log.warning("clock.failed", error=str(error), kind=type(error).__name__)
        return longest
    if more:
        return _SOONEST
    soonest = min((seconds for seconds in due if seconds is not None), default=longest)
    return min(longest, max(soonest, _SOONEST))


async def _dispatch(runtime: Runtime) -> None:
    """Admit what a process that died after its commit could not: a person waits for it."""
    while True:
        await asyncio.sleep(runtime.settings.lease_seconds / _DISPATCHES_A_LEASE)
        try:
            async with runtime.database.system_across_accounts() as session:
                lanes = await sweeps.lanes_to_admit(session)
        except Exception as error:  # noqa: BLE001 -- the database may be away; soon it is tried again
            log.warning("clock.dispatch_failed", error=str(error), kind=type(error).__name__)
            continue
        for lane in lanes:
            await runtime.admit(lane)


async def sweep(runtime: Runtime) -> bool:
    """One round: move what is due, then admit in every lane. Returns whether a step left more for the next round."""
    take_back_lapsed: sweeps.Sweep = partial(sweeps.take_back_lapsed, lease=runtime.settings.lease)
    moved: list[Job] = []
    more = False
    for step in (take_back_lapsed, *SWEEPS):
        async with _step(getattr(step, "__name__", "take_back_lapsed")):  # a partial has no name
            async with runtime.database.system_across_accounts() as session:
                swept = await step(session)
            moved += swept
            more |= len(swept) >= sweeps.BATCH
    for job in moved:
        log.info("job.swept", job_id=str(job.id), state=job.state.value)
    await runtime.announce_all(moved)
    await runtime.react()
    for lane in Lane:
        await runtime.admit(lane)
    front_end = (runtime.settings.spa_url or runtime.settings.public_url).rstrip("/")
    async with _step("fire_schedules"):
        await schedules.sweep(runtime.database, runtime.unit, front_end=front_end)
    return more


@asynccontextmanager
async def _step(name: str) -> AsyncIterator[None]:
    """One step of a round. Its failure is its own: the others go on, and the next round tries it again."""
    try:
        with metrics.STEPS.labels(name).time():
            yield
    except Exception as error:  # noqa: BLE001 -- whatever it is, it must not stop the other steps
        log.warning("clock.step_failed", step=name, error=str(error), kind=type(error).__name__)
