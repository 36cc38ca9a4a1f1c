"""What people do about a job that did not do what it was asked for."""

from typing import Annotated, Any

import strawberry

from domain.jobs import commands, effects, queries
from domain.jobs.options import NotRecoverable
from domain.recovery import archive, attention, notes
from graph import ids
from graph.about import about, optional, shown
from graph.context import Info
from graph.enums import RecoveryOption
from graph.jobs.history import JobNote
from graph.jobs.types import Job, JobPayload
from graph.user_errors import Payload, UserError, builds, mutation

_KEY = "Made by the client: the same key does it once, however often it is sent."


@strawberry.type(description="The job cannot be retried as it stands.")
class JobNotRecoverableError(UserError):
    recovery_options: list[RecoveryOption] = about("What can be done instead, or before; the first thing first.")
    changes: list[str] = about("What was changed since the job ended, a sentence each; retry with `acceptChanges` to go by it.")


@builds(NotRecoverable)
def _not_recoverable(error: NotRecoverable, base: dict[str, Any]) -> UserError:
    return JobNotRecoverableError(**base, recovery_options=list(error.options), changes=error.changes)


@strawberry.input(description="A job to run again.")
class RetryJobInput:
    id: strawberry.ID = about("The job.")
    only_failed: bool = strawberry.field(
        default=False, description="Insist that it has failed items, and that only those are done. Done ones never are again."
    )
    accept_changes: bool = strawberry.field(
        default=False, description="Go by what was changed since it ended, from the beginning; else changes are an error."
    )
    idempotency_key: str | None = optional(_KEY)


@strawberry.input(description="A job about which somebody of the account has to do something.")
class MarkJobRequiresActionInput:
    id: strawberry.ID = about("The job.")
    note: str = about("What has to be done: the customer reads it. 1 to 5,000 characters of plain text.")
    idempotency_key: str | None = optional(_KEY)


@strawberry.input(description="A note about a job.")
class AddJobNoteInput:
    id: strawberry.ID = about("The job.")
    note: str = about("1 to 5,000 characters of plain text.")
    internal: bool = strawberry.field(default=False, description="Only support may write it, and only support sees it.")
    idempotency_key: str | None = optional(_KEY)


@strawberry.input(description="A job.")
class JobInput:
    id: strawberry.ID = about("The job.")


@strawberry.input(description="What a person found out about an effect that is UNKNOWN.")
class SettleJobEffectInput:
    id: strawberry.ID = about("The job.")
    key: str = about("The effect's.")
    happened: bool = about("Whether it happened. If not, a retry of the job does it.")
    vendor_id: str | None = optional("What the outside system calls it, where it happened.")


@strawberry.type(description="The note that was written, or why there is none.")
class AddJobNotePayload(Payload):
    note: JobNote | None = optional("The note.")
    job: Job | None = optional("Its job.")


JobArgument = Annotated[JobInput, strawberry.argument(description="Which job.")]


@strawberry.type
class JobRecoveryMutation:
    @mutation(
        "Run an ended job again from its last checkpoint, or one that waits at once. Its attempts stay on record. "
        "Needs jobs:write."
    )
    async def retry_job(
        self, info: Info, input: Annotated[RetryJobInput, strawberry.argument(description="Which job, and how.")]
    ) -> JobPayload:
        async with info.context.unit() as unit:
            job = await commands.retry(
                unit,
                job_id=ids.read("job", input.id, field="id"),
                only_failed=input.only_failed,
                accept_changes=input.accept_changes,
                idempotency_key=input.idempotency_key,
            )
        return JobPayload(job=shown(job))

    @mutation(
        "Say that the customer has to do something about a job, and what; the account's people are told. "
        "For support, owners and admins."
    )
    async def mark_job_requires_action(
        self, info: Info, input: Annotated[MarkJobRequiresActionInput, strawberry.argument(description="Which job, and what.")]
    ) -> JobPayload:
        async with info.context.unit() as unit:
            job = await attention.require_action(
                unit,
                job_id=ids.read("job", input.id, field="id"),
                note=input.note,
                idempotency_key=input.idempotency_key,
            )
        return JobPayload(job=shown(job))

    @mutation("Say that nothing has to be done about a job any more. For support, owners and admins.")
    async def resolve_job(self, info: Info, input: JobArgument) -> JobPayload:
        async with info.context.unit() as unit:
            job = await attention.resolve(unit, job_id=ids.read("job", input.id, field="id"))
        return JobPayload(job=shown(job))

    @mutation("Take back that a job was resolved: it stands as before. For support, owners and admins.")
    async def undo_job_resolution(self, info: Info, input: JobArgument) -> JobPayload:
        async with info.context.unit() as unit:
            job = await attention.undo_resolution(unit, job_id=ids.read("job", input.id, field="id"))
        return JobPayload(job=shown(job))

    @mutation("Write a note about a job. The account's people are told of what support writes. Needs jobs:write.")
    async def add_job_note(
        self, info: Info, input: Annotated[AddJobNoteInput, strawberry.argument(description="Which job, and what.")]
    ) -> AddJobNotePayload:
        async with info.context.unit() as unit:
            note = await notes.add(
                unit,
                job_id=ids.read("job", input.id, field="id"),
                body=input.note,
                internal=input.internal,
                idempotency_key=input.idempotency_key,
            )
            job = await queries.get(unit, note.job_id)
        return AddJobNotePayload(note=shown(note), job=shown(job))

    @mutation("Leave an ended job out of lists; nothing of it is lost. Needs jobs:write.")
    async def archive_job(self, info: Info, input: JobArgument) -> JobPayload:
        async with info.context.unit() as unit:
            job = await archive.archive(unit, job_id=ids.read("job", input.id, field="id"))
        return JobPayload(job=shown(job))

    @mutation("Show an archived job in lists again. Needs jobs:write.")
    async def unarchive_job(self, info: Info, input: JobArgument) -> JobPayload:
        async with info.context.unit() as unit:
            job = await archive.unarchive(unit, job_id=ids.read("job", input.id, field="id"))
        return JobPayload(job=shown(job))

    @mutation("Say whether an effect that is UNKNOWN happened; then retry the job. For support, owners and admins.")
    async def settle_job_effect(
        self,
        info: Info,
        input: Annotated[SettleJobEffectInput, strawberry.argument(description="Which effect, and what of it.")],
    ) -> JobPayload:
        job_id = ids.read("job", input.id, field="id")
        async with info.context.unit() as unit:
            attention.require_manager(unit)
            await effects.settle(unit, job_id=job_id, key=input.key, happened=input.happened, vendor_id=input.vendor_id)
            job = await queries.get(unit, job_id)
        return JobPayload(job=shown(job))
