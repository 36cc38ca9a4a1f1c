"""The jobs of a list as a file."""

from typing import Annotated, Any

import strawberry

from db.models import jobs as models
from domain.jobs import export
from domain.jobs.queries import JobFilter
from graph.about import about, optional, resolved, shown
from graph.context import Info
from graph.files import File
from graph.jobs.details import file_of
from graph.jobs.lists import JobFilterInput
from graph.jobs.types import Job
from graph.user_errors import Payload, mutation


@strawberry.input(description="Which jobs to export.")
class ExportJobsInput:
    filter: JobFilterInput | None = optional("As in `jobs`; all but archived ones where it is not given.")
    idempotency_key: str | None = optional("The same key leads to the same export again, for two days.")


@strawberry.type(description="An export of jobs as CSV, with all that is known of each, and headers in the first line.")
class JobExport:
    job: Job = about("The job that writes it. Watch it with jobUpdated, and ask there for its `file`.")

    @resolved("The file once the job has succeeded; kept for a week.", File | None)
    async def file(root: strawberry.Parent[Any], info: Info) -> Any:
        """Null until then."""
        job: models.Job = root.job
        return await file_of(info, job)


@strawberry.type(description="What came of the wish to export jobs.")
class ExportJobsPayload(Payload):
    export: JobExport | None = optional("The export; null when nothing is done.")


@strawberry.type
class JobExportsMutation:
    @mutation("Write all jobs that fit a filter, newest first, into a CSV file. Needs jobs:read.")
    async def export_jobs(
        self, info: Info, input: Annotated[ExportJobsInput, strawberry.argument(description="Which jobs.")]
    ) -> ExportJobsPayload:
        wanted = JobFilter() if input.filter is None else input.filter.to_domain()
        async with info.context.unit() as unit:
            job = await export.start(unit, wanted=wanted, idempotency_key=input.idempotency_key)
        return ExportJobsPayload(export=JobExport(job=shown(job)))
