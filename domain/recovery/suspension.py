"""Accounts whose subscription has lapsed: their jobs stop at the next checkpoint, lose nothing, and go on after a renewal.

Whoever bills the account asks for it, from the command line of the deployment; no client can.
"""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.jobs import Job, JobState
from db.models.tenancy import Account
from db.session import Database
from domain import actor as actors
from domain.errors import NotFound
from domain.jobs import commands
from domain.jobs.lifecycle import Transition, transition
from domain.jobs.options import SUSPENSION
from domain.unit import Unit


async def suspend(unit: Unit) -> Account:
    """Suspend the unit's account; twice is harmless. Jobs that run go to WAITING with their checkpoint. Raises NotFound."""
    return await _set(unit, suspended=True)


async def resume(unit: Unit) -> Account:
    """End the suspension of the unit's account, and let its jobs go on; twice is harmless. Raises NotFound."""
    account = await _set(unit, suspended=False)
    await commands.wake(unit, waiting_for=SUSPENSION)
    return account


async def set_from_command_line(database_url: str, *, account_id: UUID, suspended: bool) -> Account:
    """As `suspend` and `resume`, with a connection of its own; the clock starts what is ready. Raises NotFound."""
    database = Database(database_url, pool_size=1)
    try:
        async with database.account(account_id) as session:
            unit = Unit(session, actors.system(account_id, name="Billing"))
            return await (suspend(unit) if suspended else resume(unit))
    finally:
        await database.close()


async def wake_resumed(session: AsyncSession) -> list[Job]:
    """Repair: make jobs ready that began to wait for a renewal just after it. Takes a session across accounts."""
    query = (
        sa.select(Job.id)
        .join(Account, Account.id == Job.account_id)
        .where(Job.state == JobState.WAITING, Job.waiting_for == SUSPENSION, Account.suspended_at.is_(None))
        .limit(commands.WAKES)
        .with_for_update(of=Job, skip_locked=True)
    )
    ids = (await session.scalars(query)).all()
    woken = Transition(ids, frozenset({JobState.WAITING}), JobState.READY, values=commands.WOKEN)
    return list(await transition(session, woken)) if ids else []


async def _set(unit: Unit, *, suspended: bool) -> Account:
    account = (await unit.session.scalars(sa.select(Account).with_for_update())).one_or_none()
    if account is None:
        raise NotFound("There is no such account.")
    if (account.suspended_at is not None) != suspended:
        account.suspended_at = sa.func.now() if suspended else None
        await unit.session.flush()
        await unit.session.refresh(account)
        unit.audit("account.suspend" if suspended else "account.resume", subject_type="account", subject_id=account.id)
    return account
