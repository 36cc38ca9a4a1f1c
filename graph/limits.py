"""What a document may be, and what an operation costs.

The shape is checked before validation, because validation is what is slow on a hostile document, and by one pass that visits
each fragment once: thirty fragments which each spread the next one twice are 2^30 fields, counted in microseconds. The cost
is prepared once a document, and depends on the variables only where a page size does.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_interface_type,
    is_list_type,
    is_object_type,
)

from graph.errors import INPUT, TOO_COMPLEX, TOO_COSTLY, refuse

# Guards Python's stack while a document is measured. No document within the other limits comes near it.
MAX_LEVEL: Final = 80
MAX_DIGITS: Final = 18  # of an integer written in the document: what 64 bits can hold


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


class Shape(NamedTuple):
    """The size of a selection set, its fragments expanded."""

    depth: int = 0
    root_fields: int = 0
    fields: int = 0
    aliases: int = 0
    nesting: int = 0


class Size(NamedTuple):
    """How many items a list has: the largest value of `variables`, or `number` where none of them has one."""

    number: int
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """What a selection set costs: `fixed`, and each of `parts` its size times."""

    fixed: int
    parts: tuple[tuple[Size, "Weight"], ...] = ()


def check_shape(document: DocumentNode, limits: Limits) -> None:
    """Raises Refused if the document exceeds a limit. Linear in its length; needs no schema."""
    _Measure(document, limits).check()


def check_variables(variables: Mapping[str, Any], limits: Limits) -> None:
    """Raises Refused if a list in the variables is too long, they are nested too deeply to be answered in JSON, or a text
    has a character that PostgreSQL cannot keep.
    """
    level: list[Any] = list(variables.values())
    for _ in range(limits.variable_depth):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, list):
                _check_length(len(value), limits)
                inner.extend(value)
            elif isinstance(value, dict):
                inner.extend(value)
                inner.extend(value.values())
        if not inner:
            return
        level = inner
    raise refuse(TOO_COMPLEX, f"The variables have too many levels; {limits.variable_depth} is the most.")


def weigh(schema: GraphQLSchema, document: DocumentNode, limits: Limits) -> dict[OperationDefinitionNode, Weight]:
    """Prepare the cost of each operation of a valid document. Raises Refused if a page is written too large."""
    scale = _Scale(schema, document, limits)
    return {node: scale.operation(node) for node in document.definitions if isinstance(node, OperationDefinitionNode)}


def cost_of(weight: Weight, variables: Mapping[str, Any], limits: Limits) -> int:
    """What the operation costs with these coerced variables. Raises Refused if that, or a page, is too large."""
    cost = _evaluate(weight, variables, limits, {})
    if cost > limits.cost:
        raise refuse(TOO_COSTLY, f"The operation costs {cost}; {limits.cost} is the most.")
    return cost


class _Measure:
    """One pass over a document."""

    def __init__(self, document: DocumentNode, limits: Limits) -> None:
        self._limits = limits
        self._definitions = document.definitions
        self._fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        self._shapes: dict[str, Shape] = {}
        self._directives = 0

    def check(self) -> None:
        limits = self._limits
        operations = [node for node in self._definitions if isinstance(node, OperationDefinitionNode)]
        _at_most("operations", len(operations), limits.operations)
        for name in self._fragments:
            self._fragment(name, 0)
        for operation in operations:
            self._count_directives(operation.directives)
            shape = self._selections(operation.selection_set, 0)
            _at_most("levels of fields", shape.depth, limits.depth)
            _at_most("levels of fragments", shape.nesting, limits.fragment_nesting)
            _at_most("root fields", shape.root_fields, limits.root_fields)
            _at_most("fields", shape.fields, limits.fields)
            _at_most("aliases", shape.aliases, limits.aliases)
        _at_most("directives", self._directives, limits.directives)

    def _selections(self, selection_set: SelectionSetNode, level: int) -> Shape:
        _at_most("levels", level, MAX_LEVEL)
        depth = root_fields = fields = aliases = nesting = 0
        for node in selection_set.selections:
            self._count_directives(node.directives)
            if isinstance(node, FieldNode):
                shape = self._field(node, level)
            elif isinstance(node, InlineFragmentNode):
                inner = self._selections(node.selection_set, level + 1)
                shape = inner._replace(nesting=inner.nesting + 1)
            elif isinstance(node, FragmentSpreadNode):
                inner = self._fragment(node.name.value, level)
                shape = inner._replace(nesting=inner.nesting + 1)
            depth = max(depth, shape.depth)
            nesting = max(nesting, shape.nesting)
            root_fields += shape.root_fields
            fields += shape.fields
            aliases += shape.aliases
        return Shape(depth, root_fields, fields, aliases, nesting)

    def _field(self, node: FieldNode, level: int) -> Shape:
        for argument in node.arguments or ():
            self._check_value(argument.value)
        inner = self._selections(node.selection_set, level + 1) if node.selection_set else Shape()
        # Tools introspect fifteen levels deep; graphql-core's own rule bounds what of that is harmful.
        depth = 0 if node.name.value.startswith("__") else inner.depth
        aliases = inner.aliases + (node.alias is not None)
        return Shape(depth + 1, 1, inner.fields + 1, aliases, inner.nesting)

    def _fragment(self, name: str, level: int) -> Shape:
        if name not in self._shapes:
            fragment = self._fragments.get(name)
            # Stands for a cycle while this fragment is measured; validation names it, like a fragment that is missing.
            self._shapes[name] = Shape()
            if fragment is not None:
                self._count_directives(fragment.directives)
                self._shapes[name] = self._selections(fragment.selection_set, level + 1)
        return self._shapes[name]

    def _count_directives(self, directives: tuple[DirectiveNode, ...] | None) -> None:
        self._directives += len(directives or ())

    def _check_value(self, value: ValueNode) -> None:
        if isinstance(value, StringValueNode):
            _check_text(value.value)
        elif isinstance(value, IntValueNode | FloatValueNode):
            _check_number(value)
        elif isinstance(value, ListValueNode):
            _check_length(len(value.values), self._limits)
            for item in value.values:
                self._check_value(item)
        elif isinstance(value, ObjectValueNode):
            for field in value.fields:
                self._check_value(field.value)


class _Scale:
    """Prepares weights. A fragment is weighed once for each size of the list that its fields may multiply by."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, limits: Limits) -> None:
        self._schema = schema
        self._limits = limits
        self._fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        self._weights: dict[tuple[str, Size | None], Weight] = {}

    def operation(self, node: OperationDefinitionNode) -> Weight:
        return self._selections(node.selection_set, self._schema.get_root_type(node.operation), None)

    def _selections(self, selection_set: SelectionSetNode, parent: GraphQLNamedType | None, page: Size | None) -> Weight:
        fixed = 0
        parts: list[tuple[Size, Weight]] = []
        for size, weight in self._terms(selection_set, parent, page):
            if weight.parts or size.variables:
                parts.append((size, weight))
            else:
                fixed += size.number * weight.fixed
        return Weight(fixed, tuple(parts))

    def _terms(
        self, selection_set: SelectionSetNode, parent: GraphQLNamedType | None, page: Size | None
    ) -> Iterator[tuple[Size, Weight]]:
        once = Size(1)
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                is_list, weight = self._field(node, parent)
                # Of a connection, only the lists have a page's length: nodes and edges, not pageInfo and totalCount.
                yield (page if page and is_list else once), weight
            elif isinstance(node, InlineFragmentNode):
                named = self._schema.get_type(node.type_condition.name.value) if node.type_condition else parent
                yield once, self._selections(node.selection_set, named, page)
            elif isinstance(node, FragmentSpreadNode):
                yield once, self._fragment(node.name.value, page)

    def _fragment(self, name: str, page: Size | None) -> Weight:
        key = name, page
        if key not in self._weights:
            fragment = self._fragments[name]
            named = self._schema.get_type(fragment.type_condition.name.value)
            self._weights[key] = self._selections(fragment.selection_set, named, page)
        return self._weights[key]

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> tuple[bool, Weight]:
        name = node.name.value
        definition = parent.fields.get(name) if is_object_type(parent) or is_interface_type(parent) else None
        if definition is None or node.selection_set is None:  # a leaf, __typename or introspection
            return definition is not None and is_list_type(get_nullable_type(definition.type)), Weight(1)
        is_list = is_list_type(get_nullable_type(definition.type))
        named = get_named_type(definition.type)
        page = self._page(node) if "first" in definition.args or "last" in definition.args else None
        if page and is_list:
            inner = self._selections(node.selection_set, named, None)
            return is_list, Weight(1, ((page, inner),))
        inner = self._selections(node.selection_set, named, page)
        return is_list, Weight(inner.fixed + 1, inner.parts)

    def _page(self, node: FieldNode) -> Size:
        values = [argument.value for argument in node.arguments or () if argument.name.value in {"first", "last"}]
        written = [_page_size(int(value.value), self._limits) for value in values if isinstance(value, IntValueNode)]
        variables = tuple(value.name.value for value in values if isinstance(value, VariableNode))
        return Size(max(written, default=self._limits.default_page), variables)


