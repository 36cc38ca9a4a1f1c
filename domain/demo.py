"""The demo: an account to sign in with, and its main job played in the terminal as a client would see it."""

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import sqlalchemy as sa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from db.models.tenancy import User
from db.session import Database
from domain.settings import Settings
from domain.tenancy import accounts, sessions
from domain.tenancy.sessions import Device

EMAIL = "owner@demo.example"
_ENDED = {"SUCCEEDED", "PARTIAL", "FAILED", "CANCELLED", "SKIPPED"}

_START = "mutation { startGhlAuthorization { authorizationUrl state userErrors { message } } }"
_COMPLETE = """mutation ($input: CompleteGhlAuthorizationInput!) {
  completeGhlAuthorization(input: $input) { account { name } userErrors { code message } } }"""
_LOCATIONS = "{ ghlLocations(first: 100) { nodes { id name externalId status account { status } } } }"
_SYNC = """mutation ($input: StartContactSyncInput!) { startContactSync(input: $input) {
  job { id } userErrors { code message ... on SyncAlreadyRunningError { job { id } } } } }"""
_WATCH = """subscription ($id: ID!) { jobUpdated(id: $id) {
  version event { state done total message } job { state message done: progress { done total } } } }"""
_LARGEST = "BrightAgencyLoc00001"


class DemoFailed(Exception):
    """The demo did not come to its end; the message says where."""


def password(settings: Settings) -> str:
    """The demo account's: another one in each installation, since a demo may be reachable from other machines."""
    key = settings.access_token_key.get_secret_value().encode()
    letters = base64.b32encode(hmac.digest(key, b"password of the demo account", "sha256")).decode().lower()
    return "-".join(letters[start : start + 5] for start in range(0, 20, 5))


async def ensure_account(database: Database, settings: Settings) -> User:
    """The demo account's owner, made where there is none yet."""
    async with database.system_across_accounts() as session:
        user = (await session.scalars(sa.select(User).where(User.email == EMAIL))).one_or_none()
    if user is None:
        try:
            _, user = await accounts.create_account(
                database, name="Demo Agency", owner_name="Demo Owner", email=EMAIL, password=password(settings)
            )
        except accounts.EmailTaken:  # another process was faster
            return await ensure_account(database, settings)
    return user


async def token(database: Database, settings: Settings) -> str:
    """A fresh access token of the demo account, for GraphiQL's headers."""
    user = await ensure_account(database, settings)
    tokens = await sessions.start_session(database, settings, user=user, device=Device(user_agent="GraphiQL"))
    return tokens.access_token


async def play(public_url: str, settings: Settings) -> None:
    """Connect the sandbox's agency, ask for a sync of 5,000 contacts and draw its progress. Raises DemoFailed."""
    console = Console()
    database = Database(settings.database_url, pool_size=1)
    try:
        access_token = await token(database, settings)
    finally:
        await database.close()
    headers = {"authorization": f"Bearer {access_token}"}
    async with httpx.AsyncClient(base_url=public_url, headers=headers, timeout=30, trust_env=False) as client:
        location = await _location(client, console)
        payload = await _ask(
            client, _SYNC, "startContactSync", input={"locationId": location["id"], "direction": "BIDIRECTIONAL"}
        )
        job = payload["job"] or payload["userErrors"][0].get("job")
        if job is None:
            raise DemoFailed(payload["userErrors"][0]["message"])
        console.print(f"[bold]Mutation[/] startContactSync of {location['name']}: job {job['id']}")
        message = await _draw(client, console, job["id"])
    console.print(f"[green]{message}[/]")
    console.print(f"\nThe demo account's token (15 minutes; GraphiQL has a fresh one):\n[dim]{access_token}[/]", soft_wrap=True)
    console.print(f"Sign in as {EMAIL} with the password: {password(settings)}")


async def _location(client: httpx.AsyncClient, console: Console) -> dict[str, Any]:
    found = await _largest(client)
    if found is None:
        started = await _ask(client, _START, "startGhlAuthorization")
        async with httpx.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(started["authorizationUrl"] + "&decision=allow")
        query = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
        done = await _ask(client, _COMPLETE, "completeGhlAuthorization", input=query)
        if done["userErrors"]:
            raise DemoFailed(done["userErrors"][0]["message"])
        console.print(f"[bold]OAuth[/] connected {done['account']['name']} (the sandbox plays GoHighLevel)")
        found = await _largest(client)
    if found is None:
        raise DemoFailed("The sandbox's agency has no sub-accounts.")
    return found


async def _largest(client: httpx.AsyncClient) -> dict[str, Any] | None:
    nodes: list[dict[str, Any]] = (await _ask(client, _LOCATIONS, "ghlLocations"))["nodes"]
    usable = [node for node in nodes if node["status"] != "REMOVED" and node["account"]["status"] == "ACTIVE"]
    return next((node for node in usable if node["externalId"] == _LARGEST), usable[0] if usable else None)


async def _ask(client: httpx.AsyncClient, document: str, field: str, **variables: Any) -> dict[str, Any]:
    answer = await client.post("/graphql", json={"query": document, "variables": variables})
    body = answer.json()
    if body.get("errors"):
        raise DemoFailed(body["errors"][0]["message"])
    result: dict[str, Any] = body["data"][field]
    return result


async def _draw(client: httpx.AsyncClient, console: Console, job_id: str) -> str:
    columns = (
        TextColumn("[bold]Subscription[/] {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("jobUpdated", total=None)
        async with asyncio.timeout(300):
            async for update in _watch(client, job_id):
                event, job = update["event"], update["job"]
                state = (event or job)["state"]
                done = event or job["done"]
                progress.update(task, completed=done["done"], total=done["total"], description=state.lower())
                if state in _ENDED:
                    return str(job["message"])
    raise DemoFailed("The subscription ended before the job did.")


async def _watch(client: httpx.AsyncClient, job_id: str) -> AsyncIterator[dict[str, Any]]:
    """Server-sent events, as a browser would read them."""
    request = {"query": _WATCH, "variables": {"id": job_id}}
    async with client.stream("POST", "/graphql", json=request, headers={"accept": "text/event-stream"}) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: {"):
                body = orjson.loads(line.removeprefix("data: "))
                if body.get("errors"):
                    raise DemoFailed(body["errors"][0]["message"])
                yield body["data"]["jobUpdated"]
