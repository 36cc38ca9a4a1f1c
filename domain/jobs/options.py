"""What can be done about a job that did not do what it was asked for, and the refusals that say so."""

from collections.abc import Sequence
from enum import StrEnum

from db.models.jobs import Job, JobState
from domain.errors import Conflict
from domain.jobs.args import is_intact

SUSPENSION = "account:suspended"
"""What jobs of a suspended account wait for the end of."""


class RecoveryOption(StrEnum):
    """A way on. The first one of a job's is the one to offer first."""

    RETRY = "retry"
    RETRY_FAILED = "retry_failed"
    REAUTHORIZE = "reauthorize"
    ACCEPT_CHANGES = "accept_changes"
    SETTLE_EFFECT = "settle_effect"
    RENEW = "renew"
    ASK_AGAIN = "ask_again"
    CONTACT_SUPPORT = "contact_support"
    ARCHIVE = "archive"


O = RecoveryOption  # noqa: E741 -- it stands for each option below
_LOST = (O.ASK_AGAIN, O.CONTACT_SUPPORT, O.ARCHIVE)


class NotRecoverable(Conflict):
    """The job cannot be retried as it stands: `options` are what can be done, `changes` what was changed since it failed."""

    options: tuple[RecoveryOption, ...] = (O.CONTACT_SUPPORT,)

    def __init__(self, message: str, *, changes: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.changes = list(changes)


class TooOld(NotRecoverable):
    """Retention has dropped what the job was asked for and how far it was."""

    code = "BGJ-022"
    options = (O.ASK_AGAIN, O.ARCHIVE)


class PayloadDamaged(NotRecoverable):
    """The stored arguments are not those that were asked for."""

    code = "BGJ-023"
    options = _LOST


class Suspended(NotRecoverable):
    """The account is suspended: its jobs wait until its subscription is renewed."""

    code = "BGJ-024"
    options = (O.RENEW, O.CONTACT_SUPPORT)


class SubjectChanged(NotRecoverable):
    """What the job works on was changed since it failed."""

    code = "BGJ-025"
    options = (O.ACCEPT_CHANGES, O.ASK_AGAIN, O.ARCHIVE)


class SubjectGone(NotRecoverable):
    """What the job works on is not there any more."""

    code = "BGJ-026"
    options = (O.REAUTHORIZE, O.ASK_AGAIN, O.ARCHIVE)


class NothingFailed(NotRecoverable):
    """The job has no failed items that could be retried alone."""

    code = "BGJ-027"
    options = (O.RETRY, O.ARCHIVE)


def options_of(job: Job) -> tuple[RecoveryOption, ...]:
    """What can be done about a job that failed, waits or did a part; empty where nothing needs to be."""
    if job.state in {JobState.FAILED, JobState.PARTIAL, JobState.CANCELLED}:
        return _of_ended(job)
    if job.state is JobState.BACKOFF:
        return (O.RETRY,)
    if job.state is JobState.WAITING:
        return _of_waiting(job)
    return ()


def _of_ended(job: Job) -> tuple[RecoveryOption, ...]:
    if job.expired_at is not None:
        return TooOld.options
    if not is_intact(job.args, job.args_digest):
        return PayloadDamaged.options
    if job.state is JobState.PARTIAL:
        return (O.RETRY_FAILED, O.CONTACT_SUPPORT, O.ARCHIVE)
    if job.state is JobState.CANCELLED:
        return (O.RETRY, O.ARCHIVE)
    if job.error_code in _NEEDS:
        return (_NEEDS[job.error_code], O.RETRY, O.CONTACT_SUPPORT, O.ARCHIVE)
    return (O.RETRY, O.CONTACT_SUPPORT, O.ARCHIVE)


def _of_waiting(job: Job) -> tuple[RecoveryOption, ...]:
    if job.waiting_for == SUSPENSION:
        return Suspended.options
    if job.error_code in _NEEDS:
        return (_NEEDS[job.error_code], O.RETRY, O.CONTACT_SUPPORT)
    return (O.RETRY, O.CONTACT_SUPPORT)


# By the code of the failure: what comes before a retry.
_NEEDS = {"GHL-001": O.REAUTHORIZE, "GHL-002": O.REAUTHORIZE, "API-014": O.REAUTHORIZE, "BGJ-028": O.SETTLE_EFFECT}
