"""The shape of a document: how deep, how wide, how long.

It is checked before validation, because validation is what is slow on a hostile document, and by one pass that visits each
fragment once: thirty fragments which each spread the next one twice are 2^30 fields, counted in microseconds.
"""

import math
from typing import Final, NamedTuple

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
)

from graph.errors import INPUT, TOO_COMPLEX, refuse
from graph.limits import Limits, check_length, check_text

# Guards Python's stack while a document is measured. No document within the other limits comes near it.
MAX_LEVEL: Final = 80
MAX_DIGITS: Final = 18  # of an integer written in the document: what 64 bits can hold


class Shape(NamedTuple):
    """The size of a selection set, its fragments expanded."""

    depth: int = 0
    root_fields: int = 0
    fields: int = 0
    aliases: int = 0
    nesting: int = 0


def check_shape(document: DocumentNode, limits: Limits) -> None:
    """Raises Refused if the document exceeds a limit. Linear in its length; needs no schema."""
    _Measure(document, limits).check()


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
            check_text(value.value)
        elif isinstance(value, IntValueNode | FloatValueNode):
            _check_number(value)
        elif isinstance(value, ListValueNode):
            check_length(len(value.values), self._limits)
            for item in value.values:
                self._check_value(item)
        elif isinstance(value, ObjectValueNode):
            for field in value.fields:
                self._check_value(field.value)


def _at_most(what: str, number: int, limit: int) -> None:
    if number > limit:
        raise refuse(TOO_COMPLEX, f"The document has too many {what}; {limit} is the most.")


def _check_number(number: IntValueNode | FloatValueNode) -> None:
    """Variables need no such check: JSON's integers of more than 64 bits are read as floats, and too large floats refused."""
    if isinstance(number, IntValueNode) and len(number.value) > MAX_DIGITS:
        raise refuse(INPUT, f"An integer may have at most {MAX_DIGITS} characters.")
    if isinstance(number, FloatValueNode) and not math.isfinite(float(number.value)):
        raise refuse(INPUT, "A number is too large.")
