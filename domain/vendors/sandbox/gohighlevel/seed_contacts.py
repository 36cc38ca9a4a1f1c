"""Makes a location's seeded contacts and custom fields."""

from typing import Any

from domain.vendors.sandbox.gohighlevel import seed
from domain.vendors.sandbox.gohighlevel.answers import Json
from domain.vendors.sandbox.gohighlevel.contact_book import Contact
from domain.vendors.sandbox.gohighlevel.seed import SeededLocation

FIRST_ADDED = 1_735_718_400_000
"""2025-01-01T08:00Z; ten contacts share each moment, as an import leaves them, and an hour lies between moments."""
HOUR = 3_600_000

FIELDS: tuple[tuple[str, str, list[str]], ...] = (
    ("Favourite Colour", "TEXT", []),
    ("Lifetime Value", "MONETORY", []),
    ("Member Since", "DATE", []),
    ("About", "LARGE_TEXT", []),
    ("Visits", "NUMERICAL", []),
    ("Discount Rate", "FLOAT", []),
    ("Work Phone", "PHONE", []),
    ("Consents", "CHECKBOX", ["E-mail", "SMS", "Post"]),
    ("Plan", "SINGLE_OPTIONS", ["Basic", "Plus", "Premium"]),
    ("Interests", "MULTIPLE_OPTIONS", ["Sport", "Music", "Travel", "Food"]),
    ("Preferred Contact", "RADIO", ["Phone", "E-mail"]),
    ("Best Time", "TIME", []),
    ("Measurements", "TEXTBOX_LIST", ["Height", "Weight"]),
    ("Contract", "FILE_UPLOAD", []),
    ("Signature", "SIGNATURE", []),
)
"""Name, data type and options of every location's custom fields of contacts, in the order of their positions."""

_FIRST = (
    "Ada",
    "Bruno",
    "Chloé",
    "Diego",
    "Elif",
    "Femi",
    "Grace",
    "Hiro",
    "Ines",
    "Jonas",
    "Kavya",
    "Liam",
    "Mia",
    "Noor",
    "Olga",
)
_LAST = ("Almeida", "Brown", "Chen", "Díaz", "Evans", "Fischer", "Garcia", "Haddad", "Ito", "Jansen", "Khan", "López", "Müller")
_STREETS = ("Oak Street", "Main Street", "Park Avenue", "High Street", "Mill Lane")
_SOURCES = ("import", "website form", "facebook ads", "referral")


def custom_fields(location: SeededLocation) -> list[Json]:
    """The location's custom fields: one of each data type for contacts, one for opportunities."""
    made = [_custom_field(location, name, kind, options, at, "contact") for at, (name, kind, options) in enumerate(FIELDS)]
    return [*made, _custom_field(location, "Expected Close", "DATE", [], len(made), "opportunity")]


def field_id(location: SeededLocation, name: str) -> str:
    """The id of the location's custom field `name`."""
    return seed.make_id(location.id, "field", name)


def _custom_field(location: SeededLocation, name: str, kind: str, options: list[str], position: int, model: str) -> Json:
    key = name.lower().replace(" ", "_").replace("-", "")
    return {
        "id": field_id(location, name),
        "name": name,
        "fieldKey": f"{model}.{key}",
        "placeholder": "",
        "dataType": kind,
        "position": position * 50,
        "picklistOptions": options,
        "picklistImageOptions": [],
        "isAllowedCustomOption": False,
        "isMultiFileAllowed": False,
        "maxFileLimit": 1,
        "locationId": location.id,
        "model": model,
    }


def contacts(location: SeededLocation) -> list[Contact]:
    """The location's contacts. Only the large location has odd ones."""
    ids = [field_id(location, name) for name, _, _ in FIELDS]
    return [_contact(location, number, ids) for number in range(location.contacts)]


def email_of(location: SeededLocation, number: int) -> str:
    """The e-mail address of a plain contact."""
    return f"person{number:04d}@{location.city.lower()}.example"


def phone_of(location: SeededLocation, number: int) -> str:
    """The telephone number of a contact; each number of the large location occurs once."""
    return f"+1512{(number + 2_000_000 if location is seed.LARGE else 3_000_000 + number):07d}"


