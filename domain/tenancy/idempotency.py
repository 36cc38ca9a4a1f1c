"""The same mutation asked for twice is carried out once."""

import dataclasses
import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.models.tenancy import IdempotencyKey
from domain.errors import Conflict, Invalid
from domain.unit import Unit

MAX_KEY = 200
# The first byte of what is kept. Raise it with every change to `_canonical`: a retry that comes after the release which brings
# it cannot be compared with its first call any more, and counts as the same.
_VERSION = b"\x02"


class KeyReused(Conflict):
    """The key was used before, with another input or for another operation."""

    code = "API-008"


async def replay(unit: Unit, *, key: str | None, operation: str, given: dict[str, Any]) -> UUID | None:
    """The subject of the first call with this key, or None where this is the first one (then call `remember`).

    `given` is what was asked for: values of JSON, UUIDs, moments, enums, numbers, sets, dataclasses. What is None counts as not
    given, so an argument that a later release adds does not make a retry look like another request. A concurrent twin waits
    here until the first one commits. Keys are kept for two days. Raises KeyReused.
    """
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY:
        raise Invalid(f"An idempotency key has 1 to {MAX_KEY} characters.", field=("idempotencyKey",))
    digest = digest_of(given)
    row = insert(IdempotencyKey).values(account_id=unit.account_id, key=key, operation=operation, input_hash=digest)
    fresh = await unit.session.scalar(row.on_conflict_do_nothing().returning(IdempotencyKey.key))
    if fresh is not None:
        return None
    first = (await unit.session.scalars(sa.select(IdempotencyKey).where(IdempotencyKey.key == key))).one()
    comparable = first.input_hash[:1] == _VERSION and len(first.input_hash) == len(digest)
    if first.operation != operation or (comparable and first.input_hash != digest):
        raise KeyReused("This idempotency key was used with another input.", field=("idempotencyKey",))
    return first.subject_id


def digest_of(given: Mapping[str, Any]) -> bytes:
    """What tells one input from another: equal for equal values, whatever their order or notation. Raises TypeError."""
    values = _canonical({name: value for name, value in given.items() if value is not None})
    return _VERSION + hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).digest()


def _canonical(value: Any) -> Any:
    """The value as JSON. One that could be written in two ways is written in one."""
    if isinstance(value, Enum):
        value = value.value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(_canonical(key)): _canonical(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((_canonical(item) for item in value), key=orjson.dumps)
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> str | int | None:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | Decimal):
        return int(value) if value % 1 == 0 else str(Decimal(str(value)).normalize())
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat()
    if isinstance(value, UUID | date | timedelta):
        return value.isoformat() if isinstance(value, date) else str(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} cannot be part of an idempotent mutation's input")


async def remember(unit: Unit, *, key: str | None, subject_id: UUID) -> None:
    """Keep what the key led to."""
    if key is not None:
        await unit.session.execute(sa.update(IdempotencyKey).where(IdempotencyKey.key == key).values(subject_id=subject_id))
