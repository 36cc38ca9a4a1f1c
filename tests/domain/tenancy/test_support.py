"""Support staff in a customer's account: by that account's grant, for its time, with few rights, and on record."""

import asyncio
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from db.models.tenancy import SupportGrant
from tests.factories.client import Client, GraphQLFailed
from tests.factories.house import House
from tests.factories.people import Person, new_owner
from tests.factories.rows import add_job, gid, unit_of

GRANT = """mutation ($input: GrantSupportAccessInput!) { grantSupportAccess(input: $input) {
  grant { id reason expiresAt revokedAt } userErrors { code field } } }"""
REVOKE = "mutation ($id: ID!) { revokeSupportAccess(input: {id: $id}) { grant { revokedAt } userErrors { code } } }"
LOG = "{ accessLog { totalCount nodes { actorType actorName action resource outcome requestId ip } } }"
WHO = "{ viewer { name isSupport account { id } scopes } }"


async def let_in(owner: Person, minutes: int = 60) -> str:
    payload = (await owner.ask(GRANT, input={"reason": "Ticket 4711", "minutes": minutes}))["grantSupportAccess"]
    assert payload["userErrors"] == []
    return str(payload["grant"]["id"])


def inside(staff: Person, owner: Person) -> Client:
    """The staff's own token, sent with the customer's account."""
    return Client(staff.client.http, staff.client.token, owner.account_gid)


async def refused(client: Client, document: str = WHO) -> str:
    answer = await client.http.post("/graphql", json={"query": document}, headers=client.headers)
    return f"{answer.status_code} {answer.json()['errors'][0]['extensions']['code']}"


async def test_without_a_grant_nobody_comes_in(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    assert await refused(inside(staff, owner)) == "403 API-004"
    assert (await staff.ask(WHO))["viewer"]["account"]["id"] == staff.account_gid, "their own account is open to them"


DENIED = "{ accessLog { nodes { actorType actorName action outcome reason requestId ip } } }"


async def denials(owner: Person) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await owner.ask(DENIED))["accessLog"]["nodes"]
    return [node for node in nodes if node["outcome"] == "DENIED"]