def _evaluate(weight: Weight, variables: Mapping[str, Any], limits: Limits, known: dict[Weight, int]) -> int:
    if not weight.parts:
        return weight.fixed
    if weight not in known:
        known[weight] = weight.fixed + sum(
            _number(size, variables, limits) * _evaluate(part, variables, limits, known) for size, part in weight.parts
        )
    return known[weight]


def _number(size: Size, variables: Mapping[str, Any], limits: Limits) -> int:
    given = [value for name in size.variables if isinstance(value := variables.get(name), int)]
    return _page_size(max(given), limits) if given else size.number


def _page_size(number: int, limits: Limits) -> int:
    if number > limits.page:
        raise refuse(TOO_COSTLY, f"A page may have at most {limits.page} items; {number} were asked for.")
    return max(number, 0)  # the resolver refuses a negative one, and names the argument


def _at_most(what: str, number: int, limit: int) -> None:
    if number > limit:
        raise refuse(TOO_COMPLEX, f"The document has too many {what}; {limit} is the most.")


def _check_length(length: int, limits: Limits) -> None:
    if length > limits.list_items:
        raise refuse(TOO_COMPLEX, f"A list may have at most {limits.list_items} items; one has {length}.")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise refuse(INPUT, "A text may not contain the character U+0000.")


def _check_number(number: IntValueNode | FloatValueNode) -> None:
    """Variables need no such check: JSON's integers of more than 64 bits are read as floats, and too large floats refused."""
    if isinstance(number, IntValueNode) and len(number.value) > MAX_DIGITS:
        raise refuse(INPUT, f"An integer may have at most {MAX_DIGITS} characters.")
    if isinstance(number, FloatValueNode) and not math.isfinite(float(number.value)):
        raise refuse(INPUT, "A number is too large.")
