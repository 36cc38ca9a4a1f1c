"""Stopping a job."""

from typing import Annotated

import strawberry

from domain.jobs import commands, dependencies
from graph import ids
from graph.about import about, shown
from graph.context import Info
from graph.jobs.types import JobPayload, warnings
from graph.user_errors import mutation


@strawberry.input(description="A job to cancel.")
class CancelJobInput:
    id: strawberry.ID = about("The job.")


@strawberry.type
class JobsMutation:
    @mutation("Cancel a job: at once where it has not started, else at its next checkpoint. Needs jobs:write.")
    async def cancel_job(
        self, info: Info, input: Annotated[CancelJobInput, strawberry.argument(description="Which job.")]
    ) -> JobPayload:
        job_id = ids.read("job", input.id, field="id")
        async with info.context.unit() as unit:
            skipped = await dependencies.downstream(unit, [job_id], needing_success=True)
            cancelled = await commands.cancel(unit, job_id=job_id)
        notice = None if cancelled.is_new else "It is cancelled already, or about to be."
        return JobPayload(
            job=shown(cancelled.job),
            notice=notice,
            warnings=warnings(skipped, "will be skipped"),
            affected_jobs=shown(skipped),
        )
