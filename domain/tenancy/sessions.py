"""Signing in, staying in and signing out. Works across accounts: nobody is known before this."""

import asyncio
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from argon2.exceptions import InvalidHashError, VerificationError

from db.base import new_id
from db.models.tenancy import ActorType, Session, SpentRefreshToken, User
from db.session import Database
from domain import actor as actors
from domain.actor import ROLE_SCOPES, Actor
from domain.errors import Unauthenticated
from domain.settings import Settings
from domain.tenancy import tokens
from domain.tenancy.accounts import HASHER
from domain.unit import Unit

REFRESH_LIFETIME = timedelta(days=30)
_REFUSED = "This e-mail address and password do not belong together."
# Verified when nobody has the e-mail address, so that both answers take as long.
_NOBODY = HASHER.hash(secrets.token_urlsafe())


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client holds. The access token goes into `Authorization: Bearer`; the refresh token is good for one use."""

    access_token: str
    access_expires_at: datetime
    refresh_token: str
    session_id: UUID
    user_id: UUID
    account_id: UUID


@dataclass(frozen=True, slots=True)
class Device:
    """Where a sign-in comes from, as far as it can be told, and by which request."""

    user_agent: str | None = None
    ip: str | None = None
    request_id: str = "-"


class RefreshTokenCopied(Unauthenticated):
    """A refresh token was used twice: its session was ended just now."""

    def __init__(self, *, account_id: UUID, session_id: UUID) -> None:
        super().__init__("This refresh token is not valid; sign in again.")
        self.account_id = account_id
        self.session_id = session_id


async def sign_in(database: Database, settings: Settings, *, email: str, password: str, device: Device) -> Tokens:
    """Start a session. Raises Unauthenticated, the same for an unknown address, a wrong password and a disabled user."""
    async with database.system_across_accounts() as session:
        user = (await session.scalars(sa.select(User).where(User.email == email.strip().lower()))).one_or_none()
    if not await asyncio.to_thread(_matches, user.password_hash if user else _NOBODY, password):
        raise Unauthenticated(_REFUSED)
    if user is None or user.disabled_at is not None:
        raise Unauthenticated(_REFUSED)
    return await start_session(database, settings, user=user, device=device, on_record=True)


async def start_session(
    database: Database, settings: Settings, *, user: User, device: Device, on_record: bool = False
) -> Tokens:
    """A new session of a user whose identity is established; with `on_record`, in the audit log."""
    refresh_token, refresh_hash = tokens.new_secret()
    now = datetime.now(UTC)
    session_id = new_id()
    row = {
        "id": session_id,
        "account_id": user.account_id,
        "user_id": user.id,
        "refresh_hash": refresh_hash,
        "user_agent": (device.user_agent or "")[:300] or None,
        "ip": device.ip,
        "expires_at": now + REFRESH_LIFETIME,
    }
    scopes, request_id = ROLE_SCOPES[user.role], device.request_id
    actor = Actor(ActorType.USER, user.account_id, user.name, scopes, id=user.id, request_id=request_id, ip=device.ip)
    async with database.account(user.account_id) as session:
        await session.execute(sa.insert(Session).values(row))
        if on_record:
            Unit(session, actor).audit("session.create", subject_type="session", subject_id=session_id, ip=device.ip)
    return _shown(settings, row, refresh_token, now)


async def refresh(database: Database, settings: Settings, *, refresh_token: str) -> Tokens:
    """Swap a refresh token for new tokens. One that was used before ends its session: somebody has a copy.

    Raises Unauthenticated, RefreshTokenCopied.
    """
    now = datetime.now(UTC)
    old = tokens.digest(refresh_token)
    new_token, new_hash = tokens.new_secret()
    async with database.system_across_accounts() as session:
        rotated = (
            sa.update(Session)
            .where(Session.refresh_hash == old, Session.revoked_at.is_(None), Session.expires_at > sa.func.now())
            .where(Session.user_id.in_(sa.select(User.id).where(User.disabled_at.is_(None))))
            .values(refresh_hash=new_hash, refreshed_at=sa.func.now())
            .returning(Session.id, Session.user_id, Session.account_id)
        )
        row = (await session.execute(rotated)).one_or_none()
        if row is not None:
            session.add(SpentRefreshToken(refresh_hash=old, session_id=row.id, account_id=row.account_id))
        else:
            copied = sa.select(SpentRefreshToken.session_id, SpentRefreshToken.account_id)
            spent = (await session.execute(copied.where(SpentRefreshToken.refresh_hash == old))).one_or_none()
    if row is not None:
        return _shown(settings, row._asdict(), new_token, now)
    if spent is not None:
        system = actors.system(spent.account_id)
        if await _end(database, system, spent.session_id, why="refresh token used twice"):
            raise RefreshTokenCopied(account_id=spent.account_id, session_id=spent.session_id)
    raise Unauthenticated("This refresh token is not valid; sign in again.")


async def sign_out(database: Database, *, actor: Actor) -> None:
    """End the actor's session: its access and refresh tokens are refused from now on."""
    async with database.system_across_accounts() as session:  # support staff's is not of the account that they act in
        home = await session.scalar(sa.select(Session.account_id).where(Session.id == actor.session_id))
    if home is not None and actor.session_id is not None:
        await _end(database, replace(actor, account_id=home), actor.session_id, why="signed out")


async def _end(database: Database, actor: Actor, session_id: UUID, *, why: str) -> bool:
    """Whether the session had not ended before."""
    async with database.account(actor.account_id) as session:
        live = sa.update(Session).where(Session.id == session_id, Session.revoked_at.is_(None))
        ended = await session.scalar(live.values(revoked_at=sa.func.now()).returning(Session.id))
        if ended is not None:
            Unit(session, actor).audit("session.end", subject_type="session", subject_id=session_id, why=why)
    return ended is not None


def _shown(settings: Settings, row: dict[str, object], refresh_token: str, now: datetime) -> Tokens:
    session_id, user_id, account_id = UUID(str(row["id"])), UUID(str(row["user_id"])), UUID(str(row["account_id"]))
    access, expires_at = tokens.sign(settings, user_id=user_id, session_id=session_id, now=now)
    return Tokens(access, expires_at, refresh_token, session_id, user_id, account_id)


def _matches(stored: str, password: str) -> bool:
    try:
        return HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
