"""What follows when a job has moved: its children start, people are told, webhooks go out.

A transition leaves a JobMove in its own transaction, so no reaction is lost when a process dies. Moves are taken by whoever
comes first, a worker right after a job's end or the clock's sweep, and each of them once: a taker that dies before its commit
leaves them as they were.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.jobs import Job, JobMove
from domain.events import Announcement
from domain.jobs import dependencies, waits
from domain.notifications import jobs as notifications
from domain.webhooks.events import tell_endpoints

_BATCH = 500
# The classes of PostgreSQL's errors that say nothing of the rows: a deadlock, a lack of resources, a lock, an interruption.
_PASSING = ("40", "53", "55", "57")
Reaction = Callable[[AsyncSession, Sequence[JobMove]], Awaitable[Sequence[Job | Announcement]]]

# Each gets the moves of any account, oldest first, and returns the jobs that it moved itself, and what else changed by it.
REACTIONS: tuple[Reaction, ...] = (
    dependencies.release_children,
    waits.wake_followers,
    notifications.tell_of_jobs,
    tell_endpoints,
)

log = structlog.get_logger(__name__)


async def react(session: AsyncSession, *, carefully: bool = False) -> list[Job | Announcement]:
    """React to the moves that nobody has reacted to; returns the jobs that moved by it, and what else changed.

    Takes a session across accounts. More than a batch is left for the next call. Raises what a reaction raises.
    `carefully`, for after that, takes more statements; a move that a reaction cannot stand is logged, and only that reaction
    misses it.
    """
    oldest = sa.select(JobMove.id).order_by(JobMove.id).limit(_BATCH).with_for_update(skip_locked=True)
    taken = sa.delete(JobMove).where(JobMove.id.in_(oldest)).returning(JobMove)
    moves = sorted((await session.scalars(taken)).all(), key=lambda move: move.id)
    moved: list[Job | Announcement] = []
    if moves:
        for reaction in REACTIONS:
            moved += await (_carefully(session, reaction, moves) if carefully else reaction(session, moves))
    return moved


async def _carefully(session: AsyncSession, reaction: Reaction, moves: Sequence[JobMove]) -> Sequence[Job | Announcement]:
    """All at once, where that fails for each account alone, and where that fails for each move alone."""
    try:
        async with session.begin_nested():
            return await reaction(session, moves)
    except Exception as error:
        if len(moves) == 1:
            if _is_passing(error):
                raise
            name = getattr(reaction, "__name__", "")
            log.exception("reaction.dropped", reaction=name, job_id=str(moves[0].job_id), state=moves[0].state.value)
            return []
    followed: list[Job | Announcement] = []
    for part in _parts(moves):
        followed += await _carefully(session, reaction, part)
    return followed


def _parts(moves: Sequence[JobMove]) -> list[list[JobMove]]:
    accounts: dict[UUID, list[JobMove]] = defaultdict(list)
    for move in moves:
        accounts[move.account_id].append(move)
    return list(accounts.values()) if len(accounts) > 1 else [[move] for move in moves]


def _is_passing(error: Exception) -> bool:
    """Whether the same may succeed later. After a lost connection nothing is committed, and so nothing is dropped, anyway."""
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, sa.exc.DBAPIError) else None
    return isinstance(error, OSError) or (state or "").startswith(_PASSING)
