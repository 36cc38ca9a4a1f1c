"""The thread between support and the customer about a job."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from db.base import any_of
from db.models.notifications import NotificationEvent
from db.models.recovery import JobNote
from db.models.tenancy import ActorType
from domain.actor import Actor, Scope
from domain.errors import Forbidden, Invalid, NotFound
from domain.jobs import queries
from domain.notifications import notices
from domain.notifications.jobs import job_path
from domain.paging import Order, Page, Window, paginate
from domain.tenancy import idempotency
from domain.unit import Unit

MAX_LENGTH = 5_000
OLDEST = Order((JobNote.id,))


async def add(unit: Unit, *, job_id: UUID, body: str, internal: bool = False, idempotency_key: str | None = None) -> JobNote:
    """Write a note about a job. What support writes is told to the account's people, unless it is internal.

    Support belongs to another account, where nothing of this one can be written: it finds what the customer wrote by
    `JobFilter.awaits_reply`.

    Raises Forbidden, NotFound, Invalid, KeyReused.
    """
    unit.require(Scope.JOBS_WRITE)
    given = {"job": job_id, "body": body, "internal": internal}
    replayed = await idempotency.replay(unit, key=idempotency_key, operation="addJobNote", given=given)
    if replayed is not None:
        return (await unit.session.scalars(sa.select(JobNote).where(JobNote.id == replayed))).one()
    job = await queries.get(unit, job_id)
    if job is None:
        raise NotFound("There is no such job.")
    note = await write(unit, job_id=job_id, body=body, internal=internal)
    unit.audit("job.note", subject_type="job", subject_id=job_id, note=str(note.id), internal=internal)
    if unit.actor.type is ActorType.SUPPORT and not internal:
        event = NotificationEvent.NOTE_ADDED
        heading = f"Support wrote about {job.title}"
        await notices.notify(unit, event=event, title=heading, body=note.body, job_id=job_id, path=job_path(job_id))
    await idempotency.remember(unit, key=idempotency_key, subject_id=note.id)
    return note


async def write(unit: Unit, *, job_id: UUID, body: str, internal: bool) -> JobNote:
    """Write a note down, without telling anybody. Raises Forbidden, Invalid."""
    if internal and not sees_internal(unit.actor):
        raise Forbidden("Only support writes notes that the customer does not see.")
    text = body.strip()
    if not 1 <= len(text) <= MAX_LENGTH or "\x00" in text:
        raise Invalid(f"A note has 1 to {MAX_LENGTH:,} characters.", field=("note",))
    row = sa.insert(JobNote).values(
        account_id=unit.account_id,
        job_id=job_id,
        author_type=unit.actor.type,
        author_id=unit.actor.id,
        author_name=unit.actor.name,
        body=text,
        internal=internal,
    )
    note = (await unit.session.scalars(row.returning(JobNote))).one()
    unit.changed("job", job_id)
    return note


async def notes_page(unit: Unit, *, job_id: UUID, window: Window) -> Page[JobNote]:
    """A job's notes, oldest first, internal ones for support only. Raises Forbidden."""
    unit.require(Scope.JOBS_READ)
    query = sa.select(JobNote).where(JobNote.account_id == unit.account_id, JobNote.job_id == job_id)
    query = query if sees_internal(unit.actor) else query.where(JobNote.internal.is_(False))
    return await paginate(unit.session, query, order=OLDEST, window=window)


async def last_authors(unit: Unit, job_ids: Sequence[UUID]) -> list[ActorType | None]:
    """Who had the last word about each of some jobs, internal notes left out. Raises Forbidden."""
    unit.require(Scope.JOBS_READ)
    mine = (JobNote.account_id == unit.account_id, JobNote.internal.is_(False), any_of(JobNote.job_id, job_ids))
    query = sa.select(JobNote.job_id, JobNote.author_type).where(*mine)
    query = query.ext(distinct_on(JobNote.job_id)).order_by(JobNote.job_id, JobNote.id.desc())
    found = dict((await unit.session.execute(query)).all())
    return [found.get(job_id) for job_id in job_ids]


def sees_internal(actor: Actor) -> bool:
    """Whether notes that the customer does not see are shown."""
    return actor.type is ActorType.SUPPORT
