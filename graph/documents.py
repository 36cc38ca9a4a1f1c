"""Documents: parsed, checked and remembered."""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final

from graphql import (
    SKIP,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    VisitorAction,
    parse,
    specified_rules,
    validate,
    visit,
)
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule

from graph import errors
from graph.cost import Weight, weigh
from graph.errors import refuse
from graph.limits import Limits
from graph.shape import check_shape

MAX_VALIDATION_ERRORS: Final = 20
RESUME_PREFIX: Final = "after"  # root arguments of a subscription so named say where to resume, not what to watch


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed and valid document, with what is worth knowing of it for every request."""

    text: str
    node: DocumentNode
    weights: dict[OperationDefinitionNode, Weight]
    introspects: bool
    resume_variables: frozenset[str]


class Documents:
    """Checks documents, and remembers those used last, bounded in number and in length."""

    def __init__(
        self, schema: GraphQLSchema, limits: Limits, *, suggestions: bool, count: int = 1_000, characters: int = 4_000_000
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._suggestions = suggestions
        self._count = count
        self._characters = characters
        self._length = 0
        self._known: OrderedDict[str, Document] = OrderedDict()

    def get(self, text: str) -> Document:
        """The checked document. Raises Refused if it does not parse, exceeds a limit or does not fit the schema."""
        document = self._known.get(text)
        if document is not None:
            self._known.move_to_end(text)
            return document
        document = self._checked(text)
        # Only valid documents are kept: a stream of bad ones must not push the good ones out.
        self._keep(document)
        return document

    def _keep(self, document: Document) -> None:
        self._known[document.text] = document
        self._length += len(document.text)
        while len(self._known) > self._count or self._length > self._characters:
            evicted, _ = self._known.popitem(last=False)
            self._length -= len(evicted)

    def _checked(self, text: str) -> Document:
        node = self._parsed(text)
        check_shape(node, self._limits)
        # Strawberry's rule expects a document that is valid otherwise. Its one for @oneOf is left out: it fails on
        # a fragment that stands before its operation, and the inputs check themselves again when they are coerced.
        for rules in (specified_rules, (MaybeNullValidationRule,)):
            found = validate(self._schema, node, rules, MAX_VALIDATION_ERRORS, hide_suggestions=not self._suggestions)
            if found:
                raise errors.request_errors(errors.VALIDATION, found, suggestions=self._suggestions)
        facts = _Facts(node)
        return Document(text, node, weigh(self._schema, node, self._limits), facts.introspects, facts.resume_variables())

    def _parsed(self, text: str) -> DocumentNode:
        limits = self._limits
        if len(text) > limits.characters:
            raise refuse(errors.TOO_COMPLEX, f"The document is too long; {limits.characters} characters is the most.")
        try:
            return parse(text, max_lexical_tokens=limits.tokens, max_comments=limits.tokens)
        except GraphQLError as error:
            raise errors.request_errors(errors.SYNTAX, [error], suggestions=self._suggestions) from None


class _Facts(Visitor):
    """What one walk over a valid document finds out."""

    def __init__(self, document: DocumentNode) -> None:
        super().__init__()
        self.introspects = False
        self._uses: Counter[str] = Counter()
        self._resumes: Counter[str] = Counter()
        visit(document, self)

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: object) -> None:
        if node.operation is OperationType.SUBSCRIPTION:
            for root in node.selection_set.selections:
                for argument in (root.arguments or ()) if isinstance(root, FieldNode) else ():
                    if argument.name.value.startswith(RESUME_PREFIX) and isinstance(argument.value, VariableNode):
                        self._resumes[argument.value.name.value] += 1

    def enter_field(self, node: FieldNode, *_: object) -> None:
        self.introspects |= node.name.value in {"__schema", "__type"}

    def enter_variable_definition(self, _node: VariableDefinitionNode, *_: object) -> VisitorAction:
        return SKIP

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self._uses[node.name.value] += 1

    def resume_variables(self) -> frozenset[str]:
        """The variables that only say where to resume from."""
        return frozenset(name for name, count in self._resumes.items() if self._uses[name] == count)
