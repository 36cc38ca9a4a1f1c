"""Connecting an agency and syncing its contacts, as a client does it."""

from typing import Any

from tests.factories.client import JOB, Client
from tests.factories.house import House

START = """mutation ($input: StartGhlAuthorizationInput) { startGhlAuthorization(input: $input) {
  authorizationUrl state expiresAt requestedScopes { name description }
  existingAccounts { id companyId name status } userErrors { code message } } }"""
COMPLETE = """mutation ($input: CompleteGhlAuthorizationInput!) { completeGhlAuthorization(input: $input) {
  wasConnected notice userErrors { code message retryable field }
  account { id companyId name status grantedScopes missingScopes { name } accessExpiresAt version
    locations(first: 100) { totalCount nodes { id externalId name status direction policy timeZone } } } } }"""
SYNC = f"""mutation ($input: StartContactSyncInput!) {{ startContactSync(input: $input) {{
  run {{ id direction policy onlyTags }} job {{ {JOB} }}
  userErrors {{ __typename code message field retryable
    ... on SyncAlreadyRunningError {{ job {{ id }} }} ... on ReauthorizationRequiredError {{ accountId }} }} }} }}"""
RUN = """query ($id: ID!) { job(id: $id) { message result subject { ... on SyncRun {
  id created updated unchanged merged skipped conflicts pushed missing direction policy } }
  log(first: 100) { totalCount nodes { level code message subject field } } } }"""
CONTACTS = """query ($filter: ContactFilterInput, $first: Int, $after: String, $order: ContactOrder! = NEWEST) {
  contacts(filter: $filter, first: $first, after: $after, orderBy: $order) {
    totalCount pageInfo { hasNextPage endCursor }
    nodes { id version displayName firstName lastName email otherEmails phone otherPhones company website street city region
      postalCode country timeZone birthday origin assignedTo doNotDisturb tags source syncState
      customFields { id key name dataType value } refs { externalId isPrimary missingSince } } } }"""
UPDATE = """mutation ($input: UpdateContactInput!) { updateContact(input: $input) {
  contact { id version displayName email phone tags syncState firstName city } userErrors { code message field } } }"""
CREATE = """mutation ($input: CreateContactInput!) { createContact(input: $input) {
  contact { id version displayName email phone tags syncState source } userErrors { code message field } } }"""


async def connect(client: Client, house: House, **choices: str) -> dict[str, Any]:
    """Connect an agency through the consent page; the account with its locations."""
    started = (await client.ask(START))["startGhlAuthorization"]
    answer = await house.consent(started["authorizationUrl"], **choices)
    done = (await client.ask(COMPLETE, input=answer))["completeGhlAuthorization"]
    assert done["userErrors"] == [], done["userErrors"]
    account: dict[str, Any] = done["account"]
    return account


def location_of(account: dict[str, Any], external_id: str) -> str:
    """The id of a location by GoHighLevel's id."""
    return next(str(node["id"]) for node in account["locations"]["nodes"] if node["externalId"] == external_id)


async def start_sync(client: Client, location_id: str, **options: Any) -> dict[str, Any]:
    """Ask for a sync; its job."""
    payload = (await client.ask(SYNC, input={"locationId": location_id, **options}))["startContactSync"]
    assert payload["userErrors"] == [], payload["userErrors"]
    job: dict[str, Any] = payload["job"]
    return job


async def sync(client: Client, location_id: str, **options: Any) -> dict[str, Any]:
    """Sync to the end; the job with its run and log."""
    job = await start_sync(client, location_id, **options)
    ended = await client.until(job["id"])
    details = (await client.ask(RUN, id=job["id"]))["job"]
    together: dict[str, Any] = ended | details
    return together


async def contacts(client: Client, **wanted: Any) -> list[dict[str, Any]]:
    """Contacts that fit a filter, up to 100."""
    nodes: list[dict[str, Any]] = (await client.ask(CONTACTS, filter=wanted, first=100))["contacts"]["nodes"]
    return nodes
