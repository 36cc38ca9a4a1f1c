"""Everything with an identity can be fetched again by its id."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import strawberry

from domain.unit import Unit
from graph import ids
from graph.about import about
from graph.context import Info

ByIds = Callable[[Unit, list[UUID]], Awaitable[Sequence[Any]]]

_LOADS: dict[str, ByIds] = {}


@strawberry.interface(description="Something with a global id.")
class Node:
    id: strawberry.ID = about("Opaque, unique across all types, and the same for ever.")


def loads(prefix: str, load: ByIds) -> ByIds:
    """Declare how the rows of an id prefix are fetched: in the order of their ids, None where there is none."""
    _LOADS[prefix] = load
    return load


def is_known(prefix: str) -> bool:
    """Whether things of this id prefix can be fetched by their id."""
    return prefix in _LOADS


async def fetch(info: Info, text: str) -> Any:
    """The row of a global id; None where it does not exist or is another account's."""
    found = ids.decode(text)
    load = _LOADS.get(found[0]) if found is not None else None
    if found is None or load is None:
        return None
    return await info.context.loader(load).load(found[1])


def global_id(prefix: str) -> Any:
    """The `id` field of a type whose rows have a UUID `id`."""

    def resolve(root: strawberry.Parent[Any]) -> strawberry.ID:
        return strawberry.ID(ids.encode(prefix, root.id))

    return strawberry.field(resolve, description="Opaque, unique across all types, and the same for ever.")


def stands_for(model: type) -> Any:
    """The `is_type_of` of a type whose rows are those of `model`."""

    def is_type_of(_cls: type, value: object, _info: object) -> bool:
        return isinstance(value, model)

    return classmethod(is_type_of)
