"""From a request to an encoded answer, over a schema of strawberry's."""

import hashlib
from typing import Any

import orjson
import pytest
import strawberry
import structlog
from graphql import GraphQLError, get_introspection_query
from strawberry.extensions import SchemaExtension

from domain.errors import LimitReached
from graph import documents, errors
from graph.errors import Refused
from graph.execution import Executor, Operation, Request
from graph.limits import Limits
from tests.graph.toy import ToyContext, World, schema

executor = Executor(schema)


async def ask(text: str, /, *, by: Executor = executor, context: ToyContext | None = None, **variables: Any) -> dict[str, Any]:
    """The answer, be it a refusal."""
    context = context or ToyContext(World())
    try:
        operation = await by.prepare(Request(text, variables=variables), context)
    except Refused as refused:
        return {"errors": refused.errors}
    answer: dict[str, Any] = orjson.loads(await by.run(operation, context))
    return answer


def codes(answer: dict[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in answer["errors"]]


async def test_resolvers_info_enums_inputs_and_defaults_work_as_strawberry_promises() -> None:
    answer = await ask(
        "query($paint: Paint!) { hello nodes(first: 1) { nodes { id owner } } paint(input: $paint) }",
        paint={"colour": "BLUE", "tags": ["a", "b"]},
    )
    assert answer == {
        "data": {
            "hello": "hello world",
            "nodes": {"nodes": [{"id": "0", "owner": "ann"}]},
            "paint": "1 of BLUE is b, 2 tags",
        }
    }
    assert await ask("{ paint(input: {colour: RED, coats: 2}) }") == {"data": {"paint": "2 of RED is r, 0 tags"}}


async def test_permission_classes_refuse_with_a_code() -> None:
    answer = await ask("{ secret }")
    assert answer["data"] == {"secret": None}
    assert answer["errors"][0]["message"] == "You may not see this."
    assert codes(answer) == ["API-004"]


async def test_inputs_of_one_of_several_are_checked_as_literals_and_as_variables() -> None:
    assert await ask('{ pick(input: {name: "x"}) }') == {"data": {"pick": "name x"}}
    assert codes(await ask('{ pick(input: {id: "1", name: "x"}) }')) == [errors.INPUT]
    assert codes(await ask("query($p: Pick!) { pick(input: $p) }", p={"id": "1", "name": "x"})) == [errors.INPUT]
    before = 'fragment F on Query { pick(input: {id: "1", name: $n}) } query($n: String!) { ...F }'
    assert codes(await ask(before, n="x")) == [errors.INPUT]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", errors.SYNTAX),
        ("{ hello " + "# x\n" * 6_000 + "}", errors.SYNTAX),
        ("{ " + "hello " * 6_000 + "}", errors.SYNTAX),
        ("{ " * 100_000, errors.TOO_COMPLEX),
        ("{ " * 1_000, errors.SYNTAX),
        ("{ helo }", errors.VALIDATION),
        ("{ nodes(first: " + "9" * 5_000 + ") { totalCount } }", errors.INPUT),
        ("subscription { }", errors.VALIDATION),
        ("{ ...A } fragment A on Query { ...A }", errors.VALIDATION),
        ("{ ...A }", errors.VALIDATION),
        ("{ pick(input: {id: null}) }", errors.VALIDATION),
        ("query($p: Paint!) { paint(input: $p) }", errors.INPUT),
        ("query A { hello } query B { hello }", errors.OPERATION),
        ("fragment A on Query { hello }", errors.VALIDATION),
        ("type A { b: Int }", errors.VALIDATION),
        ("", errors.BAD_REQUEST),
        ("{ " + " ".join(f"a{n}: hello" for n in range(60)) + " }", errors.TOO_COMPLEX),
        ("{ nodes { nodes { nodes { nodes { nodes { nodes { id owner } } } } } } }", errors.TOO_COSTLY),
        ("{ nodes(ids: [" + "1 " * 1_001 + "]) { totalCount } }", errors.TOO_COMPLEX),
    ],
    ids=lambda value: value[:40],
)
async def test_bad_documents_are_refused_with_a_code(text: str, code: str) -> None:
    answer = await ask(text)
    assert "data" not in answer
    assert set(codes(answer)) == {code}


