"""GraphQL over HTTP, against a real server."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from graph.execution import Executor
from graph.transports.endpoint import GraphQLEndpoint
from tests.graph.toy import World, make_context_of, schema, serving

RESPONSE = "application/graphql-response+json"
JSON = "application/json"


def code(response: httpx.Response) -> str:
    """The code of the only error, in a body that is JSON and nothing else."""
    body = response.json()
    assert set(body) == {"errors"}, body
    (error,) = body["errors"]
    value: str = error["extensions"]["code"]
    return value


async def post(client: httpx.AsyncClient, content: Any, **headers: str) -> httpx.Response:
    """POST raw content, or a value as JSON."""
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    headers = {"content-type": JSON, "accept": RESPONSE} | {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/graphql", content=content, headers=headers)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (RESPONSE, RESPONSE),
        (f"{JSON}, {RESPONSE}", RESPONSE),
        (f"{RESPONSE};q=0.5, {JSON}", JSON),
        (f"{RESPONSE}, {JSON}, text/event-stream, multipart/mixed", RESPONSE),
        ("multipart/mixed;deferSpec=20220824, application/json;q=0.9", "multipart/mixed"),
        (f"text/html, {JSON};q=0.9", JSON),
        (f"text/html;q=x, {JSON}", JSON),
        (f"*/*, {JSON};q=0", RESPONSE),
    ],
)
async def test_the_media_type_is_negotiated(client: httpx.AsyncClient, accept: str | None, media: str) -> None:
    headers = {"content-type": JSON} | ({"accept": accept} if accept else {})
    request = client.build_request("POST", "/graphql", content=b'{"query":"{ hello }"}', headers=headers)
    if accept is None:
        del request.headers["accept"]
    response = await client.send(request)
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == media
    assert '{"data":{"hello":"hello world"}}' in response.text


@pytest.mark.parametrize("accept", ["text/html", "image/*", "text/html, */*;q=0", f"{JSON};q=0"])
async def test_what_cannot_be_accepted_is_refused(client: httpx.AsyncClient, accept: str) -> None:
    response = await post(client, {"query": "{ hello }"}, accept=accept)
    assert (response.status_code, code(response)) == (406, "API-116")


async def test_a_query_may_come_by_get(client: httpx.AsyncClient) -> None:
    parameters = {"query": "query A($n: String!) { hello(name: $n) }", "variables": '{"n": "ü"}', "operationName": "A"}
    response = await client.get("/graphql", params=parameters)
    assert response.json() == {"data": {"hello": "hello ü"}}
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?query=",
        "?query={hello}&query={hello}",
        "?query={hello}&variables=[1]",
        "?query={hello}&variables={",
        "?query={hello}&variables={%22a%22:NaN}",
        "?query={hello}&extensions=1",
        "?query=%ff",
    ],
)
async def test_bad_parameters_of_a_get_are_refused(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"/graphql{query}", headers={"accept": RESPONSE})
    assert (response.status_code, code(response)) == (400, "API-101")


async def test_a_mutation_needs_post(client: httpx.AsyncClient, world: World) -> None:
    response = await client.get("/graphql", params={"query": 'mutation { publish(text: "x") }'})
    assert (response.status_code, code(response)) == (405, "API-111")
    assert response.headers["allow"] == "GET, POST"
    assert not world.topic().events
    response = await post(client, {"query": 'mutation { publish(text: "x") }'})
    assert response.json() == {"data": {"publish": 1}}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_are_refused_with_what_is_allowed(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/graphql")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"1",
        b'"{ hello }"',
        b"[]",
        b'[{"query":"{ hello }"}]',
        b"{",
        b"\xff\xfe",
        b'{"query":"\xff"}',
        b'{"query":"{ hello }","variables":{"a":NaN}}',
        b'{"query":"{ hello }","variables":{"a":Infinity}}',
        b'{"query":"{ hello }","variables":"{}"}',
        b'{"query":"{ hello }","variables":[]}',
        b'{"query":"{ hello }","extensions":1}',
        b'{"query":"{ hello }","operationName":1}',
        b'{"query":1}',
        b'{"query":null}',
        b"{}",
        b"[" * 49_000,
        b'{"query":"{ hello }","variables":' + b'{"a":' * 8_000 + b"1" + b"}" * 8_001,
        b'{"query":"\\ud800"}',
    ],
    ids=lambda content: repr(content[:40]),
)
async def test_bad_bodies_are_refused(client: httpx.AsyncClient, content: bytes) -> None:
    response = await post(client, content)
    assert (response.status_code, code(response)) == (400, "API-101")
    assert (await post(client, content, accept=JSON)).status_code in {200, 400}


async def test_json_as_deep_as_the_parser_allows_is_refused_by_the_executor(client: httpx.AsyncClient) -> None:
    for depth in (200, 300, 900):
        value = "[" * depth + "]" * depth
        body = f'{{"query":"query($v: JSON!) {{ echo(value: $v) }}","variables":{{"v":{value}}}}}'
        response = await post(client, body.encode())
        assert (response.status_code, code(response)) == (400, "API-106")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=latin-1",
        "application/json, text/plain",
    ],
)
async def test_only_json_in_utf8_is_taken_which_keeps_other_sites_forms_out(
    client: httpx.AsyncClient, world: World, content_type: str
) -> None:
    response = await post(client, {"query": 'mutation { publish(text: "x") }'}, content_type=content_type)
    assert (response.status_code, code(response)) == (415, "API-116")
    assert not world.topic().events


async def test_charsets_and_case_of_the_content_type_do_not_matter(client: httpx.AsyncClient) -> None:
    for content_type in ("application/json; charset=UTF-8", 'Application/JSON;charset="utf-8"', "application/json; foo=bar"):
        assert (await post(client, {"query": "{ hello }"}, content_type=content_type)).status_code == 200


async def test_two_content_types_and_compressed_bodies_are_refused(client: httpx.AsyncClient) -> None:
    headers = [("content-type", JSON), ("content-type", "text/plain"), ("accept", RESPONSE)]
    response = await client.post("/graphql", content=b'{"query":"{ hello }"}', headers=headers)
    assert (response.status_code, code(response)) == (400, "API-101")
    response = await post(client, b"\x1f\x8b", content_encoding="gzip")
    assert (response.status_code, code(response)) == (415, "API-116")


async def test_a_large_body_is_refused_while_it_is_read(client: httpx.AsyncClient) -> None:
    response = await post(client, {"query": "{ hello }", "variables": {"a": "x" * 50_000}})
    assert (response.status_code, code(response)) == (413, "API-112")
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 100_000_000:
            sent += 10_000
            yield b"x" * 10_000

    try:
        response = await client.post("/graphql", content=endless(), headers={"content-type": JSON})
        assert response.status_code == 413
    except httpx.TransportError:
        pass  # the server hung up while we were still sending
    assert sent < 20_000_000


async def test_a_body_that_does_not_arrive_is_given_up(world: World) -> None:
    async with serving(GraphQLEndpoint(Executor(schema), make_context_of(world), body_timeout=0.05)) as host:
        name, _, port = host.partition(":")
        reader, writer = await asyncio.open_connection(name, int(port))
        writer.write(b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"API-117" in answer


@pytest.mark.parametrize(
    ("site", "origin", "status"),
    [
        ("cross-site", None, 403),
        ("cross-site", "https://evil.example.com", 403),
        ("cross-site", "https://app.example.com", 200),
        ("same-origin", None, 200),
        ("same-site", None, 200),
        ("none", None, 200),
        (None, None, 200),
    ],
)
async def test_a_get_that_another_site_caused_is_refused(
    client: httpx.AsyncClient, site: str | None, origin: str | None, status: int
) -> None:
    headers = {name: value for name, value in (("sec-fetch-site", site), ("origin", origin)) if value}
    response = await client.get("/graphql", params={"query": "{ hello }"}, headers=headers)
    assert response.status_code == status
    if status == 403:
        assert code(response) == "API-113"


@pytest.mark.parametrize(
    "query", ["{", "{ helo }", "query($p: Paint!) { paint(input: $p) }", "{ nodes(first: 101) { nodes { id } } }"]
)
async def test_a_refused_document_has_no_data_and_a_status_of_its_media_type(client: httpx.AsyncClient, query: str) -> None:
    for accept, status in ((RESPONSE, 400), (JSON, 200)):
        response = await post(client, {"query": query}, accept=accept)
        assert response.status_code == status
        assert "data" not in response.json()


async def test_an_answer_with_errors_of_fields_is_an_answer(client: httpx.AsyncClient) -> None:
    response = await post(client, {"query": "{ hello boom invalid }"})
    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "hello world", "boom": None, "invalid": None}
    assert [error["extensions"]["code"] for error in response.json()["errors"]] == ["API-100", "API-002"]
    assert "hunter2" not in response.text


async def test_a_credential_that_is_not_valid_is_a_401(client: httpx.AsyncClient) -> None:
    for accept in (RESPONSE, JSON):
        response = await post(client, {"query": "{ hello }"}, accept=accept, x_user="nobody")
        assert (response.status_code, code(response)) == (401, "API-005")
        assert response.headers["www-authenticate"] == "Bearer"


async def test_a_context_that_cannot_be_made_is_a_masked_500(world: World) -> None:
    async def make_context(*_: Any) -> Any:
        raise ConnectionError("postgresql://user:hunter2@host")

    async with serving(GraphQLEndpoint(Executor(schema), make_context)) as host, httpx.AsyncClient() as client:
        response = await client.get(f"http://{host}/graphql", params={"query": "{ hello }"})
    assert (response.status_code, code(response)) == (500, "API-100")
    assert "hunter2" not in response.text


@pytest.mark.parametrize("accept", [JSON, RESPONSE, "*/*"])
async def test_a_subscription_needs_a_stream(client: httpx.AsyncClient, accept: str) -> None:
    response = await post(client, {"query": "subscription { count(to: 1) }"}, accept=accept)
    assert (response.status_code, code(response)) == (406, "API-114")


async def test_the_cost_is_told_to_whom_asks(client: httpx.AsyncClient) -> None:
    response = await post(client, {"query": "{ hello }"}, x_graphql_cost="1")
    assert response.json()["extensions"]["cost"]["requested"] == 1
    assert "extensions" not in (await post(client, {"query": "{ hello }"})).json()
