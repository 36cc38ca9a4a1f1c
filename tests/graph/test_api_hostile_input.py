"""Every root field, asked with what no client should send: the answer is a documented code, never a fault of ours.

The fields, their arguments and the fields of their inputs are read from the schema, so what is added later is tested here too.
"""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    get_named_type,
    get_nullable_type,
    is_enum_type,
    is_input_object_type,
    is_list_type,
    is_object_type,
    is_required_argument,
    is_required_input_field,
)

from graph.errors import ERRORS, INPUT, INTERNAL, TOO_COMPLEX
from graph.schema import schema
from tests.factories.client import Client
from tests.factories.house import House
from tests.factories.rows import account_id_of, add_contact, add_job, add_location, gid, unit_of

AT_ONCE = 6
ROOTS = {"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}
NO_ROW = "job_00000000000000000000000000"
ODD: tuple[Any, ...] = (None, True, -1, 0, 2**31, 2**63, 1.5, {"a": 1})
TEXTS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "x" * 10_000,
    "%_\\'\";--",
    "\U0001f4a3\u202e\u2028",
    NO_ROW,
    "job_",
    "5b5d",
    "5b225c7530303030225d",
)
MOMENTS = ("2026-01-01T00:00:00", "2026-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00Z")
OF_TYPE: dict[str, tuple[Any, ...]] = {
    "ID": TEXTS,
    "String": TEXTS,
    "Int": (-(2**31), 2**31 - 1, 101, "1"),
    "DateTime": (*MOMENTS, "", "\x00"),
    "Date": ("0001-01-01", "9999-12-31", "10000-01-01", "2026-02-30", "\x00"),
    "JSON": ({"\x00": 1}, {"a": ["\x00"]}, [[[[{}]]]], {"": ""}, 2**64 - 1, -(2**70), 1e308, "x" * 10_000),
}


@dataclass(frozen=True)
class Usual:
    """What a well-behaved client sends, so that one wrong value beside it gets as far as it can."""

    known: dict[str, str]
    tried: set[str] = dataclasses.field(default_factory=set)

    def arguments(self, field: GraphQLField) -> dict[str, Any]:
        return {name: self.value(arg.type, name) for name, arg in field.args.items() if is_required_argument(arg)}

    def input(self, kind: GraphQLInputObjectType) -> dict[str, Any]:
        needed = {name: field for name, field in kind.fields.items() if is_required_input_field(field)}
        return {name: self.value(field.type, f"{kind.name}.{name}") for name, field in needed.items()}

    def value(self, kind: GraphQLInputType, place: str) -> Any:
        inner = get_nullable_type(kind)
        if is_list_type(inner):
            return [self.value(inner.of_type, place)]
        if is_input_object_type(inner):
            return self.input(inner)
        if is_enum_type(inner):
            return next(iter(inner.values))
        plain: dict[str, Any] = {"Int": 1, "Boolean": True, "JSON": {"a": 1}, "DateTime": "2030-01-01T00:00:00Z"}
        return plain.get(get_named_type(inner).name, self.known.get(place, self.known["id"]))

    def hostile(self, kind: GraphQLInputType) -> Iterator[Any]:
        """Values for one place; of an input object one field at a time, where it is met first."""
        inner = get_nullable_type(kind)
        if isinstance(inner, GraphQLList):
            yield from (None, [], [None], "x", [[]], [self.value(inner.of_type, "")] * 1_001)
            yield from ([value] for value in self.hostile(inner.of_type))
        elif isinstance(inner, GraphQLInputObjectType):
            yield from (None, [], "x", 1, {}, {"unknown": 1})
            if inner.name in self.tried:
                yield self.input(inner)
                return
            self.tried.add(inner.name)
            for name, field in inner.fields.items():
                yield from ({**self.input(inner), name: value} for value in self.hostile(field.type))
        elif isinstance(inner, GraphQLEnumType):
            yield from (None, 1, "NOPE", "", "\x00", {}, next(iter(inner.values)).lower())
        else:
            yield from (*ODD, *OF_TYPE.get(inner.name, ()))


