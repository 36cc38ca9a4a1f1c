"""Claim, handler, outcome: what happens to one job that was carried to this worker."""

import asyncio
import re
import traceback
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from db.models.jobs import AttemptOutcome, Job, JobState
from domain.errors import DomainError, VendorFailed, VendorUnauthorized
from domain.jobs import args as job_args
from domain.jobs import leases, retry
from domain.jobs.admission import LEASE
from domain.jobs.leases import Held
from domain.jobs.lifecycle import AttemptEnd
from domain.jobs.retry import Verdict
from domain.jobs.running import CancelRequested, Done, HandBack, LeaseLost, Running
from domain.runtime import Runtime
from jobs.handlers import handler_of

FAULT = "API-100"  # a fault of ours, not of the vendor or the input
_CANCELLED = "Cancelled; what was done until then is kept."
_DETAIL = re.compile(r"(?m)^DETAIL:.*$")
_MAX_TRACE = 20_000
_MAX_MESSAGE = 2_000

STARTED = Histogram(
    "bots_job_queue_seconds", "From ready to started", ["kind"], buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
)
RAN = Histogram(
    "bots_job_run_seconds", "An attempt's duration", ["kind", "outcome"], buckets=(0.01, 0.1, 1, 10, 30, 60, 300, 1000, 3600)
)
FENCED = Counter("bots_job_fenced_total", "Attempts whose lease went to another worker", ["kind"])

log = structlog.get_logger(__name__)


class TimedOut(DomainError):
    """The job's own deadline passed; it wins over retries."""

    code = retry.TIMED_OUT


async def claim(runtime: Runtime, *, job_id: UUID, fence: int, worker: str) -> Job | None:
    """Start an attempt; None when this push came twice or too late."""
    async with runtime.database.system_across_accounts() as session:
        job = await leases.claim(session, job_id=job_id, fence=fence, worker=worker)
    if job is not None:
        await runtime.announce(job)
        STARTED.labels(job.kind).observe(
            max(0.0, (datetime.now(UTC) - job.created_at).total_seconds()) if job.attempt == 1 else 0
        )
    return job


async def run(runtime: Runtime, job: Job, *, draining: asyncio.Event) -> None:
    """Run a claimed job to its outcome. Never raises for what a handler does; only for a database that is away."""
    structlog.contextvars.bind_contextvars(job_id=str(job.id), kind=job.kind, attempt=job.attempt, request_id=job.request_id)
    started = perf_counter()
    outcome = "fenced"
    try:
        moved = await _run(runtime, job, draining)
        outcome = moved.state.value if moved is not None else outcome
    except LeaseLost:
        moved = None
    if moved is None:
        FENCED.labels(job.kind).inc()
        log.warning("job.fenced")
    else:
        log.info("job.ended", state=moved.state.value, seconds=round(perf_counter() - started, 3), message=moved.message)
        await runtime.announce(moved)
    RAN.labels(job.kind, outcome).observe(perf_counter() - started)


async def _run(runtime: Runtime, job: Job, draining: asyncio.Event) -> Job | None:
    try:
        done = await _handle(runtime, job, draining)
    except CancelRequested:
        return await _cancelled(runtime, job)
    except HandBack:
        return await _handed_back(runtime, job)
    except asyncio.CancelledError:
        if not draining.is_set():
            raise  # it was taken away
        return await _handed_back(runtime, job)
    except LeaseLost:
        raise
    except Exception as error:  # noqa: BLE001 -- whatever a handler raises becomes the attempt's outcome
        return await _failed(runtime, job, error)
    state = JobState.PARTIAL if done.partial else JobState.SUCCEEDED
    values = {"message": done.message, "result": dict(done.result), "error_code": None, "error_message": None}
    end = AttemptEnd(AttemptOutcome.PARTIAL if done.partial else AttemptOutcome.SUCCEEDED)
    return await _release(runtime, job, state, end, values)


