"""Which SQL statements run in a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements of every engine of this process, in their order; BEGIN and COMMIT are not among them."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    sa.event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(Engine, "before_cursor_execute", note)


@contextmanager
def connections() -> Iterator[list[object]]:
    """Every use of a pooled connection: one for each transaction, and for each query without one."""
    seen: list[object] = []

    def note(connection: object, *_: object) -> None:
        seen.append(connection)

    sa.event.listen(Pool, "checkout", note)
    try:
        yield seen
    finally:
        sa.event.remove(Pool, "checkout", note)
