"""The client against the sandbox: every operation, renewal of tokens, limits and trouble."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from domain.errors import Invalid, VendorBusy, VendorDown, VendorRefused, VendorUnauthorized
from domain.vendors.gohighlevel.answers import AccountSuspended, DuplicateContact, MissingScope, NoSuchContact
from domain.vendors.gohighlevel.calls import RepeatedCursor
from domain.vendors.gohighlevel.client import GoHighLevel
from domain.vendors.gohighlevel.contacts import ContactPage
from domain.vendors.http import VendorHttp
from domain.vendors.limits import Limiter
from domain.vendors.sandbox.gohighlevel import seed
from tests.vendors.gohighlevel.conftest import Sandbox

LOCATION = seed.LARGE.id
SMALL = seed.LOCATIONS[2].id


class Tokens:
    """A token source that issues from the sandbox, and counts what was rejected."""

    def __init__(self, sandbox: Sandbox, *, location_id: str | None = LOCATION, scopes: frozenset[str] | None = None) -> None:
        self.sandbox = sandbox
        self.location_id = location_id
        self.scopes = scopes
        self.rejected: list[str] = []
        self.renewable = True
        self.current = self.issue()

    def issue(self) -> str:
        world = self.sandbox.world
        company = world.companies[seed.BRIGHT.id]
        return world.tokens.access(world.grant(company, location_id=self.location_id, scopes=self.scopes))

    async def access_token(self, *, rejected: str | None = None) -> str:
        if rejected is not None:
            self.rejected.append(rejected)
            if self.renewable:
                self.current = self.issue()
        return self.current


Open = Callable[..., GoHighLevel]


@pytest.fixture
def tokens(sandbox: Sandbox) -> Tokens:
    return Tokens(sandbox)


@pytest.fixture
def open_as(http: VendorHttp, sandbox: Sandbox, limiter: Limiter) -> Open:
    def build(tokens: Tokens, **more: Any) -> GoHighLevel:
        resource = tokens.location_id or seed.BRIGHT.id
        return GoHighLevel(
            http, **{"base_url": sandbox.url, "limiter": limiter, "tokens": tokens, "resource_id": resource, **more}
        )

    return build


@pytest.fixture
def vendor(open_as: Open, tokens: Tokens) -> GoHighLevel:
    return open_as(tokens)


@pytest.fixture
def agency(open_as: Open, sandbox: Sandbox) -> GoHighLevel:
    return open_as(Tokens(sandbox, location_id=None))


async def test_all_contacts_come_once_in_pages(vendor: GoHighLevel) -> None:
    seen: list[str] = []
    async for page in vendor.contacts(LOCATION):
        assert page.total == seed.CONTACTS
        assert len(page.contacts) <= 500
        assert (page.foreign, page.malformed) == ([], 0)
        seen.extend(contact["id"] for contact in page.contacts)
    assert len(seen) == len(set(seen)) == seed.CONTACTS


async def test_the_list_goes_on_after_a_cursor(vendor: GoHighLevel) -> None:
    first = await vendor.search_contacts(LOCATION, page_limit=100)
    rest = [page async for page in vendor.contacts(LOCATION, after=first.next)]
    ids = {contact["id"] for page in rest for contact in page.contacts}
    assert len(ids) == seed.CONTACTS - 100
    assert ids.isdisjoint(contact["id"] for contact in first.contacts)


async def test_a_location_without_contacts_has_one_empty_page(sandbox: Sandbox, open_as: Open) -> None:
    empty = seed.LOCATIONS[1].id
    pages = [page async for page in open_as(Tokens(sandbox, location_id=empty)).contacts(empty)]
    assert [(page.contacts, page.next, page.total) for page in pages] == [([], None, 0)]


async def test_contacts_are_filtered_by_any_of_the_tags(vendor: GoHighLevel) -> None:
    pages = [page async for page in vendor.contacts(LOCATION, tags=["VIP", "no such tag"])]
    contacts = [contact for page in pages for contact in page.contacts]
    assert len(contacts) == seed.TAG_COUNTS["vip"] == pages[0].total
    assert all("vip" in contact["tags"] for contact in contacts)


async def test_contacts_are_filtered_by_the_time_of_their_change(vendor: GoHighLevel) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    changed = (await vendor.search_contacts(LOCATION, page_limit=1)).contacts[0]["id"]
    await vendor.update_contact(changed, {"firstName": "Changed"})
    page = await vendor.search_contacts(LOCATION, updated_since=since)
    assert [contact["id"] for contact in page.contacts] == [changed]


async def test_a_repeated_cursor_is_noticed(sandbox: Sandbox, vendor: GoHighLevel) -> None:
    sandbox.fault("repeat_cursor", path="/contacts/search", skip=2, times=None)
    pages: list[ContactPage] = []
    with pytest.raises(RepeatedCursor):
        await collect(vendor, pages)
    assert len(pages) == 2


async def collect(vendor: GoHighLevel, pages: list[ContactPage]) -> None:
    async for page in vendor.contacts(LOCATION):
        pages.append(page)  # noqa: PERF401 - keeps what came before it fails


async def test_another_tenants_row_is_left_out_and_reported(sandbox: Sandbox, vendor: GoHighLevel) -> None:
    sandbox.fault("wrong_tenant", path="/contacts/search")
    page = await vendor.search_contacts(LOCATION, page_limit=10)
    assert len(page.contacts) == 10
    assert page.foreign == [seed.contact_id(seed.NORTHWIND_FIRST, 0)]


async def test_a_contacts_life(vendor: GoHighLevel) -> None:
    made = await vendor.create_contact(LOCATION, {"firstName": "Zoë", "email": "zoe@new.example"})
    contact_id = made["id"]
    assert (await vendor.contact(contact_id))["email"] == "zoe@new.example"
    assert (await vendor.update_contact(contact_id, {"lastName": "Quist"}))["lastName"] == "Quist"
    same, new = await vendor.upsert_contact(LOCATION, {"email": "zoe@new.example", "city": "Oslo"})
    assert (same["id"], new) == (contact_id, False)
    assert "hot" in await vendor.add_tags(contact_id, ["Hot", "cold"])
    assert await vendor.remove_tags(contact_id, ["cold"]) == ["hot"]
    note = await vendor.create_note(contact_id, "Called back")
    assert [each["id"] for each in await vendor.notes(contact_id)] == [note["id"]]
    await vendor.delete_contact(contact_id)
    with pytest.raises(NoSuchContact):
        await vendor.contact(contact_id)
    _, new = await vendor.upsert_contact(LOCATION, {"email": "zoe@new.example"})
    assert new


async def test_a_duplicate_names_the_contact_that_is_there(sandbox: Sandbox, vendor: GoHighLevel) -> None:
    location = sandbox.world.location(LOCATION)
    assert location is not None
    location.data["settings"]["allowDuplicateContact"] = False
    made = await vendor.create_contact(LOCATION, {"email": "only@once.example"})
    with pytest.raises(DuplicateContact) as raised:
        await vendor.create_contact(LOCATION, {"email": "only@once.example"})
    assert raised.value.contact_id == made["id"]


@pytest.mark.parametrize("contact_id", ["", ".", "..", "../locations/search", "x?y=1", "a/b", "ü", "a\r\n", "a" * 65])
async def test_what_is_no_id_is_not_sent(vendor: GoHighLevel, sandbox: Sandbox, contact_id: str) -> None:
    with pytest.raises(Invalid):
        await vendor.delete_contact(contact_id)
    assert not sandbox.world.requests


async def test_what_a_location_has(vendor: GoHighLevel) -> None:
    fields = await vendor.custom_fields(LOCATION)
    assert fields
    assert all(each["fieldKey"].startswith("contact.") for each in fields)
    assert "vip" in {tag["name"] for tag in await vendor.tags(LOCATION)}
    assert all(pipeline["stages"] for pipeline in await vendor.pipelines(LOCATION))
    assert all(calendar["locationId"] == LOCATION for calendar in await vendor.calendars(LOCATION))
    assert (await vendor.location(LOCATION))["name"] == seed.LARGE.name


async def test_opportunities_come_in_numbered_pages(vendor: GoHighLevel) -> None:
    page = await vendor.search_opportunities(LOCATION, limit=7)
    seen = [each["id"] for each in page.opportunities]
    while page.next is not None:
        page = await vendor.search_opportunities(LOCATION, page=page.next, limit=7)
        seen.extend(each["id"] for each in page.opportunities)
    assert len(seen) == len(set(seen)) == page.total > 7


async def test_calendars_are_asked_for_in_their_own_version(sandbox: Sandbox, vendor: GoHighLevel) -> None:
    await vendor.calendars(LOCATION)
    await vendor.tags(LOCATION)
    assert [request["headers"]["version"] for request in sandbox.world.requests] == ["2021-04-15", "2021-07-28"]


async def test_an_agencys_locations_and_company(agency: GoHighLevel, sandbox: Sandbox) -> None:
    assert [each["id"] for each in await agency.locations(seed.BRIGHT.id)] == sandbox.world.companies[
        seed.BRIGHT.id
    ].location_ids
    assert (await agency.company(seed.BRIGHT.id))["name"] == seed.BRIGHT.name


async def test_an_expired_token_is_renewed_once(sandbox: Sandbox, tokens: Tokens, vendor: GoHighLevel) -> None:
    old = tokens.current
    sandbox.world.tokens.expire(seed.BRIGHT.id)
    assert await vendor.tags(LOCATION)
    assert tokens.rejected == [old]


async def test_a_token_that_stays_refused_needs_a_person(sandbox: Sandbox, tokens: Tokens, vendor: GoHighLevel) -> None:
    sandbox.fault("status", status=401, times=None)
    with pytest.raises(VendorUnauthorized):
        await vendor.tags(LOCATION)
    assert len(tokens.rejected) == 1
    assert len(sandbox.world.requests) == 2


async def test_a_token_that_cannot_be_renewed_is_not_tried_again(sandbox: Sandbox, tokens: Tokens, vendor: GoHighLevel) -> None:
    tokens.renewable = False
    sandbox.world.tokens.expire(seed.BRIGHT.id)
    with pytest.raises(VendorUnauthorized):
        await vendor.tags(LOCATION)
    assert len(sandbox.world.requests) == 1


async def test_a_missing_scope_is_not_cured_by_a_new_token(sandbox: Sandbox, open_as: Open) -> None:
    tokens = Tokens(sandbox, scopes=frozenset({"contacts.readonly"}))
    with pytest.raises(MissingScope):
        await open_as(tokens).tags(LOCATION)
    assert tokens.rejected == []


async def test_a_companys_token_does_not_reach_contacts(sandbox: Sandbox, open_as: Open) -> None:
    tokens = Tokens(sandbox, location_id=None)
    with pytest.raises(VendorRefused):
        await open_as(tokens).search_contacts(LOCATION)
    assert tokens.rejected == []


async def test_another_tenants_location_is_refused(vendor: GoHighLevel) -> None:
    with pytest.raises(VendorRefused) as raised:
        await vendor.search_contacts(seed.NORTHWIND_FIRST.id)
    assert raised.value.status == 403


async def test_a_suspended_agency_is_named_as_such(sandbox: Sandbox, vendor: GoHighLevel) -> None:
    sandbox.world.companies[seed.BRIGHT.id].suspended = True
    with pytest.raises(AccountSuspended):
        await vendor.tags(LOCATION)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "cut", "where": "before"},
        {"kind": "cut"},
        {"kind": "garbage"},
        *(
            {"kind": "garbage", "body": body}
            for body in ("[]", "{}", '{"contacts": 5, "total": 1}', '{"contacts": [], "total": "x"}')
        ),
        {"kind": "garbage", "body": '{"contacts": [{"id": "a"}], "total": 1}'},
        {"kind": "garbage", "body": '{"contacts": [7], "total": 1}'},
    ],
)
async def test_trouble_at_the_vendor_is_worth_another_attempt(
    sandbox: Sandbox, vendor: GoHighLevel, fault: dict[str, Any]
) -> None:
    sandbox.world.faults.order({"match": {"path": "/contacts/search"}, "fault": fault})
    with pytest.raises(VendorDown):
        await vendor.search_contacts(LOCATION)
    assert (await vendor.search_contacts(LOCATION)).contacts


async def test_a_row_that_is_no_contact_is_left_out(sandbox: Sandbox, vendor: GoHighLevel) -> None:
    row = {"id": "a", "locationId": LOCATION, "searchAfter": [1, "a"]}
    body = orjson.dumps({"contacts": [7, None, row, "x"], "total": 4}).decode()
    sandbox.fault("garbage", path="/contacts/search", body=body)
    page = await vendor.search_contacts(LOCATION)
    assert ([contact["id"] for contact in page.contacts], page.malformed, page.next) == (["a"], 3, [1, "a"])


async def test_a_contact_of_another_location_is_not_returned(sandbox: Sandbox, vendor: GoHighLevel) -> None:
    sandbox.fault("garbage", body='{"contact": {"id": "a", "locationId": "another"}}')
    with pytest.raises(VendorDown):
        await vendor.contact("a")


async def test_a_429_says_when_to_come_back_and_holds_the_others(sandbox: Sandbox, vendor: GoHighLevel) -> None:
    sandbox.fault("status", status=429, headers={"x-ratelimit-daily-remaining": "0", "x-ratelimit-daily-reset": "7200000"})
    with pytest.raises(VendorBusy) as raised:
        await vendor.tags(LOCATION)
    assert raised.value.retry_after == 7200
    asked = len(sandbox.world.requests)
    with pytest.raises(VendorBusy) as raised:
        await vendor.tags(LOCATION)
    assert raised.value.retry_after == pytest.approx(7200, abs=5)
    assert len(sandbox.world.requests) == asked


async def test_a_busy_client_never_meets_the_vendors_limit(
    sandbox: Sandbox, http: VendorHttp, redis_url: str, tokens: Tokens, open_as: Open
) -> None:
    world = sandbox.world
    world.limits.burst, world.limits.interval = 20, 0.4
    async with Redis.from_url(redis_url) as one, Redis.from_url(redis_url) as two:
        limiters = [Limiter(redis, vendor="gohighlevel", burst=20, seconds=0.4) for redis in (one, two)]
        clients = [open_as(tokens, limiter=limiter) for limiter in limiters]
        for number in range(70):
            await clients[number % 2].tags(LOCATION)
    assert world.throttled == 0
    assert len(world.requests) == 70
