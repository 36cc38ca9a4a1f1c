"""Putting jobs away that nobody wants to look at any more, and taking them out again."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from db.models.jobs import TERMINAL, Job
from domain.actor import Scope
from domain.errors import Conflict, NotFound
from domain.jobs.catalog import is_visible
from domain.jobs.lifecycle import amend
from domain.unit import Unit


class NotArchivable(Conflict):
    """Only a job that has ended can be archived."""

    code = "BGJ-032"


async def archive(unit: Unit, *, job_id: UUID) -> Job:
    """Leave an ended job out of lists; twice is harmless. Raises Forbidden, NotFound, NotArchivable."""
    return (await archive_all(unit, job_ids=[job_id]))[0]


async def archive_all(unit: Unit, *, job_ids: Sequence[UUID]) -> list[Job]:
    """The same for some jobs, all or none of them, in the order of their ids."""
    jobs = await _locked(unit, job_ids)
    alive = [job for job in jobs if job.state not in TERMINAL]
    if alive:
        raise NotArchivable(f"{alive[0].title} has not ended; cancel it first.")
    return await _put(unit, jobs, away=True)


async def unarchive(unit: Unit, *, job_id: UUID) -> Job:
    """Show an archived job in lists again; twice is harmless. Raises Forbidden, NotFound."""
    return (await _put(unit, await _locked(unit, [job_id]), away=False))[0]


async def _locked(unit: Unit, job_ids: Sequence[UUID]) -> list[Job]:
    unit.require(Scope.JOBS_WRITE)
    query = sa.select(Job).where(Job.id.in_(job_ids)).order_by(Job.id).with_for_update()
    jobs = [job for job in await unit.session.scalars(query) if is_visible(unit, job.kind)]
    if len(jobs) < len(set(job_ids)):
        raise NotFound("There is no such job.")
    return jobs


async def _put(unit: Unit, jobs: list[Job], *, away: bool) -> list[Job]:
    concerned = [job.id for job in jobs if (job.archived_at is not None) != away]
    if concerned:
        await amend(unit.session, concerned, {"archived_at": sa.func.now() if away else None})
    for job_id in concerned:
        unit.audit("job.archive" if away else "job.unarchive", subject_type="job", subject_id=job_id)
        unit.changed("job", job_id)
    return jobs
