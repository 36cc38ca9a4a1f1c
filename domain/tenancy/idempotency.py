"""The same mutation asked for twice is carried out once."""

import hashlib
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.models.tenancy import IdempotencyKey
from domain.errors import Conflict, Invalid
from domain.unit import Unit

MAX_KEY = 200


class KeyReused(Conflict):
    """The key was used before, with another input or for another operation."""

    code = "API-008"


async def replay(unit: Unit, *, key: str | None, operation: str, given: dict[str, Any]) -> UUID | None:
    """The subject of the first call with this key, or None where this is the first one (then call `remember`).

    A concurrent twin waits here until the first one commits. Keys are kept for two days. Raises KeyReused.
    """
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY:
        raise Invalid(f"An idempotency key has 1 to {MAX_KEY} characters.", field=("idempotencyKey",))
    digest = hashlib.sha256(orjson.dumps(given, option=orjson.OPT_SORT_KEYS, default=str)).digest()
    row = insert(IdempotencyKey).values(account_id=unit.account_id, key=key, operation=operation, input_hash=digest)
    fresh = await unit.session.scalar(row.on_conflict_do_nothing().returning(IdempotencyKey.key))
    if fresh is not None:
        return None
    first = (await unit.session.scalars(sa.select(IdempotencyKey).where(IdempotencyKey.key == key))).one()
    if first.operation != operation or first.input_hash != digest:
        raise KeyReused("This idempotency key was used with another input.", field=("idempotencyKey",))
    return first.subject_id


async def remember(unit: Unit, *, key: str | None, subject_id: UUID) -> None:
    """Keep what the key led to."""
    if key is not None:
        await unit.session.execute(sa.update(IdempotencyKey).where(IdempotencyKey.key == key).values(subject_id=subject_id))
