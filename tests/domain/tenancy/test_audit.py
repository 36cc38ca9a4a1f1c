"""Who changed what: an entry for each command of consequence, in its own transaction, that nobody can change afterwards."""

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError
from strawberry.types.base import StrawberryObjectDefinition

from domain.vendors.sandbox.gohighlevel import seed
from graph.schema import schema
from tests.factories.client import Client
from tests.factories.crm import connect, location_of
from tests.factories.house import PASSWORD, House
from tests.factories.people import CREATE_USER, Person, add_person, new_owner, sign_in
from tests.factories.rows import add_job, gid, unit_of

ROOT = Path(__file__).parents[3]
LOG = """query ($subject: ID) { auditLog(subjectId: $subject, first: 100) { totalCount nodes {
  at actorType actorName action subjectType subjectId details requestId } } }"""

# Every mutation, and the entry that it leaves.
AUDITED = {
    "signIn": "session.create",
    "signOut": "session.end",
    "createUser": "user.create",
    "updateUser": "user.update",
    "createApiKey": "api_key.create",
    "revokeApiKey": "api_key.revoke",
    "grantSupportAccess": "support.grant",
    "revokeSupportAccess": "support.revoke",
    "startGhlAuthorization": "connection.authorize",
    "completeGhlAuthorization": "connection.create",
    "testGhlAccount": "connection.test",
    "refreshGhlLocations": "connection.refresh",
    "disconnectGhlAccount": "connection.disconnect",
    "updateGhlLocations": "location.update",
    "startContactSync": "contact_sync.start",
    "createContact": "contact.create",
    "updateContact": "contact.update",
    "cancelJob": "job.cancel",
    "retryJob": "job.retry",
    "pauseJob": "job.pause",
    "resumeJob": "job.resume",
    "boostJob": "job.boost",
    "setJobPriority": "job.priority",
    "addJobDependency": "job.dependency.add",
    "removeJobDependency": "job.dependency.remove",
    "markJobRequiresAction": "job.require_action",
    "resolveJob": "job.resolve",
    "undoJobResolution": "job.undo_resolution",
    "addJobNote": "job.note",
    "archiveJob": "job.archive",
    "unarchiveJob": "job.unarchive",
    "settleJobEffect": "job.settle_effect",
    "updateJobSettings": "job.settings.update",
    "updateAccountSlots": "account.slots",
    "cancelJobs": "jobs.cancel",
    "retryJobs": "jobs.retry",
    "pauseJobs": "jobs.pause",
    "resumeJobs": "jobs.resume",
    "archiveJobs": "jobs.archive",
    "exportJobs": "jobs.export",
    "createWorkflow": "workflow.create",
    "updateWorkflow": "workflow.update",
    "deleteWorkflow": "workflow.delete",
    "runWorkflow": "workflow.run",
    "createSchedule": "schedule.create",
    "updateSchedule": "schedule.update",
    "pauseSchedule": "schedule.pause",
    "resumeSchedule": "schedule.resume",
    "deleteSchedule": "schedule.delete",
    "runScheduleNow": "schedule.run",
    "connectSlack": "slack.connect",
    "disconnectSlack": "slack.disconnect",
    "createWebhookEndpoint": "webhook.create",
    "updateWebhookEndpoint": "webhook.update",
    "deleteWebhookEndpoint": "webhook.delete",
    "rotateWebhookSecret": "webhook.rotate_secret",
    "testWebhookEndpoint": "webhook.test",
    "redeliverWebhook": "webhook.redeliver",
}
# Those that leave none, and why.
UNAUDITED = {
    "refreshSession": "continues a session whose begin and end are recorded; a copied token, which ends it, is as well",
    "markNotificationsRead": "a person's own, and without consequence for others",
    "updateNotificationPreferences": "a person's own, and without consequence for others",
    "muteNotifications": "a person's own, and without consequence for others",
}


REFRESH = "mutation ($token: String!) { refreshSession(input: {refreshToken: $token}) { userErrors { code } } }"


async def refresh(house: House, token: str) -> None:
    await Client(house.http).ask(REFRESH, token=token)


async def entries(owner: Person, subject: str | None = None) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await owner.ask(LOG, subject=subject))["auditLog"]["nodes"]
    return nodes