async def test_who_was_not_let_in_is_in_that_account_s_log(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    client = inside(staff, owner)
    headers = {**client.headers, "x-request-id": "snooping-1"}
    answer = await client.http.post("/graphql", json={"query": WHO}, headers=headers)
    assert answer.status_code == 403
    staff_name = (await staff.ask(WHO))["viewer"]["name"]
    assert await denials(owner) == [
        {
            "actorType": "SUPPORT",
            "actorName": staff_name,
            "action": "enter",
            "outcome": "DENIED",
            "reason": "No support grant was ever given.",
            "requestId": "snooping-1",
            "ip": "127.0.0.1",
        }
    ]
    assert await denials(staff) == []


async def test_a_grant_that_has_ended_is_told_as_the_reason(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    await owner.ask(REVOKE, id=await let_in(owner))
    assert await refused(inside(staff, owner)) == "403 API-004"
    assert [entry["reason"] for entry in await denials(owner)] == ["The support grant has ended."]


async def test_refusals_cannot_fill_a_log(shared_house: House) -> None:
    owner, other = await new_owner(shared_house), await new_owner(shared_house)
    one, two = await new_owner(shared_house, is_staff=True), await new_owner(shared_house, is_staff=True)
    knocks = [inside(staff, account) for staff in (one, two) for account in (owner, other) for _ in range(5)]
    assert set(await asyncio.gather(*map(refused, knocks))) == {"403 API-004"}
    assert [len(await denials(account)) for account in (owner, other)] == [2, 2], "one for each person"
    admin = await asyncpg.connect(shared_house.settings.database_url.replace("bots@", "postgres@", 1))
    await admin.execute("update access_log set at = at - interval '61 seconds' where account_id = $1", owner.account_id)
    await admin.close()
    assert await refused(inside(one, owner)) == "403 API-004"
    assert len(await denials(owner)) == 3, "after a minute it is told again"


async def test_a_stranger_who_is_no_staff_leaves_no_name_in_the_log(shared_house: House) -> None:
    """Or anybody could write into another account's log by signing up."""
    owner, stranger = await new_owner(shared_house), await new_owner(shared_house)
    assert await refused(inside(stranger, owner)) == "403 API-004"
    assert await denials(owner) == []


async def test_a_subscription_that_a_revocation_ends_is_no_attempt_to_enter(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    grant = await let_in(owner)
    async with unit_of(shared_house, owner.account_id) as unit:
        job = await add_job(unit)
    watching = inside(staff, owner).watch("subscription ($id: ID!) { jobUpdated(id: $id) { version } }", id=gid("job", job))
    assert (await anext(watching))["jobUpdated"]
    await owner.ask(REVOKE, id=grant)
    with pytest.raises(GraphQLFailed):
        await anext(watching)
    assert await denials(owner) == []


async def test_a_grant_opens_that_account_and_no_other(shared_house: House) -> None:
    owner, other = await new_owner(shared_house), await new_owner(shared_house)
    staff = await new_owner(shared_house, is_staff=True)
    await let_in(owner)
    viewer = (await inside(staff, owner).ask(WHO))["viewer"]
    assert (viewer["isSupport"], viewer["account"]["id"]) == (True, owner.account_gid)
    assert await refused(inside(staff, other)) == "403 API-004"


async def test_a_grant_is_for_staff_only(shared_house: House) -> None:
    owner, stranger = await new_owner(shared_house), await new_owner(shared_house)
    await let_in(owner)
    assert await refused(inside(stranger, owner)) == "403 API-004"
    document = 'mutation { createApiKey(input: {name: "x", scopes: [JOBS_READ]}) { secret } }'
    key = (await stranger.ask(document))["createApiKey"]["secret"]
    assert await refused(Client(shared_house.http, key, owner.account_gid)) == "403 API-004"


async def test_support_looks_and_mends_jobs_but_changes_nothing_else(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    await let_in(owner)
    async with unit_of(shared_house, owner.account_id) as unit:
        job = await add_job(unit)
    support = inside(staff, owner)
    scopes = (await support.ask(WHO))["viewer"]["scopes"]
    assert set(scopes) == {"JOBS_READ", "JOBS_WRITE", "CONTACTS_READ", "CONNECTIONS_READ", "WORKFLOWS_READ", "LOGS_READ"}
    cancel = "mutation ($id: ID!) { cancelJob(input: {id: $id}) { job { state } userErrors { code } } }"
    assert (await support.ask(cancel, id=gid("job", job)))["cancelJob"]["job"] == {"state": "CANCELLED"}
    for document in (
        'mutation { m: createApiKey(input: {name: "x", scopes: [JOBS_READ]}) { userErrors { code } } }',
        'mutation { m: grantSupportAccess(input: {reason: "x", minutes: 5}) { userErrors { code } } }',
        "mutation { m: startGhlAuthorization { userErrors { code } } }",
    ):
        assert (await support.ask(document))["m"]["userErrors"] == [{"code": "API-004"}]
    assert await refused(support, "{ users { totalCount } }") == "200 API-004"


async def test_what_support_does_carries_the_person_s_name(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    await let_in(owner)
    async with unit_of(shared_house, owner.account_id) as unit:
        job = await add_job(unit)
    await inside(staff, owner).ask(f'mutation {{ cancelJob(input: {{id: "{gid("job", job)}"}}) {{ userErrors {{ code }} }} }}')
    newest = (await owner.ask("{ auditLog(first: 1) { nodes { actorType actorName action } } }"))["auditLog"]["nodes"]
    staff_name = (await staff.ask(WHO))["viewer"]["name"]
    assert newest == [{"actorType": "SUPPORT", "actorName": staff_name, "action": "job.cancel"}]


async def test_every_use_is_in_the_access_log_with_its_request(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    await let_in(owner)
    support = inside(staff, owner)
    fragment = "fragment Two on Query { j: jobs { totalCount } }"
    document = f"query {{ ...Two contacts {{ totalCount nodes {{ refs {{ externalId }} }} }} }} {fragment}"
    headers = {**support.headers, "x-request-id": "ticket-4711-a"}
    await support.http.post("/graphql", json={"query": document}, headers=headers)
    log = (await owner.ask(LOG))["accessLog"]
    staff_name = (await staff.ask(WHO))["viewer"]["name"]
    assert sorted(entry["action"] for entry in log["nodes"]) == ["contacts", "jobs"], "one entry a field, by its own name"
    for entry in log["nodes"]:
        del entry["action"]
        assert entry == {
            "actorType": "SUPPORT",
            "actorName": staff_name,
            "resource": "GraphQL",
            "outcome": "ALLOWED",
            "requestId": "ticket-4711-a",
            "ip": "127.0.0.1",
        }


async def test_a_use_that_fails_is_in_the_log_as_well(shared_house: House) -> None:
    """What is told in a refusal has been reached, too."""
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    await let_in(owner)
    support = inside(staff, owner)
    await support.ask('mutation { cancelJob(input: {id: "job_00000000000000000000000000"}) { userErrors { code } } }')
    assert await refused(support, "{ users { totalCount } }") == "200 API-004"
    actions = [entry["action"] for entry in (await owner.ask(LOG))["accessLog"]["nodes"]]
    assert actions == ["users", "cancelJob"]


async def test_watching_is_a_use(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    await let_in(owner)
    async with unit_of(shared_house, owner.account_id) as unit:
        job = await add_job(unit)
    watching = inside(staff, owner).watch("subscription ($id: ID!) { jobUpdated(id: $id) { version } }", id=gid("job", job))
    assert (await anext(watching))["jobUpdated"]
    await watching.aclose()
    assert [entry["action"] for entry in (await owner.ask(LOG))["accessLog"]["nodes"]] == ["jobUpdated"]


async def test_what_the_account_s_own_people_do_is_not_support_s(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    await owner.ask("{ jobs { totalCount } }")
    assert (await owner.ask(LOG))["accessLog"]["totalCount"] == 0


async def test_a_grant_ends_by_itself(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    await let_in(owner)
    async with unit_of(shared_house, owner.account_id) as unit:
        await unit.session.execute(sa.update(SupportGrant).values(expires_at=sa.func.now()))
    assert await refused(inside(staff, owner)) == "403 API-004"


async def test_a_grant_is_ended_at_once(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    grant = await let_in(owner)
    assert (await inside(staff, owner).ask(WHO))["viewer"]
    first = (await owner.ask(REVOKE, id=grant))["revokeSupportAccess"]["grant"]
    assert await refused(inside(staff, owner)) == "403 API-004"
    assert (await owner.ask(REVOKE, id=grant))["revokeSupportAccess"] == {"grant": first, "userErrors": []}


async def test_a_subscription_ends_with_the_grant(shared_house: House) -> None:
    owner, staff = await new_owner(shared_house), await new_owner(shared_house, is_staff=True)
    await let_in(owner)
    async with unit_of(shared_house, owner.account_id) as unit:
        job = await add_job(unit)
        soon = sa.func.now() + sa.text("interval '0.5 second'")
        await unit.session.execute(sa.update(SupportGrant).values(expires_at=soon))
    watching = inside(staff, owner).watch("subscription ($id: ID!) { jobUpdated(id: $id) { version } }", id=gid("job", job))
    assert (await anext(watching))["jobUpdated"]
    with pytest.raises(GraphQLFailed) as ended:
        await anext(watching)
    assert ended.value.code == "API-005"


@pytest.mark.parametrize("given", [{"minutes": 0}, {"minutes": 10_081}, {"minutes": -5}, {"reason": " "}])
async def test_a_grant_that_makes_no_sense_is_refused(shared_house: House, given: dict[str, Any]) -> None:
    owner = await new_owner(shared_house)
    payload = (await owner.ask(GRANT, input={"reason": "Ticket", "minutes": 5, **given}))["grantSupportAccess"]
    assert payload == {"grant": None, "userErrors": [{"code": "API-002", "field": list(given)}]}


@pytest.mark.parametrize("account", ["x", "account_", "job_00000000000000000000000000", "account_00000000000000000000000000"])
async def test_an_account_that_is_none_is_no_way_in(shared_house: House, account: str) -> None:
    staff = await new_owner(shared_house, is_staff=True)
    assert await refused(Client(shared_house.http, staff.client.token, account)) in {"403 API-004", "400 API-002"}
