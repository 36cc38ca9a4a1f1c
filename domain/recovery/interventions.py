"""What people did to a job: read from the audit log, which every such command writes to."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from db.models.tenancy import AuditLog
from domain.actor import Scope
from domain.unit import Unit

SHOWN = 100


async def interventions_of(unit: Unit, job_ids: Sequence[UUID]) -> list[list[AuditLog]]:
    """What was done to some jobs, in the jobs' order: of each the newest 100, oldest first. Raises Forbidden."""
    unit.require(Scope.LOGS_READ)
    place = sa.func.row_number().over(partition_by=AuditLog.subject_id, order_by=AuditLog.id.desc())
    about = sa.and_(AuditLog.account_id == unit.account_id, AuditLog.subject_id.in_(job_ids), AuditLog.subject_type == "job")
    ranked = sa.select(AuditLog.id, place.label("place")).where(about).subquery()
    query = sa.select(AuditLog).join(ranked, ranked.c.id == AuditLog.id).where(ranked.c.place <= SHOWN)
    found: dict[UUID | None, list[AuditLog]] = {job_id: [] for job_id in job_ids}
    for entry in await unit.session.scalars(query.order_by(AuditLog.id)):
        found[entry.subject_id].append(entry)
    return [found[job_id] for job_id in job_ids]
