"""A queue of jobs and what people do to it, through GraphQL."""

from typing import Any

from db.models.jobs import Job
from domain import actor as actors
from domain.jobs import commands
from domain.jobs.args import JobArgs
from graph import ids
from tests.factories.engine import Scripted
from tests.factories.house import House
from tests.factories.people import Person

_JOB = "id title state version priority isBoosted queuePosition pausedAt"
_PAYLOAD = f"{{ job {{ {_JOB} }} notice warnings affectedJobs {{ id title }} userErrors {{ code message field }} }}"
BOOST = f"mutation ($input: BoostJobInput!) {{ boostJob(input: $input) {_PAYLOAD} }}"
PRIORITY = f"mutation ($input: SetJobPriorityInput!) {{ setJobPriority(input: $input) {_PAYLOAD} }}"
PAUSE = f"mutation ($input: PauseJobInput!) {{ pauseJob(input: $input) {_PAYLOAD} }}"
RESUME = f"mutation ($input: ResumeJobInput!) {{ resumeJob(input: $input) {_PAYLOAD} }}"
CANCEL = f"mutation ($input: CancelJobInput!) {{ cancelJob(input: $input) {_PAYLOAD} }}"
DEPEND = f"mutation ($input: AddJobDependencyInput!) {{ addJobDependency(input: $input) {_PAYLOAD} }}"
FREE = f"mutation ($input: RemoveJobDependencyInput!) {{ removeJobDependency(input: $input) {_PAYLOAD} }}"
RETRY = f"mutation ($input: RetryJobInput!) {{ retryJob(input: $input) {{ job {{ {_JOB} }} userErrors {{ code message }} }} }}"
QUEUE = f"""query ($kind: String) {{ jobQueue(kind: $kind) {{ isAllPaused
  waiting(first: 100) {{ totalCount nodes {{ {_JOB} }} }} paused(first: 100) {{ totalCount nodes {{ {_JOB} }} }} }} }}"""
SETTINGS = """query ($kind: String!) { jobSettings(kinds: [$kind]) {
  kind title lane priority maxRetries timeoutSeconds slots decided setBy version defaults { priority maxRetries } } }"""
UPDATE_SETTINGS = """mutation ($input: UpdateJobSettingsInput!) { updateJobSettings(input: $input) {
  settings { priority maxRetries timeoutSeconds slots decided setBy version } userErrors { code message field } } }"""
SLOTS = "{ accountSlots { slots inUse version } }"
UPDATE_SLOTS = """mutation ($input: UpdateAccountSlotsInput!) { updateAccountSlots(input: $input) {
  accountSlots { slots inUse version } userErrors { code field } } }"""
AUDIT = """query ($id: ID) { auditLog(subjectId: $id, first: 50) { nodes { action actorName subjectType details } } }"""
JOB = (
    f"query ($id: ID!) {{ job(id: $id) {{ {_JOB} dependsOn {{ policy job {{ id }} }} dependents {{ policy job {{ id }} }} }} }}"
)


async def ask_for(house: House, person: Person, title: str, args: JobArgs | None = None, **options: Any) -> str:
    """The id of a new job of the person's account. Where no worker is, it stays in the queue."""
    async with house.runtime.unit(actors.system(person.account_id)) as unit:
        job: Job = (await commands.enqueue(unit, args or Scripted(), title=title, **options)).job
    return ids.encode("job", job.id)


async def act(person: Person, document: str, **given: Any) -> dict[str, Any]:
    """The payload of a mutation with one input."""
    (payload,) = (await person.ask(document, input=given)).values()
    assert isinstance(payload, dict)
    return payload


async def done(person: Person, document: str, **given: Any) -> dict[str, Any]:
    """The same, where nothing may go wrong."""
    payload = await act(person, document, **given)
    assert payload["userErrors"] == [], payload["userErrors"]
    return payload


async def queue_of(person: Person, **variables: Any) -> dict[str, Any]:
    """What waits and what is paused."""
    queue: dict[str, Any] = (await person.ask(QUEUE, **variables))["jobQueue"]
    return queue


async def titles(person: Person, part: str = "waiting") -> list[str]:
    """The titles of the jobs that wait, or are paused, in their order."""
    return [job["title"] for job in (await queue_of(person))[part]["nodes"]]


async def job_of(person: Person, job_id: str) -> dict[str, Any]:
    """A job with its place and what it depends on."""
    job: dict[str, Any] = (await person.ask(JOB, id=job_id))["job"]
    return job


async def settings_of(person: Person, kind: str) -> dict[str, Any]:
    """What future jobs of a kind are given."""
    (settings,) = (await person.ask(SETTINGS, kind=kind))["jobSettings"]
    assert isinstance(settings, dict)
    return settings


async def let_run(person: Person, slots: int) -> None:
    """Let so many jobs of the account run at once."""
    version = (await person.ask(SLOTS))["accountSlots"]["version"]
    await done(person, UPDATE_SLOTS, slots=slots, expectedVersion=version)


async def audited(person: Person, job_id: str | None = None) -> list[dict[str, Any]]:
    """The audit log of a job or of the account, oldest entry first."""
    nodes: list[dict[str, Any]] = (await person.ask(AUDIT, id=job_id))["auditLog"]["nodes"]
    return nodes[::-1]
