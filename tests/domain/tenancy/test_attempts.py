"""Guessing passwords is slow, and guessing somebody else's does not lock them out. Clients are told apart by their address."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import httpx
import pytest

from domain.errors import LimitReached
from domain.tenancy import attempts, budget
from domain.tenancy.budget import Budget
from domain.tenancy.sessions import Device
from tests.factories.client import Client
from tests.factories.house import PASSWORD, House
from tests.factories.people import SIGN_IN, new_owner

From = Callable[[str], Client]


@pytest.fixture
async def client_from(shared_house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[From]:
    """A client at an address of this machine's loopback network, in a window of time that does not end."""
    monkeypatch.setattr(budget, "time", lambda: 1_800_000_100.0)
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for number in range(2, 7):
            address = f"127.0.0.{number}"
            transport = httpx.AsyncHTTPTransport(local_address=address)
            http = httpx.AsyncClient(base_url=shared_house.url, transport=transport)
            clients[address] = Client(await stack.enter_async_context(http))
        yield clients.__getitem__


async def tried(client: Client, email: str, given: str = "not the password") -> str | None:
    session = (await client.ask(SIGN_IN, input={"email": email, "password": given}))["signIn"]
    return session["userErrors"][0]["code"] if session["userErrors"] else None


async def test_whoever_guesses_locks_out_only_themselves(shared_house: House, client_from: From) -> None:
    owner = await new_owner(shared_house)
    guesser, person = client_from("127.0.0.2"), client_from("127.0.0.3")
    codes = await asyncio.gather(*(tried(guesser, owner.email) for _ in range(14)))
    assert sorted(str(code) for code in codes) == ["API-005"] * 10 + ["API-007"] * 4
    assert await tried(guesser, owner.email.upper(), PASSWORD) == "API-007", "the right password is not looked at either"
    assert await tried(person, owner.email, PASSWORD) is None


async def test_many_together_are_limited_but_not_those_whom_the_account_knows(
    shared_house: House, client_from: From, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "FROM_ANYWHERE", Budget("few", limit=20, seconds=300))
    owner = await new_owner(shared_house)
    home = client_from("127.0.0.6")
    assert await tried(home, owner.email, PASSWORD) is None
    for number in (2, 3):
        guesser = client_from(f"127.0.0.{number}")
        assert set(await asyncio.gather(*(tried(guesser, owner.email) for _ in range(9)))) == {"API-005"}
    assert await tried(client_from("127.0.0.4"), owner.email) == "API-005"
    assert await tried(client_from("127.0.0.4"), owner.email, PASSWORD) == "API-007"
    assert await tried(home, owner.email, PASSWORD) is None


async def test_what_one_client_tries_beyond_its_limit_does_not_count_against_others(
    shared_house: House, client_from: From, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "FROM_ANYWHERE", Budget("fewer", limit=11, seconds=300))
    owner = await new_owner(shared_house)
    for _ in range(13):
        await tried(client_from("127.0.0.2"), owner.email)
    assert await tried(client_from("127.0.0.3"), owner.email, PASSWORD) is None


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("not an address", None, False),
    ],
)
async def test_a_network_of_ipv6_counts_as_one_client(
    shared_house: House, monkeypatch: pytest.MonkeyPatch, one: str, other: str | None, is_same: bool
) -> None:
    monkeypatch.setattr(attempts, "FROM_ONE_PLACE", Budget(f"one {one} {other}", limit=1, seconds=300))
    monkeypatch.setattr(budget, "time", lambda: 1_800_000_100.0)
    runtime = shared_house.runtime

    async def is_allowed(ip: str | None) -> bool:
        try:
            await attempts.allow(runtime.redis, runtime.database, email="x@agency.example", device=Device(ip=ip))
        except LimitReached:
            return False
        return True

    assert await is_allowed(one)
    assert await is_allowed(other) is not is_same
