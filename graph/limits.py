"""What a request may be at most. `graph.shape` measures a document, `graph.cost` what an operation costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graph.errors import INPUT, TOO_COMPLEX, refuse


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a document may have. Counts of fields and aliases are after fragments are expanded."""

    characters: int = 100_000
    tokens: int = 5_000
    operations: int = 20
    root_fields: int = 20
    fields: int = 500
    aliases: int = 50
    directives: int = 100
    depth: int = 15
    fragment_nesting: int = 20
    list_items: int = 1_000
    variable_depth: int = 50
    page: int = 100
    default_page: int = 50
    cost: int = 20_000


def check_variables(variables: Mapping[str, Any], limits: Limits) -> None:
    """Raises Refused if a list in the variables is too long, they are nested too deeply to be answered in JSON, or a text
    has a character that PostgreSQL cannot keep.
    """
    level: list[Any] = list(variables.values())
    for _ in range(limits.variable_depth):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, str):
                check_text(value)
            elif isinstance(value, list):
                check_length(len(value), limits)
                inner.extend(value)
            elif isinstance(value, dict):
                inner.extend(value)
                inner.extend(value.values())
        if not inner:
            return
        level = inner
    raise refuse(TOO_COMPLEX, f"The variables have too many levels; {limits.variable_depth} is the most.")


def check_length(length: int, limits: Limits) -> None:
    """Raises Refused if a list is too long."""
    if length > limits.list_items:
        raise refuse(TOO_COMPLEX, f"A list may have at most {limits.list_items} items; one has {length}.")


def check_text(text: str) -> None:
    """Raises Refused if a text has a character that PostgreSQL cannot keep."""
    if "\x00" in text:
        raise refuse(INPUT, "A text may not contain the character U+0000.")
