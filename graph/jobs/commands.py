"""Stopping a job, and running it again."""

from typing import Annotated

import strawberry

from domain.jobs import commands
from graph import ids
from graph.about import about, shown
from graph.context import Info
from graph.jobs.types import JobPayload
from graph.user_errors import mutation


@strawberry.input(description="A job to cancel.")
class CancelJobInput:
    id: strawberry.ID = about("The job.")


@strawberry.input(description="A job to run again.")
class RetryJobInput:
    id: strawberry.ID = about("The job.")


@strawberry.type
class JobsMutation:
    @mutation("Cancel a job: at once where it has not started, else at its next checkpoint. Needs jobs:write.")
    async def cancel_job(
        self, info: Info, input: Annotated[CancelJobInput, strawberry.argument(description="Which job.")]
    ) -> JobPayload:
        async with info.context.unit() as unit:
            job = await commands.cancel(unit, job_id=ids.read("job", input.id, field="id"))
        return JobPayload(job=shown(job))

    @mutation("Run an ended job again from its last checkpoint, or a waiting one at once. Needs jobs:write.")
    async def retry_job(
        self, info: Info, input: Annotated[RetryJobInput, strawberry.argument(description="Which job.")]
    ) -> JobPayload:
        async with info.context.unit() as unit:
            job = await commands.retry(unit, job_id=ids.read("job", input.id, field="id"))
        return JobPayload(job=shown(job))
