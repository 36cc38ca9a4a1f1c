"""A row of any table, made up from its columns."""

from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from db.base import new_id
from db.models.registry import METADATA

OWNED = [table for table in METADATA.sorted_tables if "account_id" in table.columns]
_numbers = count(1)


def fill(table: sa.Table, parents: dict[str, dict[str, Any]], **given: Any) -> dict[str, Any]:
    """Values for a new row, with references to the rows in `parents` (by table); what may be null is null."""
    row: dict[str, Any] = {}
    for column in table.columns:
        referred = next(iter(column.foreign_keys), None)
        if column.name in given:
            row[column.name] = given[column.name]
        elif column.server_default is not None or column.identity is not None:
            continue
        elif referred is not None:
            row[column.name] = parents[referred.column.table.name][referred.column.name]
        elif not column.nullable:
            row[column.name] = _value(column.type)
    return row


def account_rows(account_id: UUID) -> dict[str, dict[str, Any]]:
    """A row of each table for one account, by table, in an order in which they can be inserted."""
    rows: dict[str, dict[str, Any]] = {}
    for table in METADATA.sorted_tables:
        if table.name == "account":
            rows[table.name] = fill(table, rows, id=account_id)
        elif table in OWNED:
            rows[table.name] = fill(table, rows)
    return rows


def _value(kind: sa.types.TypeEngine[Any]) -> Any:
    if isinstance(kind, sa.Enum):
        return kind.enums[0]
    number = next(_numbers)
    values: dict[type, Any] = {
        sa.Uuid: new_id(),
        sa.Boolean: False,
        sa.Integer: number,
        sa.BigInteger: number,
        sa.Double: number / 2,
        sa.TIMESTAMP: datetime.now(UTC),
        postgresql.JSONB: {},
        postgresql.ARRAY: [],
        postgresql.BYTEA: f"bytes {number}".encode(),
        sa.Text: f"text {number}",
    }
    return values[type(kind)]
