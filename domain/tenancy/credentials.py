"""Whom a bearer token stands for. Works across accounts: nobody is known before this."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from db.models.tenancy import Account, ActorType, ApiKey, Role, Session, SupportGrant, User
from db.session import Database
from domain.actor import ROLE_SCOPES, Actor, Scope
from domain.errors import Forbidden, Unauthenticated
from domain.settings import Settings
from domain.tenancy import support, tokens
from domain.tenancy.api_keys import PREFIX

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
_GRANT = (
    sa.select(SupportGrant.id, SupportGrant.expires_at)
    .where(SupportGrant.account_id == sa.bindparam("account_id"))
    .where(SupportGrant.revoked_at.is_(None), SupportGrant.expires_at > sa.func.now())
    .order_by(SupportGrant.expires_at.desc())
    .limit(1)
)


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


async def authenticate(
    database: Database,
    settings: Settings,
    *,
    token: str,
    account: UUID | None,
    request_id: str,
    ip: str | None,
    on_record: bool = True,
) -> Credential:
    """Whom a bearer token stands for: an access token's user or an API key.

    `account` is another account, which support staff act in by its grant. Staff without one are refused, which that account's
    access log shows unless `on_record` is false: where the server itself looks again. Raises Unauthenticated, Forbidden.
    """
    if token.startswith(PREFIX):
        credential = await _by_api_key(database, token, request_id=request_id, ip=ip)
    else:
        credential = await _by_access_token(
            database, settings, token, account=account, request_id=request_id, ip=ip, on_record=on_record
        )
    if account is not None and credential.actor.account_id != account:
        raise Forbidden("There is no support grant of this account in force.")
    return credential


async def _by_access_token(
    database: Database,
    settings: Settings,
    token: str,
    *,
    account: UUID | None,
    request_id: str,
    ip: str | None,
    on_record: bool,
) -> Credential:
    session_id, expires_at = tokens.read(settings, token)
    user = await database.system_row(_SIGNED_IN, {"session_id": session_id})
    if user is None:
        raise Unauthenticated("This session was ended; sign in again.")

    def acting(kind: ActorType, account_id: UUID, role: Role) -> Actor:
        return Actor(
            kind,
            account_id,
            user.name,
            ROLE_SCOPES[role],
            id=user.id,
            role=role,
            session_id=session_id,
            request_id=request_id,
            ip=ip,
        )

    if account is None or account == user.account_id or not user.is_staff:
        return Credential(acting(ActorType.USER, user.account_id, user.role), expires_at)
    actor = acting(ActorType.SUPPORT, account, Role.SUPPORT)
    grant = await database.system_row(_GRANT, {"account_id": account})
    if grant is None:
        if on_record:
            await support.log_denial(database, actor)
        raise Forbidden("There is no support grant of this account in force.")
    return Credential(actor, min(expires_at, grant.expires_at), by_grant=grant.id)


async def _by_api_key(database: Database, token: str, *, request_id: str, ip: str | None) -> Credential:
    key = await database.system_row(_BY_SECRET, {"secret_hash": tokens.digest(token)})
    if key is None:
        raise Unauthenticated("This API key is not valid.")
    if not key.is_fresh:
        async with database.system_across_accounts() as session:
            await session.execute(sa.update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=sa.func.now()))
    scopes = frozenset(Scope(scope) for scope in key.scopes if scope in set(Scope))
    actor = Actor(ActorType.API_KEY, key.account_id, key.name, scopes, id=key.id, request_id=request_id, ip=ip)
    return Credential(actor, key.expires_at)
