"""graphql-transport-ws, against a real server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from graph.execution import Executor
from graph.transports.endpoint import GraphQLEndpoint
from graph.transports.websocket import Bucket
from tests.graph.toy import World, make_context_of, schema, serving

PROTOCOL = "graphql-transport-ws"
SAID = "subscription { said { position text } }"


@asynccontextmanager
async def connected(
    host: str, *, init: dict[str, Any] | None = None, protocols: Any = (PROTOCOL,)
) -> AsyncIterator[ClientConnection]:
    """A socket, initialised with `init` unless that is None."""
    async with asyncio.timeout(5), connect(f"ws://{host}/graphql", subprotocols=protocols, compression=None) as socket:
        if init is not None:
            await say(socket, {"type": "connection_init", "payload": init})
            assert await hear(socket) == {"type": "connection_ack"}
        yield socket


async def say(socket: ClientConnection, message: Any) -> None:
    await socket.send(message if isinstance(message, str | bytes) else json.dumps(message))


async def hear(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def subscribe(socket: ClientConnection, query: str, key: str = "1", **payload: Any) -> None:
    await say(socket, {"id": key, "type": "subscribe", "payload": {"query": query, **payload}})


async def closed(socket: ClientConnection) -> int:
    """The code with which the server closes, whatever it says before."""
    with suppress(ConnectionClosed):
        async for _ in socket:
            pass
    assert socket.close_code is not None
    return socket.close_code


async def test_a_subscription_from_init_to_complete(host: str, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with connected(host, init={}) as socket:
        assert socket.subprotocol == PROTOCOL
        await subscribe(socket, SAID)
        assert await hear(socket) == {"id": "1", "type": "next", "payload": {"data": {"said": {"position": 1, "text": "one"}}}}
        topic.publish("done", last=True)
        assert (await hear(socket))["payload"]["data"]["said"]["text"] == "done"
        assert await hear(socket) == {"id": "1", "type": "complete"}


async def test_queries_and_mutations_are_answered_too(host: str) -> None:
    async with connected(host, init={}) as socket:
        await subscribe(socket, "query($n: String!) { hello(name: $n) }", variables={"n": 'a "ü"'})
        assert (await hear(socket))["payload"] == {"data": {"hello": 'hello a "ü"'}}
        assert await hear(socket) == {"id": "1", "type": "complete"}
        await subscribe(socket, 'mutation { publish(text: "x") }', 'id "1"')
        assert await hear(socket) == {"id": 'id "1"', "type": "next", "payload": {"data": {"publish": 1}}}
        assert await hear(socket) == {"id": 'id "1"', "type": "complete"}


async def test_the_client_ends_one_subscription_and_uses_its_id_again(host: str, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with connected(host, init={}) as socket:
        for _ in range(3):
            await subscribe(socket, SAID)
            assert (await hear(socket))["payload"]["data"]["said"]["text"] == "one"
            await say(socket, {"id": "1", "type": "complete"})
        await say(socket, {"id": "never seen", "type": "complete"})
        await say(socket, {"type": "ping"})
        assert await hear(socket) == {"type": "pong"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "API-102"),
        ("{ helo }", "API-103"),
        ("{ hello(name: 1) }", "API-103"),
        ("query A { hello } query B { hello }", "API-105"),
    ],
)
async def test_a_bad_document_is_an_error_of_its_operation_only(host: str, query: str, code: str) -> None:
    async with connected(host, init={}) as socket:
        await subscribe(socket, query)
        message = await hear(socket)
        assert (message["id"], message["type"]) == ("1", "error")
        assert message["payload"][0]["extensions"] == {"code": code}
        await subscribe(socket, "{ hello }")
        assert (await hear(socket))["type"] == "next"


async def test_a_failure_in_the_middle_is_the_last_answer(host: str, world: World) -> None:
    world.topic().publish("one")
    async with connected(host, init={}) as socket:
        await subscribe(socket, SAID)
        await hear(socket)
        world.topic().publish("explode")
        (error,) = (await hear(socket))["payload"]["errors"]
        assert error["extensions"]["code"] == "API-100"
        assert await hear(socket) == {"id": "1", "type": "complete"}


async def test_pings_are_answered(host: str) -> None:
    async with connected(host) as socket:
        for message in ({"type": "ping"}, {"type": "ping", "payload": {"a": 1}}, {"type": "ping", "payload": None}):
            await say(socket, message)
            assert await hear(socket) == {"type": "pong"}
        await say(socket, {"type": "pong", "payload": {}})
        await say(socket, {"type": "ping"})
        assert await hear(socket) == {"type": "pong"}


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "null",
        "1",
        "[]",
        '"text"',
        "{}",
        b"{}",
        "[" * 40_000,
        '{"a":' * 8_000,
        '{"type":NaN}',
        {"type": None},
        {"type": 1},
        {"type": []},
        {"type": "start"},
        {"type": "connection_terminate"},
        {"type": "ping", "payload": 1},
        {"type": "pong", "payload": "x"},
        {"type": "connection_init", "payload": []},
        {"type": "subscribe"},
        {"type": "subscribe", "id": 1, "payload": {"query": "{ hello }"}},
        {"type": "subscribe", "id": {}, "payload": {"query": "{ hello }"}},
        {"type": "subscribe", "id": "", "payload": {"query": "{ hello }"}},
        {"type": "subscribe", "id": "x" * 300, "payload": {"query": "{ hello }"}},
        {"type": "subscribe", "id": "1"},
        {"type": "subscribe", "id": "1", "payload": "{ hello }"},
        {"type": "subscribe", "id": "1", "payload": []},
        {"type": "subscribe", "id": "1", "payload": {"query": 1}},
        {"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "variables": "x"}},
        {"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "operationName": {}}},
        {"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "extensions": []}},
        {"type": "complete"},
        {"type": "complete", "id": 1},
    ],
    ids=lambda message: str(message)[:50],
)
async def test_bad_messages_close_the_socket_with_4400(host: str, message: Any) -> None:
    init: dict[str, Any] | None = None if isinstance(message, dict) and message.get("type") == "connection_init" else {}
    async with connected(host, init=init) as socket:
        await say(socket, message)
        assert await closed(socket) == 4400


async def test_subscribing_before_init_closes_with_4401(host: str) -> None:
    async with connected(host) as socket:
        await subscribe(socket, "{ hello }")
        assert await closed(socket) == 4401


async def test_a_credential_that_is_not_valid_closes_with_4403(host: str) -> None:
    async with connected(host) as socket:
        await say(socket, {"type": "connection_init", "payload": {"user": "nobody"}})
        assert await closed(socket) == 4403


@pytest.mark.parametrize("protocols", [None, ["graphql-ws"], ["other"]])
async def test_other_protocols_are_not_spoken(host: str, protocols: Any) -> None:
    async with connected(host, protocols=protocols) as socket:
        assert socket.subprotocol is None
        assert await closed(socket) == 4406


async def test_ours_is_chosen_of_several(host: str) -> None:
    async with connected(host, protocols=["graphql-ws", PROTOCOL]) as socket:
        assert socket.subprotocol == PROTOCOL


async def test_silence_is_closed_with_4408_even_if_it_pings(host: str) -> None:
    async with connected(host) as socket:
        await say(socket, {"type": "ping"})
        assert await closed(socket) == 4408


async def test_an_id_in_use_closes_with_4409(host: str, world: World) -> None:
    world.topic().publish("one")
    async with connected(host, init={}) as socket:
        await subscribe(socket, SAID)
        await subscribe(socket, SAID)
        assert await closed(socket) == 4409


async def test_a_second_init_closes_with_4429(host: str) -> None:
    async with connected(host, init={}) as socket:
        await say(socket, {"type": "connection_init"})
        assert await closed(socket) == 4429


async def test_a_flood_of_messages_closes_with_4429(host: str) -> None:
    async with connected(host, init={}) as socket:
        for _ in range(1_000):
            try:
                await say(socket, {"type": "pong"})
            except ConnectionClosed:
                break
        assert await closed(socket) == 4429


def test_a_bucket_lets_a_burst_through_and_then_a_rate() -> None:
    now = 0.0
    bucket = Bucket(3, 2, clock=lambda: now)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now = 0.4
    assert not bucket.take()
    now = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    now = 100
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


async def test_a_frame_too_large_closes_with_1009(host: str) -> None:
    async with connected(host, init={}) as socket:
        await subscribe(socket, "# " + "x" * 60_000 + "\n{ hello }")
        assert await closed(socket) == 1009


async def test_too_many_operations_are_an_error_of_the_next_one(host: str, world: World) -> None:
    world.topic().publish("one")
    async with connected(host, init={}) as socket:
        for key in ("a", "b", "c"):
            await subscribe(socket, SAID, key)
            assert (await hear(socket))["type"] == "next"
        await subscribe(socket, "{ hello }", "d")
        message = await hear(socket)
        assert (message["id"], message["type"]) == ("d", "error")
        assert message["payload"][0]["extensions"] == {"code": "API-115"}
        await say(socket, {"id": "a", "type": "complete"})
        await subscribe(socket, "{ hello }", "d")
        assert (await hear(socket))["type"] == "next"


async def test_many_sockets_share_one_execution_with_an_id_each(host: str, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    query = "subscription { said { text user } }"
    async with (
        connected(host, init={}) as ann,
        connected(host, init={}) as ann_too,
        connected(host, init={"user": "bob"}) as bob,
    ):
        for number, socket in enumerate((ann, ann_too, bob)):
            await subscribe(socket, query, f"of {number}")
            await hear(socket)
        before = world.executions
        topic.publish("two")
        messages = [await hear(socket) for socket in (ann, ann_too, bob)]
        assert world.executions == before + 2
    assert [message["id"] for message in messages] == ["of 0", "of 1", "of 2"]
    assert [message["payload"]["data"]["said"]["user"] for message in messages] == ["ann", "ann", "bob"]


async def test_when_the_client_vanishes_its_subscriptions_end(host: str, world: World) -> None:
    topic = world.topic()
    topic.publish("one")
    async with connected(host, init={}) as socket:
        await subscribe(socket, SAID)
        await hear(socket)
        assert topic.listeners
        socket.transport.abort()
    async with asyncio.timeout(5):
        while topic.listeners:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.001)


async def test_the_socket_is_closed_when_the_credential_ends(world: World) -> None:
    world.topic().publish("one")
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    endpoint = GraphQLEndpoint(Executor(schema), make_context_of(world, expires_at=soon))
    async with serving(endpoint) as host, connected(host, init={}) as socket:
        await subscribe(socket, SAID)
        assert (await hear(socket))["type"] == "next"
        assert await closed(socket) == 4401


async def test_a_context_that_cannot_be_made_closes_with_4500() -> None:
    async def make_context(*_: Any) -> Any:
        raise ConnectionError("postgresql://user:hunter2@host")

    async with serving(GraphQLEndpoint(Executor(schema), make_context)) as host, connected(host) as socket:
        await say(socket, {"type": "connection_init"})
        assert await closed(socket) == 4500
