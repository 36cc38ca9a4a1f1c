"""What a job was asked for, for those kinds that have a noun of their own."""

from typing import Any
from uuid import UUID

from db.models.jobs import Job
from domain.actor import Scope
from domain.crm.contacts import queries as contacts
from domain.crm.contacts.sync import SyncContacts
from domain.jobs.export import Export, ExportJobs
from domain.workflows import queries as workflows
from domain.workflows.runs import RunWorkflow
from graph.context import Info


async def subject_of(info: Info, job: Job) -> Any:
    """The row behind a job; None where there is none, or its reader may not see it."""
    if job.kind == RunWorkflow.kind and Scope.WORKFLOWS_READ in info.context.actor.scopes:
        return await info.context.loader(workflows.runs_by_jobs).load(job.id)
    if job.kind == ExportJobs.kind:
        return Export(job.id, job)
    run_id = job.args.get("run_id") if job.kind == SyncContacts.kind else None
    if not isinstance(run_id, str):
        return None
    return await info.context.loader(contacts.runs_by_ids).load(UUID(run_id))
