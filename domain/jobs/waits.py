"""Jobs that wait for the end of another one, having given their slot back meanwhile (`WaitFor(ended(job_id))`)."""

from collections.abc import Collection, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import any_of
from db.models.jobs import TERMINAL, Job, JobMove, JobState
from domain.jobs.commands import WOKEN
from domain.jobs.lifecycle import Transition, transition
from domain.jobs.running import ENDED, ended

_WAITING = frozenset({JobState.WAITING})
_IS_WAITING = sa.text("job.state = 'waiting'")


async def wake_followers(session: AsyncSession, moves: Sequence[JobMove]) -> list[Job]:
    """The reaction to the ends of jobs, and to jobs that begin to wait: what they wait for may have ended just before.

    Whichever of the two commits later is the move by which both are seen. Takes a session across accounts.
    """
    over = [move for move in moves if move.state in TERMINAL]
    began = [move.job_id for move in moves if move.state is JobState.WAITING]
    ids: list[UUID] = []
    if over:
        accounts, keys = {move.account_id for move in over}, {ended(move.job_id) for move in over}
        followers = sa.select(Job.id).where(_IS_WAITING, any_of(Job.account_id, accounts), any_of(Job.waiting_for, keys))
        ids += (await session.scalars(followers.order_by(Job.id).with_for_update())).all()
    if began:
        ids += await _too_late(session, began)
    return list(await transition(session, Transition(ids, _WAITING, JobState.READY, values=WOKEN))) if ids else []


async def _too_late(session: AsyncSession, began: Collection[UUID]) -> list[UUID]:
    """Those that wait for a job that has ended, or is not there."""
    query = sa.select(Job.id, Job.waiting_for).where(any_of(Job.id, began), _IS_WAITING, Job.waiting_for.startswith(ENDED))
    awaited = {
        row.id: UUID(row.waiting_for.removeprefix(ENDED))
        for row in await session.execute(query.order_by(Job.id).with_for_update())
    }
    if not awaited:
        return []
    alive = sa.select(Job.id).where(any_of(Job.id, awaited.values()), Job.state.not_in(TERMINAL))
    still = set((await session.scalars(alive)).all())
    return [job_id for job_id, other in awaited.items() if other not in still]