async def _handle(runtime: Runtime, job: Job, draining: asyncio.Event) -> Done:
    args = job_args.read(job.kind, job.args)
    handler = handler_of(args)
    if handler is None:
        raise job_args.UnknownKind(f"This release has no handler for {job.kind}.")
    running: Running[Any] = Running(job, args, open_unit=runtime.unit, draining=draining)
    deadline = asyncio.timeout(_seconds_left(job))
    try:
        async with deadline:
            return await handler(running, runtime)
    except TimeoutError:
        if not deadline.expired():
            raise  # the handler's own
        raise TimedOut(f"The job took longer than its {job.timeout_seconds} s.") from None


async def _failed(runtime: Runtime, job: Job, error: Exception) -> Job | None:
    verdict = TIMED_OUT if isinstance(error, TimedOut) else _judge(job, error)
    if not isinstance(error, DomainError):
        log.error("job.fault", exc_info=error)
    code = error.code if isinstance(error, DomainError) else FAULT
    if verdict.outcome is AttemptOutcome.SNOOZED:
        code = retry.RATE_LIMITED
    end = AttemptEnd(
        verdict.outcome,
        error_class=type(error).__name__,
        error_code=code,
        error_message=_said(error),
        http_status=error.status if isinstance(error, VendorFailed) else None,
        stack_trace=_DETAIL.sub("DETAIL: [hidden]", "".join(traceback.format_exception(error)))[-_MAX_TRACE:],
        next_delay=verdict.delay,
    )
    values: dict[str, Any] = {"error_code": code, "error_message": end.error_message, "message": end.error_message}
    if verdict.costs_retry:
        values["failures"] = job.failures + 1
    if isinstance(error, VendorUnauthorized):
        values["waiting_for"] = error.waiting_for
    if isinstance(error, job_args.UnknownKind | job_args.UnreadableArgs):
        values["waiting_for"] = job_args.waits_for_release(job.kind)
    return await _release(runtime, job, verdict.state, end, values)


def _said(error: Exception) -> str:
    """What people may read of it. Of a fault of ours the first line: further ones of a database error quote rows."""
    if isinstance(error, DomainError):
        return error.message[:_MAX_MESSAGE]
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:_MAX_MESSAGE]


def _judge(job: Job, error: Exception) -> Verdict:
    verdict = retry.judge(error, failures=job.failures, max_retries=job.max_retries)
    if verdict.delay is not None and verdict.delay >= _seconds_left(job):
        return Verdict(JobState.FAILED, AttemptOutcome.FAILED, costs_retry=verdict.costs_retry)
    return verdict


TIMED_OUT = Verdict(JobState.FAILED, AttemptOutcome.FAILED)


async def _cancelled(runtime: Runtime, job: Job) -> Job | None:
    return await _release(runtime, job, JobState.CANCELLED, AttemptEnd(AttemptOutcome.CANCELLED), {"message": _CANCELLED})


async def _handed_back(runtime: Runtime, job: Job) -> Job | None:
    return await _release(runtime, job, JobState.READY, AttemptEnd(AttemptOutcome.HANDED_BACK), {})


async def _release(runtime: Runtime, job: Job, to: JobState, end: AttemptEnd, values: dict[str, Any]) -> Job | None:
    """Patient while the database is away for less than a lease, which the heartbeats prolong as soon as it is back."""
    for _ in range(int(LEASE.total_seconds())):
        try:
            return await _release_once(runtime, job, to, end, values)
        except Exception as error:  # noqa: BLE001 -- drivers say in many ways that a server is away
            log.warning("job.release_failed", error=str(error))
            await asyncio.sleep(1)
    return await _release_once(runtime, job, to, end, values)


async def _release_once(runtime: Runtime, job: Job, to: JobState, end: AttemptEnd, values: dict[str, Any]) -> Job | None:
    held = Held(job.id, job.fence)
    async with runtime.database.account(job.account_id) as session:
        moved = await leases.release(session, held=held, to=to, end=end, values=values)
        if moved is None:  # it is being cancelled, and then does not go back into the queue; or the lease is lost
            cancelled = AttemptEnd(AttemptOutcome.CANCELLED)
            moved = await leases.release(session, held=held, to=JobState.CANCELLED, end=cancelled, values={})
        return moved


def _seconds_left(job: Job) -> float:
    return float("inf") if job.deadline_at is None else (job.deadline_at - datetime.now(UTC)).total_seconds()
