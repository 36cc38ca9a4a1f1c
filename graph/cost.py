"""What an operation costs: prepared once a document, and dependent on the variables only where a page size is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_interface_type,
    is_list_type,
    is_object_type,
)

from graph.errors import TOO_COSTLY, refuse
from graph.limits import Limits


class Size(NamedTuple):
    """How many items a list has: the largest value of `variables`, or `number` where none of them has one."""

    number: int
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """What a selection set costs: `fixed`, and each of `parts` its size times."""

    fixed: int
    parts: tuple[tuple[Size, "Weight"], ...] = ()


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
