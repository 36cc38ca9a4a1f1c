"""Scalars whose values are checked where they come in."""

from datetime import UTC, date, datetime
from typing import Final

from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition


def _moment(value: object) -> datetime:
    """Raises GraphQLError, which graphql-core reports with the place of the value."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: in UTC it is before the year 1 or after the year 9999
        pass
    raise GraphQLError("A time is ISO 8601 with its zone, such as 2026-01-31T09:00:00Z.")


def _day(value: object) -> date:
    """Raises GraphQLError, likewise."""
    try:
        if isinstance(value, str):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise GraphQLError("A date is ISO 8601, such as 2026-01-31.")


SCALARS: Final[dict[object, ScalarDefinition]] = {
    datetime: ScalarDefinition(
        name="DateTime",
        description="A moment in ISO 8601, such as 2026-01-31T09:00:00+00:00. Input needs a zone; output is UTC.",
        specified_by_url=None,
        serialize=datetime.isoformat,
        parse_value=_moment,
        parse_literal=None,
        origin=datetime,
    ),
    date: ScalarDefinition(
        name="Date",
        description="A day in ISO 8601, such as 2026-01-31.",
        specified_by_url=None,
        serialize=date.isoformat,
        parse_value=_day,
        parse_literal=None,
        origin=date,
    ),
}
