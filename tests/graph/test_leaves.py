"""The quick way through leaves gives what graphql-core gives, answers and errors alike."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import orjson
import pytest
import strawberry
from graphql import ExecutionResult, parse
from graphql.execution import execute_root_selection_set
from strawberry.scalars import JSON

from graph.leaves import LeafExecutor


@strawberry.enum
class Colour(StrEnum):
    """Its names differ from its values."""

    DEEP_RED = "deep_red"
    BLUE = "blue"


@dataclass
class Row:
    """What stands behind Thing."""

    name: Any = "a"
    number: Any = 7
    share: Any = 0.5
    flag: Any = True
    colour: Any = Colour.DEEP_RED
    colours: Any = field(default_factory=lambda: [Colour.BLUE, Colour.DEEP_RED])
    at: Any = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    born: Any = date(2000, 2, 29)
    tags: Any = field(default_factory=lambda: ["x", "y"])
    maybe: Any = None
    data: Any = field(default_factory=lambda: {"k": [1, None]})
    below: Any = None


@strawberry.type
class Thing:
    """A leaf of each kind, and fields that are none."""

    name: str
    number: int
    share: float
    flag: bool
    colour: Colour
    colours: list[Colour]
    at: datetime
    born: date
    tags: list[str]
    maybe: str | None
    data: JSON
    below: "Thing | None"

    @strawberry.field
    def shout(root: strawberry.Parent[Row]) -> str:  # noqa: N805 - strawberry's parent
        """Follows from the row alone."""
        return f"{root.name.upper()}!"

    @strawberry.field
    def times(root: strawberry.Parent[Row], count: int = 2) -> str:  # noqa: N805 - strawberry's parent
        """Has an argument."""
        return str(root.name) * count

    @strawberry.field
    async def later(root: strawberry.Parent[Row]) -> str:  # noqa: N805 - strawberry's parent
        """Has to be awaited."""
        await asyncio.sleep(0)
        return f"later {root.name}"

    @strawberry.field
    def where(self, info: strawberry.Info) -> str:
        """Needs more than the row."""
        return info.field_name

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Rows stand for things."""
        return isinstance(value, Row)


ROWS: list[Row] = []


@strawberry.type
class Query:
    """The rows of the test."""

    @strawberry.field
    def things(self) -> list[Thing]:
        """In the order given."""
        return ROWS  # type: ignore[return-value]  # rows stand for things

    @strawberry.field
    def some(self) -> list[Thing | None]:
        """A null instead of a thing that has gone wrong."""
        return ROWS  # type: ignore[return-value]  # likewise


PLAIN = strawberry.Schema(Query)
QUICK = strawberry.Schema(Query, execution_context_class=LeafExecutor)
ALL = """name number share flag colour colours at born tags maybe data shout"""


@pytest.fixture(autouse=True)
def _no_rows() -> Iterator[None]:
    ROWS.clear()
    yield
    ROWS.clear()


async def answer(schema: strawberry.Schema, document: str) -> bytes:
    """Data and errors in graphql-core's own words, in the order of their keys."""
    core = schema.execution_context_class.build(schema._schema, parse(document))
    assert not isinstance(core, list), core
    result = execute_root_selection_set(core)
    if not isinstance(result, ExecutionResult):
        result = await result
    return orjson.dumps({"data": result.data, "errors": [error.formatted for error in result.errors or ()]})


@pytest.mark.parametrize(
    "document",
    [
        f"{{ things {{ {ALL} }} }}",
        "{ things { shout later name times } }",
        "{ things { later times(count: 3) where name } }",
        "{ things { b: name a: number b2: name __typename } }",
        "{ things { ...Some ... on Thing { flag name } } } fragment Some on Thing { name colour }",
        f"{{ things {{ below {{ {ALL} below {{ name later }} }} number }} }}",
        "{ things { name @skip(if: true) number @include(if: true) } }",
        "{ __typename some { name } }",
    ],
)
async def test_answers_are_the_same(document: str) -> None:
    ROWS.extend([Row(below=Row(name="b", below=Row(name="c"))), Row(name="", maybe="there")])
    quick = await answer(QUICK, document)
    assert quick == await answer(PLAIN, document)
    assert orjson.loads(quick)["errors"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": None},
        {"name": 5},
        {"name": object()},
        {"number": 2**31},
        {"number": -(2**31)},
        {"number": 1.0},
        {"number": 1.5},
        {"number": True},
        {"number": None},
        {"share": float("nan")},
        {"share": 3},
        {"flag": 1},
        {"flag": "yes"},
        {"colour": "deep_red"},
        {"colour": None},
        {"colours": [Colour.BLUE, None]},
        {"colours": (Colour.BLUE,)},
        {"tags": None},
        {"tags": ["x", None]},
        {"tags": "xy"},
        {"maybe": 5},
        {"at": "not a time"},
        {"data": None},
    ],
)
@pytest.mark.parametrize("field", ["things", "some"])
async def test_what_is_not_as_the_type_promises_is_told_in_the_same_words(wrong: dict[str, Any], field: str) -> None:
    ROWS.extend([Row(), Row(**wrong), Row()])
    document = f"{{ {field} {{ {ALL} later }} }}"
    assert await answer(QUICK, document) == await answer(PLAIN, document)


async def test_a_resolver_that_raises_fails_its_own_field() -> None:
    ROWS.append(Row(name=None))
    document = "{ some { number shout } }"
    quick = await answer(QUICK, document)
    assert quick == await answer(PLAIN, document)
    assert orjson.loads(quick)["errors"][0]["path"] == ["some", 0, "shout"]


async def test_leaves_do_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    slow = LeafExecutor.execute_field

    def noted(self: Any, parent_type: Any, source: Any, details: Any, *more: Any) -> Any:
        taken.append(details[0].node.name.value)
        return slow(self, parent_type, source, details, *more)

    monkeypatch.setattr(LeafExecutor, "execute_field", noted)
    ROWS.append(Row())
    await answer(QUICK, f"{{ things {{ {ALL} times later where }} }}")
    assert taken == ["things", "times", "later", "where"]
