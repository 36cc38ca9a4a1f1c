"""The quick way through the fields that most of an answer consists of: attributes of a row, and what follows from it alone.

graphql-core goes through a dozen steps for each field of each row. For a leaf without arguments, permissions or anything to
wait for, two of them are left: read the value, write it as JSON has it. Whatever is not as expected is done again by
graphql-core's own steps, so errors are its own as well.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import date, datetime
from enum import Enum
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias, cast

from graphql import (
    GraphQLField,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
)
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import CustomGraphQLEnumType, GraphQLCoreConverter
from strawberry.types.field import StrawberryField

Read: TypeAlias = Callable[[Any], Any]
Fields: TypeAlias = dict[str, Any]
Plan: TypeAlias = tuple[Fields, list[tuple[str, "Leaf"]], Fields]

_KEPT: Final = "leaf"
_INT: Final = 2**31
# Values of exactly this type are the scalar's as they are; orjson writes moments and dates as `isoformat` does.
_PLAIN: Final = {"String": str, "ID": str, "Boolean": bool, "DateTime": datetime, "Date": date}


class Leaf(NamedTuple):
    """How a field's value is read from an object, and written; one whose type is exactly `kind` needs no writing."""

    read: Read
    write: Read
    kind: type | None = None


class Unexpected(Exception):
    """The value is not what the type promises; graphql-core says how."""


class LeafExecutor(StrawberryGraphQLCoreExecutionContext):
    """Strawberry's executor with the quick way. Give it to the schema as `execution_context_class`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By identity: graphql-core has one object for the selections of all rows of a list. Kept, so that none is reused.
        self._plans: dict[int, Plan] = {}

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        grouped_field_set: Fields,
        position_context: Any,
    ) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        """The fields of one object; awaitable where one of them is."""
        _, leaves, others = self._plans.get(id(grouped_field_set)) or self._plan(parent_type, grouped_field_set)
        values: dict[str, Any] = dict.fromkeys(grouped_field_set)  # in the order of the selection
        try:
            for name, (read, write, kind) in leaves:
                value = read(source_value)
                values[name] = value if type(value) is kind else write(value)
        except Exception:  # noqa: BLE001 - done again below by graphql-core, which reports it as it should be
            return super().execute_fields(parent_type, source_value, path, grouped_field_set, position_context)
        if not others:
            return values
        rest = super().execute_fields(parent_type, source_value, path, others, position_context)
        if isinstance(rest, dict):
            values.update(rest)
            return values

        async def complete() -> dict[str, Any]:
            values.update(await rest)
            return values

        return complete()

    def _plan(self, parent_type: GraphQLObjectType, fields: Fields) -> Plan:
        leaves: list[tuple[str, Leaf]] = []
        others: Fields = {}
        for name, details in fields.items():
            leaf = self._leaf(parent_type, details[0].node.name.value)
            if leaf is None:
                others[name] = details
            else:
                leaves.append((name, leaf))
        plan = self._plans[id(fields)] = fields, leaves, others
        return plan

    def _leaf(self, parent_type: GraphQLObjectType, name: str) -> Leaf | None:
        if name == "__typename":
            return Leaf(lambda _: parent_type.name, str)
        field = parent_type.fields.get(name)
        if field is None or self.middleware_manager is not None:
            return None
        if _KEPT not in field.extensions:
            field.extensions[_KEPT] = _leaf_of(field)
        leaf: Leaf | None = field.extensions[_KEPT]
        return leaf


def _leaf_of(field: GraphQLField) -> Leaf | None:
    """None if the field's value takes more than the object, or is no leaf."""
    write = _writer(field.type)
    definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    read = _reader(definition) if isinstance(definition, StrawberryField) and not field.args else None
    if write is None or read is None:
        return None
    scalar = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
    return Leaf(read, write, _PLAIN.get(scalar.name) if isinstance(scalar, GraphQLScalarType) else None)


def _reader(field: StrawberryField) -> Read | None:
    if field.extensions or field.permission_classes:
        return None
    resolver = field.base_resolver
    if resolver is None:
        return attrgetter(field.python_name)
    parent = resolver.parent_parameter
    more = resolver.arguments or resolver.info_parameter or resolver.self_parameter or resolver.is_async
    return None if parent is None or more else cast("Read", resolver.wrapped_func)


def _writer(kind: GraphQLOutputType) -> Read | None:
    if isinstance(kind, GraphQLNonNull):
        return _nullable_writer(kind.of_type)
    write = _nullable_writer(kind)
    return None if write is None else lambda value: None if value is None else write(value)


def _nullable_writer(kind: GraphQLOutputType) -> Read | None:
    """How a value that is not None is written; None itself must fail."""
    if isinstance(kind, GraphQLList):
        item = _writer(kind.of_type)
        return None if item is None else lambda values: [item(value) for value in _exactly(list, values)]
    if isinstance(kind, CustomGraphQLEnumType):
        members: Iterable[Enum] = kind.wrapped_cls
        names = {value.value: name for name, value in kind.values.items()}
        return {member: names[member.value] for member in members}.__getitem__
    if kind is GraphQLInt:
        return _int
    if isinstance(kind, GraphQLScalarType):
        return partial(_exactly, _PLAIN[kind.name]) if kind.name in _PLAIN else partial(_coerced, kind)
    return None


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise Unexpected
    return value


def _int(value: Any) -> int:
    if type(value) is not int or not -_INT <= value < _INT:
        raise Unexpected
    return value


def _coerced(kind: GraphQLScalarType, value: Any) -> Any:
    written = None if value is None else kind.coerce_output_value(value)
    if written is None:
        raise Unexpected
    return written
