"""How an enum of the domain becomes one of the schema."""

from enum import Enum

import strawberry


def show(enum: type[Enum], description: str, *, name: str | None = None, **values: str) -> None:
    """Show `enum` to clients with a sentence for each of its `values`, under another `name` where one is given."""
    strawberry.enum(enum, name=name, description=description)
    for value in enum.__strawberry_definition__.values:  # type: ignore[attr-defined]  # strawberry puts it there
        value.description = values[value.name]