def test_every_mutation_is_recorded_or_has_a_reason_not_to_be() -> None:
    mutation = schema.get_type_by_name("Mutation")
    assert isinstance(mutation, StrawberryObjectDefinition)
    names = {schema.config.name_converter.from_field(field) for field in mutation.fields}
    assert names == AUDITED.keys() | UNAUDITED.keys()
    assert not AUDITED.keys() & UNAUDITED.keys()
    written = "".join(path.read_text() for path in (ROOT / "domain").rglob("*.py"))
    kinds = set(re.findall(r'f"([a-z]+)\.{action}"', written))  # of many things at once, the action is the mutation's
    unwritten = [action for action in AUDITED.values() if f'"{action}"' not in written and action.split(".")[0] not in kinds]
    assert unwritten == []


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
    await owner.ask(f'mutation {{ testGhlAccount(input: {{id: "{agency["id"]}"}}) {{ account {{ id }} }} }}')
    await owner.ask(f'mutation {{ refreshGhlLocations(input: {{id: "{agency["id"]}"}}) {{ account {{ id }} }} }}')
    place = location_of(agency, seed.LARGE.id)
    await owner.ask(f'mutation {{ updateGhlLocations(input: {{ids: ["{place}"], active: true}}) {{ userErrors {{ code }} }} }}')
    create = f'{{locationId: "{place}", fields: {{firstName: "Ada", email: "ada@secret.example"}}}}'
    made_contact = await owner.ask(f"mutation {{ createContact(input: {create}) {{ contact {{ id }} }} }}")
    contact = made_contact["createContact"]["contact"]["id"]
    change = f'{{id: "{contact}", expectedVersion: 1, fields: {{lastName: "Lovelace"}}}}'
    await owner.ask(f"mutation {{ updateContact(input: {change}) {{ contact {{ id }} }} }}")
    start = f'{{locationId: "{place}", direction: GHL_TO_BB}}'
    sync = (await owner.ask(f"mutation {{ m: startContactSync(input: {start}) {{ run {{ id }} job {{ id }} }} }}"))["m"]
    async with unit_of(shared_house, owner.account_id) as unit:
        job = await add_job(unit)
    await owner.ask(f'mutation {{ cancelJob(input: {{id: "{gid("job", job)}"}}) {{ job {{ id }} }} }}')
    await owner.ask(f'mutation {{ retryJob(input: {{id: "{gid("job", job)}"}}) {{ job {{ id }} }} }}')
    await owner.ask(f'mutation {{ disconnectGhlAccount(input: {{id: "{agency["id"]}"}}) {{ account {{ id }} }} }}')
    log = list(reversed(await entries(owner)))
    expected = [
        ("user.create", user["id"]),
        ("user.update", user["id"]),
        ("api_key.create", key),
        ("api_key.revoke", key),
        ("support.grant", grant),
        ("support.revoke", grant),
        ("connection.authorize", None),
        ("connection.create", agency["id"]),
        ("connection.test", agency["id"]),
        ("connection.refresh", agency["id"]),
        ("location.update", place),
        ("contact.create", contact),
        ("contact.update", contact),
        ("contact_sync.start", sync["run"]["id"]),
        ("job.cancel", gid("job", job)),
        ("job.retry", gid("job", job)),
        ("job.cancel", sync["job"]["id"]),  # of an agency that is left
        ("connection.disconnect", agency["id"]),
    ]
    assert [(entry["action"], entry["subjectId"]) for entry in log] == expected
    owner_name = (await owner.ask("{ viewer { name } }"))["viewer"]["name"]
    assert {(entry["actorType"], entry["actorName"]) for entry in log} == {("USER", owner_name)}
    assert all(entry["requestId"] and entry["at"] for entry in log)
    for secret in (made["createApiKey"]["secret"], PASSWORD, "ada@secret.example"):
        assert secret not in str(log)
    details = {entry["action"]: entry["details"] for entry in log}
    assert details["user.create"] == {"role": "member"}
    assert details["user.update"] == {"before": {"role": "member", "disabled": False}, "role": "viewer", "disabled": None}
    assert details["contact.update"] == {"fields": ["lastName"], "version": 2}
    assert (details["location.update"]["before"]["status"], details["location.update"]["status"]) == ("available", "active")
    assert [entry["action"] for entry in await entries(owner, user["id"])] == ["user.update", "user.create"]


async def test_sessions_are_recorded_from_the_sign_in_to_their_end(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    leaving = Client(shared_house.http, (await sign_in(shared_house, owner.email))["accessToken"])
    await leaving.ask("mutation { signOut { signedOut } }")
    copied = (await sign_in(shared_house, owner.email))["refreshToken"]
    for _ in range(3):
        await refresh(shared_house, copied)
    person = await add_person(shared_house, owner, "MEMBER")
    change = f'{{id: "{person.gid}", expectedVersion: 1, disabled: true}}'
    await owner.ask(f"mutation {{ updateUser(input: {change}) {{ user {{ id }} }} }}")
    log = [entry for entry in reversed(await entries(owner)) if entry["subjectType"] == "session"]
    assert [(entry["action"], entry["actorType"], entry["details"]) for entry in log] == [
        ("session.create", "USER", {"ip": "127.0.0.1"}),
        ("session.end", "USER", {"why": "signed out"}),
        ("session.create", "USER", {"ip": "127.0.0.1"}),
        ("session.end", "SYSTEM", {"why": "refresh token used twice"}),
        ("session.end", "USER", {"why": "shut out"}),
    ]


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
