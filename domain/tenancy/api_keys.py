"""Credentials of programs."""

from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa

from db.models.tenancy import ActorType, ApiKey, User
from domain.actor import Scope
from domain.errors import Forbidden, Invalid, NotFound
from domain.paging import Order, Page, Window, paginate
from domain.tenancy import tokens
from domain.unit import Unit

PREFIX = "bots_"
"""How the secret of every key begins."""

NEWEST = Order((ApiKey.id,), descending=True)
_SHOWN = 12
_MAX_NAME = 200


async def create(unit: Unit, *, name: str, scopes: frozenset[Scope], expires_at: datetime | None) -> tuple[ApiKey, str]:
    """A new key and its secret, which is shown this once. It can do no more than its maker. Raises Forbidden, Invalid."""
    unit.require(Scope.MEMBERS_WRITE)
    if not name.strip():
        raise Invalid("A name is needed, to tell keys apart.", field=("name",))
    if len(name) > _MAX_NAME:
        raise Invalid(f"A name has at most {_MAX_NAME} characters.", field=("name",))
    if not scopes:
        raise Invalid("A key needs at least one scope.", field=("scopes",))
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise Invalid("A key cannot end in the past.", field=("expiresAt",))
    if not scopes <= unit.actor.scopes:
        raise Forbidden("A key cannot do more than whoever makes it.")
    await _require_in_force(unit)
    secret, secret_hash = tokens.new_secret(PREFIX)
    key = ApiKey(
        account_id=unit.account_id,
        name=name.strip(),
        prefix=secret[:_SHOWN],
        secret_hash=secret_hash,
        scopes=sorted(scopes),
        created_by=unit.actor.id,
        expires_at=expires_at,
    )
    unit.session.add(key)
    await unit.session.flush()
    unit.audit("api_key.create", subject_type="api_key", subject_id=key.id, name=key.name, scopes=key.scopes)
    return key, secret


async def revoke(unit: Unit, *, key_id: UUID) -> ApiKey:
    """Refuse the key from now on; revoking twice is harmless. Raises NotFound."""
    unit.require(Scope.MEMBERS_WRITE)
    revoked = sa.update(ApiKey).where(ApiKey.id == key_id)
    key = (
        await unit.session.scalars(
            revoked.values(revoked_at=sa.func.coalesce(ApiKey.revoked_at, sa.func.now())).returning(ApiKey)
        )
    ).one_or_none()
    if key is None:
        raise NotFound("There is no such API key.")
    unit.changed("credential", key.id)
    unit.audit("api_key.revoke", subject_type="api_key", subject_id=key.id, name=key.name)
    return key


async def revoke_made_by(unit: Unit, *, user_id: UUID) -> list[ApiKey]:
    """Refuse every key that a person made, and those that were made with them; returns the keys that were valid until now.

    Keys are the account's, but who is shut out must not keep a way in. Letting the person in again does not bring them back.
    """
    made = sa.select(ApiKey.id).where(ApiKey.created_by == user_id).cte("made", recursive=True)
    made = made.union(sa.select(ApiKey.id).join(made, ApiKey.created_by == made.c.id))
    live = sa.update(ApiKey).where(ApiKey.id.in_(sa.select(made.c.id)), ApiKey.revoked_at.is_(None))
    revoking = live.values(revoked_at=sa.func.now()).returning(ApiKey).execution_options(synchronize_session=False)
    keys: list[ApiKey] = []
    # Again until there is none: a key that was revoked just now may have been making another one until then.
    while more := (await unit.session.scalars(revoking)).all():
        keys += more
    for key in keys:
        unit.changed("credential", key.id)
        unit.audit("api_key.revoke", subject_type="api_key", subject_id=key.id, name=key.name, maker=str(user_id))
    return keys


async def page(unit: Unit, *, window: Window) -> Page[ApiKey]:
    """The account's keys, newest first, revoked ones included."""
    unit.require(Scope.MEMBERS_READ)
    return await paginate(unit.session, sa.select(ApiKey), order=NEWEST, window=window)


async def _require_in_force(unit: Unit) -> None:
    """Raises Forbidden if the maker is being shut out at this moment: that would miss a key which is not yet committed."""
    actor = unit.actor
    holders: dict[ActorType, sa.Select[UUID]] = {
        ActorType.USER: sa.select(User.id).where(User.id == actor.id, User.disabled_at.is_(None)),
        ActorType.API_KEY: sa.select(ApiKey.id).where(ApiKey.id == actor.id, ApiKey.revoked_at.is_(None)),
    }
    holder = holders.get(actor.type)
    if holder is not None and await unit.session.scalar(holder.with_for_update(read=True)) is None:
        raise Forbidden("Your own credential was revoked.")
