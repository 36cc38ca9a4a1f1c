"""Which ready jobs may start now.

Within an account: priority, then position. Between accounts: first everyone's first job, then everyone's second, and among
equals whoever was admitted longest ago, so that ten thousand jobs of one account never starve another's one. Slots and
capacity are counted from leases, never kept as counters.

Only about as much is admitted as live workers can carry, so that boosts, pauses and cancellations still find their job
waiting here rather than in Redis.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.jobs import LEASED, Job, JobState, Lane
from db.models.queues import AccountSlots, Worker
from db.session import Database
from domain.jobs.carrier import Carrier
from domain.jobs.lifecycle import Transition, transition

LEASE = timedelta(seconds=30)
_READY = sa.and_(Job.state == JobState.READY, Job.paused_at.is_(None))
_LEASES = (
    sa.select(sa.func.count())
    .select_from(Job)
    .where(Job.account_id == AccountSlots.account_id, Job.state.in_(LEASED))
    .correlate(AccountSlots)
    .scalar_subquery()
)


async def admit(
    database: Database, carrier: Carrier, *, lane: Lane, account_id: UUID | None = None, limit: int = 100
) -> list[Job]:
    """Admit up to `limit` jobs of `lane`, of one account or of all, and push them. Returns the admitted jobs.

    Raises RedisError while Redis is away, and then admits nothing. Where it goes away just before the push, the jobs' leases
    lapse, and they are admitted again.
    """
    await carrier.require()
    async with database.system_across_accounts() as session:
        accounts = await _lock_accounts(session, lane=lane, account_id=account_id, limit=limit)
        if not accounts:
            return []
        room = min(limit, await _idle_capacity(session, lane=lane))
        picked = await _pick(session, accounts, lane=lane, limit=room) if room > 0 else []
        jobs = await _grant_leases(session, picked)
    await carrier.push(lane, [(job.id, job.fence) for job in jobs])
    return jobs


async def _lock_accounts(session: AsyncSession, *, lane: Lane, account_id: UUID | None, limit: int) -> Sequence[UUID]:
    """Lock the accounts whose leases are about to be counted.

    It must be a statement of its own: one that locks and counts would count by a snapshot from before it had the lock, and
    exceed the slots. The sweep skips accounts that another dispatcher holds; a mutation's own admission waits its turn, since
    nobody else would start its job before the next sweep.
    """
    query = sa.select(AccountSlots.account_id)
    if account_id is not None:
        query = query.where(AccountSlots.account_id == account_id).with_for_update()
    else:
        ready = sa.select(1).where(Job.lane == lane, _READY, Job.account_id == AccountSlots.account_id)
        # Counted too early to rely on; it keeps accounts that cannot start anything from standing before those that can.
        query = query.where(ready.exists(), AccountSlots.slots > _LEASES)
        query = query.order_by(AccountSlots.admitted_at).limit(limit).with_for_update(skip_locked=True)
    return (await session.scalars(query)).all()


async def _idle_capacity(session: AsyncSession, *, lane: Lane) -> int:
    capacity = sa.select(sa.func.coalesce(sa.func.sum(Worker.capacity), 0)).where(
        Worker.lane == lane, Worker.seen_at > sa.func.now() - LEASE
    )
    leased = sa.select(sa.func.count()).select_from(Job).where(Job.lane == lane, Job.state.in_(LEASED))
    return int((await session.execute(sa.select(capacity.scalar_subquery() - leased.scalar_subquery()))).scalar_one())


async def _pick(session: AsyncSession, accounts: Sequence[UUID], *, lane: Lane, limit: int) -> list[UUID]:
    order = (Job.priority.desc(), Job.position)
    first = (
        sa.select(Job.id, sa.func.row_number().over(order_by=order).label("rank"))
        .where(Job.account_id == AccountSlots.account_id, Job.lane == lane, _READY)
        .order_by(*order)
        .limit(sa.func.greatest(AccountSlots.slots - _LEASES, 0))
        .correlate(AccountSlots)
        .lateral("first")
    )
    query = (
        sa.select(first.c.id)
        .select_from(AccountSlots)
        .join(first, sa.true())
        .where(AccountSlots.account_id.in_(accounts))
        .order_by(first.c.rank, AccountSlots.admitted_at)
        .limit(limit)
    )
    return list((await session.scalars(query)).all())


async def _grant_leases(session: AsyncSession, picked: list[UUID]) -> list[Job]:
    if not picked:
        return []
    jobs = await transition(
        session,
        Transition(
            picked,
            frozenset({JobState.READY}),
            JobState.ADMITTED,
            values={"fence": Job.fence + 1, "lease_until": sa.func.now() + LEASE},
        ),
    )
    admitted = {job.account_id for job in jobs}
    await session.execute(
        sa.update(AccountSlots).where(AccountSlots.account_id.in_(admitted)).values(admitted_at=sa.func.clock_timestamp())
    )
    order = {job_id: rank for rank, job_id in enumerate(picked)}
    return sorted(jobs, key=lambda job: order[job.id])
