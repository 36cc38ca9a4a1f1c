"""Signing in, staying in and being shut out, as a client meets it."""

import asyncio
import statistics
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from db.models.tenancy import Session
from domain.tenancy import accounts, budget, sessions
from domain.tenancy.sessions import Device
from tests.factories.client import Client, GraphQLFailed
from tests.factories.house import PASSWORD, House
from tests.factories.people import Person, add_person, new_owner, sign_in
from tests.factories.rows import unit_of

REFRESH = """mutation ($input: RefreshSessionInput!) { refreshSession(input: $input) {
  accessToken refreshToken userErrors { code message } } }"""
SIGN_OUT = "mutation { signOut { signedOut } }"
ME = "{ viewer { name role account { id } user { id email } } }"
UPDATE_USER = """mutation ($input: UpdateUserInput!) { updateUser(input: $input) {
  user { role version disabledAt } userErrors { code } } }"""


async def refresh(house: House, token: str) -> dict[str, Any]:
    session: dict[str, Any] = (await Client(house.http).ask(REFRESH, input={"refreshToken": token}))["refreshSession"]
    return session


async def refused(client: Client) -> str:
    """The code and the HTTP status with which a credential is refused."""
    answer = await client.http.post("/graphql", json={"query": ME}, headers=client.headers)
    assert answer.headers["www-authenticate"] == "Bearer"
    return f"{answer.status_code} {answer.json()['errors'][0]['extensions']['code']}"


