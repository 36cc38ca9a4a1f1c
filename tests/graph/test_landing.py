"""The page at the root: in demo mode it holds a token, for nobody but a browser on the same machine."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from domain import demo
from graph.routes import landing
from tests.factories.client import Client
from tests.factories.house import House
from tests.factories.people import sign_in

HERE: dict[str, Any] = {"client": "127.0.0.1", "base": "http://127.0.0.1:8000"}


@asynccontextmanager
async def browser(house: House, *, client: str, base: str, is_demo: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client at the address `client` which asks for the page at `base`."""
    app = Starlette(routes=[Route("/", landing.page)])
    app.state.runtime = replace(house.runtime, settings=house.settings.model_copy(update={"demo": is_demo}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(client, 1234)), base_url=base) as http:
        yield http


async def token_in(http: httpx.AsyncClient, headers: Mapping[str, str] | None = None) -> Any:
    text = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', (await http.get("/", headers=headers)).text)
    assert text is not None
    return json.loads(text[1])["token"]


@pytest.mark.parametrize(
    ("client", "base"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("127.0.0.1", "http://localhost:8000"),
        ("::1", "http://[::1]:8000"),
        ("::ffff:127.0.0.1", "http://bots.localhost:8000"),
    ],
)
async def test_on_the_machine_itself_the_demo_account_s_token_is_filled_in(shared_house: House, client: str, base: str) -> None:
    async with browser(shared_house, client=client, base=base) as http:
        token = await token_in(http)
    viewer = (await Client(shared_house.http, token).ask("{ viewer { user { email } } }"))["viewer"]
    assert viewer["user"]["email"] == demo.EMAIL


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        ({"client": "192.0.2.7"}, {}),
        ({"client": "192.0.2.7", "base": "http://localhost:8000"}, {}),
        ({"base": "http://evil.example:8000"}, {}),  # its name was made to lead here
        ({"base": "http://localhost.evil.example:8000"}, {}),
        ({}, {"x-forwarded-for": "192.0.2.7"}),
        ({}, {"forwarded": "for=192.0.2.7"}),
        ({"is_demo": False}, {}),
    ],
)
async def test_nobody_else_is_given_it(shared_house: House, change: dict[str, Any], headers: dict[str, str]) -> None:
    async with browser(shared_house, **{**HERE, **change}) as http:
        assert await token_in(http, headers) is None


async def test_the_demo_account_s_password_is_this_installation_s_own(shared_house: House) -> None:
    async with browser(shared_house, **HERE) as http:
        await token_in(http)
    settings = shared_house.settings
    assert (await sign_in(shared_house, demo.EMAIL, demo.password(settings)))["userErrors"] == []
    other = settings.model_copy(update={"access_token_key": type(settings.access_token_key)("y" * 48)})
    assert demo.password(other) != demo.password(settings)
