"""Jobs that start after others: no child before its parents allow it, and none that waits for itself.

A child is BLOCKED until all its parents have ended. Whoever adds a dependency locks the parent's row against ending until the
unit has committed, so the parent's end either was seen then or comes after, and its reaction finds the child.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from db.base import any_of
from db.models.jobs import TERMINAL, Job, JobMove, JobState
from db.models.queues import DependencyPolicy, JobDependency
from domain.actor import Scope
from domain.errors import Conflict, Invalid, NotFound
from domain.jobs.catalog import hidden_kinds, is_visible, none_of, require_changeable
from domain.jobs.lifecycle import NOW, Transition, transition
from domain.unit import Unit

SKIPPED_MESSAGE = "Skipped: a job that it was to follow did not succeed."
SHOWN = 100
MAX_PARENTS = 100
_BATCH = 500
_BLOCKED = frozenset({JobState.BLOCKED})
_UNSTARTED = frozenset({JobState.BLOCKED, JobState.SCHEDULED, JobState.READY})
_IS_BLOCKED = sa.text("job.state = 'blocked'")

After = tuple[UUID, DependencyPolicy]


class DependencyCycle(Invalid):
    """The jobs would wait for each other."""

    code = "BGJ-053"


class ParentEnded(Conflict):
    """The parent has ended already, and not as the dependency asks."""

    code = "BGJ-054"


class AlreadyStarted(Conflict):
    """The job runs or has run: it cannot be made to wait."""

    code = "BGJ-056"


@dataclass(frozen=True, slots=True)
class Edge:
    """A job on the other side of a dependency."""

    job: Job
    policy: DependencyPolicy


@dataclass(frozen=True, slots=True)
class Removed:
    """The job as it is now, and whether it waited, or had waited, for the other one at all."""

    job: Job
    was_there: bool


async def hold_for(unit: Unit, *, job_id: UUID, after: Sequence[After]) -> list[Job]:
    """Let a BLOCKED job that this unit has just made wait for others; it moves on at once where they have all ended.

    Raises NotFound for a parent that is not the account's, Invalid for too many.
    """
    if len(after) > MAX_PARENTS:
        raise Invalid(f"A job waits for at most {MAX_PARENTS} others.")
    policies = dict(after)
    locked = sa.select(Job.id).where(any_of(Job.id, policies)).order_by(Job.id).with_for_update(read=True)
    if len((await unit.session.scalars(locked)).all()) < len(policies):
        raise NotFound("There is no such job to wait for.")
    unit.session.add_all(
        JobDependency(account_id=unit.account_id, job_id=job_id, parent_id=parent_id, policy=policy)
        for parent_id, policy in policies.items()
    )
    await unit.session.flush()
    return await _settle(unit.session, [job_id])


async def add(unit: Unit, *, job_id: UUID, parent_id: UUID, policy: DependencyPolicy) -> Job:
    """Let a job that has not started wait for another one. Adding the same again changes its policy.

    Raises Forbidden, NotFound, AlreadyStarted, ParentEnded, DependencyCycle.
    """
    unit.require(Scope.JOBS_WRITE)
    # One at a time in the account: of two edges that close a circle, the second one sees the first.
    key = sa.func.hashtextextended(f"job_dependency {unit.account_id}", 0)
    await unit.session.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
    both = sa.select(Job).where(any_of(Job.id, {job_id, parent_id})).order_by(Job.id).with_for_update()
    found = {job.id: job for job in await unit.session.scalars(both)}
    for each, field in ((job_id, "jobId"), (parent_id, "dependsOnId")):
        if each not in found or not is_visible(unit, found[each].kind):
            raise NotFound("There is no such job.", field=(field,))
    job, parent = found[job_id], found[parent_id]
    require_changeable(unit, job)
    if job.state not in _UNSTARTED:
        raise AlreadyStarted("Only a job that has not started yet can be made to wait.", field=("jobId",))
    if parent_id == job_id or parent_id in await _descendants(unit, [job_id]):
        raise DependencyCycle("The jobs would wait for each other.", field=("dependsOnId",))
    if parent.state in TERMINAL and policy is DependencyPolicy.SUCCEEDED and parent.state is not JobState.SUCCEEDED:
        raise ParentEnded("That job has ended without success.", field=("dependsOnId",))
    edge = JobDependency(account_id=unit.account_id, job_id=job_id, parent_id=parent_id, policy=policy)
    await unit.session.merge(edge)
    await unit.session.flush()
    if parent.state not in TERMINAL and job.state is not JobState.BLOCKED:
        (job,) = await transition(unit.session, Transition([job_id], frozenset({job.state}), JobState.BLOCKED))
    unit.audit("job.dependency.add", subject_type="job", subject_id=job_id, parent=str(parent_id), policy=policy)
    unit.changed("job", job_id)
    return job


async def remove(unit: Unit, *, job_id: UUID, parent_id: UUID) -> Removed:
    """Let a job wait for another one no longer; it goes on at once where it waits for nothing else.

    Raises Forbidden, NotFound.
    """
    unit.require(Scope.JOBS_WRITE)
    job = (await unit.session.scalars(sa.select(Job).where(Job.id == job_id).with_for_update())).one_or_none()
    if job is None or not is_visible(unit, job.kind):
        raise NotFound("There is no such job.", field=("jobId",))
    require_changeable(unit, job)
    edge = sa.delete(JobDependency).where(JobDependency.job_id == job_id, JobDependency.parent_id == parent_id)
    gone = await unit.session.scalars(edge.returning(JobDependency.job_id).execution_options(synchronize_session=False))
    if gone.one_or_none() is None:
        return Removed(job, was_there=False)
    (job,) = await _settle(unit.session, [job_id]) or (job,)
    unit.audit("job.dependency.remove", subject_type="job", subject_id=job_id, parent=str(parent_id), state=job.state)
    unit.changed("job", job_id)
    if job.state is JobState.READY and job.paused_at is None:
        unit.admit(job.lane)
    elif job.state is JobState.SKIPPED:
        unit.react()
    return Removed(job, was_there=True)


async def hold_again(unit: Unit, job: Job) -> Job:
    """A job that was made ready by hand goes back to wait for those of its parents that have not ended."""
    parents = sa.select(Job.id).join(JobDependency, JobDependency.parent_id == Job.id).where(JobDependency.job_id == job.id)
    still_open = parents.where(Job.state.not_in(TERMINAL)).order_by(Job.id).with_for_update(read=True, of=Job)
    if (await unit.session.scalars(still_open)).all():
        (job,) = await transition(unit.session, Transition([job.id], frozenset({JobState.READY}), JobState.BLOCKED))
    return job


async def release_children(session: AsyncSession, moves: Sequence[JobMove]) -> list[Job]:
    """The reaction to jobs' ends: what waited for them starts, or is skipped with all that follows it.

    Takes a session across accounts. The statements are constant in the number of jobs; each level of a cascade takes some.
    """
    ended = {move.job_id for move in moves if move.state in TERMINAL}
    accounts = {move.account_id for move in moves}
    moved: list[Job] = []
    while ended:
        settled = await _settle(session, _children(accounts, ended))
        ended = {job.id for job in settled if job.state in TERMINAL}
        moved += settled
    return moved


async def release_blocked(session: AsyncSession) -> list[Job]:
    """The clock's repair: blocked jobs whose parents have all ended, or are gone."""
    edge, parent = aliased(JobDependency), aliased(Job)
    parents = sa.select(1).where(edge.account_id == Job.account_id, edge.job_id == Job.id, parent.id == edge.parent_id)
    still_open = parents.where(parent.state.not_in(TERMINAL))
    refused = parents.where(_refuses(edge, parent))
    stuck = sa.select(Job.id).where(_IS_BLOCKED, sa.or_(~still_open.exists(), refused.exists()))
    return await _settle(session, (await session.scalars(stuck.limit(_BATCH))).all())


