"""What every table shares: names of constraints, column types, and the mixin of account-owned rows."""

from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import uuid_utils.compat
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column


def new_id() -> UUID:
    """A UUIDv7: ids made later sort later, so indexes stay dense and an id doubles as a paging tie-break."""
    return uuid_utils.compat.uuid7()


class Base(DeclarativeBase):
    """Tables are named in the singular after their noun; constraint names are fixed so that migrations can name them."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 -- declared by SQLAlchemy as an instance's
        str: sa.Text(),
        datetime: sa.TIMESTAMP(timezone=True),
        date: sa.Date(),
        dict[str, Any]: postgresql.JSONB(),
        list[str]: postgresql.ARRAY(sa.Text()),
        bytes: postgresql.BYTEA(),
    }
    # A default that the database computes is fetched with RETURNING, never by a second query.
    __mapper_args__ = {  # noqa: RUF012 -- likewise
        "eager_defaults": True
    }


def choice(enum: type[StrEnum]) -> sa.Enum:
    """A text column checked against the values of `enum`: adding one is a constraint, not an ALTER TYPE."""
    return sa.Enum(
        enum,
        native_enum=False,
        create_constraint=True,
        length=32,
        name=enum.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )


class AccountOwned:
    """A row of one account. Row-level security shows it to that account's units only.

    Foreign keys bypass row-level security, so a reference to such a row is made with `owned_by`, which includes the account.
    """

    @declared_attr
    def account_id(cls) -> Mapped[UUID]:  # noqa: N805 -- declared_attr passes the class
        """The owner; its rows go when it goes."""
        return mapped_column(sa.ForeignKey("account.id", ondelete="CASCADE"))


def any_of(column: Any, values: Iterable[Any]) -> sa.ColumnElement[bool]:
    """Whether `column` is one of `values`, sent as one array: one statement, prepared once, for any number of values."""
    element: sa.ColumnElement[bool] = column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))
    return element


def owned_key(table: str) -> sa.Index:
    """The key that `owned_by` refers to; goes into the __table_args__ of a table that others refer to.

    An index, by whose name it is made after the table's others: of indexes that look equally cheap, as all do while a table has
    no statistics, PostgreSQL takes the newest. With another one each check of a reference would read all rows of the account.
    """
    return sa.Index(f"uq_{table}_account_id_id", "account_id", "id", unique=True)


def owned_by(column: str, table: str, *, ondelete: str = "CASCADE") -> sa.ForeignKeyConstraint:
    """A reference to another row of the same account."""
    return sa.ForeignKeyConstraint(["account_id", column], [f"{table}.account_id", f"{table}.id"], ondelete=ondelete)
