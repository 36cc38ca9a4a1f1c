"""Who changed what: an entry for each command of consequence, in its own transaction, that nobody can change afterwards."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from domain.vendors.sandbox.gohighlevel import seed
from tests.factories.crm import connect, location_of
from tests.factories.house import PASSWORD, House
from tests.factories.people import CREATE_USER, Person, new_owner
from tests.factories.rows import add_job, gid, unit_of

LOG = """query ($subject: ID) { auditLog(subjectId: $subject) { totalCount nodes {
  at actorType actorName action subjectType details requestId } } }"""


async def entries(owner: Person, subject: str | None = None) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await owner.ask(LOG, subject=subject))["auditLog"]["nodes"]
    return nodes


async def test_every_command_of_consequence_is_recorded(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    given = {"email": "audited@agency.example", "name": "New", "role": "MEMBER", "password": PASSWORD}
    user = (await owner.ask(CREATE_USER, input=given))["createUser"]["user"]
    change = f'{{id: "{user["id"]}", expectedVersion: 1, role: VIEWER}}'
    await owner.ask(f"mutation {{ updateUser(input: {change}) {{ user {{ id }} }} }}")
    made = await owner.ask('mutation { createApiKey(input: {name: "CI", scopes: [JOBS_READ]}) { secret apiKey { id } } }')
    key = made["createApiKey"]["apiKey"]["id"]
    await owner.ask(f'mutation {{ revokeApiKey(input: {{id: "{key}"}}) {{ apiKey {{ id }} }} }}')
    granted = await owner.ask('mutation { grantSupportAccess(input: {reason: "Ticket", minutes: 5}) { grant { id } } }')
    grant = granted["grantSupportAccess"]["grant"]["id"]
    await owner.ask(f'mutation {{ revokeSupportAccess(input: {{id: "{grant}"}}) {{ grant {{ id }} }} }}')
    agency = await connect(owner.client, shared_house)
    place = location_of(agency, seed.LARGE.id)
    await owner.ask(f'mutation {{ updateGhlLocations(input: {{ids: ["{place}"], active: true}}) {{ userErrors {{ code }} }} }}')
    async with unit_of(shared_house, owner.account_id) as unit:
        job = await add_job(unit)
    await owner.ask(f'mutation {{ cancelJob(input: {{id: "{gid("job", job)}"}}) {{ job {{ id }} }} }}')
    await owner.ask(f'mutation {{ retryJob(input: {{id: "{gid("job", job)}"}}) {{ job {{ id }} }} }}')
    await owner.ask(f'mutation {{ disconnectGhlAccount(input: {{id: "{agency["id"]}"}}) {{ account {{ id }} }} }}')
    log = await entries(owner)
    assert [entry["action"] for entry in reversed(log)] == [
        "user.create",
        "user.update",
        "api_key.create",
        "api_key.revoke",
        "support.grant",
        "support.revoke",
        "connection.create",
        "location.update",
        "job.cancel",
        "job.retry",
        "connection.disconnect",
    ]
    owner_name = (await owner.ask("{ viewer { name } }"))["viewer"]["name"]
    assert {(entry["actorType"], entry["actorName"]) for entry in log} == {("USER", owner_name)}
    assert all(entry["requestId"] and entry["at"] for entry in log)
    assert made["createApiKey"]["secret"] not in str(log)
    assert PASSWORD not in str(log)
    [created, updated] = reversed(await entries(owner, user["id"]))
    assert created["details"] == {"role": "member"}
    assert updated["details"] == {"before": {"role": "member", "disabled": False}, "role": "viewer", "disabled": None}


async def test_an_entry_names_its_request(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    headers = {**owner.client.headers, "x-request-id": "audit-1234"}
    document = 'mutation { createApiKey(input: {name: "CI", scopes: [JOBS_READ]}) { apiKey { id } } }'
    await owner.client.http.post("/graphql", json={"query": document}, headers=headers)
    assert [entry["requestId"] for entry in await entries(owner)] == ["audit-1234"]


async def test_what_was_refused_is_not_recorded_as_done(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    await owner.ask('mutation { createApiKey(input: {name: " ", scopes: [JOBS_READ]}) { apiKey { id } } }')
    assert await entries(owner) == []


@pytest.mark.parametrize("table", ["audit_log", "access_log"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET actor_name = 'nobody'", "DELETE FROM {}", "TRUNCATE {}"])
async def test_history_is_not_rewritten(shared_house: House, table: str, statement: str) -> None:
    owner = await new_owner(shared_house)
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with unit_of(shared_house, owner.account_id) as unit:
            await unit.session.execute(sa.text(statement.format(table)))


async def test_a_subject_that_is_no_id_is_refused_rather_than_ignored(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    answer = await owner.client.http.post(
        "/graphql", json={"query": LOG, "variables": {"subject": "x"}}, headers=owner.client.headers
    )
    assert answer.json()["errors"][0]["extensions"] == {"code": "API-002", "field": ["subjectId"]}


async def test_another_account_s_log_is_not_seen(shared_house: House) -> None:
    owner, other = await new_owner(shared_house), await new_owner(shared_house)
    made = await owner.ask('mutation { createApiKey(input: {name: "CI", scopes: [JOBS_READ]}) { apiKey { id } } }')
    assert await entries(other) == []
    assert await entries(other, made["createApiKey"]["apiKey"]["id"]) == []
    assert len(await entries(owner, made["createApiKey"]["apiKey"]["id"])) == 1
