"""Signing in, and finding out who a credential belongs to. Works across accounts: nobody is known before this."""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import jwt
import sqlalchemy as sa
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import new_id
from db.models.tenancy import Account, ActorType, ApiKey, Role, Session, SpentRefreshToken, SupportGrant, User
from db.session import Database
from domain.actor import ROLE_SCOPES, Actor, Scope
from domain.errors import Forbidden, Unauthenticated
from domain.settings import Settings
from domain.tenancy.accounts import HASHER

ACCESS_LIFETIME = timedelta(minutes=15)
REFRESH_LIFETIME = timedelta(days=30)
API_KEY_PREFIX = "bots_"
_ISSUER = "bottleneck-bots"
_REFUSED = "This e-mail address and password do not belong together."
# Verified when nobody has the e-mail address, so that both answers take as long.
_NOBODY = HASHER.hash(secrets.token_urlsafe())
# Built once, since every request asks one of them.
_SIGNED_IN = (
    sa.select(User.id, User.account_id, User.name, User.role, Account.is_staff)
    .join(Session, Session.user_id == User.id)
    .join(Account, Account.id == User.account_id)
    .where(Session.id == sa.bindparam("session_id"), Session.revoked_at.is_(None), User.disabled_at.is_(None))
)
_BY_SECRET = sa.select(
    ApiKey.id,
    ApiKey.account_id,
    ApiKey.name,
    ApiKey.scopes,
    ApiKey.expires_at,
    # To the minute is enough for people, and spares a write a request.
    sa.func.coalesce(ApiKey.last_used_at > sa.func.now() - timedelta(minutes=1), False).label("is_fresh"),
).where(
    ApiKey.secret_hash == sa.bindparam("secret_hash"),
    ApiKey.revoked_at.is_(None),
    sa.or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > sa.func.now()),
)


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
    """Where a sign-in comes from, as far as it can be told."""

    user_agent: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """Who a bearer token stands for, and when that ends (None: not by itself)."""

    actor: Actor
    expires_at: datetime | None
    by_grant: UUID | None = None

    @property
    def id(self) -> UUID | None:
        """What a revocation is announced by: the grant, the session or the API key."""
        return self.by_grant or self.actor.session_id or self.actor.id


async def sign_in(database: Database, settings: Settings, *, email: str, password: str, device: Device) -> Tokens:
    """Start a session. Raises Unauthenticated, the same for an unknown address, a wrong password and a disabled user."""
    async with database.system_across_accounts() as session:
        user = (await session.scalars(sa.select(User).where(User.email == email.strip().lower()))).one_or_none()
    if not await asyncio.to_thread(_matches, user.password_hash if user else _NOBODY, password):
        raise Unauthenticated(_REFUSED)
    if user is None or user.disabled_at is not None:
        raise Unauthenticated(_REFUSED)
    return await start_session(database, settings, user=user, device=device)


async def start_session(database: Database, settings: Settings, *, user: User, device: Device) -> Tokens:
    """A new session of a user whose identity is established."""
    refresh_token, refresh_hash = _new_secret()
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
    async with database.system_across_accounts() as session:
        await session.execute(sa.insert(Session).values(row))
    return _tokens(settings, user_id=user.id, account_id=user.account_id, session_id=session_id, refresh=refresh_token, now=now)


async def refresh(database: Database, settings: Settings, *, refresh_token: str) -> Tokens:
    """Swap a refresh token for new tokens. One that was used before revokes its session: somebody has a copy.

    Raises Unauthenticated.
    """
    now = datetime.now(UTC)
    old = _digest(refresh_token)
    new_token, new_hash = _new_secret()
    async with database.system_across_accounts() as session:
        rotated = (
            sa.update(Session)
            .where(Session.refresh_hash == old, Session.revoked_at.is_(None), Session.expires_at > sa.func.now())
            .where(Session.user_id.in_(sa.select(User.id).where(User.disabled_at.is_(None))))
            .values(refresh_hash=new_hash, refreshed_at=sa.func.now())
            .returning(Session)
        )
        row = (await session.scalars(rotated)).one_or_none()
        if row is not None:
            session.add(SpentRefreshToken(refresh_hash=old, session_id=row.id, account_id=row.account_id))
        else:
            copied = sa.select(SpentRefreshToken.session_id).where(SpentRefreshToken.refresh_hash == old)
            await session.execute(
                sa.update(Session)
                .where(Session.id.in_(copied), Session.revoked_at.is_(None))
                .values(revoked_at=sa.func.now())
                .execution_options(synchronize_session=False)
            )
    if row is None:
        raise Unauthenticated("This refresh token is not valid; sign in again.")
    return _tokens(settings, user_id=row.user_id, account_id=row.account_id, session_id=row.id, refresh=new_token, now=now)


