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

from db.models.jobs import AttemptOutcome, Attention, Job, JobState
from domain import actor as actors
from domain import tracing
from domain.errors import DomainError, VendorFailed, VendorUnauthorized
from domain.jobs import args as job_args
from domain.jobs import leases, retry
from domain.jobs.leases import Held
from domain.jobs.lifecycle import NOW, AttemptEnd
from domain.jobs.options import SUSPENSION, PayloadDamaged, Suspended
from domain.jobs.retry import Verdict
from domain.jobs.running import CancelRequested, Done, HandBack, Later, LeaseLost, Running, WaitFor
from domain.recovery import attention
from domain.runtime import Runtime
from domain.unit import Unit
from jobs.handlers import handler_of

FAULT = "API-100"  # a fault of ours, not of the vendor or the input
_CANCELLED = "Cancelled; what was done until then is kept."
_UNSTORABLE = "The job ended, but its outcome could not be stored."
_DETAIL = re.compile(r"(?m)^DETAIL:.*$")
_MAX_TRACE = 20_000
_MAX_MESSAGE = 2_000

STARTED = Histogram(
    "bots_job_queue_seconds", "From ready to started", ["kind"], buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
)
RAN = Histogram(
    "bots_job_run_seconds", "An attempt's duration", ["kind", "outcome"], buckets=(0.01, 0.1, 1, 10, 30, 60, 300, 1000, 3600)
)
RETRIED = Counter("bots_job_retries", "Attempts that another one follows", ["kind"])
FENCED = Counter("bots_job_fenced_total", "Attempts whose lease went to another worker", ["kind"])
_FAILURES = frozenset({JobState.FAILED, JobState.BACKOFF})

log = structlog.get_logger(__name__)


class TimedOut(DomainError):
    """The job's own deadline passed; it wins over retries."""

    code = retry.TIMED_OUT


async def claim(runtime: Runtime, *, job_id: UUID, fence: int, worker: str) -> Job | None:
    """Start an attempt; None when this push came twice or too late."""
    async with runtime.database.system_across_accounts() as session:
        job = await leases.claim(session, job_id=job_id, fence=fence, worker=worker, lease=runtime.settings.lease)
    if job is not None:
        await runtime.announce(job)
        STARTED.labels(job.kind).observe(max(0.0, (datetime.now(UTC) - job.run_at).total_seconds()))
    return job


async def run(runtime: Runtime, job: Job, *, draining: asyncio.Event) -> None:
    """Run a claimed job to its outcome. Never raises for what a handler does; only for a database that is away."""
    structlog.contextvars.bind_contextvars(job_id=str(job.id), kind=job.kind, attempt=job.attempt, request_id=job.request_id)
    with tracing.span(f"job {job.kind}", kind="consumer", parent=job.traceparent) as span:
        if (trace_id := tracing.trace_id()) is not None:
            structlog.contextvars.bind_contextvars(trace_id=trace_id)
        span.set({"job.id": str(job.id), "job.kind": job.kind, "job.attempt": job.attempt, "bots.request_id": job.request_id})
        moved = await _measured(runtime, job, draining)
        span.set({"job.outcome": "fenced" if moved is None else moved.state.value})
        if moved is not None and moved.state in _FAILURES:
            span.fail(moved.error_code or moved.state.value)


async def _measured(runtime: Runtime, job: Job, draining: asyncio.Event) -> Job | None:
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
    if outcome == JobState.BACKOFF:
        RETRIED.labels(job.kind).inc()
    return moved


async def _run(runtime: Runtime, job: Job, draining: asyncio.Event) -> Job | None:
    try:
        done = await _handle(runtime, job, draining)
    except CancelRequested:
        return await _cancelled(runtime, job)
    except HandBack:
        return await _handed_back(runtime, job)
    except (WaitFor, Later) as pause:
        return await _put_off(runtime, job, pause)
    except asyncio.CancelledError as error:
        if _is_stopped() and not draining.is_set():
            raise  # it was taken away
        return await (_handed_back(runtime, job) if _is_stopped() else _failed(runtime, job, error))
    except LeaseLost:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- whatever a handler raises becomes the attempt's outcome
        return await _failed(runtime, job, error)
    return await _ended_well(runtime, job, done)


async def _ended_well(runtime: Runtime, job: Job, done: Done) -> Job | None:
    values: dict[str, Any] = {"message": done.message, "result": dict(done.result), "error_code": None, "error_message": None}
    if done.partial:
        return await _release(runtime, job, JobState.PARTIAL, AttemptEnd(AttemptOutcome.PARTIAL), values)
    if job.attention is Attention.REQUIRES_ACTION:
        values |= {"attention": Attention.RESOLVED, "required_action": True, "attention_at": NOW}
    return await _release(runtime, job, JobState.SUCCEEDED, AttemptEnd(AttemptOutcome.SUCCEEDED), values)


