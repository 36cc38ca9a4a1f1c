"""Which ready jobs may start now.

Within an account: priority, then position. Between accounts: first everyone's first job, then everyone's second, and among
equals whoever was admitted longest ago, so that ten thousand jobs of one account never starve another's one. Slots, of the
account and of the kinds that it bounds, and capacity are counted from leases, never kept as counters. A few jobs take no slot,
and come before all others.

Only about as much is admitted as live workers can carry, so that boosts, pauses and cancellations still find their job
waiting here rather than in Redis.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from db.base import any_of
from db.models.jobs import LEASED, Job, JobState, Lane
from db.models.queues import AccountSlots, JobSetting, Worker
from db.session import Database
from domain.jobs.carrier import Carrier
from domain.jobs.lifecycle import FromNow, Plus, Transition, transition

LEASE = timedelta(seconds=30)
BATCH = 100
SLOTLESS = 3  # of an account at once: they wait for no slot, but must not take all workers
# As text: PostgreSQL plans these statements once for all parameters, and finds an index with a condition by its very words.
_READY = sa.text("job.state = 'ready' AND job.paused_at IS NULL AND job.takes_slot")
_SLOTLESS = sa.text("job.state = 'ready' AND job.paused_at IS NULL AND NOT job.takes_slot")
_HOLDS_LEASE = sa.text(f"job.state IN ({', '.join(repr(state.value) for state in sorted(LEASED))})")
_HOLDS_SLOT = sa.text(f"{_HOLDS_LEASE.text} AND job.takes_slot")

_LANE = sa.bindparam("lane", type_=Job.lane.type)
_LIMIT = sa.bindparam("limit", type_=sa.Integer())


async def admit(
    database: Database,
    carrier: Carrier,
    *,
    lane: Lane,
    account_id: UUID | None = None,
    limit: int = BATCH,
    lease: timedelta = LEASE,
) -> list[Job]:
    """Admit up to `limit` jobs of `lane`, of one account or of all, and push them. Returns the admitted jobs.

    Raises RedisError while Redis is away, and then admits nothing. Where it goes away just before the push, the jobs' leases
    lapse, and they are admitted again.
    """
    await carrier.require()
    async with database.system_across_accounts() as session:
        idle, slotless = await _idle_capacity(session, lane=lane, account_id=account_id, limit=limit, lease=lease)
        room = min(limit, idle)
        if room <= 0:
            return []
        first = slotless[:room]
        room -= len(first)
        # As many accounts as there is room for: each of them comes once before any comes twice.
        accounts = await _lock_accounts(session, lane=lane, account_id=account_id, limit=room) if room else []
        picked = await _pick(session, accounts, lane=lane, limit=room) if accounts else []
        jobs = await _grant_leases(session, [*first, *picked], lease=lease)
    await carrier.push(lane, [(job.id, job.fence) for job in jobs])
    return jobs


async def _lock_accounts(session: AsyncSession, *, lane: Lane, account_id: UUID | None, limit: int) -> Sequence[UUID]:
    """Lock the accounts whose leases are about to be counted.

    It must be a statement of its own: one that locks and counts would count by a snapshot from before it had the lock, and
    exceed the slots. The sweep skips accounts that another dispatcher holds; a mutation's own admission waits its turn, since
    nobody else would start its job before the next sweep.
    """
    if account_id is not None:
        one = sa.select(AccountSlots.account_id).where(AccountSlots.account_id == account_id)
        return (await session.scalars(one.with_for_update())).all()
    return (await session.scalars(_startable(), {"lane": lane, "limit": limit})).all()


@cache
def _startable() -> "sa.Select[UUID]":
    """Counted too early to rely on; it keeps accounts that cannot start anything from standing before those that can."""
    bounded = sa.select(JobSetting.account_id).where(JobSetting.slots.is_not(None))
    leases = sa.select(sa.func.count()).select_from(Job).where(Job.account_id == AccountSlots.account_id, _HOLDS_SLOT)
    queued = _queued_accounts()
    unbounded = sa.and_(
        AccountSlots.account_id.in_(sa.select(queued.c.account_id).where(queued.c.account_id.is_not(None))),
        AccountSlots.account_id.not_in(bounded),
        AccountSlots.slots > leases.correlate(AccountSlots).scalar_subquery(),
    )
    rooms = _rooms(lambda account_id: account_id.in_(bounded))
    query = sa.select(AccountSlots.account_id).where(
        sa.or_(unbounded, AccountSlots.account_id.in_(sa.select(rooms.c.account_id)))
    )
    return query.order_by(AccountSlots.admitted_at).limit(_LIMIT).with_for_update(skip_locked=True)


def _queued_accounts() -> sa.CTE:
    """The accounts of which jobs are ready, by hopping through the index: what is idle costs nothing."""

    def first(*beyond: sa.ColumnElement[bool]) -> Any:
        ready = sa.select(Job.account_id).where(Job.lane == _LANE, _READY, *beyond)
        return ready.order_by(Job.account_id).limit(1).correlate_except(Job).scalar_subquery()

    hops = sa.select(first().label("account_id")).cte("queued", recursive=True)
    further = sa.select(first(Job.account_id > hops.c.account_id)).where(hops.c.account_id.is_not(None))
    return hops.union_all(further)


def _rooms(within: Callable[[Any], sa.ColumnElement[bool]]) -> sa.Subquery:
    """How many jobs more may start: a row for each account that is `within` and kind of which jobs are ready, where any may.

    `free` are the account's slots that are left, `room` those that the kind may take of them.
    """
    leases = (
        sa.select(Job.account_id, Job.kind, sa.func.count().label("held"))
        .where(within(Job.account_id), _HOLDS_SLOT)
        .group_by(Job.account_id, Job.kind)
        .cte("leases")
    )
    held = sa.select(leases.c.account_id, sa.func.sum(leases.c.held).label("held")).group_by(leases.c.account_id).subquery()
    left = AccountSlots.slots - sa.func.coalesce(held.c.held, 0)
    free = (
        sa.select(AccountSlots.account_id, AccountSlots.admitted_at, sa.cast(left, sa.Integer).label("free"))
        .outerjoin(held, held.c.account_id == AccountSlots.account_id)
        .where(within(AccountSlots.account_id), left > 0)
        .cte("free")
    )
    waiting = _kinds_of(free)
    kind_left = JobSetting.slots - sa.func.coalesce(leases.c.held, 0)
    room = sa.cast(sa.func.least(free.c.free, kind_left), sa.Integer)  # of NULL, no bound, it takes no notice
    return (
        sa.select(free.c.account_id, free.c.admitted_at, free.c.free, waiting.c.kind, room.label("room"))
        .select_from(waiting)
        .join(free, free.c.account_id == waiting.c.account_id)
        .outerjoin(JobSetting, sa.and_(JobSetting.account_id == free.c.account_id, JobSetting.kind == waiting.c.kind))
        .outerjoin(leases, sa.and_(leases.c.account_id == free.c.account_id, leases.c.kind == waiting.c.kind))
        .where(waiting.c.kind.is_not(None), room > 0)
        .subquery("rooms")
    )


def _kinds_of(accounts: sa.CTE) -> sa.CTE:
    """The kinds of which jobs are ready, by hopping through the index from kind to kind: DISTINCT would read every job."""

    def first(account: Any, *beyond: sa.ColumnElement[bool]) -> Any:
        ready = sa.select(Job.kind).where(Job.account_id == account, Job.lane == _LANE, _READY, *beyond)
        return ready.order_by(Job.kind).limit(1).correlate_except(Job).scalar_subquery()

    hops = sa.select(accounts.c.account_id, first(accounts.c.account_id).label("kind")).cte("kinds", recursive=True)
    further = sa.select(hops.c.account_id, first(hops.c.account_id, Job.kind > hops.c.kind))
    return hops.union_all(further.where(hops.c.kind.is_not(None)))


async def _idle_capacity(
    session: AsyncSession, *, lane: Lane, account_id: UUID | None, limit: int, lease: timedelta
) -> tuple[int, list[UUID]]:
    """How many jobs more the live workers can carry; and, locked, the ready jobs that take no slot."""
    given = {"lane": lane, "account_id": account_id, "limit": limit, "lease": lease}
    idle, slotless = (await session.execute(_idle(), given)).one()
    return idle, slotless


@cache
def _idle() -> "sa.Select[int, list[UUID]]":
    alive = Worker.seen_at > sa.func.now() - sa.bindparam("lease", type_=sa.Interval())
    capacity = sa.select(sa.func.coalesce(sa.func.sum(Worker.capacity), 0)).where(Worker.lane == _LANE, alive)
    leased = sa.select(sa.func.count()).select_from(Job).where(Job.lane == _LANE, _HOLDS_LEASE)
    slotless = sa.func.array(_slotless().scalar_subquery(), type_=postgresql.ARRAY(sa.Uuid()))
    return sa.select(capacity.scalar_subquery() - leased.scalar_subquery(), slotless)


def _slotless() -> "sa.Select[UUID]":
    """Job by job for each account. What another dispatcher has locked, it is about to admit."""
    other = aliased(Job)
    holds = sa.and_(other.account_id == Job.account_id, any_of(other.state, LEASED), ~other.takes_slot)
    held = sa.select(sa.func.count()).select_from(other).where(holds).correlate(Job).scalar_subquery()
    turn = held + sa.func.row_number().over(partition_by=Job.account_id, order_by=Job.position)
    wanted = sa.bindparam("account_id", type_=sa.Uuid())
    mine = sa.or_(wanted.is_(None), Job.account_id == wanted)
    turns = sa.select(Job.id, turn.label("turn")).where(Job.lane == _LANE, _SLOTLESS, mine).subquery()
    next_ones = sa.select(turns.c.id).where(turns.c.turn <= SLOTLESS).order_by(turns.c.turn).limit(_LIMIT)
    return sa.select(Job.id).where(Job.id.in_(next_ones)).with_for_update(skip_locked=True)


async def _pick(session: AsyncSession, accounts: Sequence[UUID], *, lane: Lane, limit: int) -> list[UUID]:
    given = {"accounts": list(accounts), "lane": lane, "limit": limit}
    return list((await session.scalars(_first_ones(), given)).all())


@cache
def _first_ones() -> "sa.Select[UUID]":
    locked = sa.any_(sa.bindparam("accounts", type_=postgresql.ARRAY(sa.Uuid())))
    rooms = _rooms(lambda account_id: account_id == locked)
    first = (
        sa.select(Job.id, Job.priority, Job.position)
        .where(Job.account_id == rooms.c.account_id, Job.lane == _LANE, Job.kind == rooms.c.kind, _READY)
        .order_by(Job.priority.desc(), Job.position)
        .limit(rooms.c.room)
        .correlate(rooms)
        .lateral("first")
    )
    order = (first.c.priority.desc(), first.c.position)
    rank = sa.func.row_number().over(partition_by=rooms.c.account_id, order_by=order).label("rank")
    ranked = sa.select(first.c.id, rooms.c.free, rooms.c.admitted_at, rank).select_from(rooms).join(first, sa.true()).subquery()
    query = sa.select(ranked.c.id).where(ranked.c.rank <= ranked.c.free)
    return query.order_by(ranked.c.rank, ranked.c.admitted_at).limit(_LIMIT)


async def _grant_leases(session: AsyncSession, picked: list[UUID], *, lease: timedelta) -> list[Job]:
    if not picked:
        return []
    jobs = await transition(
        session,
        Transition(
            picked,
            frozenset({JobState.READY}),
            JobState.ADMITTED,
            values={"fence": Plus(1), "lease_until": FromNow(lease)},
        ),
    )
    # Only of those that this dispatcher has locked: in no order, two of them could wait for each other.
    admitted = {job.account_id for job in jobs if job.takes_slot}
    await session.execute(
        sa.update(AccountSlots).where(AccountSlots.account_id.in_(admitted)).values(admitted_at=sa.func.clock_timestamp())
    )
    order = {job_id: rank for rank, job_id in enumerate(picked)}
    return sorted(jobs, key=lambda job: order[job.id])