@pytest.fixture
async def usual(house: House, owner: Client) -> Usual:
    async with unit_of(house, await account_id_of(owner)) as unit:
        location = await add_location(unit)
        contact = await add_contact(unit, location)
        job = await add_job(unit, attempts=1, location_id=location.id)
    state = (await owner.ask("mutation { startGhlAuthorization { state } }"))["startGhlAuthorization"]["state"]
    agency = (await owner.ask("{ ghlAccounts { nodes { id } } }"))["ghlAccounts"]["nodes"][0]["id"]
    viewer = (await owner.ask("{ viewer { user { id } } }"))["viewer"]
    return Usual(
        {
            "id": gid("job", job),
            "UpdateContactInput.id": gid("contact", contact),
            "CreateContactInput.locationId": gid("location", location),
            "StartContactSyncInput.locationId": gid("location", location),
            "UpdateGhlLocationsInput.ids": gid("location", location),
            "UpdateUserInput.id": viewer["user"]["id"],
            "StartGhlAuthorizationInput.accountId": agency,
            "CompleteGhlAuthorizationInput.state": state,
            "CreateUserInput.email": "new@agency.example",
            "SignInInput.email": "nobody@agency.example",
        }
    )


@pytest.mark.parametrize("operation", ROOTS)
async def test_every_field_answers_with_a_documented_code(house: House, owner: Client, usual: Usual, operation: str) -> None:
    at_once = asyncio.Semaphore(AT_ONCE)
    reached: set[str] = set()

    async def judge(name: str, request: dict[str, Any]) -> str | None:
        async with at_once:
            status, body = await send(house, owner, request, stream=operation == "subscription")
        codes = set(codes_of(body))
        if not codes & {INPUT, TOO_COMPLEX}:
            reached.add(name)
        wrong = sorted(code for code in codes if code not in ERRORS or code == INTERNAL)
        return f"{status} {wrong} for {str(request)[:400]}" if wrong or status not in {200, 400} else None

    verdicts = await asyncio.gather(*(judge(*request) for request in hostile_requests(usual, operation)))
    assert [verdict for verdict in verdicts if verdict] == []
    assert reached == set(root_fields(operation)), "what is refused before it reaches its resolver tests little"


async def test_values_written_in_the_document_are_checked_like_variables(house: House, owner: Client, usual: Usual) -> None:
    location = usual.known["CreateContactInput.locationId"]
    deep = "[" * 2_000 + "]" * 2_000
    for text in ('"\\u0000"', '["a\\u0000"]', '{a: "\\u0000"}', '"""a\x00b"""', "9" * 30, "-" + "9" * 5_000, "1e999", deep):
        fields = f'{{customFields: [{{id: "a", value: {text}}}]}}'
        created = f'createContact(input: {{locationId: "{location}", fields: {fields}}}) {{ userErrors {{ code }} }}'
        status, body = await send(house, owner, {"query": f"mutation {{ {created} }}"})
        assert status == 200, text[:50]
        assert codes_of(body), text[:50]
        assert all(code in ERRORS and code != INTERNAL for code in codes_of(body)), text[:50]


def root_fields(operation: str) -> dict[str, GraphQLField]:
    root = schema._schema.get_type(ROOTS[operation])
    assert is_object_type(root)
    return {name: field for name, field in root.fields.items() if field.args}


def hostile_requests(usual: Usual, operation: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Root fields and requests for them."""
    inside = "userErrors { code }" if operation == "mutation" else "__typename"
    for name, field in root_fields(operation).items():
        for argument, given in field.args.items():
            for value in usual.hostile(given.type):
                variables = {**usual.arguments(field), argument: value}
                declared = ", ".join(f"${each}: {field.args[each].type}" for each in variables)
                passed = ", ".join(f"{each}: ${each}" for each in variables)
                yield name, {"query": f"{operation} ({declared}) {{ {name}({passed}) {{ {inside} }} }}", "variables": variables}


async def send(house: House, client: Client, request: dict[str, Any], *, stream: bool = False) -> tuple[int, Any]:
    """The status, and the body or the first event."""
    headers = client.headers | {"content-type": "application/json"} | ({"accept": "text/event-stream"} if stream else {})
    # orjson refuses to write some of what is sent here
    async with house.http.stream("POST", "/graphql", content=json.dumps(request), headers=headers) as answer:
        if not answer.headers["content-type"].startswith("text/event-stream"):
            return answer.status_code, orjson.loads(await answer.aread())
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                return answer.status_code, orjson.loads(line.removeprefix("data: "))
    raise AssertionError("the stream ended without an event")


def codes_of(body: dict[str, Any]) -> list[str]:
    payloads = [payload for payload in (body.get("data") or {}).values() if isinstance(payload, dict)]
    return [error["extensions"]["code"] for error in body.get("errors", ())] + [
        error["code"] for payload in payloads for error in payload.get("userErrors", ())
    ]
