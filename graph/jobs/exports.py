"""The jobs of a list as a file."""

from typing import Annotated, Any

import strawberry

from domain.jobs import export
from domain.jobs.queries import JobFilter
from graph.about import about, optional, resolved, shown
from graph.context import Info
from graph.files import File
from graph.jobs.details import file_of
from graph.jobs.lists import JobFilterInput
from graph.jobs.types import Job
from graph.node import Node, global_id, loads, stands_for
from graph.user_errors import Payload, mutation


@strawberry.input(description="Which jobs to export.")
class ExportJobsInput:
    filter: JobFilterInput | None = optional("As in `jobs`; all but archived ones where it is not given.")
    idempotency_key: str | None = optional("The same key leads to the same export again, for two days.")


loads("exp", export.exports_by_ids)


@strawberry.type(description="An export of jobs as CSV, with all that is known of each, and headers in the first line.")
class JobExport(Node):
    id: strawberry.ID = global_id("exp")
    job: Job = about("The job that writes it. Watch it with jobUpdated, and ask there for its `file`.")

    is_type_of = stands_for(export.Export)

    @resolved("The file once the job has succeeded; kept for a week.", File | None)
    async def file(root: strawberry.Parent[export.Export], info: Info) -> Any:
        """Null until then."""
        return await file_of(info, root.job)


@strawberry.type(description="What came of the wish to export jobs.")
class ExportJobsPayload(Payload):
    export: JobExport | None = optional("The export; null when nothing is done.")
    job: Job | None = optional("The job that writes it; null when nothing is done.")


@strawberry.type
class JobExportsMutation:
    @mutation("Write all jobs that fit a filter, newest first, into a CSV file. Needs jobs:read.")
    async def export_jobs(
        self, info: Info, input: Annotated[ExportJobsInput, strawberry.argument(description="Which jobs.")]
    ) -> ExportJobsPayload:
        wanted = JobFilter() if input.filter is None else input.filter.to_domain()
        async with info.context.unit() as unit:
            job = await export.start(unit, wanted=wanted, idempotency_key=input.idempotency_key)
        return ExportJobsPayload(export=shown(export.Export(job.id, job)), job=shown(job))
