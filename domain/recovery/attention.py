"""What support and the customer agree on about a job that did not do what it was asked for."""

from uuid import UUID

import sqlalchemy as sa

from db.models.jobs import Attention, Job, JobState
from db.models.notifications import NotificationEvent
from db.models.tenancy import ActorType, Role
from domain.actor import Scope
from domain.errors import Conflict, Forbidden
from domain.jobs.lifecycle import amend
from domain.jobs.queue import lock
from domain.notifications import notices
from domain.notifications.jobs import job_path
from domain.recovery import notes
from domain.tenancy import idempotency
from domain.unit import Unit

_MANAGERS = frozenset({Role.OWNER, Role.ADMIN})
_NEEDS_NOBODY = frozenset({JobState.SUCCEEDED, JobState.SKIPPED})


class NothingToDo(Conflict):
    """The job did what it was asked for: there is nothing that somebody would have to do about it."""

    code = "BGJ-030"


class NotResolved(Conflict):
    """Only a resolution that was made can be undone."""

    code = "BGJ-031"


async def require_action(unit: Unit, *, job_id: UUID, note: str, idempotency_key: str | None = None) -> Job:
    """Say that somebody of the account has to do something about a job, and what; everybody else there is told.

    Support, owners and admins may. Raises Forbidden, NotFound, Invalid, NothingToDo, KeyReused.
    """
    require_manager(unit)
    given = {"job": job_id, "note": note}
    if await idempotency.replay(unit, key=idempotency_key, operation="markJobRequiresAction", given=given) is not None:
        return await lock(unit, job_id)
    job = await lock(unit, job_id)
    if job.state in _NEEDS_NOBODY:
        raise NothingToDo("This job did what it was asked for; nobody has to do anything about it.")
    written = await notes.write(unit, job_id=job_id, body=note, internal=False)
    job = await _set(unit, job, Attention.REQUIRES_ACTION, required_action=True)
    unit.audit("job.require_action", subject_type="job", subject_id=job_id, note=str(written.id))
    title = f"{job.title} needs you"
    event = NotificationEvent.REQUIRES_ACTION
    path, author = job_path(job_id), unit.actor.id
    await notices.notify(unit, event=event, title=title, body=written.body, job_id=job_id, path=path, not_to=author)
    await idempotency.remember(unit, key=idempotency_key, subject_id=job_id)
    return job


async def resolve(unit: Unit, *, job_id: UUID) -> Job:
    """Say that nothing has to be done about a job any more; resolving twice is harmless. Raises Forbidden, NotFound."""
    require_manager(unit)
    job = await lock(unit, job_id)
    if job.attention is Attention.RESOLVED:
        return job
    before = job.attention
    job = await _set(unit, job, Attention.RESOLVED, required_action=before is Attention.REQUIRES_ACTION)
    unit.audit("job.resolve", subject_type="job", subject_id=job_id, before=before)
    return job


async def undo_resolution(unit: Unit, *, job_id: UUID) -> Job:
    """Take a resolution back: the job stands as it did before it. Raises Forbidden, NotFound, NotResolved."""
    require_manager(unit)
    job = await lock(unit, job_id)
    if job.attention is not Attention.RESOLVED:
        raise NotResolved("This job is not marked as resolved.")
    after = Attention.REQUIRES_ACTION if job.required_action else None
    job = await _set(unit, job, after, required_action=job.required_action)
    unit.audit("job.undo_resolution", subject_type="job", subject_id=job_id, after=after)
    return job


def record_success(unit: Unit, *, job_id: UUID) -> None:
    """Put on record that a job needs nobody any more, since it has done what it was asked for."""
    before = Attention.REQUIRES_ACTION
    unit.audit("job.resolve", subject_type="job", subject_id=job_id, before=before, why="the job succeeded")


def require_manager(unit: Unit) -> None:
    """Raises Forbidden for whoever is neither support, let in by the account, nor an owner or admin of it."""
    unit.require(Scope.JOBS_WRITE)
    if unit.actor.type is not ActorType.SUPPORT and unit.actor.role not in _MANAGERS:
        raise Forbidden("Only support, owners and admins decide this.")


async def _set(unit: Unit, job: Job, attention: Attention | None, *, required_action: bool) -> Job:
    values = {"attention": attention, "required_action": required_action, "attention_at": sa.func.now()}
    (amended,) = await amend(unit.session, [job.id], values)
    unit.changed("job", job.id)
    return amended
