"""A worker process: one lane, many jobs at once on one event loop.

It stays an RQ worker: a thread runs RQ's own loop and pops from the lane's one queue. But nearly every job here waits for a
vendor, so a process per waiting job would be the wrong unit: what RQ pops is handed to the event loop, and the next is popped
as soon as there is room for one more.
"""

import asyncio
import os
import signal
import socket
import threading
import time
from uuid import UUID, uuid4

import structlog
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import DeserializationError, StopRequested
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job as Carried
from rq.serializers import JSONSerializer
from rq.worker import SimpleWorker

from db.models.jobs import Lane
from domain import metrics, tracing
from domain import runtime as runtimes
from domain import settings as environment
from domain.jobs import leases, sweeps
from domain.jobs.carrier import queue_name
from domain.jobs.leases import Held
from domain.logs import configure
from domain.runtime import Runtime
from jobs import handlers, runner

# Nearly all of them wait for a vendor; what bounds them is the memory of what they hold, not the cores.
CAPACITY = {Lane.INTERACTIVE: 250, Lane.BULK: 20, Lane.CALLS: 250}
# Transactions are milliseconds long, and each connection takes PostgreSQL 5 MB.
POOL = 4
BEATS_A_LEASE = 3
GRACE = 8.0  # together with the last pop less than the 10 s after which Docker and `bots up` kill
POP_SECONDS = 1
WAKE_SECONDS = 60.0

log = structlog.get_logger(__name__)


def main(lane: str) -> None:
    """Run a worker of `lane` until SIGTERM or SIGINT; raises SettingsError."""
    settings = environment.load()
    configure(settings.log_level, process=f"worker-{lane}")
    tracing.configure(settings.otel_exporter_otlp_endpoint, process=f"worker-{lane}")
    metrics.serve(settings.metrics_port, host=settings.metrics_host)
    asyncio.run(_main(settings, Lane(lane)))


def run(job_id: str, fence: int) -> None:
    """What the carried RQ job names; only a worker of this module runs it, and does so without calling this."""
    raise RuntimeError(f"job {job_id} with fence {fence} was popped by a foreign RQ worker; its lease will lapse")


async def _main(settings: environment.Settings, lane: Lane) -> None:
    handlers.load()
    runtimes.quiet_collector()
    async with runtimes.open_runtime(settings, pool_size=POOL) as runtime:
        worker = LaneWorker(runtime, lane, capacity=CAPACITY[lane])
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.drain)
        await worker.work()