async def test_an_operation_is_chosen_by_name() -> None:
    context = ToyContext(World())
    document = "query A { hello } query B { secret }"
    operation = await executor.prepare(Request(document, operation_name="A"), context)
    assert orjson.loads(await executor.run(operation, context)) == {"data": {"hello": "hello world"}}
    for name in ("C", ""):
        with pytest.raises(Refused) as refused:
            await executor.prepare(Request(document, operation_name=name), context)
        assert codes({"errors": refused.value.errors}) == [errors.OPERATION]


async def test_domain_errors_keep_code_message_and_field() -> None:
    (error,) = (await ask("{ invalid }"))["errors"]
    assert error["message"] == "The name is taken."
    assert error["extensions"] == {"code": "API-002", "field": ["input", "name"]}
    assert error["path"] == ["invalid"]
    (error,) = (await ask("{ busy }"))["errors"]
    assert error["extensions"] == {"code": "API-011", "retryAfterSeconds": 3.5}


@pytest.mark.parametrize("text", ["{ boom }", "{ lies }"])
async def test_the_unanticipated_is_masked_and_logged_with_the_same_id(text: str) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await ask(text)
    (error,) = answer["errors"]
    assert error["message"] == "Something went wrong on our side."
    assert error["extensions"] == {"code": errors.INTERNAL, "correlationId": "request-of-ann"}
    assert "hunter2" not in str(answer)
    assert [(entry["event"], entry["request_id"]) for entry in logs] == [("graphql.failed", "request-of-ann")]
    assert logs[0]["exc_info"] is not None


async def test_what_json_cannot_say_is_a_fault_of_ours() -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await ask("query($v: JSON!) { echo(value: $v) }", v=10**30)
    assert answer["data"] is None
    assert codes(answer) == [errors.INTERNAL]
    assert len(logs) == 1


async def test_a_failure_while_preparing_is_masked() -> None:
    async def admit(_context: Any, _operation: Operation) -> None:
        raise RuntimeError("password=hunter2")

    with structlog.testing.capture_logs() as logs:
        answer = await ask("{ hello }", by=Executor(schema, admit=admit))
    assert codes(answer) == [errors.INTERNAL]
    assert len(logs) == 1


@pytest.mark.parametrize(
    "text",
    [
        "{ helo }",
        '{ hello(nam: "x") }',
        "{ paint(input: {colour: REDD}) }",
        "{ paint(input: {color: RED}) }",
        "{ hello @skp(if: true) }",
        "query($p: Pant) { hello }",
        "{ ...F } fragment F on Qury { hello }",
        "{ nodes { totalCont } }",
    ],
)
async def test_hints_are_given_only_where_they_are_switched_on(text: str) -> None:
    assert "Did you mean" not in str(await ask(text))
    assert "hunter2" not in str(await ask(text))
    loud = await ask(text, by=Executor(schema, suggestions=True))
    assert codes(loud)
    if "skp" not in text:  # graphql-core hints at no directives
        assert "Did you mean" in str(loud)


async def test_hints_in_coercion_errors_are_cut_too() -> None:
    text = "query($p: Paint!) { paint(input: $p) }"
    variables: dict[str, Any] = {"p": {"colour": "REDD"}}
    assert "Did you mean" not in str(await ask(text, **variables))
    assert "Did you mean" in str(await ask(text, by=Executor(schema, suggestions=True), **variables))


def test_hints_that_rules_and_scalars_of_ours_write_are_cut_too() -> None:
    hint = GraphQLError("No such colour. Did you mean 'red'?")
    quiet, loud = (errors.request_errors(errors.INPUT, [hint], suggestions=wanted) for wanted in (False, True))
    assert (str(quiet), str(loud)) == ("No such colour.", "No such colour. Did you mean 'red'?")


async def test_messages_do_not_echo_a_whole_megabyte() -> None:
    answer = await ask("query($p: Int!) { nodes(first: $p) { totalCount } }", p="x" * 1_000_000)
    assert codes(answer) == [errors.INPUT]
    assert len(answer["errors"][0]["message"]) < 1_000


