"""The seeded world: five companies, their locations and what each location holds. Always the same, made when first asked for.

The first location of Bright Agency is the large one; what is odd about its contacts is counted in the constants, which
tests may use. A row's oddity follows from its number n (0 to 4,999): see `kind_of`.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from domain.vendors.sandbox.gohighlevel.answers import Json

_READ_AND_WRITE = (
    "calendars",
    "calendars/events",
    "calendars/groups",
    "contacts",
    "locations",
    "locations/customFields",
    "locations/customValues",
    "locations/tags",
    "oauth",
    "opportunities",
)
_READ_ONLY = ("campaigns", "companies", "locations/tasks", "users", "workflows")
SCOPES = frozenset(
    {f"{area}.readonly" for area in (*_READ_AND_WRITE, *_READ_ONLY)} | {f"{area}.write" for area in _READ_AND_WRITE}
)
"""What a company can grant."""

FEW_SCOPES = frozenset({"contacts.readonly", "locations.readonly", "oauth.readonly", "oauth.write"})
"""What the company of the limited account grants, whatever is asked."""

CONTACTS = 5_000
"""Contacts of the large location."""
PHONE_ONLY = 150
"""... of these without an e-mail address but with a telephone number (3%)."""
NEITHER = 5
"""... with neither."""
DUPLICATES = 100
"""... repeating the e-mail address of an earlier contact (2%): 60 exactly, 20 in upper case, 20 with blanks around it."""
EXACT_DUPLICATES, UPPER_CASE_DUPLICATES, PADDED_DUPLICATES = 60, 20, 20
INVALID_KINDS = ("bad_email", "bad_phone", "bad_date", "long_name", "wrong_type")
INVALID_EACH = 4
"""... of every kind of invalid data; the other fields of such a row are sound."""
INVALID = INVALID_EACH * len(INVALID_KINDS)
FILLED = 500
"""... with every custom field set; the others have the first three."""
LONG_NAME = 5_000
"""Characters of an over-long first name."""
TAG_COUNTS = {"newsletter": 2_500, "customer": 1_250, "vip": 200}
"""... carrying each tag."""

KindOfContact = Literal[
    "plain", "duplicate", "phone_only", "neither", "bad_email", "bad_phone", "bad_date", "long_name", "wrong_type"
]


@dataclass(frozen=True, slots=True)
class SeededLocation:
    """A location before its contents are made."""

    id: str
    company_id: str
    name: str
    city: str
    country: str
    timezone: str
    contacts: int


@dataclass(frozen=True, slots=True)
class SeededCompany:
    """A company; `scopes` is what it grants at most."""

    id: str
    name: str
    private_token: str
    scopes: frozenset[str] = SCOPES
    suspended: bool = False


def make_id(*parts: object) -> str:
    """The 20-character id that belongs to `parts`, always the same."""
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=15).digest()
    return _letters(digest)


def make_uuid(*parts: object) -> str:
    """The UUID that belongs to `parts`, always the same."""
    text = blake2b("/".join(map(str, parts)).encode(), digest_size=16).hexdigest()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _letters(digest: bytes) -> str:
    number, letters = int.from_bytes(digest), []
    for _ in range(20):
        number, rest = divmod(number, 62)
        letters.append(_ALPHABET[rest])
    return "".join(letters)


BRIGHT = SeededCompany("BrightAgency00000001", "Bright Agency", "pit-b0000000-0000-4000-8000-000000000001")
NORTHWIND = SeededCompany("NorthwindAgency00001", "Northwind", "pit-b0000000-0000-4000-8000-000000000002")
EMPTY = SeededCompany("EmptyAgency000000001", "Quiet Start", "pit-b0000000-0000-4000-8000-000000000003")
SUSPENDED = SeededCompany("SuspendedAgency00001", "Dormant Media", "pit-b0000000-0000-4000-8000-000000000004", suspended=True)
LIMITED = SeededCompany("LimitedAgency0000001", "Narrow View", "pit-b0000000-0000-4000-8000-000000000005", scopes=FEW_SCOPES)
COMPANIES = (BRIGHT, NORTHWIND, EMPTY, SUSPENDED, LIMITED)
"""All companies; `EMPTY` has no location."""

LARGE_LOCATION_TOKEN = "pit-a0000000-0000-4000-8000-000000000001"  # noqa: S105 - a made-up token of a made-up account
"""A Private Integration Token of the large location."""

_TOWNS = (
    ("Austin", "US", "America/Chicago"),
    ("Boston", "US", "America/New_York"),
    ("Denver", "US", "America/Denver"),
    ("London", "GB", "Europe/London"),
    ("Sydney", "AU", "Australia/Sydney"),
)
# Each agency has trades of its own, so that no two locations of the world have the same name.
_TRADES = {
    BRIGHT.id: ("Dental Studio", "Fitness Club", "Roofing", "Law Office", "Garden Centre"),
    NORTHWIND.id: ("Bakery",),
    SUSPENDED.id: ("Print Shop",),
    LIMITED.id: ("Bike Repair",),
}


def _locations(company: SeededCompany, sizes: tuple[int, ...]) -> tuple[SeededLocation, ...]:
    trades = _TRADES[company.id]
    made = []
    for number, size in enumerate(sizes, start=1):
        city, country, zone = _TOWNS[number % 5]
        stem = f"{company.id.removesuffix('1').rstrip('0')[:13]}Loc"
        made.append(
            SeededLocation(
                id=f"{stem}{number:0{20 - len(stem)}d}",
                company_id=company.id,
                name=f"{city} {trades[number // 5 % len(trades)]}",
                city=city,
                country=country,
                timezone=zone,
                contacts=size,
            )
        )
    return tuple(made)


LOCATION_SIZES = (CONTACTS, 0, 200, *(number * 37 % 201 for number in range(4, 26)))
"""Contacts of each of Bright Agency's 25 locations."""