async def test_signing_in_gives_tokens_that_work(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    session = await sign_in(shared_house, owner.email.upper())
    assert session["userErrors"] == []
    expires_in = datetime.fromisoformat(session["accessExpiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < expires_in <= timedelta(minutes=15)
    viewer = (await Client(shared_house.http, session["accessToken"]).ask(ME))["viewer"]
    assert viewer["user"] == {"id": owner.gid, "email": owner.email}
    assert viewer["account"] == {"id": owner.account_gid}


async def test_a_wrong_password_an_unknown_address_and_a_disabled_user_are_told_the_same(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    disabled = await add_person(shared_house, owner, "MEMBER")
    await owner.ask(UPDATE_USER, input={"id": disabled.gid, "expectedVersion": 1, "disabled": True})
    answers = [
        await sign_in(shared_house, owner.email, "not the password"),
        await sign_in(shared_house, "nobody@agency.example"),
        await sign_in(shared_house, disabled.email),
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["accessToken"] is None
    assert [error["code"] for error in answers[0]["userErrors"]] == ["API-005"]


async def test_the_time_an_answer_takes_does_not_tell_whether_an_address_is_known(
    shared_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "HASHER", PasswordHasher())  # the real one; tests use a cheaper one otherwise
    owner = await new_owner(shared_house)

    async def seconds(email: str) -> float:
        started = perf_counter()
        await sign_in(shared_house, email, "not the password")
        return perf_counter() - started

    known = statistics.median([await seconds(owner.email) for _ in range(2)])
    unknown = statistics.median([await seconds("nobody-else@agency.example") for _ in range(2)])
    # A hash that is not computed makes it ten times faster.
    assert 0.3 < unknown / known < 3


async def test_the_eleventh_try_in_five_minutes_is_not_looked_at(shared_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "time", lambda: 1_800_000_100.0)
    owner = await new_owner(shared_house)
    tries = await asyncio.gather(*(sign_in(shared_house, owner.email, "wrong") for _ in range(10)))
    assert {error["code"] for answer in tries for error in answer["userErrors"]} == {"API-005"}
    blocked = await sign_in(shared_house, f" {owner.email.upper()} ", PASSWORD)
    assert blocked["accessToken"] is None
    [error] = blocked["userErrors"]
    assert (error["__typename"], error["code"]) == ("RateLimitedError", "API-007")
    assert error["retryAfterSeconds"] == 200
    assert (await owner.ask(ME))["viewer"], "whoever is signed in stays so"


async def test_refreshing_swaps_both_tokens(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    first = await sign_in(shared_house, owner.email)
    second = await refresh(shared_house, first["refreshToken"])
    assert second["userErrors"] == []
    assert second["refreshToken"] != first["refreshToken"]
    assert (await Client(shared_house.http, second["accessToken"]).ask(ME))["viewer"]["user"]["id"] == owner.gid


async def test_a_refresh_token_that_is_used_twice_ends_the_session(shared_house: House) -> None:
    """One of the two who have it is a thief, and nobody can tell which."""
    owner = await new_owner(shared_house)
    first = await sign_in(shared_house, owner.email)
    second = await refresh(shared_house, first["refreshToken"])
    stolen = await refresh(shared_house, first["refreshToken"])
    assert [error["code"] for error in stolen["userErrors"]] == ["API-005"]
    assert (await refresh(shared_house, second["refreshToken"]))["userErrors"], "its successor is refused as well"
    assert await refused(Client(shared_house.http, second["accessToken"])) == "401 API-005"
    assert (await owner.ask(ME))["viewer"], "another session of the user goes on"


async def test_two_refreshes_at_once_do_not_both_succeed(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    first = await sign_in(shared_house, owner.email)
    both = await asyncio.gather(*(refresh(shared_house, first["refreshToken"]) for _ in range(2)))
    assert sorted(bool(answer["userErrors"]) for answer in both) == [False, True]


async def test_signing_out_ends_this_session_at_once_and_no_other(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    session = await sign_in(shared_house, owner.email)
    leaving = Client(shared_house.http, session["accessToken"])
    assert (await leaving.ask(SIGN_OUT))["signOut"] == {"signedOut": True}
    assert await refused(leaving) == "401 API-005"
    assert (await refresh(shared_house, session["refreshToken"]))["userErrors"]
    assert (await owner.ask(ME))["viewer"]


async def test_nobody_signs_out_whoever_is_not_signed_in(shared_house: House) -> None:
    with pytest.raises(GraphQLFailed) as failed:
        await Client(shared_house.http).ask(SIGN_OUT)
    assert failed.value.code == "API-005"


def forge(house: House, owner: Person, **claims: Any) -> Client:
    """A token made with the server's own key."""
    now = datetime.now(UTC)
    usual = {"iss": "bottleneck-bots", "sub": str(owner.user_id), "iat": now, "exp": now + timedelta(minutes=5)}
    given = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    key = house.settings.access_token_key.get_secret_value()
    return Client(house.http, jwt.encode(given, key, algorithm="HS256"))


async def session_of(house: House, owner: Person) -> str:
    async with unit_of(house, owner.account_id) as unit:
        return str(await unit.session.scalar(sa.select(Session.id).where(Session.user_id == owner.user_id)))


async def test_an_access_token_ends(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    sid = await session_of(shared_house, owner)
    assert (await forge(shared_house, owner, sid=sid).ask(ME))["viewer"], "made like the server makes them, it works"
    over = datetime.now(UTC) - timedelta(seconds=1)
    assert await refused(forge(shared_house, owner, sid=sid, exp=over)) == "401 API-005"


@pytest.mark.parametrize("claims", [{"exp": None}, {"iss": "somebody"}, {"iss": None}, {"sid": None}, {"sid": "7"}, {"sid": 7}])
async def test_a_token_lacking_what_it_needs_is_refused(shared_house: House, claims: dict[str, Any]) -> None:
    owner = await new_owner(shared_house)
    sid = await session_of(shared_house, owner)
    assert await refused(forge(shared_house, owner, **{"sid": sid, **claims})) == "401 API-005"


async def test_a_token_is_only_good_with_the_server_s_signature(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    sid = await session_of(shared_house, owner)
    claims = {"iss": "bottleneck-bots", "sid": sid, "exp": datetime.now(UTC) + timedelta(minutes=5)}
    for token in (jwt.encode(claims, "x" * 48, algorithm="HS256"), jwt.encode(claims, "", algorithm="none")):
        assert await refused(Client(shared_house.http, token)) == "401 API-005"


@pytest.mark.parametrize("token", ["x", "a.b.c", "bots_", "bots_wrong", "e30.e30.", "bots_" + "x" * 5_000, "%00", "ü"])
async def test_garbage_is_refused(shared_house: House, token: str) -> None:
    headers = {b"authorization": f"Bearer {token}".encode("latin-1")}
    answer = await shared_house.http.post("/graphql", json={"query": ME}, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "API-005")


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "Token x", "x"])
async def test_another_kind_of_credential_is_refused_and_not_ignored(shared_house: House, header: str) -> None:
    headers = {"authorization": header}
    answer = await shared_house.http.post("/graphql", json={"query": "{ errorCodes { code } }"}, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "API-005")


async def test_whoever_is_shut_out_is_out_at_once_and_may_be_let_in_again(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    person = await add_person(shared_house, owner, "MEMBER")
    session = await sign_in(shared_house, person.email)
    change = {"id": person.gid, "expectedVersion": 1, "disabled": True}
    assert (await owner.ask(UPDATE_USER, input=change))["updateUser"]["userErrors"] == []
    assert await refused(person.client) == "401 API-005"
    assert (await refresh(shared_house, session["refreshToken"]))["userErrors"]
    again = (await owner.ask(UPDATE_USER, input={**change, "expectedVersion": 2, "disabled": False}))["updateUser"]
    assert again["user"]["disabledAt"] is None
    assert await refused(person.client) == "401 API-005", "the old session stays ended"
    assert (await sign_in(shared_house, person.email))["accessToken"]


async def test_neither_password_nor_token_is_kept(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    tokens = await sign_in(shared_house, owner.email)
    async with unit_of(shared_house, owner.account_id) as unit:
        rows = await unit.session.execute(sa.text('SELECT "user"::text, session::text FROM "user" JOIN session ON true'))
        kept = str(rows.all())
    assert "$argon2id$" in kept
    assert PASSWORD not in kept
    assert tokens["refreshToken"] not in kept
    assert tokens["accessToken"] not in kept


async def test_a_session_remembers_its_device(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with shared_house.runtime.database.system_across_accounts() as session:
        device = sa.select(Session.user_agent, Session.ip).where(Session.user_id == owner.user_id)
        assert (await session.execute(device)).all() == [(None, None)]
    await sign_in(shared_house, owner.email)
    async with shared_house.runtime.database.system_across_accounts() as session:
        assert ("python-httpx", "127.0.0.1") in [
            (agent and agent.partition("/")[0], ip) for agent, ip in (await session.execute(device)).all()
        ]


async def test_an_endless_user_agent_is_cut(shared_house: House) -> None:
    account, user = await shared_house.account("Endless")
    runtime = shared_house.runtime
    await sessions.start_session(runtime.database, runtime.settings, user=user, device=Device("x" * 10_000))
    async with unit_of(shared_house, account.id) as unit:
        assert len(await unit.session.scalar(sa.select(Session.user_agent)) or "") == 300
