"""Subscriptions as server-sent events and as multipart, against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from graph.execution import Executor
from graph.transports.endpoint import GraphQLEndpoint
from tests.graph.toy import World, make_context_of, schema, serving

EVENTS = "text/event-stream"
MULTIPART = 'multipart/mixed; boundary="graphql"; subscriptionSpec=1.0, application/json'
URQL = "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
SAID = "subscription { said { position text } }"


@asynccontextmanager
async def stream(client: httpx.AsyncClient, accept: str, query: str = SAID) -> AsyncIterator[tuple[httpx.Response, Any]]:
    async with (
        asyncio.timeout(5),
        client.stream("POST", "/graphql", json={"query": query}, headers={"accept": accept}) as response,
    ):
        yield response, response.aiter_text()


async def read(chunks: Any, until: str, seen: str = "") -> str:
    """Read on until the text contains `until`."""
    while until not in seen:
        seen += await anext(chunks)
    return seen


@pytest.mark.parametrize("accept", [EVENTS, URQL])
async def test_a_subscription_as_events_word_for_word(client: httpx.AsyncClient, accept: str) -> None:
    async with stream(client, accept, "subscription { count(to: 2) }") as (response, chunks):
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        text = "".join([chunk async for chunk in chunks])
    assert text == (
        ':\n\nevent: next\ndata: {"data":{"count":0}}\n\nevent: next\ndata: {"data":{"count":1}}\n\nevent: complete\ndata:\n\n'
    )


async def test_a_subscription_as_multipart_word_for_word(client: httpx.AsyncClient) -> None:
    async with stream(client, MULTIPART, "subscription { count(to: 2) }") as (response, chunks):
        assert response.headers["content-type"] == 'multipart/mixed; boundary="graphql"; subscriptionSpec=1.0'
        text = "".join([chunk async for chunk in chunks])
    part = "\r\nContent-Type: application/json; charset=utf-8\r\n\r\n"
    assert text == (
        f'\r\n--graphql{part}{{"payload":{{"data":{{"count":0}}}}}}'
        f'\r\n--graphql{part}{{"payload":{{"data":{{"count":1}}}}}}'
        "\r\n--graphql--\r\n"
    )


@pytest.mark.parametrize(("accept", "beat"), [(EVENTS, "\n\n:\n\n"), (MULTIPART, "\r\n\r\n{}\r\n--graphql")])
async def test_events_arrive_as_they_happen_with_heartbeats_between(
    client: httpx.AsyncClient, world: World, accept: str, beat: str
) -> None:
    world.topic().publish("one")
    async with stream(client, accept) as (_, chunks):
        await read(chunks, '"text":"one"')
        world.topic().publish("two")
        await read(chunks, beat, await read(chunks, '"text":"two"'))
        world.topic().publish("three")
        assert '"position":3' in await read(chunks, '"text":"three"')


@pytest.mark.parametrize("accept", [EVENTS, MULTIPART])
async def test_what_is_wrong_with_the_document_is_told_in_the_stream(client: httpx.AsyncClient, accept: str) -> None:
    async with stream(client, accept, "subscription { nope }") as (response, chunks):
        assert response.status_code == 200
        text = "".join([chunk async for chunk in chunks])
    assert '"code":"API-103"' in text
    assert '"data"' not in text


@pytest.mark.parametrize("accept", [EVENTS, MULTIPART])
async def test_a_credential_that_is_not_valid_gets_its_status(client: httpx.AsyncClient, accept: str) -> None:
    response = await client.post("/graphql", json={"query": SAID}, headers={"accept": accept, "x-user": "nobody"})
    assert response.status_code == 401
    assert response.json()["errors"][0]["extensions"] == {"code": "API-005"}


async def test_a_query_is_answered_by_events_only_where_they_are_preferred(client: httpx.AsyncClient) -> None:
    async with stream(client, EVENTS, "{ hello }") as (response, chunks):
        assert response.headers["content-type"].startswith(EVENTS)
        assert 'data: {"data":{"hello":"hello world"}}\n\n' in "".join([chunk async for chunk in chunks])
    async with stream(client, URQL, "{ hello }") as (response, _):
        assert response.headers["content-type"].startswith("application/graphql-response+json")


async def test_a_subscription_by_get(client: httpx.AsyncClient) -> None:
    response = await client.get("/graphql", params={"query": "subscription { count(to: 1) }"}, headers={"accept": EVENTS})
    assert 'data: {"data":{"count":0}}' in response.text


async def test_when_the_client_leaves_the_subscription_ends(client: httpx.AsyncClient, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with stream(client, EVENTS) as (_, chunks):
        await read(chunks, "one")
        assert topic.listeners
    async with asyncio.timeout(5):
        while topic.listeners:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("accept", [EVENTS, MULTIPART])
async def test_the_stream_ends_with_the_credential(world: World, accept: str) -> None:
    world.topic().publish("one")
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    endpoint = GraphQLEndpoint(Executor(schema), make_context_of(world, expires_at=soon))
    async with (
        serving(endpoint) as host,
        httpx.AsyncClient(base_url=f"http://{host}") as client,
        stream(client, accept) as (_, chunks),
    ):
        text = "".join([chunk async for chunk in chunks])
    assert '"text":"one"' in text
    assert '"errors":[{"message":"The credential has expired or was revoked;' in text
    assert '"extensions":{"code":"API-005"}' in text
    assert text.endswith("event: complete\ndata:\n\n" if accept == EVENTS else "--graphql--\r\n")


@pytest.mark.parametrize("accept", [EVENTS, MULTIPART])
async def test_a_draining_server_breaks_off_without_saying_that_it_is_complete(world: World, accept: str) -> None:
    world.topic().publish("one")
    endpoint = GraphQLEndpoint(Executor(schema), make_context_of(world))
    async with (
        serving(endpoint) as host,
        httpx.AsyncClient(base_url=f"http://{host}") as client,
        stream(client, accept) as (_, chunks),
    ):
        text = await read(chunks, '"text":"one"')
        endpoint.drain()
        text += "".join([chunk async for chunk in chunks])
    assert "complete" not in text
    assert "--graphql--" not in text


async def test_a_failure_in_the_middle_is_the_last_event(client: httpx.AsyncClient, world: World) -> None:
    world.topic().publish("one")
    async with stream(client, EVENTS) as (_, chunks):
        await read(chunks, "one")
        world.topic().publish("explode")
        text = "".join([chunk async for chunk in chunks])
    event = next(line for line in text.splitlines() if line.startswith("data: {"))
    assert json.loads(event.removeprefix("data: "))["errors"][0]["extensions"]["code"] == "API-100"
    assert text.endswith("event: complete\ndata:\n\n")
    assert "hunter2" not in text
