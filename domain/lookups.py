"""Rows by their ids, for loaders: one statement for any number of references."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from domain.actor import Scope
from domain.unit import Unit

T = TypeVar("T")


def by_ids(model: type[T], *, scope: Scope) -> Callable[[Unit, Sequence[UUID]], Awaitable[list[T | None]]]:
    """A query for rows of `model` in the order of their ids, None where there is none. It raises Forbidden without `scope`."""
    key: Any = model.id  # type: ignore[attr-defined]  # every model has one

    async def load(unit: Unit, ids: Sequence[UUID]) -> list[T | None]:
        unit.require(scope)
        found = {row.id: row for row in await unit.session.scalars(sa.select(model).where(key.in_(ids)))}  # type: ignore[attr-defined]  # likewise
        return [found.get(row_id) for row_id in ids]

    return load
