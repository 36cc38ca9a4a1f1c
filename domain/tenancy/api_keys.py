"""Credentials of programs."""

from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa

from db.models.tenancy import ApiKey
from domain.actor import Scope
from domain.errors import Forbidden, Invalid, NotFound
from domain.paging import Order, Page, Window, paginate
from domain.tenancy.sessions import new_api_key
from domain.unit import Unit

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
    secret, secret_hash = new_api_key()
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


async def page(unit: Unit, *, window: Window) -> Page[ApiKey]:
    """The account's keys, newest first, revoked ones included."""
    unit.require(Scope.MEMBERS_READ)
    return await paginate(unit.session, sa.select(ApiKey), order=NEWEST, window=window)
