"""Keyset pages: a cursor is the values of the ordering columns of the row it stands for, so a page costs the same anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from domain.errors import Invalid

MAX_PAGE = 100
DEFAULT_PAGE = 50
_INTEGER = 2**31  # what PostgreSQL keeps an integer in

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Window:
    """Which page: `first` rows after a cursor, or `last` rows before one. Cursors are lists of the ordering columns' values."""

    first: int | None = None
    after: Sequence[Any] | None = None
    last: int | None = None
    before: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if self.first is not None and self.last is not None:
            raise Invalid("Ask for first or for last, not for both.", field=("last",))
        for name, size in (("first", self.first), ("last", self.last)):
            if size is not None and not 1 <= size <= MAX_PAGE:
                raise Invalid(f"{name} must be between 1 and {MAX_PAGE}.", field=(name,))

    @property
    def size(self) -> int:
        """The number of rows asked for."""
        return self.last or self.first or DEFAULT_PAGE

    @property
    def backward(self) -> bool:
        """Whether the page is counted from the end."""
        return self.last is not None


@dataclass(frozen=True, slots=True)
class Order:
    """Ordering columns, none of them nullable, the last one unique, all in one direction: an index can then serve the page.

    They are texts, numbers, times and ids.
    """

    columns: tuple[InstrumentedAttribute[Any], ...]
    descending: bool = False

    def key(self, row: object) -> list[Any]:
        """The cursor of `row`."""
        return [getattr(row, column.key) for column in self.columns]

    def parse(self, values: Sequence[Any], *, field: str) -> list[Any]:
        """Cursor values as they come out of JSON, in the columns' types. Raises Invalid."""
        if len(values) != len(self.columns):
            raise Invalid("This cursor belongs to another list.", field=(field,))
        try:
            return [_parse(column.type.python_type, value) for column, value in zip(self.columns, values, strict=True)]
        except (TypeError, ValueError, OverflowError):
            raise Invalid("This cursor belongs to another list.", field=(field,)) from None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The rows in the list's order, and whether there are more on either side."""

    rows: list[T]
    order: Order
    has_next: bool
    has_previous: bool
    query: sa.Select[Any]


async def paginate(session: AsyncSession, query: sa.Select[T], *, order: Order, window: Window) -> Page[T]:
    """One page of `query`, which selects one entity and is not ordered yet."""
    whole = query
    keys = sa.tuple_(*order.columns)
    if window.after is not None:
        after = sa.tuple_(*order.parse(window.after, field="after"))
        query = query.where(keys < after if order.descending else keys > after)
    if window.before is not None:
        before = sa.tuple_(*order.parse(window.before, field="before"))
        query = query.where(keys > before if order.descending else keys < before)
    downward = order.descending != window.backward
    query = query.order_by(*(column.desc() if downward else column.asc() for column in order.columns))
    rows = list((await session.scalars(query.limit(window.size + 1))).all())
    more = len(rows) > window.size
    rows = rows[: window.size]
    if window.backward:
        rows.reverse()
        return Page(rows, order, has_next=window.before is not None, has_previous=more, query=whole)
    return Page(rows, order, has_next=more, has_previous=window.after is not None, query=whole)


async def count(session: AsyncSession, page: Page[Any]) -> int:
    """How many rows the whole list has; asked for only when somebody wants to see the number."""
    rows = page.query.with_only_columns(sa.literal(1), maintain_column_froms=True).order_by(None).subquery()
    return (await session.execute(sa.select(sa.func.count()).select_from(rows))).scalar_one()


def _parse(python_type: type, value: Any) -> Any:
    """Raises TypeError or ValueError for what was no value of such a column."""
    if python_type is int and type(value) is int and abs(value) < _INTEGER:
        return value
    if not isinstance(value, str):
        raise TypeError(value)
    if python_type is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(value)
        return moment.astimezone(UTC)
    if python_type is UUID:
        return UUID(value)
    if "\x00" in value:
        raise ValueError(value)
    return value
