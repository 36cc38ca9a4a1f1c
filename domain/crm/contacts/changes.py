"""What was changed about a sub-account since a sync of it ended, and what a retry makes of that."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from db.models.crm.connections import Connection, ConnectionStatus, Location, LocationStatus
from db.models.crm.syncs import SyncRun
from db.models.jobs import Job
from db.models.tenancy import AuditLog
from domain.jobs.options import SubjectGone
from domain.unit import Unit

_NAMES = {"direction": "the direction", "policy": "the conflict policy", "only_tags": "the tags"}


async def since(unit: Unit, job: Job, *, run_id: UUID) -> list[str]:
    """A sentence for each setting of the sub-account that differs from the run's and was changed after its job ended.

    Raises SubjectGone where the sub-account is not connected any more.
    """
    run, location = await _rows(unit, run_id)
    differing = [name for name in _NAMES if getattr(run, name) != getattr(location, name)]
    edit = await _last_edit(unit, location.id, after=job.finished_at) if differing else None
    if edit is None:  # the run was asked for with settings of its own
        return []
    by = f"{edit.actor_name} at {edit.at:%Y-%m-%d %H:%M} UTC"
    return [
        f"{_NAMES[name]} was {_text(getattr(run, name))}, now {_text(getattr(location, name))} ({by})" for name in differing
    ]


async def accept(unit: Unit, *, run_id: UUID) -> None:
    """Let the run have the sub-account's settings as they are now."""
    run, location = await _rows(unit, run_id)
    for name in _NAMES:
        setattr(run, name, getattr(location, name))
    await unit.session.flush()


async def _rows(unit: Unit, run_id: UUID) -> tuple[SyncRun, Location]:
    query = (
        sa.select(SyncRun, Location, Connection.status)
        .join(Location, Location.id == SyncRun.location_id)
        .join(Connection, Connection.id == Location.connection_id)
        .where(SyncRun.id == run_id)
    )
    row = (await unit.session.execute(query)).one_or_none()
    if row is None or row.status is ConnectionStatus.DISCONNECTED or row.Location.status is LocationStatus.REMOVED:
        raise SubjectGone("The sub-account is not connected any more. Connect its agency again; then retry.")
    return row.SyncRun, row.Location


async def _last_edit(unit: Unit, location_id: UUID, *, after: datetime | None) -> AuditLog | None:
    edits = sa.select(AuditLog).where(AuditLog.subject_id == location_id, AuditLog.action == "location.update")
    edits = edits if after is None else edits.where(AuditLog.at > after)
    return (await unit.session.scalars(edits.order_by(AuditLog.id.desc()).limit(1))).one_or_none()


def _text(value: Any) -> str:
    return (", ".join(value) or "all") if isinstance(value, list) else str(value).upper()