async def sign_out(database: Database, *, session_id: UUID) -> None:
    """End a session: its access and refresh tokens are refused from now on."""
    async with database.system_across_accounts() as session:
        await session.execute(sa.update(Session).where(Session.id == session_id).values(revoked_at=sa.func.now()))


async def authenticate(
    database: Database, settings: Settings, *, token: str, account: UUID | None, request_id: str, ip: str | None
) -> Credential:
    """Whom a bearer token stands for: an access token's user or an API key.

    `account` is another account, which support staff act in by its grant. Raises Unauthenticated, Forbidden.
    """
    if token.startswith(API_KEY_PREFIX):
        credential = await _by_api_key(database, token, request_id=request_id, ip=ip)
    else:
        credential = await _by_access_token(database, settings, token, account=account, request_id=request_id, ip=ip)
    if account is not None and credential.actor.account_id != account:
        raise Forbidden("There is no support grant of this account in force.")
    return credential


async def _by_access_token(
    database: Database, settings: Settings, token: str, *, account: UUID | None, request_id: str, ip: str | None
) -> Credential:
    session_id, expires_at = _claims(settings, token)
    user = await database.system_row(_SIGNED_IN, {"session_id": session_id})
    if user is None:
        raise Unauthenticated("This session was ended; sign in again.")
    grant = None
    if user.is_staff and account not in {None, user.account_id}:
        async with database.system_across_accounts() as session:
            grant = await _grant(session, account)
    actor = Actor(
        ActorType.USER if grant is None else ActorType.SUPPORT,
        user.account_id if grant is None else grant.account_id,
        user.name,
        ROLE_SCOPES[user.role if grant is None else Role.SUPPORT],
        id=user.id,
        role=user.role,
        session_id=session_id,
        request_id=request_id,
        ip=ip,
    )
    if grant is None:
        return Credential(actor, expires_at)
    return Credential(actor, min(expires_at, grant.expires_at), by_grant=grant.id)


async def _by_api_key(database: Database, token: str, *, request_id: str, ip: str | None) -> Credential:
    key = await database.system_row(_BY_SECRET, {"secret_hash": _digest(token)})
    if key is None:
        raise Unauthenticated("This API key is not valid.")
    if not key.is_fresh:
        async with database.system_across_accounts() as session:
            await session.execute(sa.update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=sa.func.now()))
    scopes = frozenset(Scope(scope) for scope in key.scopes if scope in set(Scope))
    actor = Actor(ActorType.API_KEY, key.account_id, key.name, scopes, id=key.id, request_id=request_id, ip=ip)
    return Credential(actor, key.expires_at)


async def _grant(session: AsyncSession, account: UUID | None) -> SupportGrant | None:
    query = (
        sa.select(SupportGrant)
        .where(SupportGrant.account_id == account, SupportGrant.revoked_at.is_(None), SupportGrant.expires_at > sa.func.now())
        .order_by(SupportGrant.expires_at.desc())
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


def new_api_key() -> tuple[str, bytes]:
    """A secret for a program, shown once, and the hash that is kept."""
    secret = API_KEY_PREFIX + secrets.token_urlsafe(32)
    return secret, _digest(secret)


def _claims(settings: Settings, token: str) -> tuple[UUID, datetime]:
    """The session, and when the token ends. Raises Unauthenticated."""
    try:
        session_id, expires_at = _verified(token, settings.access_token_key.get_secret_value())
    except (jwt.InvalidTokenError, ValueError):
        raise Unauthenticated("This access token is not valid.") from None
    if expires_at <= datetime.now(UTC):
        raise Unauthenticated("The access token has expired; refresh it.")
    return session_id, expires_at


@lru_cache(maxsize=10_000)
def _verified(token: str, key: str) -> tuple[UUID, datetime]:
    """What a signature vouches for does not change, and a client shows its token with every request. Expired ones pass."""
    claims = jwt.decode(
        token, key, algorithms=["HS256"], issuer=_ISSUER, options={"require": ["exp", "sid", "iss"], "verify_exp": False}
    )
    return UUID(str(claims["sid"])), datetime.fromtimestamp(claims["exp"], UTC)


def _tokens(settings: Settings, *, user_id: UUID, account_id: UUID, session_id: UUID, refresh: str, now: datetime) -> Tokens:
    expires_at = now + ACCESS_LIFETIME
    claims = {"iss": _ISSUER, "sub": str(user_id), "sid": str(session_id), "iat": now, "exp": expires_at}
    access = jwt.encode(claims, settings.access_token_key.get_secret_value(), algorithm="HS256")
    return Tokens(access, expires_at, refresh, session_id, user_id, account_id)


def _matches(stored: str, password: str) -> bool:
    try:
        return HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _new_secret() -> tuple[str, bytes]:
    secret = secrets.token_urlsafe(32)
    return secret, _digest(secret)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
