"""Fields with their descriptions for the SPA developer."""

from collections.abc import Callable
from typing import Any

import strawberry


def about(description: str) -> Any:
    """A field that is simply an attribute of the row behind the type."""
    return strawberry.field(description=description)


def optional(description: str) -> Any:
    """A field that is null unless it is given."""
    return strawberry.field(default=None, description=description)


def resolved(description: str, graphql_type: Any = None) -> Callable[[Callable[..., Any]], Any]:
    """A field with a resolver. `graphql_type` is what clients see, where the resolver returns a row that stands for it."""
    field: Callable[[Callable[..., Any]], Any] = strawberry.field(description=description, graphql_type=graphql_type)
    return field


def watched(description: str) -> Callable[[Callable[..., Any]], Any]:
    """A subscription."""
    field: Callable[[Callable[..., Any]], Any] = strawberry.subscription(description=description)
    return field


def shown(row: object) -> Any:
    """A row where its GraphQL type is wanted: rows stand for themselves, nothing is copied."""
    return row
