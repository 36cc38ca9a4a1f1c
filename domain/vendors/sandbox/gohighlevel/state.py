"""The world that the sandbox plays: its clock, its companies and locations, and all that is remembered of requests."""

import hashlib
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from domain.vendors.sandbox.gohighlevel import seed, seed_contacts, seed_sales
from domain.vendors.sandbox.gohighlevel.answers import Json
from domain.vendors.sandbox.gohighlevel.contact_book import Contact, ContactBook, iso
from domain.vendors.sandbox.gohighlevel.faults import Faults
from domain.vendors.sandbox.gohighlevel.limits import RateLimit
from domain.vendors.sandbox.gohighlevel.seed import SeededLocation
from domain.vendors.sandbox.gohighlevel.tokens import Grant, Tokens
from domain.vendors.sandbox.gohighlevel.webhooks import Webhooks
from domain.vendors.sandbox.options import Options

REQUESTS_KEPT = 5_000


class Clock:
    """The sandbox's time: the real one, moved forward by what `advance` was told."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.ahead

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return round(self.now() * 1000)

    def iso(self) -> str:
        """Now, as the vendor writes it."""
        return iso(self.now_ms())


@dataclass(slots=True)
class Location:
    """A sub-account and what it holds."""

    seeded: SeededLocation
    data: Json
    contacts: ContactBook
    fields: dict[str, Json]
    tags: dict[str, Json]
    values: dict[str, Json]
    pipelines: list[Json]
    opportunities: dict[str, Json]
    groups: dict[str, Json]
    calendars: dict[str, Json]
    events: dict[str, Json]
    workflows: list[Json]
    campaigns: list[Json]

    @property
    def id(self) -> str:
        """The location's id."""
        return self.seeded.id

    @property
    def company_id(self) -> str:
        """Its company's id."""
        return self.seeded.company_id


@dataclass(slots=True)
class Company:
    """An agency. `location_ids` are those it has now."""

    id: str
    name: str
    scopes: frozenset[str]
    suspended: bool
    location_ids: list[str]
    users: list[Json]
    private_token: str
    installed: dict[str, str] = field(default_factory=dict)
    """When the app was installed, by location id."""


@dataclass(frozen=True, slots=True)
class PendingCode:
    """An authorisation code that was not exchanged yet; `expires` is in seconds of the sandbox's clock."""

    grant: Grant
    client_id: str
    redirect_uri: str
    expires: float


class World:
    """Everything the sandbox knows. `reset` makes it new."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = Clock()
        self.faults = Faults()
        key = hashlib.sha256(b"sandbox/" + (options.client_secret or "").encode()).digest()
        self.tokens = Tokens(key=key, access_seconds=options.access_token_seconds, now=self.clock.now)
        self.webhooks = Webhooks(seed=options.webhook_seed, url=options.webhook_url, now=self.clock.now)
        self.requests: deque[Json] = deque(maxlen=REQUESTS_KEPT)
        self.codes: dict[str, PendingCode] = {}
        self._ids = 0
        # Ids that a restart would hand out again could meet rows which a client kept from before it.
        self._epoch = os.urandom(8).hex()
        self._locations: dict[str, Location] = {}
        self._touched: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Go back to the seed: data, faults, limits, counts, clock. Tokens issued before stay good.

        Locations that nobody wrote to (see `touch`) are kept, which makes this cheap.
        """
        options = self.options
        self.clock.ahead = 0.0
        self.faults.clear()
        self.tokens.reset()
        self.webhooks.reset()
        self.webhooks.url = options.webhook_url
        self.requests.clear()
        self.codes.clear()
        self.counts: Counter[str] = Counter()
        self.throttled = 0
        self.limits = RateLimit(
            enabled=options.rate_limit,
            burst=options.burst,
            interval=options.interval_seconds,
            daily=options.daily,
            now=self.clock.now,
        )
        self.companies = {company.id: _company(company) for company in seed.COMPANIES}
        self._seeded = {location.id: location for location in seed.LOCATIONS}
        self._locations = {location.id: location for location in self._locations.values() if location.id not in self._touched}
        self._touched.clear()
        for company in self.companies.values():
            self.tokens.add_private(company.private_token, self.grant(company))
        large = self.companies[seed.LARGE.company_id]
        self.tokens.add_private(seed.LARGE_LOCATION_TOKEN, self.grant(large, location_id=seed.LARGE.id))

    def new_id(self) -> str:
        """A fresh 20-character id."""
        self._ids += 1
        return seed.make_id(self._epoch, self._ids)

    def location(self, location_id: str) -> Location | None:
        """The location, made from the seed when first asked for; None where there is none."""
        if location_id not in self._seeded:
            return None
        if location_id not in self._locations:
            self._locations[location_id] = _location(self._seeded[location_id])
        return self._locations[location_id]

    def touch(self, location_id: str) -> None:
        """The location is about to be written to."""
        self._touched.add(location_id)

    def locations(self, company: Company) -> Iterator[Location]:
        """The company's locations."""
        for location_id in company.location_ids:
            location = self.location(location_id)
            if location is not None:
                yield location

    def awake(self) -> Iterator[Location]:
        """The locations that were asked for since the start."""
        yield from self._locations.values()

    def has_contact(self, contact_id: str) -> bool:
        """Whether any location of any company has this contact."""
        return any(self._contact_in(location_id, contact_id) for location_id in self._seeded)

    def grant(self, company: Company, *, location_id: str | None = None, scopes: frozenset[str] | None = None) -> Grant:
        """What a token of the company, or of one of its locations, stands for."""
        return Grant(
            token_class="Location" if location_id else "Company",
            company_id=company.id,
            location_id=location_id,
            scopes=company.scopes if scopes is None else scopes & company.scopes,
            user_id=company.users[0]["id"],
        )

    def _contact_in(self, location_id: str, contact_id: str) -> Contact | None:
        location = self.location(location_id)
        return location.contacts.get(contact_id) if location else None


def _company(seeded: seed.SeededCompany) -> Company:
    homes = [location.id for location in seed.LOCATIONS if location.company_id == seeded.id]
    return Company(
        id=seeded.id,
        name=seeded.name,
        scopes=seeded.scopes,
        suspended=seeded.suspended,
        location_ids=homes,
        users=seed.users(seeded),
        private_token=seeded.private_token,
    )


def _location(seeded: SeededLocation) -> Location:
    contacts = ContactBook(seed_contacts.contacts(seeded))
    calendars = seed_sales.calendars(seeded)
    return Location(
        seeded=seeded,
        data=seed_sales.location(seeded),
        contacts=contacts,
        fields=_by_id(seed_contacts.custom_fields(seeded)),
        tags=_by_id(seed_sales.tags(seeded)),
        values=_by_id(seed_sales.custom_values(seeded)),
        pipelines=seed_sales.pipelines(seeded),
        opportunities=_by_id(seed_sales.opportunities(seeded)),
        groups=_by_id(seed_sales.groups(seeded)),
        calendars=_by_id(calendars),
        events=_by_id(seed_sales.events(seeded, calendars)),
        workflows=seed_sales.workflows(seeded),
        campaigns=seed_sales.campaigns(seeded),
    )


def _by_id(rows: list[Json]) -> dict[str, Json]:
    return {row["id"]: row for row in rows}