def _contact(location: SeededLocation, number: int, ids: list[str]) -> Contact:
    first, last = _FIRST[number % 15], _LAST[number % 13]
    added = FIRST_ADDED + number // 10 * HOUR
    data: Json = {
        "id": seed.contact_id(location, number),
        "locationId": location.id,
        "firstName": first,
        "lastName": last,
        "email": email_of(location, number),
        "phone": phone_of(location, number),
        "companyName": f"{last} & Co" if number % 3 == 0 else None,
        "address1": f"{number % 200 + 1} {_STREETS[number % 5]}",
        "city": location.city,
        "state": "TX" if location.city == "Austin" else None,
        "postalCode": f"{70_000 + number}",
        "country": location.country,
        "website": f"https://{last.lower()}.example" if number % 7 == 0 and last.isascii() else None,
        "timezone": location.timezone,
        "source": _SOURCES[number % 4],
        "type": "customer" if number % 4 == 0 else "lead",
        "assignedTo": seed.make_id(location.company_id, "user", 2) if number % 6 == 0 else None,
        "dnd": number % 40 == 0,
        "dndSettings": {"SMS": {"status": "active", "message": "", "code": ""}} if number % 40 == 0 else {},
        "dateOfBirth": f"{1950 + number % 50}-{number % 12 + 1:02d}-{number % 28 + 1:02d}T00:00:00.000Z"
        if number % 5 == 0
        else None,
        "tags": _tags(number),
        "customFields": _custom_values(ids, number),
        "followers": [],
    }
    if location is seed.LARGE:
        _make_odd(data, location, number)
    return Contact(data, added=added, updated=added + number % 240 * HOUR)


def _tags(number: int) -> list[str]:
    every = (("newsletter", 2), ("customer", 4), ("vip", 25))
    return [tag for tag, each in every if number % each == 0]


def _custom_values(ids: list[str], number: int) -> list[Json]:
    values: list[Any] = [
        ("green", "blue", "red")[number % 3],
        round(number * 12.5 % 9_000, 2),
        f"20{10 + number % 15}-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
    ]
    if number % 10 == 0:
        document = seed.make_uuid(ids[0], number)
        values += [
            f"First met at the fair.\nCustomer number {number}.",
            number % 90,
            0.25,
            f"+1512{4_000_000 + number:07d}",
            ["E-mail", "Post"],
            "Plus",
            ["Music", "Food"],
            "Phone",
            "14:30",
            {"height": "180 cm", "weight": "75 kg"},
            {document: {"meta": _file("contract.pdf", "application/pdf"), "url": f"https://files.example/{document}.pdf"}},
            {"meta": _file("signature.png", "image/png"), "url": f"https://files.example/{document}.png"},
        ]
    return [{"id": field, "value": value} for field, value in zip(ids, values, strict=False)]


def _file(name: str, mime: str) -> Json:
    return {"originalname": name, "mimetype": mime, "size": 20_480}


def _make_odd(data: Json, location: SeededLocation, number: int) -> None:
    match seed.kind_of(number):
        case "duplicate":
            _make_duplicate(data, location, number)
        case "phone_only":
            data["email"] = None
        case "neither":
            data["email"] = data["phone"] = None
        case "bad_email":
            data["email"] = "not-an-address"
        case "bad_phone":
            data["phone"] = "ask reception"
        case "bad_date":
            data["dateOfBirth"] = "31/31/1990"
        case "long_name":
            data["firstName"] = "A" * seed.LONG_NAME
        case "wrong_type":
            wrong = ({"email": 42}, {"firstName": ["A", "list"]}, {"customFields": "none"}, {"tags": {"vip": True}})
            data.update(wrong[number // 1250])
        case "plain":
            pass


def _make_duplicate(data: Json, location: SeededLocation, number: int) -> None:
    """Like its original but for the telephone number, and written differently in two of five."""
    original = seed.original_of(number)
    email = email_of(location, original)
    data["firstName"], data["lastName"] = _FIRST[original % 15], _LAST[original % 13]
    data["email"] = {3: email.upper(), 4: f"  {email} "}.get(number // 50 % 5, email)
