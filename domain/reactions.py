"""What follows when a job has moved: its children start, people are told, webhooks go out.

A transition leaves a JobMove in its own transaction, so no reaction is lost when a process dies. Moves are taken by whoever
comes first, a worker right after a job's end or the clock's sweep, and each of them once: a taker that dies before its commit
leaves them as they were.
"""

from collections.abc import Awaitable, Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.jobs import Job, JobMove
from domain.events import Announcement
from domain.jobs import dependencies, waits
from domain.notifications import jobs as notifications
from domain.webhooks.events import tell_endpoints

_BATCH = 500
Reaction = Callable[[AsyncSession, Sequence[JobMove]], Awaitable[Sequence[Job | Announcement]]]

# Each gets the moves of any account, oldest first, and returns the jobs that it moved itself, and what else changed by it.
REACTIONS: tuple[Reaction, ...] = (
    dependencies.release_children,
    waits.wake_followers,
    notifications.tell_of_jobs,
    tell_endpoints,
)


async def react(session: AsyncSession) -> list[Job | Announcement]:
    """React to the moves that nobody has reacted to; returns the jobs that moved by it, and what else changed.

    Takes a session across accounts. More than a batch is left for the next call.
    """
    oldest = sa.select(JobMove.id).order_by(JobMove.id).limit(_BATCH).with_for_update(skip_locked=True)
    taken = sa.delete(JobMove).where(JobMove.id.in_(oldest)).returning(JobMove)
    moves = sorted((await session.scalars(taken)).all(), key=lambda move: move.id)
    moved: list[Job | Announcement] = []
    if moves:
        for reaction in REACTIONS:
            moved += await reaction(session, moves)
    return moved