LOCATIONS = (
    *_locations(BRIGHT, LOCATION_SIZES),
    *_locations(NORTHWIND, (120, 40)),
    *_locations(SUSPENDED, (15,)),
    *_locations(LIMITED, (25,)),
)
"""All locations, Bright Agency's 25 first."""

LARGE, NORTHWIND_FIRST, NORTHWIND_SECOND = LOCATIONS[0], LOCATIONS[25], LOCATIONS[26]


def kind_of(number: int) -> KindOfContact:
    """What contact `number` of the large location is like."""
    if number % 250 == 77:  # noqa: PLR2004 - the layout of the seed, counted in the constants above
        return INVALID_KINDS[number // 250 % len(INVALID_KINDS)]  # type: ignore[return-value] # members of the literal
    if number % 1000 == 555:  # noqa: PLR2004 - as above
        return "neither"
    if number % 100 in (13, 46, 79):
        return "phone_only"
    if number % 50 == 31:  # noqa: PLR2004 - as above
        return "duplicate"
    return "plain"


def numbers_of(kind: KindOfContact) -> list[int]:
    """The numbers of the large location's contacts of that kind."""
    return [number for number in range(CONTACTS) if kind_of(number) == kind]


def original_of(number: int) -> int:
    """The number of the contact whose e-mail address duplicate `number` repeats."""
    return number - 30


def contact_id(location: SeededLocation, number: int) -> str:
    """The id of a location's seeded contact."""
    return make_id(location.id, "contact", number)


def users(company: SeededCompany) -> list[Json]:
    """The company's users: an agency owner, an agency user and a user of its locations."""
    homes = [location.id for location in LOCATIONS if location.company_id == company.id]
    made = []
    for number, (first, kind, role) in enumerate(
        (("Marcus", "agency", "admin"), ("Nancy", "agency", "user"), ("Omar", "account", "admin"))
    ):
        host = company.name.lower().replace(" ", "-")
        made.append(
            {
                "id": make_id(company.id, "user", number),
                "name": f"{first} {company.name.split()[0]}",
                "firstName": first,
                "lastName": company.name.split()[0],
                "email": f"{first.lower()}@{host}.example",
                "phone": f"+1512555{900 + number:04d}",
                "extension": "",
                "permissions": {},
                "scopes": "contacts.write",
                "roles": {"type": kind, "role": role, "locationIds": homes},
                "deleted": False,
            }
        )
    return made
