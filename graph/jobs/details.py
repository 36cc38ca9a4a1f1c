"""What a dashboard shows of a job once it is opened."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import strawberry

from db.models import jobs as models
from domain import ids
from domain.files import store
from domain.jobs import queries
from domain.unit import Unit
from graph.about import about, resolved
from graph.context import Info
from graph.enums import LogLevel, StatusGroup
from graph.files import File
from graph.node import global_id

RECENT = 10


async def recent_log(unit: Unit, job_ids: list[UUID]) -> Sequence[list[models.JobLog]]:
    """The newest lines of each job."""
    return await queries.recent_log(unit, job_ids, lines=RECENT)


@strawberry.type(description="A line about one thing that a job met: a row it skipped, a conflict it decided.")
class JobLogLine:
    id: strawberry.ID = global_id("log")
    at: datetime = about("UTC.")
    level: LogLevel = about("How much it matters.")
    code: str = about("Stable, such as GHL-021.")
    message: str = about("What happened.")
    subject: str | None = about("The vendor's id of the thing, or ours.")
    field: str | None = about("The field that it was about.")


@strawberry.type
class JobDetails:
    """The fields of Job that a dashboard shows."""

    @resolved("The dashboard's tab that it is in.")
    def status_group(root: strawberry.Parent[models.Job]) -> StatusGroup:
        """Follows from its state and whether it is paused."""
        return queries.group_of(root.state, paused=root.paused_at is not None)

    @resolved("Seconds from its first start to its end, or until now; null before it started.")
    def duration_seconds(root: strawberry.Parent[models.Job]) -> float | None:
        """With all that it waited between."""
        if root.started_at is None:
            return None
        return ((root.finished_at or datetime.now(UTC)) - root.started_at).total_seconds()

    @resolved("Seconds for which workers have had it, all attempts together.", float)
    async def execution_seconds(root: strawberry.Parent[models.Job], info: Info) -> float:
        """Gathered for all jobs of the answer."""
        spent: timedelta = await info.context.loader(queries.execution_times).load(root.id)
        return spent.total_seconds()

    @resolved(f"The newest {RECENT} lines of its log, newest first.", list[JobLogLine] | None)
    async def recent_log(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Gathered for all jobs of the answer."""
        return await info.context.loader(recent_log).load(root.id)

    @resolved("The file that it made; null where it makes none, has not ended, or the file has expired.", File | None)
    async def file(root: strawberry.Parent[models.Job], info: Info) -> Any:
        """Null as well for who may not see all that is in it."""
        return await file_of(info, root)


async def file_of(info: Info, job: models.Job) -> Any:
    """The file that a job made, if the reader may see it."""
    name = (job.result or {}).get("file")
    found = ids.decode(name) if isinstance(name, str) else None
    return None if found is None or found[0] != "file" else await info.context.loader(store.by_ids).load(found[1])