async def downstream(unit: Unit, job_ids: Collection[UUID], *, needing_success: bool = False) -> list[Job]:
    """Jobs that wait for one of `job_ids`, directly or not, in the order in which they were asked for; the first hundred.

    `needing_success`: only those that are skipped unless it succeeds.
    """
    waiting = await _descendants(unit, job_ids, needing_success=needing_success)
    if not waiting:
        return []
    blocked = (
        sa.select(Job)
        .where(any_of(Job.id, waiting), _IS_BLOCKED, none_of(hidden_kinds(unit.actor.scopes)))
        .order_by(Job.position)
        .limit(SHOWN)
    )
    return list((await unit.session.scalars(blocked)).all())


async def parents_of(unit: Unit, job_ids: Sequence[UUID]) -> list[list[Edge]]:
    """What each of `job_ids` waits, or has waited, for."""
    return await _edges(unit, job_ids, here=JobDependency.job_id, there=JobDependency.parent_id)


async def children_of(unit: Unit, job_ids: Sequence[UUID]) -> list[list[Edge]]:
    """What waits, or has waited, for each of `job_ids`; the first hundred."""
    return await _edges(unit, job_ids, here=JobDependency.parent_id, there=JobDependency.job_id)


async def _edges(unit: Unit, job_ids: Sequence[UUID], *, here: Any, there: Any) -> list[list[Edge]]:
    unit.require(Scope.JOBS_READ)
    rank = sa.func.row_number().over(partition_by=here, order_by=there).label("rank")
    ranked = sa.select(here.label("here"), there.label("there"), JobDependency.policy, rank).where(
        JobDependency.account_id == unit.account_id, any_of(here, job_ids)
    )
    edges = ranked.subquery()
    query = sa.select(edges.c.here, Job, edges.c.policy).join(Job, Job.id == edges.c.there).where(edges.c.rank <= SHOWN)
    query = query.where(none_of(hidden_kinds(unit.actor.scopes)))
    found: dict[UUID, list[Edge]] = {job_id: [] for job_id in job_ids}
    for job_id, job, policy in await unit.session.execute(query.order_by(Job.position)):
        found[job_id].append(Edge(job, policy))
    return [found[job_id] for job_id in job_ids]


