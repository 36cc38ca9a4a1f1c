"""A revoked credential ends the streams that it opened, at once."""

import asyncio
from contextlib import aclosing

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from tests.factories.client import Client, GraphQLFailed
from tests.factories.house import House

KEY = """mutation { createApiKey(input: {name: "stream", scopes: [JOBS_READ]}) { secret apiKey { id } userErrors { code } } }"""
REVOKE = "mutation ($id: ID!) { revokeApiKey(input: {id: $id}) { userErrors { code } } }"
WATCH = "subscription { jobsChanged { kind } }"


async def test_a_revoked_key_ends_its_event_stream(house: House, owner: Client) -> None:
    made = (await owner.ask(KEY))["createApiKey"]
    program = Client(owner.http, made["secret"])
    async with asyncio.timeout(10), aclosing(program.watch(WATCH)) as updates:
        assert (await anext(updates))["jobsChanged"]["kind"] == "SNAPSHOT"
        await owner.ask(REVOKE, id=made["apiKey"]["id"])
        with pytest.raises(GraphQLFailed) as failed:
            await anext(updates)
    assert failed.value.code == "API-005"


async def test_signing_out_closes_the_socket(house: House, owner: Client) -> None:
    url = house.url.replace("http://", "ws://") + "/graphql"
    async with asyncio.timeout(10), connect(url, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        await socket.send(
            orjson.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {owner.token}"}}).decode()
        )
        assert orjson.loads(await socket.recv())["type"] == "connection_ack"
        await socket.send(orjson.dumps({"type": "subscribe", "id": "1", "payload": {"query": WATCH}}).decode())
        assert orjson.loads(await socket.recv())["payload"]["data"]["jobsChanged"]["kind"] == "SNAPSHOT"
        await owner.ask("mutation { signOut { signedOut } }")
        with pytest.raises(ConnectionClosedError) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
