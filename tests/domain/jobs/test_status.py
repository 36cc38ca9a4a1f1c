"""How a job stands in words, and what can be done about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.models.jobs import Job, JobState
from domain.jobs.args import digest
from domain.jobs.options import SUSPENSION, RecoveryOption, options_of
from domain.jobs.status import is_permanently_failed, is_recoverable, status_text

NOW = datetime(2026, 1, 12, 9, tzinfo=UTC)
S, O = JobState, RecoveryOption  # noqa: E741 -- for each of the many below


def job(state: JobState, **values: Any) -> Job:
    """A job that is in no database."""
    args = {"run_id": "x"}
    fresh = {"attempt": 1, "failures": 0, "max_retries": 5, "done": 0, "args": args, "args_digest": digest(args), "run_at": NOW}
    return Job(state=state, **{**fresh, **values})


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (job(S.READY), "Queued"),
        (job(S.ADMITTED), "Queued"),
        (job(S.READY, failures=2), "Retrying (2/5) - starting"),
        (job(S.SCHEDULED, run_at=after(3 * 3600)), "Scheduled - starts in 3 hours"),
        (job(S.RUNNING), "In progress"),
        (job(S.RUNNING, done=45, total=100), "In progress - 45%"),
        (job(S.RUNNING, failures=1, done=101, total=100), "In progress - retry 1 of 5 - 100%"),
        (job(S.BACKOFF, failures=1, run_at=after(30)), "Retrying (1/5) - next attempt in 30 seconds"),
        (job(S.BACKOFF, failures=1, run_at=after(0.6)), "Retrying (1/5) - next attempt in 1 second"),
        (job(S.BACKOFF, failures=1, run_at=after(-9)), "Retrying (1/5) - next attempt in 0 seconds"),
        (job(S.BACKOFF, failures=3, run_at=after(120)), "Retrying (3/5) - next attempt in 2 minutes"),
        (job(S.BACKOFF, error_code="BGJ-003", run_at=after(17)), "Rate limited - next attempt in 17 seconds"),
        (job(S.BACKOFF, failures=1, paused_at=NOW), "Paused"),
        (job(S.WAITING, message="Connect again."), "Waiting - Connect again."),
        (job(S.CANCELLING), "Cancelling"),
        (job(S.SUCCEEDED), "Completed"),
        (job(S.SCHEDULED, started_at=NOW, run_at=after(3600)), "Waiting - goes on in 60 minutes"),
        (job(S.SUCCEEDED, attempt=3), "Completed"),  # it only gave way in between
        (job(S.SUCCEEDED, paused_at=NOW, finished_at=NOW), "Completed"),
        (job(S.PARTIAL, message="Two failed"), "Completed in part - Two failed"),
        (job(S.FAILED, failures=6), "Permanently failed - all 6 attempts failed"),
        (job(S.FAILED, failures=1, max_retries=0), "Permanently failed - its only attempt failed"),
        (job(S.FAILED, error_code="BGJ-001", failures=6), "Failed - timed out"),
        (job(S.FAILED, error_message="No such contact"), "Failed - No such contact"),
        (job(S.CANCELLED), "Cancelled"),
        (job(S.SKIPPED), "Skipped"),
        (job(S.BLOCKED), "Waits for other jobs"),
    ],
)
def test_every_state_has_its_words(given: Job, text: str) -> None:
    assert status_text(given, now=NOW) == text


def test_a_job_that_succeeded_late_says_how_many_attempts_it_took() -> None:
    done = job(S.SUCCEEDED, attempt=4)
    assert status_text(done, now=NOW, failed_attempts=2) == "Completed - 3 attempts required"


def test_no_state_is_without() -> None:
    assert all(status_text(job(state), now=NOW) for state in JobState)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (job(S.SUCCEEDED), ()),
        (job(S.RUNNING), ()),
        (job(S.BACKOFF), (O.RETRY,)),
        (job(S.FAILED), (O.RETRY, O.CONTACT_SUPPORT, O.ARCHIVE)),
        (job(S.FAILED, error_code="GHL-001"), (O.REAUTHORIZE, O.RETRY, O.CONTACT_SUPPORT, O.ARCHIVE)),
        (job(S.FAILED, error_code="BGJ-028"), (O.SETTLE_EFFECT, O.RETRY, O.CONTACT_SUPPORT, O.ARCHIVE)),
        (job(S.FAILED, expired_at=NOW, args={}, args_digest=None), (O.ASK_AGAIN, O.ARCHIVE)),
        (job(S.FAILED, args={"run_id": "y"}), (O.ASK_AGAIN, O.CONTACT_SUPPORT, O.ARCHIVE)),
        (job(S.PARTIAL), (O.RETRY_FAILED, O.CONTACT_SUPPORT, O.ARCHIVE)),
        (job(S.CANCELLED), (O.RETRY, O.ARCHIVE)),
        (job(S.WAITING, error_code="GHL-001"), (O.REAUTHORIZE, O.RETRY, O.CONTACT_SUPPORT)),
        (job(S.WAITING, waiting_for=SUSPENSION), (O.RENEW, O.CONTACT_SUPPORT)),
        (job(S.WAITING), (O.RETRY, O.CONTACT_SUPPORT)),
    ],
)
def test_what_can_be_done_follows_from_how_it_failed(given: Job, options: tuple[RecoveryOption, ...]) -> None:
    assert options_of(given) == options
    assert is_recoverable(given) is bool({O.RETRY, O.RETRY_FAILED} & set(options))


def test_permanently_failed_means_that_no_retry_is_left() -> None:
    assert is_permanently_failed(job(S.FAILED, failures=6))
    assert not is_permanently_failed(job(S.FAILED, failures=5))  # refused, with a retry unspent
    assert not is_permanently_failed(job(S.SUCCEEDED, failures=6))
