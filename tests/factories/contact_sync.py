"""What happens around a contact sync: at the vendor, here, and on the clock."""

from typing import Any

import asyncpg

from domain.vendors.sandbox.gohighlevel import seed
from tests.factories.client import Client
from tests.factories.crm import CONTACTS, UPDATE
from tests.factories.house import House

SMALL = seed.LOCATIONS[10]  # five contacts
NONE = seed.LOCATIONS[1]  # no contacts
CANCEL = "mutation ($id: ID!) { cancelJob(input: {id: $id}) { job { id state } userErrors { code message } } }"
RETRY = "mutation ($id: ID!) { retryJob(input: {id: $id}) { job { id state } userErrors { code message } } }"


async def count(client: Client, **wanted: Any) -> int:
    """How many contacts fit."""
    return int((await client.ask(CONTACTS, filter=wanted, first=1))["contacts"]["totalCount"])


async def remote(house: House, location: seed.SeededLocation, contact_id: str) -> dict[str, Any]:
    """A contact as the vendor has it."""
    book = house.world.location(location.id)
    contact = book.contacts.get(contact_id) if book is not None else None
    assert contact is not None
    data: dict[str, Any] = contact.data
    return data


async def put(house: House, location: seed.SeededLocation, *rows: dict[str, Any]) -> list[str]:
    """Contacts that appear at the vendor."""
    made = await house.control("POST", "/contacts", {"location": location.id, "contacts": list(rows)})
    return list(made["ids"])


async def change(house: House, location: seed.SeededLocation, contact_id: str, **fields: Any) -> None:
    """Somebody edits a contact at the vendor."""
    await house.control("PATCH", "/contacts", {"location": location.id, "ids": [contact_id], "set": fields})


async def edit(client: Client, contact: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Somebody edits a contact here."""
    given = {"id": contact["id"], "expectedVersion": contact["version"], "fields": fields}
    payload = (await client.ask(UPDATE, input=given))["updateContact"]
    assert payload["userErrors"] == []
    edited: dict[str, Any] = payload["contact"]
    return edited


async def make_due(database_url: str) -> None:
    """Let the time until the next attempt pass."""
    connection = await asyncpg.connect(database_url.replace("//bots@", "//postgres@"))
    await connection.execute("update job set run_at = now() where state = 'backoff'")
    await connection.close()
