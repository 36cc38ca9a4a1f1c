"""How a job stands, in a few words for people."""

from collections.abc import Callable
from datetime import datetime

from db.models.jobs import Job, JobState
from domain.jobs.options import options_of
from domain.jobs.retry import RATE_LIMITED, TIMED_OUT

_MINUTE, _HOUR = 60, 3600


def status_text(job: Job, *, now: datetime, failed_attempts: int = 0) -> str:
    """Such as "Retrying (1/5) - next attempt in 30 seconds". `now` is UTC; the text is true for that moment.

    `failed_attempts` (see `queries.failed_attempts`) are told once it has succeeded.
    """
    if job.paused_at is not None and job.finished_at is None:
        return "Paused"
    if job.state is JobState.SUCCEEDED and failed_attempts:
        return f"Completed - {failed_attempts + 1} attempts required"
    return _TEXTS[job.state](job, now)


def is_permanently_failed(job: Job) -> bool:
    """Whether it failed and all of its retries are spent: it needs a person."""
    return job.state is JobState.FAILED and job.failures > job.max_retries


def is_recoverable(job: Job) -> bool:
    """Whether a retry can be asked for now, or as soon as what its options name has been done."""
    return any(option.value.startswith("retry") for option in options_of(job))


def _in_progress(job: Job, _: datetime) -> str:
    doing = "In progress" if not job.failures else f"In progress - retry {job.failures} of {job.max_retries}"
    return f"{doing} - {min(100, 100 * job.done // job.total)}%" if job.total else doing


def _ready(job: Job, _: datetime) -> str:
    return "Queued" if not job.failures else f"Retrying ({job.failures}/{job.max_retries}) - starting"


def _backoff(job: Job, now: datetime) -> str:
    when = f"next attempt in {_span((job.run_at - now).total_seconds())}"
    if job.error_code == RATE_LIMITED:
        return f"Rate limited - {when}"
    return f"Retrying ({job.failures}/{job.max_retries}) - {when}"


def _waiting(job: Job, _: datetime) -> str:
    return f"Waiting - {job.message}" if job.message else "Waiting"


def _scheduled(job: Job, now: datetime) -> str:
    doing = "Scheduled - starts" if job.started_at is None else "Waiting - goes on"
    return f"{doing} in {_span((job.run_at - now).total_seconds())}"


def _partial(job: Job, _: datetime) -> str:
    return f"Completed in part - {job.message}" if job.message else "Completed in part"


def _failed(job: Job, _: datetime) -> str:
    if job.error_code == TIMED_OUT:
        return "Failed - timed out"
    if is_permanently_failed(job):
        spent = f"all {job.failures} attempts failed" if job.failures > 1 else "its only attempt failed"
        return f"Permanently failed - {spent}"
    return f"Failed - {job.error_message}" if job.error_message else "Failed"


def _span(seconds: float) -> str:
    """Rounded to what a person wants to know of a countdown."""
    whole = max(0, round(seconds))
    if whole < 2 * _MINUTE:
        return f"{whole} second{'' if whole == 1 else 's'}"
    if whole < 2 * _HOUR:
        return f"{round(whole / _MINUTE)} minutes"
    return f"{round(whole / _HOUR)} hours"


_TEXTS: dict[JobState, Callable[[Job, datetime], str]] = {
    JobState.BLOCKED: lambda _job, _now: "Waits for other jobs",
    JobState.SCHEDULED: _scheduled,
    JobState.READY: _ready,
    JobState.ADMITTED: _ready,
    JobState.RUNNING: _in_progress,
    JobState.BACKOFF: _backoff,
    JobState.WAITING: _waiting,
    JobState.CANCELLING: lambda _job, _now: "Cancelling",
    JobState.SUCCEEDED: lambda _job, _now: "Completed",
    JobState.PARTIAL: _partial,
    JobState.FAILED: _failed,
    JobState.CANCELLED: lambda _job, _now: "Cancelled",
    JobState.SKIPPED: lambda _job, _now: "Skipped",
}
