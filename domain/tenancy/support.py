"""Letting support staff in for a while, and the log of what they reached."""

from datetime import timedelta
from time import time
from uuid import UUID

import sqlalchemy as sa

from db.models.tenancy import AccessLog, AccessOutcome, Account, AuditLog, SupportGrant
from db.session import Database
from domain.actor import Actor, Scope
from domain.errors import Invalid, NotFound
from domain.paging import Order, Page, Window, paginate
from domain.unit import Unit

MAX_MINUTES = 7 * 24 * 60
DENIAL = "enter"
"""The action of an access log entry which tells that somebody was not let in at all."""

_DENIALS_APART = timedelta(minutes=1)
NEWEST_GRANTS = Order((SupportGrant.id,), descending=True)
NEWEST_ACCESSES = Order((AccessLog.id,), descending=True)
NEWEST_AUDITS = Order((AuditLog.id,), descending=True)


async def grant(unit: Unit, *, reason: str, minutes: int) -> SupportGrant:
    """Let support staff in for `minutes`, 1 to 10,080 (a week). Raises Forbidden, Invalid."""
    unit.require(Scope.MEMBERS_WRITE)
    if not 1 <= minutes <= MAX_MINUTES:
        raise Invalid(f"A grant lasts 1 to {MAX_MINUTES} minutes.", field=("minutes",))
    if not reason.strip():
        raise Invalid("A reason is needed; it is shown in the log.", field=("reason",))
    row = sa.insert(SupportGrant).values(
        account_id=unit.account_id,
        reason=reason.strip(),
        granted_by=unit.actor.id,
        expires_at=sa.func.now() + timedelta(minutes=minutes),
    )
    made = (await unit.session.scalars(row.returning(SupportGrant))).one()
    unit.audit("support.grant", subject_type="support_grant", subject_id=made.id, reason=made.reason, minutes=minutes)
    return made


async def revoke(unit: Unit, *, grant_id: UUID) -> SupportGrant:
    """Shut support staff out at once; revoking twice is harmless. Raises Forbidden, NotFound."""
    unit.require(Scope.MEMBERS_WRITE)
    ended = sa.update(SupportGrant).where(SupportGrant.id == grant_id)
    row = (
        await unit.session.scalars(
            ended.values(revoked_at=sa.func.coalesce(SupportGrant.revoked_at, sa.func.now())).returning(SupportGrant)
        )
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such grant.")
    unit.changed("credential", row.id)
    unit.audit("support.revoke", subject_type="support_grant", subject_id=row.id)
    return row


def log_access(unit: Unit, *, action: str, resource: str, outcome: AccessOutcome, reason: str | None = None) -> None:
    """Write down that the actor reached the account's data, or tried to.

    In a unit of its own, so that it stays written when what the actor does then fails.
    """
    actor = unit.actor
    unit.session.add(
        AccessLog(
            account_id=unit.account_id,
            actor_type=actor.type,
            actor_id=actor.id,
            actor_name=actor.name,
            action=action,
            resource=resource[:500],
            outcome=outcome,
            reason=reason,
            request_id=actor.request_id,
            ip=actor.ip,
        )
    )


async def log_denial(database: Database, actor: Actor) -> None:
    """Write down that support staff were not let into `actor.account_id`, for its people to see.

    At most once a minute for a person, lest anybody who has an account's id could fill its log. Where there is no such account
    nothing is written.
    """
    async with database.account(actor.account_id) as session:
        if await session.scalar(sa.select(Account.id)) is None:
            return
        # Taken in turns, or refusals that come at once would all be the first.
        turn = sa.func.hashtextextended(f"denied:{actor.account_id}:{actor.id}", 0)
        await session.execute(sa.select(sa.func.pg_advisory_xact_lock(turn)))
        # Ids begin with the time in milliseconds: the index leads to the latest entries, however long the log is.
        latest = UUID(int=int((time() - 2 * _DENIALS_APART.total_seconds()) * 1000) << 80)
        again = sa.select(AccessLog.id).where(
            AccessLog.account_id == actor.account_id,
            AccessLog.id > latest,
            AccessLog.at > sa.func.now() - _DENIALS_APART,
            AccessLog.actor_id == actor.id,
            AccessLog.outcome == AccessOutcome.DENIED,
        )
        if await session.scalar(again.limit(1)) is not None:
            return
        ended = await session.scalar(sa.select(SupportGrant.expires_at).order_by(SupportGrant.id.desc()).limit(1))
        reason = "No support grant was ever given." if ended is None else "The support grant has ended."
        log_access(Unit(session, actor), action=DENIAL, resource="GraphQL", outcome=AccessOutcome.DENIED, reason=reason)


async def grants_page(unit: Unit, *, window: Window) -> Page[SupportGrant]:
    """The account's grants, newest first, ended ones included."""
    unit.require(Scope.LOGS_READ)
    return await paginate(unit.session, sa.select(SupportGrant), order=NEWEST_GRANTS, window=window)


async def access_page(unit: Unit, *, window: Window) -> Page[AccessLog]:
    """The access log, newest first."""
    unit.require(Scope.LOGS_READ)
    return await paginate(unit.session, sa.select(AccessLog), order=NEWEST_ACCESSES, window=window)


async def audit_page(unit: Unit, *, window: Window, subject_id: UUID | None = None) -> Page[AuditLog]:
    """The audit log, newest first; of one subject where `subject_id` is given."""
    unit.require(Scope.LOGS_READ)
    query = sa.select(AuditLog) if subject_id is None else sa.select(AuditLog).where(AuditLog.subject_id == subject_id)
    return await paginate(unit.session, query, order=NEWEST_AUDITS, window=window)
