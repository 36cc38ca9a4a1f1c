"""The sandbox over real HTTP on a port of its own, and a client for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from domain.vendors.sandbox.app import build
from domain.vendors.sandbox.gohighlevel.seed import BRIGHT, LARGE, SeededLocation
from domain.vendors.sandbox.gohighlevel.state import World
from domain.vendors.sandbox.options import Options
from tests.vendors.standin import served

VERSION = "2021-07-28"
CLIENT = {"client_id": "app", "client_secret": "app-secret"}
CALLBACK = "http://product.example/oauth/callback"
DEADLINE = 10.0


class Sandbox:
    """A running sandbox: `world` is its inside, `http` a client at its address."""

    def __init__(self, url: str, world: World, http: httpx.AsyncClient) -> None:
        self.url = url
        self.world = world
        self.http = http

    def location_headers(self, location: SeededLocation = LARGE, *, scopes: frozenset[str] | None = None) -> dict[str, str]:
        """Headers of a request with a token of the location."""
        company = self.world.companies[location.company_id]
        return self.headers(self.world.tokens.access(self.world.grant(company, location_id=location.id, scopes=scopes)))

    def company_headers(self, company_id: str = BRIGHT.id) -> dict[str, str]:
        """Headers of a request with a token of the company."""
        return self.headers(self.world.tokens.access(self.world.grant(self.world.companies[company_id])))

    def headers(self, token: str) -> dict[str, str]:
        """Headers of a request with that token."""
        return {"authorization": f"Bearer {token}", "version": VERSION}

    async def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """A request as the large location."""
        return await self.http.request(method, path, headers=headers or self.location_headers(), **more)

    async def search(self, location: SeededLocation = LARGE, **body: Any) -> dict[str, Any]:
        """The answer to a contact search, which must succeed."""
        content = {"locationId": location.id, "pageLimit": 100, **body}
        answer = await self.call("POST", "/contacts/search", headers=self.location_headers(location), json=content)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def control(self, method: str, path: str, content: Any = None) -> Any:
        """What a control endpoint answers; it must succeed."""
        answer = await self.http.request(method, f"/__control__/{path}", json=content)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def fault(
        self, kind: str, *, match: dict[str, str] | None = None, times: int | None = 1, skip: int = 0, **how: Any
    ) -> None:
        """Order a fault."""
        order = {"match": match or {}, "times": times, "skip": skip, "fault": {"kind": kind, **how}}
        await self.control("POST", "faults", order)

    async def consent(self, **more: str) -> httpx.URL:
        """Where the consent page sends the browser."""
        scope = " ".join(sorted(self.world.companies[BRIGHT.id].scopes))
        query = {
            "response_type": "code",
            "client_id": CLIENT["client_id"],
            "redirect_uri": CALLBACK,
            "scope": scope,
            "state": "s1",
        }
        answer = await self.http.get("/v2/oauth/chooselocation", params={**query, "decision": "allow", **more})
        assert answer.status_code == 302, answer.text
        return httpx.URL(answer.headers["location"])

    async def token(self, **fields: str) -> httpx.Response:
        """The answer of the token endpoint."""
        return await self.http.post("/oauth/token", data={**CLIENT, **fields})

    async def authorize(self, **more: str) -> dict[str, Any]:
        """Tokens by way of the consent page."""
        code = (await self.consent(**more)).params["code"]
        answer = await self.token(grant_type="authorization_code", code=code)
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens


@asynccontextmanager
async def running(options: Options | None = None) -> AsyncIterator[Sandbox]:
    """A sandbox over HTTP."""
    app = build(options or Options(client_id=CLIENT["client_id"], client_secret=CLIENT["client_secret"]))
    async with (
        served(app, lifespan=True) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=DEADLINE) as http,
    ):
        await _listening(http)
        yield Sandbox(url, app.state.gohighlevel, http)
        app.state.gohighlevel.faults.clear()


async def _listening(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await http.get("/__control__/state")
            except httpx.ConnectError:
                await asyncio.sleep(0.005)
            else:
                return


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds; fail after the deadline."""
    async with asyncio.timeout(DEADLINE):
        # What is waited for happens in the sandbox or its peer, which have no event to offer.
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