def _is_stopped() -> bool:
    """Whether somebody cancelled this task; else a cancellation is the handler's own, or of what it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _handle(runtime: Runtime, job: Job, draining: asyncio.Event) -> Done:
    if not job_args.is_intact(job.args, job.args_digest):
        raise PayloadDamaged("The job's stored arguments are not those that were asked for.")
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


async def _failed(runtime: Runtime, job: Job, error: BaseException) -> Job | None:
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
    if verdict.outlived:
        message = f"The job's {job.timeout_seconds} s end before its next attempt. The last one failed: {end.error_message}"
        values = {"error_code": retry.TIMED_OUT, "error_message": message, "message": message}
    if verdict.costs_retry:
        values["failures"] = job.failures + 1
    if isinstance(error, VendorUnauthorized):
        values["waiting_for"] = error.waiting_for
    if isinstance(error, Suspended):
        values["waiting_for"] = SUSPENSION
    if isinstance(error, job_args.UnknownKind | job_args.UnreadableArgs):
        values["waiting_for"] = job_args.waits_for_release(job.kind)
    return await _release(runtime, job, verdict.state, end, values)


def _said(error: BaseException) -> str:
    """What people may read of it. Of a fault of ours the first line: further ones of a database error quote rows."""
    if isinstance(error, DomainError):
        return error.message[:_MAX_MESSAGE]
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:_MAX_MESSAGE]


def _judge(job: Job, error: BaseException) -> Verdict:
    verdict = retry.judge(error, failures=job.failures, max_retries=job.max_retries)
    if verdict.delay is not None and verdict.delay >= _seconds_left(job):
        return Verdict(JobState.FAILED, AttemptOutcome.FAILED, costs_retry=verdict.costs_retry, outlived=True)
    return verdict


TIMED_OUT = Verdict(JobState.FAILED, AttemptOutcome.FAILED)


async def _cancelled(runtime: Runtime, job: Job) -> Job | None:
    return await _release(runtime, job, JobState.CANCELLED, AttemptEnd(AttemptOutcome.CANCELLED), {"message": _CANCELLED})


async def _handed_back(runtime: Runtime, job: Job) -> Job | None:
    return await _release(runtime, job, JobState.READY, AttemptEnd(AttemptOutcome.HANDED_BACK), {})


async def _put_off(runtime: Runtime, job: Job, pause: WaitFor | Later) -> Job | None:
    values = {"message": pause.message, "deadline_at": None, "error_code": None, "error_message": None}
    if isinstance(pause, WaitFor):
        values["waiting_for"] = pause.key
        return await _release(runtime, job, JobState.WAITING, AttemptEnd(AttemptOutcome.WAITING), values)
    end = AttemptEnd(AttemptOutcome.SNOOZED, next_delay=pause.seconds)
    return await _release(runtime, job, JobState.SCHEDULED, end, values)


async def _release(runtime: Runtime, job: Job, to: JobState, end: AttemptEnd, values: dict[str, Any]) -> Job | None:
    """Patient while the database is away for less than a lease, which the heartbeats prolong as soon as it is back."""
    for _ in range(int(runtime.settings.lease_seconds)):
        try:
            return await _release_once(runtime, job, to, end, values)
        except leases.Unstorable as error:
            log.warning("job.unstorable", state=to.value, error=str(error))
            failed = AttemptEnd(AttemptOutcome.FAILED, "Unstorable", FAULT, _UNSTORABLE)
            said = {"error_code": FAULT, "error_message": _UNSTORABLE, "message": _UNSTORABLE}
            return await _release(runtime, job, JobState.FAILED, failed, said)
        except Exception as error:  # noqa: BLE001 -- drivers say in many ways that a server is away
            log.warning("job.release_failed", error=str(error))
            await asyncio.sleep(1)
    return await _release_once(runtime, job, to, end, values)


async def _release_once(runtime: Runtime, job: Job, to: JobState, end: AttemptEnd, values: dict[str, Any]) -> Job | None:
    held = Held(job.id, job.fence)
    async with runtime.database.account(job.account_id) as session:
        moved = await leases.release(session, held=held, to=to, end=end, values=values)
        if moved is not None and values.get("attention") is Attention.RESOLVED:
            attention.record_success(Unit(session, actors.system(job.account_id, request_id=job.request_id)), job_id=job.id)
        if moved is None:  # it is being cancelled, and then does not go back into the queue; or the lease is lost
            cancelled = AttemptEnd(AttemptOutcome.CANCELLED)
            moved = await leases.release(session, held=held, to=JobState.CANCELLED, end=cancelled, values={})
        return moved


def _seconds_left(job: Job) -> float:
    return float("inf") if job.deadline_at is None else (job.deadline_at - datetime.now(UTC)).total_seconds()
