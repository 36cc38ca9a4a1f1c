"""Every root field, asked with what no client should send: the answer is a documented code, never a fault of ours."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    get_named_type,
    is_object_type,
    is_required_argument,
    is_required_input_field,
)

from graph.errors import ERRORS, INTERNAL
from graph.schema import schema
from tests.factories.client import Client
from tests.factories.house import House
from tests.factories.rows import add_contact, add_job, add_location, gid, unit_of

AT_ONCE = 8
ROOTS = {"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}
NOBODY = "job_00000000000000000000000000"
TEXTS = ("", " ", "\x00", "a\x00b", "x" * 10_000, "%_\\'\";--", "\U0001f4a3" * 50, "\u202e\u2028\ufeff", NOBODY, "job_", "_", "7b7d", "5b5d")
ODD: tuple[Any, ...] = (None, True, -1, 0, 2**31 - 1, -(2**31), 2**31, 2**63, 2**64, -(2**70), 1.5, 1e308, [], {}, [[]], {"a": 1})
TIMES = ("2026-01-01T00:00:00", "2026-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "T", "2026-W01")
LEAVES: dict[str, tuple[Any, ...]] = {
    "DateTime": TIMES,
    "Date": ("0001-01-01", "9999-12-31", "10000-01-01", "2026-02-30", "2026"),
    "JSON": ({"\x00": 1}, {"a": ["\x00"]}, [[[[{}]]]], {"": ""}, "9" * 400),
}


def root_fields() -> list[tuple[str, str]]:
    graph = schema._schema
    return [(kind, name) for kind, root in ROOTS.items() for name, field in fields_of(graph.get_type(root)).items() if field.args]


def fields_of(named: GraphQLNamedType | None) -> dict[str, GraphQLField]:
    assert is_object_type(named)
    return named.fields


def hostile(kind: GraphQLInputType, usual: "Usual") -> Iterator[Any]:
    """Values for one place: for an input object, one field at a time in an otherwise usual one."""
    named = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
    if isinstance(named, GraphQLList):
        yield from (None, [], [None], "x", [[]], {})
        yield from ([value] for value in hostile(named.of_type, usual))
        yield [usual.value(named.of_type, "")] * 1_001
    elif isinstance(named, GraphQLInputObjectType):
        yield from (None, [], "x", 1, {}, {"unknown": 1})
        for name, field in named.fields.items():
            for value in hostile(field.type, usual):
                yield {**usual.input(named), name: value}
    elif isinstance(named, GraphQLEnumType):
        yield from (*ODD, "NOPE", "", "__proto__", *(value.lower() for value in named.values))
    else:
        yield from (*ODD, *TEXTS, *LEAVES.get(named.name, ()))


class Usual:
    """Values that a well-behaved client would send, so that a wrong one beside them gets as far as it can."""

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known

    def arguments(self, field: GraphQLField) -> dict[str, Any]:
        return {name: self.value(arg.type, name) for name, arg in field.args.items() if is_required_argument(arg)}

    def input(self, kind: GraphQLInputObjectType) -> dict[str, Any]:
        return {
            name: self.value(field.type, f"{kind.name}.{name}")
            for name, field in kind.fields.items()
            if is_required_input_field(field)
        }

    def value(self, kind: GraphQLInputType, place: str) -> Any:
        named = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
        if isinstance(named, GraphQLList):
            return [self.value(named.of_type, place)]
        if isinstance(named, GraphQLInputObjectType):
            return self.input(named)
        if isinstance(named, GraphQLEnumType):
            return next(iter(named.values))
        plain: dict[str, Any] = {"Int": 1, "Boolean": True, "JSON": {"a": 1}, "DateTime": "2030-01-01T00:00:00Z"}
        return plain.get(named.name, self._known.get(place, self._known["job"]))


def document(kind: str, name: str, field: GraphQLField) -> str:
    variables = ", ".join(f"${arg}: {given.type}" for arg, given in field.args.items())
    given = ", ".join(f"{arg}: ${arg}" for arg in field.args)
    named = get_named_type(field.type)
    inside = "userErrors { code }" if kind == "mutation" else "__typename nodes { __typename }"
    inside = inside if kind == "mutation" or "Connection" in named.name else "__typename"
    return f"{kind} ({variables}) {{ {name}({given}) {{ {inside} }} }}"


def literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, str):
        return orjson.dumps(value).decode()
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if not isinstance(value, int) or isinstance(value, bool) else str(value)


@pytest.fixture
async def usual(house: House, owner: Client) -> Usual:
    viewer = (await owner.ask("{ viewer { user { id } account { id } } }"))["viewer"]
    from graph import ids

    account = ids.decode(viewer["account"]["id"])
    assert account is not None
    async with unit_of(house, account[1]) as unit:
        location = await add_location(unit)
        contact = await add_contact(unit, location)
        job = await add_job(unit, attempts=1, location_id=location.id)
    started = (await owner.ask("mutation { startGhlAuthorization { state } }"))["startGhlAuthorization"]
    from graph.ids import encode

    agency = encode("ghlaccount", location.connection_id)
    return Usual(
        {
            "job": gid("job", job),
            "id": gid("job", job),
            "UpdateContactInput.id": gid("contact", contact),
            "CreateContactInput.locationId": gid("location", location),
            "StartContactSyncInput.locationId": gid("location", location),
            "UpdateGhlLocationsInput.ids": gid("location", location),
            "UpdateUserInput.id": viewer["user"]["id"],
            "StartGhlAuthorizationInput.accountId": agency,
            "CompleteGhlAuthorizationInput.state": started["state"],
            "CreateUserInput.email": "new@agency.example",
        }
    )


@pytest.mark.parametrize(("kind", "name"), root_fields())
async def test_hostile(house: House, owner: Client, usual: Usual, kind: str, name: str) -> None:
    field = fields_of(schema._schema.get_type(ROOTS[kind]))[name]
    text = document(kind, name, field)
    base = usual.arguments(field)
    requests: list[dict[str, Any]] = []
    for argument, given in field.args.items():
        for value in hostile(given.type, usual):
            requests.append({"query": text, "variables": {**base, argument: value}})
    limit = asyncio.Semaphore(AT_ONCE)
    bad: list[Any] = []

    async def send(request: dict[str, Any]) -> None:
        headers = owner.headers | ({"accept": "text/event-stream"} if kind == "subscription" else {})
        async with limit:
            async with house.http.stream("POST", "/graphql", content=orjson_or_json(request), headers={**headers, "content-type": "application/json"}) as answer:
                if kind == "subscription" and answer.status_code == 200:
                    body = None
                    async for line in answer.aiter_lines():
                        if line.startswith("data: {"):
                            body = orjson.loads(line[6:])
                            break
                else:
                    body = orjson.loads(await answer.aread())
        verdict = judge(answer, body)
        if verdict:
            bad.append((verdict, str(request["variables"])[:150]))

    await asyncio.gather(*map(send, requests))
    print(name, len(requests))
    for item in bad:
        print("   ", *item)
    assert not bad


def orjson_or_json(request: Any) -> bytes:
    import json

    return json.dumps(request).encode()


def judge(answer: httpx.Response, body: Any) -> str | None:
    if answer.status_code not in {200, 400}:
        return f"HTTP {answer.status_code}"
    if body is None:
        return None
    codes = [error["extensions"]["code"] for error in body.get("errors", ())]
    for payload in (body.get("data") or {}).values():
        if isinstance(payload, dict):
            codes += [error["code"] for error in payload.get("userErrors", ())]
    wrong = [code for code in codes if code not in ERRORS or code == INTERNAL]
    return f"{wrong} {body}"[:300] if wrong else None