async def test_introspection_is_for_those_who_may_whatever_is_cached() -> None:
    query = get_introspection_query()
    allowed, forbidden = ToyContext(World()), ToyContext(World(), may_introspect=False)
    assert "__schema" in (await ask(query, context=allowed))["data"]
    assert codes(await ask(query, context=forbidden)) == [errors.INTROSPECTION]
    assert "__schema" in (await ask(query, context=allowed))["data"]
    hidden = '{ ...F } fragment F on Query { x: __type(name: "Query") { name } }'
    assert codes(await ask(hidden, context=forbidden)) == [errors.INTROSPECTION]
    assert (await ask("{ __typename }", context=forbidden))["data"] == {"__typename": "Query"}


async def test_a_document_is_parsed_and_validated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = {"parse": 0, "validate": 0}
    for name in count:
        real = getattr(documents, name)

        def counted(*arguments: Any, name: str = name, real: Any = real, **options: Any) -> Any:
            count[name] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(documents, name, counted)
    fresh = Executor(schema)
    for number in range(5):
        await ask("query($n: String!) { hello(name: $n) }", by=fresh, n=str(number))
    assert count == {"parse": 1, "validate": 2}


async def test_the_documents_kept_are_bounded_and_bad_ones_are_not_kept() -> None:
    known = documents.Documents(schema._schema, Limits(), suggestions=False, count=2, characters=40)
    for text in ("{ hello }", "{ secret }", "{ boom }"):
        known.get(text)
    assert list(known._known) == ["{ secret }", "{ boom }"]
    known.get("{ secret }")
    known.get("{ hello    " + " " * 20 + "}")
    assert known._length <= 40
    with pytest.raises(Refused):
        known.get("{ nope }")
    assert "{ nope }" not in known._known


async def test_the_cost_is_spent_and_told_on_demand() -> None:
    spent: list[int] = []

    async def admit(_context: Any, operation: Operation) -> None:
        spent.append(operation.cost)
        if len(spent) > 1:
            raise LimitReached("The budget of this minute is used up.", retry_after=12)

    counting = Executor(schema, admit=admit)
    context = ToyContext(World())
    request = Request("{ nodes(first: 3) { nodes { id } } }", wants_cost=True)
    operation = await counting.prepare(request, context)
    answer = orjson.loads(await counting.run(operation, context))
    assert answer["extensions"] == {"cost": {"requested": 7, "limit": Limits().cost}}
    assert spent == [7]
    with pytest.raises(Refused) as refused:
        await counting.prepare(request, context)
    assert (refused.value.status, refused.value.retry_after) == (429, 12)
    assert refused.value.errors[0]["extensions"] == {"code": "API-007", "retryAfterSeconds": 12}


async def test_only_trusted_documents_run_where_there_are_any() -> None:
    digest = hashlib.sha256(b"{ hello }").hexdigest()
    strict = Executor(schema, trusted={digest: "{ hello }"})
    context = ToyContext(World())
    for request in (
        Request(None, document_id=digest),
        Request(None, document_id=f"sha256:{digest}"),
        Request(None, extensions={"persistedQuery": {"version": 1, "sha256Hash": digest}}),
        Request("{ hello }"),
    ):
        operation = await strict.prepare(request, context)
        assert orjson.loads(await strict.run(operation, context)) == {"data": {"hello": "hello world"}}
    for request, message in (
        (Request(None, extensions={"persistedQuery": {"sha256Hash": "0" * 64}}), "PersistedQueryNotFound"),
        (Request(None, extensions={"persistedQuery": {"sha256Hash": 7}}), "PersistedQueryNotFound"),
        (Request("{ secret }"), "The document is not registered."),
        (Request("\ud800"), "The document is not registered."),
    ):
        with pytest.raises(Refused, match=message) as refused:
            await strict.prepare(request, context)
        assert codes({"errors": refused.value.errors}) == [errors.UNTRUSTED]


async def test_automatic_persisted_queries_are_declined_in_the_words_that_clients_know() -> None:
    request = Request(None, extensions={"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}})
    with pytest.raises(Refused, match="PersistedQueryNotSupported"):
        await executor.prepare(request, ToyContext(World()))


def test_what_this_executor_does_not_run_is_refused_at_start() -> None:
    @strawberry.type
    class Query:
        a: int = 1

    class Extension(SchemaExtension):
        pass

    with pytest.raises(ValueError, match="not run"):
        Executor(strawberry.Schema(Query, extensions=[Extension]))
