"""Credentials of programs: shown once, kept as a hash, good for what they were made for and no longer."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from db.models.tenancy import ApiKey
from tests.factories.client import Client, GraphQLFailed
from tests.factories.house import House
from tests.factories.people import Person, add_person, new_owner
from tests.factories.rows import unit_of

CREATE = """mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) {
  secret apiKey { id name prefix scopes expiresAt revokedAt } userErrors { code field } } }"""
REVOKE = "mutation ($id: ID!) { revokeApiKey(input: {id: $id}) { apiKey { id revokedAt } userErrors { code } } }"
SHUT_OUT = """mutation ($input: UpdateUserInput!) { updateUser(input: $input) {
  revokedApiKeys { id name revokedAt } userErrors { code } } }"""
KEYS = "{ apiKeys { nodes { id name prefix scopes revokedAt lastUsedAt } } }"


async def create(owner: Person, *scopes: str, **given: Any) -> dict[str, Any]:
    payload: dict[str, Any] = (await owner.ask(CREATE, input={"name": "CI", "scopes": scopes, **given}))["createApiKey"]
    return payload


async def refused(client: Client, document: str, **variables: Any) -> str:
    with pytest.raises(GraphQLFailed) as failed:
        await client.ask(document, **variables)
    return str(failed.value.code)


async def test_a_key_does_what_it_was_made_for_and_nothing_else(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    made = await create(owner, "JOBS_READ")
    program = Client(shared_house.http, made["secret"])
    viewer = (await program.ask("{ viewer { name role scopes user { id } account { id } } }"))["viewer"]
    assert viewer == {"name": "CI", "role": None, "scopes": ["JOBS_READ"], "user": None, "account": {"id": owner.account_gid}}
    assert (await program.ask("{ jobs { totalCount } }"))["jobs"] == {"totalCount": 0}
    assert await refused(program, "{ contacts { totalCount } }") == "API-004"
    assert await refused(program, "{ users { totalCount } }") == "API-004"
    cancelled = await program.ask(
        'mutation { cancelJob(input: {id: "job_00000000000000000000000000"}) { userErrors { code } } }'
    )
    assert cancelled["cancelJob"]["userErrors"] == [{"code": "API-004"}]


async def test_the_secret_is_shown_once_and_kept_as_a_hash(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    made = await create(owner, "JOBS_READ")
    secret = made["secret"]
    assert secret.startswith(made["apiKey"]["prefix"])
    assert len(secret) - len(made["apiKey"]["prefix"]) > 30, "what is shown does not help to guess the rest"
    assert secret not in str(await owner.ask(KEYS))
    async with unit_of(shared_house, owner.account_id) as unit:
        row = str((await unit.session.execute(sa.text("SELECT api_key::text FROM api_key"))).all())
        audit = str((await unit.session.execute(sa.text("SELECT audit_log::text FROM audit_log"))).all())
    assert secret not in row
    assert secret not in audit


async def test_a_revoked_key_is_refused_at_once_and_stays_on_the_list(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    made = await create(owner, "JOBS_READ")
    program = Client(shared_house.http, made["secret"])
    assert (await program.ask("{ viewer { name } }"))["viewer"]
    revoked = (await owner.ask(REVOKE, id=made["apiKey"]["id"]))["revokeApiKey"]["apiKey"]["revokedAt"]
    assert await refused(program, "{ viewer { name } }") == "API-005"
    again = (await owner.ask(REVOKE, id=made["apiKey"]["id"]))["revokeApiKey"]
    assert again["apiKey"]["revokedAt"] == revoked, "revoking twice is harmless"
    [listed] = (await owner.ask(KEYS))["apiKeys"]["nodes"]
    assert (listed["revokedAt"], listed["scopes"]) == (revoked, ["jobs:read"])
    assert listed["lastUsedAt"] is not None


async def test_a_key_ends_when_it_was_to_end(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    made = await create(owner, "JOBS_READ", expiresAt="2030-01-01T00:00:00+02:00")
    assert made["apiKey"]["expiresAt"] == "2029-12-31T22:00:00+00:00"
    program = Client(shared_house.http, made["secret"])
    assert (await program.ask("{ viewer { name } }"))["viewer"]
    async with unit_of(shared_house, owner.account_id) as unit:
        await unit.session.execute(sa.update(ApiKey).values(expires_at=sa.func.now()))
    assert await refused(program, "{ viewer { name } }") == "API-005"


async def test_no_key_can_do_more_than_whoever_makes_it(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    manager = Client(shared_house.http, (await create(owner, "MEMBERS_WRITE", "JOBS_READ"))["secret"])
    more = (await manager.ask(CREATE, input={"name": "more", "scopes": ["JOBS_READ", "JOBS_WRITE"]}))["createApiKey"]
    assert (more["secret"], [error["code"] for error in more["userErrors"]]) == (None, ["API-004"])
    same = (await manager.ask(CREATE, input={"name": "same", "scopes": ["JOBS_READ"]}))["createApiKey"]
    assert same["userErrors"] == []


@pytest.mark.parametrize("role", ["MEMBER", "VIEWER"])
async def test_only_who_manages_members_makes_and_revokes_keys(shared_house: House, role: str) -> None:
    owner = await new_owner(shared_house)
    made = await create(owner, "JOBS_READ")
    person = await add_person(shared_house, owner, role)
    assert [error["code"] for error in (await create(person, "JOBS_READ"))["userErrors"]] == ["API-004"]
    refusal = (await person.ask(REVOKE, id=made["apiKey"]["id"]))["revokeApiKey"]
    assert refusal == {"apiKey": None, "userErrors": [{"code": "API-004"}]}


@pytest.mark.parametrize(
    ("given", "field"),
    [({"name": " "}, "name"), ({"scopes": []}, "scopes"), ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt")],
)
async def test_a_key_that_makes_no_sense_is_refused(shared_house: House, given: dict[str, Any], field: str) -> None:
    owner = await new_owner(shared_house)
    payload = await create(owner, "JOBS_READ", **given)
    assert (payload["secret"], payload["userErrors"]) == (None, [{"code": "API-002", "field": [field]}])


async def test_another_account_s_key_does_not_exist(shared_house: House) -> None:
    owner, other = await new_owner(shared_house), await new_owner(shared_house)
    made = await create(owner, "JOBS_READ")
    missing = (await other.ask(REVOKE, id=made["apiKey"]["id"]))["revokeApiKey"]
    assert missing["userErrors"] == [{"code": "API-003"}]
    assert (await other.ask(KEYS))["apiKeys"]["nodes"] == []
    assert (await Client(shared_house.http, made["secret"]).ask("{ viewer { name } }"))["viewer"]


async def shut_out(owner: Person, person: Person, *, version: int = 1, disabled: bool = True) -> dict[str, Any]:
    given = {"id": person.gid, "expectedVersion": version, "disabled": disabled}
    payload: dict[str, Any] = (await owner.ask(SHUT_OUT, input=given))["updateUser"]
    assert payload["userErrors"] == []
    return payload


async def test_whoever_is_shut_out_takes_their_keys_along(shared_house: House) -> None:
    """Those as well that were made with one of them; nobody else's."""
    owner = await new_owner(shared_house)
    admin = await add_person(shared_house, owner, "ADMIN")
    first = await create(admin, "MEMBERS_WRITE", "JOBS_READ", name="first")
    by_key = Person(Client(shared_house.http, first["secret"]), owner.account_id, admin.user_id, "")
    second = await create(by_key, "JOBS_READ", name="second")
    own = await create(owner, "JOBS_READ", name="own")
    payload = await shut_out(owner, admin)
    assert sorted(key["name"] for key in payload["revokedApiKeys"]) == ["first", "second"]
    for made in (first, second):
        assert await refused(Client(shared_house.http, made["secret"]), "{ viewer { name } }") == "API-005"
    assert (await Client(shared_house.http, own["secret"]).ask("{ viewer { name } }"))["viewer"]
    audit = (await owner.ask("{ auditLog { nodes { action subjectId details } } }"))["auditLog"]["nodes"]
    revoked = {entry["subjectId"] for entry in audit if entry["action"] == "api_key.revoke"}
    assert revoked == {made["apiKey"]["id"] for made in (first, second)}