async def _descendants(unit: Unit, job_ids: Collection[UUID], *, needing_success: bool = False) -> set[UUID]:
    mine = JobDependency.account_id == unit.account_id
    if needing_success:
        mine = sa.and_(mine, JobDependency.policy == DependencyPolicy.SUCCEEDED)
    below = sa.select(JobDependency.job_id).where(mine, any_of(JobDependency.parent_id, job_ids)).cte("below", recursive=True)
    below = below.union(sa.select(JobDependency.job_id).where(mine, JobDependency.parent_id == below.c.job_id))
    return set((await unit.session.scalars(sa.select(below.c.job_id))).all())


def _children(accounts: Collection[UUID], ended: Collection[UUID]) -> "sa.Select[UUID]":
    return sa.select(JobDependency.job_id).where(
        any_of(JobDependency.account_id, accounts), any_of(JobDependency.parent_id, ended)
    )


def _refuses(edge: Any, parent: Any) -> sa.ColumnElement[bool]:
    """A parent that ended otherwise than its child needs."""
    ended = sa.and_(parent.state.in_(TERMINAL), parent.state != JobState.SUCCEEDED)
    return sa.and_(edge.policy == DependencyPolicy.SUCCEEDED, ended)


async def _settle(session: AsyncSession, children: "Sequence[UUID] | sa.Select[UUID]") -> list[Job]:
    """Move those of `children` that are blocked and may go on, or are not needed any more.

    Locked first and judged by a second statement: two who settle the same child must not each overlook the other's parent.
    """
    wanted = any_of(Job.id, children) if isinstance(children, Sequence) else Job.id.in_(children)
    locked = sa.select(Job.id).where(wanted, _IS_BLOCKED).order_by(Job.id).with_for_update()
    ids = (await session.scalars(locked)).all()
    if not ids:
        return []
    parent = aliased(Job)
    refused = sa.func.coalesce(sa.func.bool_or(_refuses(JobDependency, parent)), sa.false())
    still_open = sa.func.coalesce(sa.func.bool_or(parent.state.not_in(TERMINAL)), sa.false())
    verdicts = (
        sa.select(Job.id, refused.label("refused"), still_open.label("still_open"), (Job.run_at > sa.func.now()).label("early"))
        .outerjoin(JobDependency, JobDependency.job_id == Job.id)
        .outerjoin(parent, parent.id == JobDependency.parent_id)
        .where(any_of(Job.id, ids))
        .group_by(Job.id)
    )
    rows = (await session.execute(verdicts)).all()
    free = [row for row in rows if not row.refused and not row.still_open]
    moves: tuple[tuple[JobState, list[UUID], dict[str, object]], ...] = (
        (JobState.SKIPPED, [row.id for row in rows if row.refused], {"message": SKIPPED_MESSAGE}),
        (JobState.SCHEDULED, [row.id for row in free if row.early], {}),
        (JobState.READY, [row.id for row in free if not row.early], {"run_at": NOW}),
    )
    moved: list[Job] = []
    for state, jobs, values in moves:
        if jobs:
            moved += await transition(session, Transition(jobs, _BLOCKED, state, values=values))
    return moved
