"""What a job was asked for, for those kinds that have a noun of their own."""

from typing import Any
from uuid import UUID

from db.models.jobs import Job
from domain.crm.contacts import queries
from domain.crm.contacts.sync import SyncContacts
from graph.context import Info


async def subject_of(info: Info, job: Job) -> Any:
    """The row behind a job, or None."""
    run_id = job.args.get("run_id") if job.kind == SyncContacts.kind else None
    if not isinstance(run_id, str):
        return None
    return await info.context.loader(queries.runs_by_ids).load(UUID(run_id))
