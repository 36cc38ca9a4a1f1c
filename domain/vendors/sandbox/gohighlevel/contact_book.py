"""A location's contacts: the records, their two wire forms, and the look-ups that must stay cheap."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from domain.vendors.sandbox.gohighlevel.answers import Json

NAMES = ("firstName", "lastName", "email", "phone", "companyName")
PLACE = ("address1", "city", "state", "postalCode", "country", "website", "timezone")
MIDNIGHT = "T00:00:00.000Z"


def iso(ms: int) -> str:
    """Epoch milliseconds as the vendor writes times, `2025-01-31T09:30:00.000Z`."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def epoch_ms(value: Any) -> int | None:
    """An ISO time, or epoch milliseconds as a number or digits, as epoch milliseconds; None where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value)
    if not isinstance(value, str):
        return None
    if value.isdecimal():
        return int(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


@dataclass(slots=True)
class Contact:
    """One contact. `data` is its fields under the names of `GET /contacts/{id}`; the two times are epoch milliseconds."""

    data: Json
    added: int
    updated: int
    notes: list[Json] = field(default_factory=list)
    tasks: list[Json] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The contact's id."""
        return str(self.data["id"])

    def details(self) -> Json:
        """As `GET /contacts/{id}` shows it: what is not set is left out."""
        data = self.data
        return {
            **{name: value for name, value in data.items() if value is not None},
            "name": full_name(data),
            "firstNameLowerCase": lower(data.get("firstName")) or "",
            "lastNameLowerCase": lower(data.get("lastName")) or "",
            "fullNameLowerCase": lower(full_name(data)),
            **({"emailLowerCase": lower(data["email"])} if data.get("email") else {}),
            **({"dateOfBirth": data["dateOfBirth"].removesuffix(MIDNIGHT)} if data.get("dateOfBirth") else {}),
            "dateAdded": iso(self.added),
            "dateUpdated": iso(self.updated),
        }

    def found(self) -> Json:
        """As `POST /contacts/search` shows it, but for `searchAfter`: every field is there, the street is called
        `address`, and the date of birth is epoch milliseconds.
        """
        data = self.data
        born = epoch_ms(data.get("dateOfBirth"))
        return {
            "id": data["id"],
            "locationId": data["locationId"],
            "contactName": full_name(data) or None,
            "firstName": data.get("firstName"),
            "lastName": data.get("lastName"),
            "firstNameLowerCase": lower(data.get("firstName")),
            "lastNameLowerCase": lower(data.get("lastName")),
            "email": data.get("email"),
            "validEmail": None,
            "additionalEmails": [],
            "phone": data.get("phone"),
            "phoneLabel": None,
            "additionalPhones": [],
            "companyName": data.get("companyName"),
            "businessName": None,
            "businessId": None,
            "address": data.get("address1"),
            "city": data.get("city"),
            "state": data.get("state"),
            "postalCode": data.get("postalCode"),
            "country": data.get("country"),
            "website": data.get("website"),
            "timezone": data.get("timezone"),
            "source": data.get("source"),
            "type": data.get("type"),
            "assignedTo": data.get("assignedTo"),
            "followers": data.get("followers") or [],
            "dnd": data.get("dnd"),
            "dndSettings": data.get("dndSettings") or {},
            "dateOfBirth": data.get("dateOfBirth") if born is None else born,
            "tags": data.get("tags"),
            "customFields": data.get("customFields"),
            "dateAdded": iso(self.added),
            "dateUpdated": iso(self.updated),
        }


def lower(value: Any) -> Any:
    """`value` in lower case where it is text."""
    return value.lower() if isinstance(value, str) else value


def full_name(data: Json) -> str:
    """First and last name, where they are text."""
    return " ".join(part for part in (data.get("firstName"), data.get("lastName")) if isinstance(part, str) and part)


def email_key(value: Any) -> str | None:
    """By what e-mail addresses are compared: no case, no surrounding blanks."""
    return value.strip().lower() or None if isinstance(value, str) else None


def phone_key(value: Any) -> str | None:
    """By what telephone numbers are compared: their digits."""
    digits = "".join(filter(str.isdigit, value)) if isinstance(value, str) else ""
    return digits or None


class ContactBook:
    """The contacts of one location.

    The JSON of each and the default order are kept until something changes, so that a page of a search costs little
    more than joining bytes.
    """

    def __init__(self, contacts: Iterable[Contact] = ()) -> None:
        self._contacts: dict[str, Contact] = {}
        self._by_email: dict[str, list[str]] = {}
        self._by_phone: dict[str, list[str]] = {}
        self._keys: dict[str, tuple[str | None, str | None]] = {}
        self._found: dict[str, bytes] = {}
        self._orders: dict[Hashable, list[Contact]] = {}
        for contact in contacts:
            self._index(contact)

    def __len__(self) -> int:
        return len(self._contacts)

    def __iter__(self) -> Iterator[Contact]:
        return iter(self._contacts.values())

    def get(self, contact_id: str) -> Contact | None:
        """The contact, or None."""
        return self._contacts.get(contact_id)

    def put(self, contact: Contact) -> None:
        """Add or replace a contact; call it after changing one, too."""
        if contact.id in self._contacts:
            self._drop(contact.id)
        self._index(contact)

    def remove(self, contact_id: str) -> Contact | None:
        """Take a contact out; None where there is none."""
        if contact_id not in self._contacts:
            return None
        contact = self._contacts[contact_id]
        self._drop(contact_id)
        return contact

    def twin(self, *, email: Any = None, phone: Any = None, but: str | None = None) -> tuple[Contact, str] | None:
        """The contact (other than `but`) with this e-mail address, else with this number, and the field which matched."""
        for name, index, key in (("email", self._by_email, email_key(email)), ("phone", self._by_phone, phone_key(phone))):
            for contact_id in index.get(key, ()) if key else ():
                if contact_id != but:
                    return self._contacts[contact_id], name
        return None

    def ordered(self, order: Hashable, key: Callable[[Contact], Any]) -> list[Contact]:
        """All contacts sorted by `key`, which `order` names; not to be changed."""
        if order not in self._orders:
            self._orders[order] = sorted(self._contacts.values(), key=key)
        return self._orders[order]

    def found_json(self, contact: Contact) -> bytes:
        """The contact as search shows it, with the cursor of the default order."""
        kept = self._found.get(contact.id)
        if kept is None:
            kept = self._found[contact.id] = orjson.dumps({**contact.found(), "searchAfter": [contact.added, contact.id]})
        return kept

    def _index(self, contact: Contact) -> None:
        self._contacts[contact.id] = contact
        self._orders.clear()
        keys = self._keys[contact.id] = email_key(contact.data.get("email")), phone_key(contact.data.get("phone"))
        for index, key in zip((self._by_email, self._by_phone), keys, strict=True):
            if key:
                index.setdefault(key, []).append(contact.id)

    def _drop(self, contact_id: str) -> None:
        del self._contacts[contact_id]
        self._found.pop(contact_id, None)
        self._orders.clear()
        # The keys are remembered because the contact may have been changed in place since.
        for index, key in zip((self._by_email, self._by_phone), self._keys.pop(contact_id), strict=True):
            if key:
                index[key].remove(contact_id)