class LaneWorker:
    """Carries up to `capacity` jobs of one lane at once."""

    def __init__(self, runtime: Runtime, lane: Lane, *, capacity: int) -> None:
        self.name = f"{lane.value}-{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self._runtime = runtime
        self._lane = lane
        self._capacity = capacity
        self._draining = asyncio.Event()
        self._tasks: dict[Held, asyncio.Task[None]] = {}
        self._claimed: dict[Held, float] = {}  # when it was last asked for the lease that each one has
        self._missing: set[Held] = set()
        self._heard = time.monotonic()
        self._moved = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(capacity)

    def drain(self) -> None:
        """Take no more jobs; those that run stop at their next checkpoint and are handed back."""
        log.info("worker.draining", jobs=len(self._tasks))
        self._draining.set()

    async def work(self) -> None:
        """Pop and run until drained."""
        await self._beat()
        await self._wake(starting=True)
        popper = Popper(self, lane=self._lane, redis_url=self._runtime.settings.redis_url)
        thread = threading.Thread(target=popper.pop_until_stopped, name="rq", daemon=True)
        thread.start()
        log.info("worker.started", worker=self.name, lane=self._lane.value, capacity=self._capacity)
        await self._runtime.admit(self._lane)
        beating = asyncio.create_task(self._beat_forever())
        watching = asyncio.create_task(self._watch_forever())
        following = asyncio.create_task(self._follow_up_forever())
        waking = asyncio.create_task(self._wake_forever())
        await self._draining.wait()
        await self._deregister()
        popper.stop()
        await asyncio.to_thread(thread.join, 5)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=GRACE)
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=1)
        beating.cancel()
        watching.cancel()
        following.cancel()
        waking.cancel()
        await self._deregister()  # a heartbeat may have been under way
        log.info("worker.stopped", worker=self.name)

    def has_room(self, *, within: float) -> bool:
        """Called on RQ's thread: wait until one more job can be carried, and keep that room for it.

        While PostgreSQL does not answer there is none: what would be popped could not be claimed, and another worker may.
        """
        if time.monotonic() - self._heard > 2 * self._runtime.settings.lease_seconds / BEATS_A_LEASE:
            time.sleep(within)
            return False
        return self._room.acquire(timeout=within)

    def forgo_room(self) -> None:
        """Called on RQ's thread: nothing was popped for the room that was kept."""
        self._room.release()

    def take(self, job_id: UUID, fence: int) -> None:
        """Called on RQ's thread: run the job on the event loop, in the room that was kept for it."""
        self._loop.call_soon_threadsafe(self._carry, job_id, fence)

    def _carry(self, job_id: UUID, fence: int) -> None:
        held = Held(job_id, fence)
        if held in self._tasks:  # pushed twice
            self._room.release()
            return
        task = asyncio.create_task(self._run(held))
        self._tasks[held] = task
        task.add_done_callback(lambda _: self._set_down(held))

    def _set_down(self, held: Held) -> None:
        self._tasks.pop(held, None)
        self._claimed.pop(held, None)
        self._room.release()

    async def _run(self, held: Held) -> None:
        asked = time.monotonic()
        try:
            job = await runner.claim(self._runtime, job_id=held.job_id, fence=held.fence, worker=self.name)
            if job is not None:
                self._claimed[held] = asked
                await runner.run(self._runtime, job, draining=self._draining)
                self._moved.set()
        except asyncio.CancelledError:
            log.warning("job.abandoned", job_id=str(held.job_id))
        except Exception:
            # The database is away: the lease lapses, and the job goes on from its checkpoint.
            log.exception("job.unrecorded", job_id=str(held.job_id))

    async def _follow_up_forever(self) -> None:
        """React to jobs that ended, and fill their room; those that end meanwhile are followed up together."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            await self._runtime.react()
            await self._runtime.admit(self._lane)

    async def _wake_forever(self) -> None:
        while True:
            await asyncio.sleep(WAKE_SECONDS)
            try:
                await self._wake()
            except Exception as error:  # noqa: BLE001 -- the database may be away; in a minute it is tried again
                log.warning("worker.wake_failed", error=str(error))

    async def _wake(self, *, starting: bool = False) -> None:
        """Give jobs that wait for another release to this one; the clock admits those of other lanes."""
        async with self._runtime.database.system_across_accounts() as session:
            woken = await sweeps.wake_for_release(session, starting=starting)
        if woken:
            await self._runtime.announce_all(woken)
            await self._runtime.admit(self._lane)

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(self._runtime.settings.lease_seconds / BEATS_A_LEASE)
            try:
                await self._beat()
            except Exception as error:  # noqa: BLE001 -- the next beat may succeed; until then the leases run on
                log.warning("worker.heartbeat_failed", error=str(error))

    async def _watch_forever(self) -> None:
        """Stop what this worker could not keep, for it was frozen or cut off: by now it may be another worker's.

        Beside the heartbeats, since one of those may wait for an answer that never comes.
        """
        lease = self._runtime.settings.lease_seconds
        while True:
            await asyncio.sleep(lease / BEATS_A_LEASE / 2)
            for held, asked in self._claimed.items():
                if time.monotonic() - asked > lease:
                    self._tasks[held].cancel()

    async def _beat(self) -> None:
        asked = time.monotonic()
        claimed = set(self._claimed)
        async with self._runtime.database.system_across_accounts() as session:
            if not self._draining.is_set():
                await leases.register(session, worker=self.name, lane=self._lane, capacity=self._capacity)
            kept = await leases.extend(session, worker=self.name, held=claimed, lease=self._runtime.settings.lease)
        self._heard = asked
        self._claimed |= {held: asked for held in kept if held in self._claimed}
        missing = (claimed - kept.keys()) & self._claimed.keys()
        # A job that ended just now is missing once. One that is still missing at the next beat was taken away.
        for held in missing & self._missing:
            log.warning("job.taken_away", job_id=str(held.job_id))
            self._tasks[held].cancel()
        self._missing = missing

    async def _deregister(self) -> None:
        """From here on nothing is admitted for this worker."""
        try:
            async with self._runtime.database.system_across_accounts() as session:
                await leases.deregister(session, worker=self.name)
        except Exception as error:  # noqa: BLE001 -- the database is away; without heartbeats the row means nothing soon
            log.warning("worker.deregister_failed", error=str(error))


class Popper(SimpleWorker):
    """RQ's loop on a thread: it pops from one queue and lets the LaneWorker carry what it finds."""

    # RQ would double its pause up to a minute, and for so long after an outage find nothing.
    max_connection_wait_time = 1.0

    def __init__(self, worker: LaneWorker, *, lane: Lane, redis_url: str) -> None:
        # A response that never comes must not hold the thread for ever; five seconds more than the longest blocking pop.
        connection = Redis.from_url(redis_url, socket_connect_timeout=2, socket_timeout=POP_SECONDS + 5)
        queue = Queue(queue_name(lane), connection=connection, serializer=JSONSerializer)
        super().__init__(
            [queue],
            name=worker.name,
            connection=connection,
            serializer=JSONSerializer,
            log_job_description=False,
            prepare_for_work=False,  # it would ask Redis, which may be away; the loop begins when it is there
        )
        self.hostname, self.pid = socket.gethostname(), os.getpid()
        self._worker = worker

    def pop_until_stopped(self) -> None:
        """The thread's body. RQ leaves its loop when Redis fails it; then it starts over, for as long as nobody stops it."""
        while not self._stop_requested:
            try:
                self.work(logging_level="WARNING")
            except (RedisError, OSError) as error:
                log.warning("worker.redis_away", error=str(error))
            if not self._stop_requested:
                time.sleep(1)

    def stop(self) -> None:
        """Stop popping, at the latest after POP_SECONDS."""
        self._stop_requested = True

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Carried, Queue] | None:
        """Pop what can start at once, and no more: another worker may have room for it."""
        while not self._worker.has_room(within=POP_SECONDS):
            self.heartbeat()
        result = None
        try:
            result = super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        finally:
            if result is None:
                self._worker.forgo_room()
        return result

    def execute_job(self, job: Carried, queue: Queue) -> None:
        """Hand the job over, and let Redis forget it: from here on its lease in PostgreSQL vouches for it."""
        try:
            held = _read(job)
            with self.connection.pipeline() as pipeline:
                pipeline.lrem(IntermediateQueue.get_intermediate_queue_key(queue.key), 1, job.id)
                pipeline.delete(job.key)
                pipeline.execute()
            if held is None:
                log.warning("worker.foreign_job", rq_job=job.id)
                self._worker.forgo_room()
            else:
                self._worker.take(held.job_id, held.fence)
        except BaseException:
            self._worker.forgo_room()
            raise

    @property
    def dequeue_timeout(self) -> int:
        """Seconds of one blocking pop."""
        return POP_SECONDS

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """RQ calls this between two pops, the one place to leave its inner loop."""
        if self._stop_requested:
            raise StopRequested
        super().heartbeat(timeout, pipeline)

    def register_birth(self) -> None:
        """Start over under the same name, also where Redis could not be told of the end: RQ would refuse."""
        self.connection.delete(self.key)
        super().register_birth()  # type: ignore[no-untyped-call]  # RQ leaves it untyped

    def _install_signal_handlers(self) -> None:
        """The event loop has them."""

    def subscribe(self) -> None:
        """Commands by pub/sub (stop this job, kill that horse) are the lifecycle's business."""

    def procline(self, message: str) -> None:
        """The process keeps its name."""

    def run_maintenance_tasks(self) -> None:
        """The sweeps do it; RQ's own would queue a job twice."""


def _read(job: Carried) -> Held | None:
    """What an RQ job carries; None for one that somebody else put into the queue."""
    try:
        job_id, fence = job.args
        return Held(UUID(job_id), int(fence))
    except (DeserializationError, AttributeError, TypeError, ValueError):
        return None
