"""The sandbox as a server of the session, and what it takes to speak to it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from redis.asyncio import Redis

from domain.vendors.gohighlevel.oauth import OAuth, OAuthApp
from domain.vendors.http import VendorHttp, open_client
from domain.vendors.limits import Limiter
from domain.vendors.sandbox.app import build
from domain.vendors.sandbox.gohighlevel.state import World
from domain.vendors.sandbox.options import Options
from tests.vendors.standin import served

REDIRECT_URI = "https://bots.example.com/oauth/gohighlevel"


@dataclass(frozen=True)
class Sandbox:
    """Where the sandbox answers, and the world it plays."""

    url: str
    world: World

    def fault(self, kind: str, *, path: str = "*", times: int | None = 1, skip: int = 0, **how: object) -> None:
        """Let the next matching requests go wrong."""
        self.world.faults.order({"match": {"path": path}, "times": times, "skip": skip, "fault": {"kind": kind, **how}})

    async def consent(self, address: str, **choices: str) -> dict[str, str]:
        """Do as a user who follows `address` and decides; what comes back to the redirect address."""
        parts = urlsplit(address)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(f"{self.url}{parts.path}", params={**query, "decision": "allow", **choices})
        returned = urlsplit(answer.headers["location"])
        return {name: values[0] for name, values in parse_qs(returned.query).items()}


@pytest.fixture(scope="session")
async def sandbox_server() -> AsyncIterator[Sandbox]:
    app = build(Options(client_id="app123-x", client_secret="hunter2-secret"))
    async with served(app, lifespan=True) as url:
        yield Sandbox(url, app.state.gohighlevel)


@pytest.fixture
def sandbox(sandbox_server: Sandbox) -> Sandbox:
    sandbox_server.world.reset()
    return sandbox_server


@pytest.fixture
async def http() -> AsyncIterator[VendorHttp]:
    async with open_client() as client:
        yield VendorHttp(client, vendor="gohighlevel")


@pytest.fixture
async def limiter(redis_url: str) -> AsyncIterator[Limiter]:
    async with Redis.from_url(redis_url) as redis:
        yield Limiter(redis, vendor="gohighlevel", burst=100, seconds=10)


@pytest.fixture
def oauth(http: VendorHttp, limiter: Limiter, sandbox: Sandbox) -> OAuth:
    app = OAuthApp(
        client_id="app123-x",
        client_secret="hunter2-secret",
        api_url=sandbox.url,
        authorize_url=f"{sandbox.url}/v2/oauth/chooselocation",
    )
    return OAuth(http, app, limiter=limiter)
