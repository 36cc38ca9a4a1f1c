"""What a failed attempt leads to, decided by pure functions."""

from dataclasses import dataclass

from db.models.jobs import AttemptOutcome, JobState
from domain.errors import DomainError, VendorBusy, VendorDown, VendorFailed, VendorRefused, VendorUnauthorized
from domain.jobs.args import UnknownKind, UnreadableArgs
from domain.jobs.options import Suspended

FIRST_DELAY = 30.0
RATE_LIMITED = "BGJ-003"
TIMED_OUT = "BGJ-001"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state that follows, the attempt's outcome, and, for backoff, the delay in seconds.

    `outlived`: there would be another attempt, but the job's deadline comes first.
    """

    state: JobState
    outcome: AttemptOutcome
    delay: float | None = None
    costs_retry: bool = False
    outlived: bool = False


def delay_before(retry: int) -> float:
    """Seconds before the given retry, counted from 1: 30, 60, 120, 240, 480 ... that is 30 * 2^(n-1)."""
    if retry < 1:
        raise ValueError("retries are counted from 1")
    return FIRST_DELAY * 2.0 ** (retry - 1)


def judge(error: BaseException, *, failures: int, max_retries: int) -> Verdict:
    """What follows when an attempt ends with `error`, after `failures` attempts that already cost a retry.

    A rate limit snoozes for as long as the vendor says and costs nothing. A vendor's refusal, and any other error of the
    domain, is final: the same request would fail again. A vendor that is down, and a fault of ours, are tried again.
    """
    match error:
        case VendorBusy():
            return Verdict(JobState.BACKOFF, AttemptOutcome.SNOOZED, max(error.retry_after, 1.0))
        case VendorUnauthorized() | UnknownKind() | UnreadableArgs() | Suspended():
            return Verdict(JobState.WAITING, AttemptOutcome.WAITING)
        case VendorDown():
            return _again(failures, max_retries)
        case VendorRefused() | VendorFailed() | DomainError():
            return Verdict(JobState.FAILED, AttemptOutcome.FAILED)
        case _:
            return _again(failures, max_retries)


def lost(*, failures: int, max_retries: int) -> Verdict:
    """What follows when a worker falls silent: like a failure that is worth another attempt."""
    verdict = _again(failures, max_retries)
    return Verdict(verdict.state, AttemptOutcome.LOST, verdict.delay, costs_retry=True)


def _again(failures: int, max_retries: int) -> Verdict:
    if failures >= max_retries:
        return Verdict(JobState.FAILED, AttemptOutcome.FAILED, costs_retry=True)
    return Verdict(JobState.BACKOFF, AttemptOutcome.FAILED, delay_before(failures + 1), costs_retry=True)
