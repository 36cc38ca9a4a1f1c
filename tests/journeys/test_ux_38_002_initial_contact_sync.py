"""UX-38-002: initial contact sync."""

from domain.vendors.sandbox.gohighlevel import seed
from tests.factories.client import Client
from tests.factories.crm import connect, contacts, location_of, sync
from tests.factories.house import House


async def test_five_thousand_contacts(house: House, owner: Client) -> None:
    account = await connect(owner, house)
    async with house.workers():
        job = await sync(owner, location_of(account, seed.LARGE.id))
    print(job)
    assert job["state"] == "SUCCEEDED"
