"""Connections: keyset pages as GraphQL clients know them."""

from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import orjson
import strawberry

from domain import paging as keyset
from domain.errors import Invalid
from domain.paging import DEFAULT_PAGE, MAX_PAGE, Order, Page, Window
from graph.about import about, resolved
from graph.context import Info

T = TypeVar("T")

First: TypeAlias = Annotated[
    int | None, strawberry.argument(description=f"How many from the start, 1 to {MAX_PAGE}; {DEFAULT_PAGE} when not given.")
]
After: TypeAlias = Annotated[str | None, strawberry.argument(description="Only what comes after this cursor.")]
Last: TypeAlias = Annotated[
    int | None, strawberry.argument(description=f"How many from the end, 1 to {MAX_PAGE}; not together with first.")
]
Before: TypeAlias = Annotated[str | None, strawberry.argument(description="Only what comes before this cursor.")]


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = about("Whether more follows; ask for it with after: endCursor.")
    has_previous_page: bool = about("Whether something comes before; ask for it with before: startCursor.")
    start_cursor: str | None = about("The first row's cursor; null on an empty page.")
    end_cursor: str | None = about("The last row's cursor; null on an empty page.")


@strawberry.type(description="A row and its cursor.")
class Edge(Generic[T]):
    cursor: str = about("Opaque; valid for as long as the list has the same order.")
    node: T = about("The row.")


@dataclass(slots=True)
class _Edge:
    cursor: str
    node: Any


@dataclass(slots=True)
class Listing:
    """What stands behind a Connection: a page of the domain."""

    page: Page[Any]

    @property
    def edges(self) -> list[_Edge]:
        """The rows with their cursors."""
        return [_Edge(encode(self.page.order, row), row) for row in self.page.rows]

    @property
    def nodes(self) -> list[Any]:
        """The rows."""
        return self.page.rows

    @property
    def page_info(self) -> PageInfo:
        """Where the page stands."""
        rows, order = self.page.rows, self.page.order
        return PageInfo(
            has_next_page=self.page.has_next,
            has_previous_page=self.page.has_previous,
            start_cursor=encode(order, rows[0]) if rows else None,
            end_cursor=encode(order, rows[-1]) if rows else None,
        )


@strawberry.type(description="A page of a list. An empty list is an empty page, never null.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = about("The rows with their cursors.")
    nodes: list[T] = about("The rows, where cursors are of no use.")
    page_info: PageInfo = about("Where the page stands in the list.")

    @resolved("How many rows the whole list has. Counted only when asked for.")
    async def total_count(root: strawberry.Parent[Listing], info: Info) -> int:
        """Count in a unit of its own."""
        async with info.context.unit() as unit:
            return await keyset.count(unit.session, root.page)


def window(first: int | None, after: str | None, last: int | None, before: str | None) -> Window:
    """The page that the arguments ask for. Raises Invalid."""
    return Window(first=first, after=decode(after, field="after"), last=last, before=decode(before, field="before"))


def encode(order: Order, row: object) -> str:
    """The cursor of a row."""
    return pack(order.key(row))


def pack(values: Any) -> str:
    """Values as an opaque text."""
    return orjson.dumps(values, default=str).hex()


def decode(cursor: str | None, *, field: str) -> list[Any] | None:
    """The values of a cursor; which types they have is checked against the list. Raises Invalid."""
    if cursor is None:
        return None
    try:
        values = orjson.loads(bytes.fromhex(cursor))
    except ValueError:
        raise Invalid("This is not a cursor.", field=(field,)) from None
    if not isinstance(values, list) or not values or not all(type(value) in {str, int} for value in values):
        raise Invalid("This is not a cursor.", field=(field,))
    return values
