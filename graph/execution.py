"""From a request to encoded answers.

Strawberry builds the schema and resolves the fields; its own pipeline is not used. It validates anew for every request when a
rule is given as a factory, takes its hints out of some messages only, and lets what rules and extensions raise past masking.
Here graphql-core's steps are called one by one over the same schema, with the executor class that strawberry's Info needs.
"""

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import aclosing
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, Self

import orjson
import strawberry
from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    OperationType,
    SelectionSetNode,
)
from graphql.execution import Executor as CoreExecutor
from graphql.execution import create_source_event_stream, execute_root_selection_set, execute_subscription_event
from strawberry.execution import optimized_is_awaitable

from domain import tracing
from graph import cost, errors, limits
from graph.documents import Document, Documents
from graph.errors import refuse
from graph.limits import Limits


class Context(Protocol):
    """What the doors and the executor need of a context. One lives as long as one operation, or one event of it."""

    live: Any
    """Set by `graph.live`; `follow(feed, after=...)` of the context hands on to it."""

    @property
    def request_id(self) -> str:
        """Found in the logs again, and told to the client with a masked error."""

    @property
    def may_introspect(self) -> bool:
        """Whether the schema's own description is answered."""

    @property
    def expires_at(self) -> datetime | None:
        """When the credential ends (aware); None: never."""

    @property
    def scope(self) -> Hashable:
        """Contexts of equal scope get equal answers."""

    async def revoked(self) -> None:
        """Return once the credential was revoked; never, if it is not."""

    @property
    def person(self) -> Hashable:
        """Who exactly asks, for what is told to each person alone."""

    def for_feed(self, *, personal: bool = False) -> Self:
        """A fresh context of equal scope, with loaders of its own, detached from the one credential.

        A `personal` one keeps who asks.
        """

    async def close(self) -> None:
        """Release what the context holds."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks, by whichever door. `variables` and `extensions` are parsed JSON objects."""

    document: str | None
    operation_name: str | None = None
    variables: dict[str, Any] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)
    document_id: str | None = None
    wants_cost: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation whose variables are coerced and whose cost is known and spent."""

    document: Document
    request: Request
    core: CoreExecutor[Any]
    cost: int

    @property
    def type(self) -> OperationType:
        """Query, mutation or subscription."""
        return self.core.operation.operation

    @property
    def label(self) -> str:
        """What a trace calls it, such as `mutation startContactSync`."""
        return f"{self.type.value} {next(iter(self._root_fields(self.core.operation.selection_set)), '')}"

    @property
    def root_fields(self) -> list[str]:
        """What is asked for, by the fields' names in the schema."""
        return list(self._root_fields(self.core.operation.selection_set))

    def _root_fields(self, selection_set: SelectionSetNode) -> Iterator[str]:
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                yield node.name.value
            elif isinstance(node, InlineFragmentNode):
                yield from self._root_fields(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                yield from self._root_fields(self.core.fragment_definitions[node.name.value].selection_set)

    def sharing_key(self, scope: Hashable) -> Hashable:
        """Equal for operations that see equal events; where each resumes from is left out."""
        node = self.core.operation
        declared = {definition.variable.name.value for definition in node.variable_definitions or ()}
        watched = {
            name: value
            for name, value in self.request.variables.items()
            if name in declared and name not in self.document.resume_variables
        }
        name = node.name.value if node.name else None
        return self.document.text, name, orjson.dumps(watched, option=orjson.OPT_SORT_KEYS), scope


class Executor:
    """Prepares and runs operations over one schema.

    `trusted` maps the SHA-256 of a document (hex) to its text; where it is given, no other document is run. `admit` is
    awaited with the context and the operation before that runs, whatever its kind, and may raise a DomainError.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        *,
        limits: Limits | None = None,
        trusted: Mapping[str, str] | None = None,
        suggestions: bool = False,
        admit: Callable[[Any, Operation], Awaitable[object]] | None = None,
    ) -> None:
        if schema.extensions or schema.directives:
            raise ValueError("Schema extensions and operation directives are not run by this executor.")
        self.limits = limits or Limits()
        # The only public way to strawberry's executable schema is to print and rebuild it, which loses the resolvers.
        self._schema: GraphQLSchema = schema._schema  # noqa: SLF001
        self._core_class = schema.execution_context_class
        self._trusted = trusted
        self._suggestions = suggestions
        self._admit = admit
        self._documents = Documents(self._schema, self.limits, suggestions=suggestions)

    async def prepare(self, request: Request, context: Context) -> Operation:
        """Find, check and price the operation. Raises Refused, whatever is wrong with it."""
        try:
            operation = self._operation(request, context)
            if self._admit is not None:
                await self._admit(context, operation)
        except Exception as error:
            raise errors.refusal_of(error, request_id=context.request_id) from error
        return operation

    async def run(self, operation: Operation, context: Context) -> bytes:
        """Run a query or mutation, and return the encoded answer."""
        core = copy(operation.core)
        core.context_value = context
        try:
            with tracing.span(operation.label):
                result = execute_root_selection_set(core)
                if not isinstance(result, ExecutionResult):
                    result = await result
        except Exception as error:  # noqa: BLE001 - graphql-core keeps resolvers' errors; this is what goes wrong around them
            return self._failure(error, context)
        return self._encode(result, operation, context)

    async def events(self, operation: Operation, context: Context) -> AsyncGenerator[bytes, None]:
        """Run a subscription, and yield the encoded answer to each event. A failure is the last answer.

        Each event gets a context of its own, so that what loaders remember of one is not told at the next.
        """
        core = copy(operation.core)
        core.context_value = context
        try:
            source = create_source_event_stream(core)
            if isinstance(source, Awaitable):
                source = await source
            if isinstance(source, ExecutionResult):
                yield self._encode(source, operation, context)
                return
            async with aclosing(aiter(source)) as stream:  # type: ignore[type-var]  # strawberry's are generators
                async for event in stream:
                    yield await self._event(core.build_per_event_executor(event), operation, context)
        except Exception as error:  # noqa: BLE001 - whatever the resolver raised, the client is told in one way
            yield self._failure(error, context)

    async def _event(self, core: CoreExecutor[Any], operation: Operation, context: Context) -> bytes:
        core.context_value = fresh = context.for_feed()
        try:
            result = execute_subscription_event(core)
            if not isinstance(result, ExecutionResult):
                result = await result
            return self._encode(result, operation, context)
        finally:
            await fresh.close()

    def _operation(self, request: Request, context: Context) -> Operation:
        document = self._documents.get(self._text(request))
        if document.introspects and not context.may_introspect:
            raise refuse(errors.INTROSPECTION, "Introspection is not allowed.")
        limits.check_variables(request.variables, self.limits)
        if request.operation_name is not None or len(document.weights) != 1:
            self._check_name(document, request.operation_name)
        core = self._core(document, request)
        spent = cost.cost_of(document.weights[core.operation], core.variable_values.coerced, self.limits)
        return Operation(document, request, core, spent)

    def _core(self, document: Document, request: Request) -> CoreExecutor[Any]:
        try:
            core = self._core_class.build(
                self._schema,
                document.node,
                raw_variable_values=request.variables,
                operation_name=request.operation_name,
                is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]  # strawberry's says bool where a TypeGuard is meant
                hide_suggestions=not self._suggestions,
                operation_extensions=request.extensions,
            )
        except GraphQLError as error:  # strawberry's check of @oneOf inputs raises where graphql-core collects
            core = [error]
        if isinstance(core, list):
            raise errors.request_errors(errors.INPUT, core, suggestions=self._suggestions)
        return core

    def _text(self, request: Request) -> str:
        persisted = request.extensions.get("persistedQuery")
        digest = request.document_id or (persisted.get("sha256Hash") if isinstance(persisted, dict) else None)
        if self._trusted is None:
            if request.document is None and digest is not None:
                # The message is the one that clients of automatic persisted queries look for, to stop trying.
                raise refuse(errors.NO_PERSISTED, "PersistedQueryNotSupported")
            if not request.document:
                raise refuse(errors.BAD_REQUEST, "The request has no `query`.")
            return request.document
        if not isinstance(digest, str) and request.document is not None:
            digest = hashlib.sha256(request.document.encode("utf-8", "surrogatepass")).hexdigest()
        text = self._trusted.get(digest.removeprefix("sha256:")) if isinstance(digest, str) else None
        if text is None:
            raise refuse(
                errors.UNTRUSTED, "PersistedQueryNotFound" if request.document is None else "The document is not registered."
            )
        return text

    def _check_name(self, document: Document, name: str | None) -> None:
        names = [node.name.value for node in document.weights if node.name]
        if name is None and document.weights:
            raise refuse(errors.OPERATION, "The document has several operations; `operationName` must name one.")
        if name not in names:
            raise refuse(errors.OPERATION, "The document has no operation of that name.")

    def _encode(self, result: ExecutionResult, operation: Operation, context: Context) -> bytes:
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = errors.execution_errors(
                result.errors, request_id=context.request_id, suggestions=self._suggestions
            )
        if operation.request.wants_cost:
            answer["extensions"] = {"cost": {"requested": operation.cost, "limit": self.limits.cost}}
        try:
            return orjson.dumps(answer)
        except TypeError as error:  # a scalar of ours gave what JSON cannot say
            return self._failure(error, context)

    def _failure(self, error: Exception, context: Context) -> bytes:
        located = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
        formatted = errors.execution_errors([located], request_id=context.request_id, suggestions=self._suggestions)
        return orjson.dumps({"data": None, "errors": formatted})
