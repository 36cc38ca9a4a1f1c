"""A real server over the toy schema."""

from collections.abc import AsyncIterator

import httpx
import pytest

from graph.execution import Executor
from graph.transports.endpoint import GraphQLEndpoint
from tests.graph.toy import World, make_context_of, schema, serving


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def host(world: World) -> AsyncIterator[str]:
    """Address of a server with small limits."""
    endpoint = GraphQLEndpoint(
        Executor(schema),
        make_context_of(world),
        allowed_origins=["https://app.example.com"],
        max_body=50_000,
        heartbeat=0.05,
        init_timeout=0.3,
        socket_operations=3,
    )
    async with serving(endpoint) as address:
        yield address
    assert endpoint.live.idle
    assert world.opened == world.closed


@pytest.fixture
async def client(host: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{host}", timeout=5) as http:
        yield http
