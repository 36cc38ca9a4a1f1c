"""Failing jobs on purpose, and what a client reads and does about them."""

from typing import Any

import asyncpg

from domain.vendors.sandbox.gohighlevel import seed
from tests.factories.client import JOB, Client
from tests.factories.contact_sync import SMALL
from tests.factories.crm import connect, location_of, start_sync
from tests.factories.house import House

LARGE = seed.LARGE  # ten pages
SEARCH = "/contacts/search"
SYNC_KIND = "crm.contacts.sync"

RECOVERY = f"""{JOB} statusText isPermanentlyFailed recoverable recoveryOptions attention attentionAt archivedAt expiredAt
  itemCounts {{ total done failed pending }}
  items(first: 100) {{ totalCount nodes {{ key number title state code message updatedAt }} }}
  effects {{ key state vendorId }}
  notes(first: 100) {{ totalCount nodes {{ id authorType authorName body isInternal createdAt }} }}
  interventions {{ at actorType actorName action details requestId }}"""
RETRY = f"""mutation ($input: RetryJobInput!) {{ retryJob(input: $input) {{ job {{ {RECOVERY} }}
  userErrors {{ __typename code message ... on JobNotRecoverableError {{ recoveryOptions changes }} }} }} }}"""
SETTINGS = """mutation ($input: UpdateJobSettingsInput!) { updateJobSettings(input: $input) {
  settings { version maxRetries timeoutSeconds } userErrors { code message field } } }"""
GRANT = """mutation { grantSupportAccess(input: {reason: "Ticket 4711", minutes: 60}) { grant { id } userErrors { code } } }"""


async def details(client: Client, job_id: str) -> dict[str, Any]:
    """A job with everything about its recovery."""
    job: dict[str, Any] = (await client.ask(f"query ($id: ID!) {{ job(id: $id) {{ {RECOVERY} }} }}", id=job_id))["job"]
    return job


async def retry(client: Client, job_id: str, **options: Any) -> dict[str, Any]:
    """What retryJob answers."""
    payload: dict[str, Any] = (await client.ask(RETRY, input={"id": job_id, **options}))["retryJob"]
    return payload


async def act(client: Client, mutation: str, job_id: str, **more: Any) -> dict[str, Any]:
    """What one of the mutations on a job answers that take its id and little more."""
    name = {"markJobRequiresAction": "MarkJobRequiresActionInput", "addJobNote": "AddJobNoteInput"}.get(mutation, "JobInput")
    document = f"""mutation ($input: {name}!) {{ {mutation}(input: $input) {{
      job {{ {RECOVERY} }} userErrors {{ code message field }} }} }}"""
    payload: dict[str, Any] = (await client.ask(document, input={"id": job_id, **more}))[mutation]
    return payload


async def decide(client: Client, **settings: Any) -> None:
    """Decide the settings of contact syncs to come."""
    version = (await client.ask(f'{{ jobSettings(kinds: ["{SYNC_KIND}"]) {{ version }} }}'))["jobSettings"][0]["version"]
    given = {"kind": SYNC_KIND, "expectedVersion": version, **settings}
    payload = (await client.ask(SETTINGS, input=given))["updateJobSettings"]
    assert payload["userErrors"] == [], payload["userErrors"]


async def location(client: Client, house: House, place: seed.SeededLocation = SMALL) -> str:
    """A location of a newly connected agency."""
    return location_of(await connect(client, house), place.id)


async def failed_sync(client: Client, location_id: str, house: House) -> dict[str, Any]:
    """A sync that the vendor refused at once, and with that for good."""
    house.fault("status", path=SEARCH, status=400)
    job = await start_sync(client, location_id)
    return await client.until(job["id"], "FAILED")


async def support(house: House, owner: Client) -> Client:
    """Somebody of the platform's support whom the owner lets in."""
    assert (await owner.ask(GRANT))["grantSupportAccess"]["userErrors"] == []
    _, user = await house.account("Support", is_staff=True)
    account = (await owner.ask("{ viewer { account { id } } }"))["viewer"]["account"]["id"]
    return await house.client_of(user, account=account)


async def run_sql(database_url: str, statement: str, *values: Any) -> None:
    """Turn a clock or damage a row, as nothing in the product can."""
    connection = await asyncpg.connect(database_url.replace("//bots@", "//postgres@"))
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


async def told(client: Client, event: str) -> list[dict[str, Any]]:
    """What the person was told of such an event in the app, each thing by itself."""
    document = """query ($filter: NotificationFilterInput) { notifications(filter: $filter, first: 20) { nodes {
      items { title body error jobId jobState url attempts { number outcome errorCode httpStatus endedAt } } } } }"""
    nodes = (await client.ask(document, filter={"events": [event]}))["notifications"]["nodes"]
    return [item for node in nodes for item in node["items"]]
