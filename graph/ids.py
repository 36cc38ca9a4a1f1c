"""Global ids as input: which row is meant, and what to say when none is. How they are written is in `domain.ids`."""

from uuid import UUID

from domain.errors import Invalid
from domain.ids import decode, encode

__all__ = ["decode", "encode", "find", "read", "read_any"]


def find(prefix: str, text: str) -> UUID | None:
    """The row id if `text` is an id of this type; None otherwise."""
    found = decode(text)
    return found[1] if found is not None and found[0] == prefix else None


def read(prefix: str, text: str, *, field: str) -> UUID:
    """The row id, for input where an id that leads nowhere is a mistake. Raises Invalid."""
    found = find(prefix, text)
    if found is None:
        raise Invalid("This is not an id of the right type.", field=(field,))
    return found


def read_any(text: str, *, field: str) -> UUID:
    """The row id of an id of any type. Raises Invalid."""
    found = decode(text)
    if found is None:
        raise Invalid("This is not an id.", field=(field,))
    return found[1]
