"""Whether a job that ended can be run again as it stands, and what has to be decided first."""

import sqlalchemy as sa

from db.models.jobs import TERMINAL, Job, JobState
from db.models.tenancy import Account
from domain.jobs import args as job_args
from domain.jobs import items
from domain.jobs.args import UnknownKind, UnreadableArgs
from domain.jobs.options import NothingFailed, PayloadDamaged, SubjectChanged, Suspended, TooOld
from domain.unit import Unit


async def require_retryable(unit: Unit, job: Job, *, only_failed: bool, accept_changes: bool) -> bool:
    """Whether the job has to start from the beginning, since what it works on was changed and that is accepted.

    Raises NotRecoverable: TooOld, PayloadDamaged, Suspended, NothingFailed, SubjectChanged, SubjectGone.
    """
    if job.expired_at is not None:
        raise TooOld(
            f"This job is too old: what it was asked for was dropped on {job.expired_at:%Y-%m-%d}, as retention has it. "
            "Ask for the work again."
        )
    if not job_args.is_intact(job.args, job.args_digest):
        raise PayloadDamaged("The job's stored arguments are damaged; it cannot be run again. Ask for the work again.")
    if (await unit.session.execute(sa.select(Account.suspended_at))).scalar_one() is not None:
        raise Suspended("The account is suspended. Renew its subscription; then retry.")
    if only_failed and not (await items.tally(unit, job_id=job.id)).failed:
        raise NothingFailed("This job has no failed items.")
    return await _accepts(unit, job, accept_changes=accept_changes)


async def _accepts(unit: Unit, job: Job, *, accept_changes: bool) -> bool:
    if job.state not in TERMINAL or job.state is JobState.CANCELLED:
        return False
    try:
        args = job_args.read(job.kind, job.args)
    except (UnknownKind, UnreadableArgs):
        return False  # of another release, whose worker sees to it
    changes = await args.changes(unit, job)
    if changes and not accept_changes:
        raise SubjectChanged(f"It was changed since the job ended: {'; '.join(changes)}.", changes=changes)
    if changes:
        await args.accept(unit, job)
    return bool(changes)