async def test_a_key_stays_revoked_when_its_maker_is_let_in_again(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    admin = await add_person(shared_house, owner, "ADMIN")
    made = await create(admin, "JOBS_READ")
    await shut_out(owner, admin)
    again = await shut_out(owner, admin, version=2, disabled=False)
    assert again["revokedApiKeys"] == []
    assert await refused(Client(shared_house.http, made["secret"]), "{ viewer { name } }") == "API-005"


async def test_a_key_made_while_its_maker_is_shut_out_does_not_survive(shared_house: House) -> None:
    """Neither the maker's own nor one that is made with a key."""
    owner = await new_owner(shared_house)
    admin = await add_person(shared_house, owner, "ADMIN")
    first = await create(admin, "MEMBERS_WRITE", "JOBS_READ")
    by_key = Person(Client(shared_house.http, first["secret"]), owner.account_id, admin.user_id, "")

    async def try_to_make(maker: Person) -> str | None:
        try:
            return str((await create(maker, "JOBS_READ"))["secret"])
        except GraphQLFailed:
            return None

    made = await asyncio.gather(
        *(try_to_make(maker) for maker in (admin, by_key) for _ in range(4)),
        shut_out(owner, admin),
        *(try_to_make(maker) for maker in (admin, by_key) for _ in range(4)),
    )
    for secret in made:
        if isinstance(secret, str):
            assert await refused(Client(shared_house.http, secret), "{ viewer { name } }") == "API-005"
    listed = (await owner.ask(KEYS))["apiKeys"]["nodes"]
    assert all(key["revokedAt"] for key in listed)
