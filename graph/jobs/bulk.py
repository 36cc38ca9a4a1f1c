"""One change for many jobs."""

from typing import Annotated, Any

import strawberry

from domain.jobs import bulk
from domain.jobs.bulk import BulkAction, CountChanged, Selection
from graph import ids
from graph.about import about, optional, shown
from graph.context import Info
from graph.jobs.lists import JobFilterInput
from graph.jobs.types import Job
from graph.user_errors import Payload, UserError, builds, mutation


@strawberry.type(description="Another number of jobs fits the filter now than the client was shown; nothing was done.")
class CountChangedError(UserError):
    actual: int = about("How many fit now: show them, and send this as `expectedCount`.")


@builds(CountChanged)
def _count_changed(error: CountChanged, base: dict[str, Any]) -> UserError:
    return CountChangedError(**base, actual=error.actual)


@strawberry.input(description="Which jobs to change: give either `ids` or `filter`.")
class ChangeJobsInput:
    ids: list[strawberry.ID] | None = optional("These, up to 1,000.")
    filter: JobFilterInput | None = optional(
        "All that fit now, as in `jobs`, up to 100,000; jobs that come to fit it later are left alone."
    )
    expected_count: int | None = optional("How many jobs the client was shown; needed with `filter`.")
    idempotency_key: str | None = optional("The same key leads to the same job again, for two days.")

    def selection(self) -> Selection:
        """Raises Invalid."""
        given = None if self.ids is None else [ids.read("job", text, field="ids") for text in self.ids]
        return Selection(ids=given, wanted=None if self.filter is None else self.filter.to_domain())


@strawberry.type(description="What came of the wish to change many jobs.")
class ChangeJobsPayload(Payload):
    job: Job | None = optional(
        "The job that does it; its result has `matched`, `changed` and `unchanged`. Null when nothing is done."
    )


Which = Annotated[ChangeJobsInput, strawberry.argument(description="Which jobs.")]


@strawberry.type
class BulkJobsMutation:
    @mutation("Cancel many jobs; those that have ended are left as they are. Needs jobs:write.")
    async def cancel_jobs(self, info: Info, input: Which) -> ChangeJobsPayload:
        return await _start(info, BulkAction.CANCEL, input)

    @mutation(
        "Run many jobs again, each from its last checkpoint; those that cannot be are left as they are. Needs jobs:write."
    )
    async def retry_jobs(self, info: Info, input: Which) -> ChangeJobsPayload:
        return await _start(info, BulkAction.RETRY, input)

    @mutation("Pause many jobs; each keeps its place in the queue. Needs jobs:write.")
    async def pause_jobs(self, info: Info, input: Which) -> ChangeJobsPayload:
        return await _start(info, BulkAction.PAUSE, input)

    @mutation("Let many paused jobs go on. Needs jobs:write.")
    async def resume_jobs(self, info: Info, input: Which) -> ChangeJobsPayload:
        return await _start(info, BulkAction.RESUME, input)

    @mutation("Take many ended jobs off the lists; nothing is deleted. Needs jobs:write.")
    async def archive_jobs(self, info: Info, input: Which) -> ChangeJobsPayload:
        return await _start(info, BulkAction.ARCHIVE, input)


async def _start(info: Info, action: BulkAction, given: ChangeJobsInput) -> ChangeJobsPayload:
    async with info.context.unit() as unit:
        job = await bulk.start(
            unit,
            action,
            selection=given.selection(),
            expected_count=given.expected_count,
            idempotency_key=given.idempotency_key,
        )
    return ChangeJobsPayload(job=shown(job))
