"""What a contact's data is, and how two versions of it become one. Pure functions on plain dicts.

`Data` maps the names in FIELDS to values; an absent key and an empty value mean the same: nothing is known. E-mail addresses
are in lower case, telephone numbers E.164, birthdays ISO dates, tags trimmed lower-case strings in order.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import email_validator
import orjson
import phonenumbers

from db.models.crm.syncs import ConflictPolicy
from domain.errors import DomainError

Data = dict[str, Any]

_TEXTS = {
    "firstName": "first_name",
    "lastName": "last_name",
    "companyName": "company",
    "website": "website",
    "address1": "street",
    "city": "city",
    "state": "region",
    "postalCode": "postal_code",
    "country": "country",
    "timezone": "time_zone",
    "source": "origin",
    "assignedTo": "assigned_to",
}
_READ_TEXTS = (*_TEXTS.items(), ("address", "street"))  # the search's name of it
_WIRE_NAMES = {**{ours: theirs for theirs, ours in _TEXTS.items()}, "birthday": "dateOfBirth"}
# The vendor's schema allows no null in these; an empty text empties them.
_EMPTIED_BY_TEXT = frozenset({"postal_code", "country"})
SCALARS = (*_TEXTS.values(), "email", "phone", "birthday", "do_not_disturb")
FIELDS = (*SCALARS, "tags", "custom_fields")
# What the vendor sets or refuses to have set; read, never written back.
_READ_ONLY = frozenset({"origin", "assigned_to", "do_not_disturb"})
_WRITTEN = tuple(name for name in (*SCALARS, "tags") if name not in _READ_ONLY)
_CUSTOM = "custom_fields."

MAX_TEXT = 500
UNKNOWN_MOMENT = _EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN_EMAIL = re.compile(r"[a-z0-9][a-z0-9._%+-]{0,62}[a-z0-9_]@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_E164 = re.compile(r"\+[1-9][0-9]{7,14}")
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ].*)?")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A contact as the vendor has it now."""

    external_id: str
    data: Data
    modified_at: datetime


class Unusable(DomainError):
    """A row that cannot be taken: `field` and the message say why it is skipped."""

    code = "GHL-021"

    def __init__(self, external_id: str, field: str, message: str) -> None:
        super().__init__(message, field=(field,))
        self.external_id = external_id


@dataclass(frozen=True, slots=True)
class Merged:
    """The data to keep, the fields on which both sides had changed, and whether ours lacks something of it."""

    data: Data
    conflicts: tuple[str, ...]
    differs_from_local: bool


def from_wire(wire: Mapping[str, Any], *, check_nul: bool = True) -> Incoming:
    """Read a vendor's row. Raises Unusable for one that is damaged, rather than keep half of it.

    `check_nul` False: the caller knows that the row holds no NUL character, which PostgreSQL cannot keep.
    """
    external_id = wire.get("id")
    if not isinstance(external_id, str) or not _ID.fullmatch(external_id):
        raise Unusable("?", "id", "The row has no id that could be one of the vendor's.")
    if check_nul and b"\\u0000" in orjson.dumps(wire):
        raise Unusable(external_id, "id", "The row holds a character that text cannot have.")
    data: Data = {ours: _text(external_id, theirs, wire[theirs]) for theirs, ours in _READ_TEXTS if wire.get(theirs)}
    if email := wire.get("email"):
        data["email"] = read_email(external_id, email)
    if phone := wire.get("phone"):
        data["phone"] = read_phone(external_id, phone, region=data.get("country"))
    if birthday := wire.get("dateOfBirth"):
        data["birthday"] = _birthday(external_id, birthday)
    if wire.get("dnd") is True:
        data["do_not_disturb"] = True
    if tags := wire.get("tags"):
        data["tags"] = _tags(external_id, tags)
    if values := wire.get("customFields"):
        data["custom_fields"] = _custom_fields(external_id, values)
    return Incoming(external_id, data, _moment(wire.get("dateUpdated") or wire.get("dateAdded")))


def to_wire(data: Data, fields: Iterable[str]) -> dict[str, Any]:
    """The vendor's body for writing `fields` of `data`; what is empty is emptied there. Others are left alone."""
    wire: dict[str, Any] = {}
    for name in fields:
        value = data.get(name)
        if name == "tags":
            wire["tags"] = value or []
        elif name.startswith(_CUSTOM):
            key = name.removeprefix(_CUSTOM)
            wire.setdefault("customFields", []).append(
                {"id": key, "field_value": (data.get("custom_fields") or {}).get(key, "")}
            )
        else:
            wire[_WIRE_NAMES.get(name, name)] = value or ("" if name in _EMPTIED_BY_TEXT else None)
    return wire


def changes(base: Data, data: Data) -> list[str]:
    """The fields of `data` that the vendor, which has `base`, is to be told of; a custom field as `custom_fields.ID`."""
    names = [name for name in _WRITTEN if (base.get(name) or None) != (data.get(name) or None)]
    before, after = base.get("custom_fields") or {}, data.get("custom_fields") or {}
    return names + [_CUSTOM + key for key in {**before, **after} if before.get(key) != after.get(key)]


def delivered(base: Data, answer: Data, fields: Iterable[str]) -> Data:
    """What both sides have in common after `fields` were written: of these what the vendor made of them, else as before."""
    common = dict(base)
    custom = dict(base.get("custom_fields") or {})
    for name in fields:
        if name.startswith(_CUSTOM):
            key = name.removeprefix(_CUSTOM)
            custom[key] = (answer.get("custom_fields") or {}).get(key)
        else:
            common[name] = answer.get(name)
    common["custom_fields"] = {key: value for key, value in custom.items() if value is not None}
    return {name: value for name, value in common.items() if value}


def untaken(*, local: Data, remote: Data, merged: Data) -> Data:
    """The common ancestor after a merge that was not written here: where the vendor's value won it is ours, so that it is
    neither sent back nor forgotten; where ours won it is the vendor's, so that ours is sent.
    """
    base = {name: remote.get(name) if _equal(merged, local, name) else local.get(name) for name in (*SCALARS, "tags")}
    ours, theirs, kept = (side.get("custom_fields") or {} for side in (local, remote, merged))
    custom = {key: theirs.get(key) if kept.get(key) == ours.get(key) else ours.get(key) for key in {**ours, **theirs}}
    base["custom_fields"] = {key: value for key, value in custom.items() if value is not None}
    return {name: value for name, value in base.items() if value}


def display_name(data: Mapping[str, Any]) -> str:
    """What lists show: the name, or else whatever tells the person best."""
    name = f"{data.get('first_name') or ''} {data.get('last_name') or ''}".strip()
    return name or data.get("company") or data.get("email") or data.get("phone") or "Unnamed contact"


def merge(*, base: Data, local: Data, remote: Data, policy: ConflictPolicy, local_at: datetime, remote_at: datetime) -> Merged:
    """Three-way merge: a field that one side changed since `base` takes that side's value; on a field that both changed
    differently the policy decides. With an empty base, what is empty on one side is taken from the other.
    """
    local_wins = policy is ConflictPolicy.BB_WINS or (policy is ConflictPolicy.MOST_RECENT_WINS and local_at > remote_at)
    conflicts: list[str] = []
    kept: Data = {}
    for name in SCALARS:
        value, clash = _choose(base.get(name), local.get(name), remote.get(name), local_wins)
        if clash:
            conflicts.append(name)
        if value:
            kept[name] = value
    if tags := _merge_tags(base, local, remote):
        kept["tags"] = tags
    if fields := _merge_custom_fields(base, local, remote, local_wins=local_wins, conflicts=conflicts):
        kept["custom_fields"] = fields
    return Merged(kept, tuple(conflicts), not same(kept, local))


def fold(primary: Data, duplicate: Data) -> Data:
    """One person out of two of the vendor's contacts: the primary's values stay, the duplicate fills what is empty."""
    kept = {
        **{name: value for name, value in duplicate.items() if value},
        **{name: value for name, value in primary.items() if value},
    }
    tags = set(primary.get("tags") or ()) | set(duplicate.get("tags") or ())
    fields = {**(duplicate.get("custom_fields") or {}), **(primary.get("custom_fields") or {})}
    return {**kept, **({"tags": sorted(tags)} if tags else {}), **({"custom_fields": fields} if fields else {})}


def same(one: Data, other: Data) -> bool:
    """Whether both say the same; empty and absent are equal."""
    return one == other or all((one.get(name) or None) == (other.get(name) or None) for name in FIELDS)


def read_email(external_id: str, value: Any) -> str:
    """An address in lower case. Raises Unusable."""
    if not isinstance(value, str):
        raise Unusable(external_id, "email", "The e-mail address is not a text.")
    text = value.strip().lower()
    if _PLAIN_EMAIL.fullmatch(text) and ".." not in text:
        return text
    try:  # what the quick pattern does not know: quoted parts, other scripts
        return email_validator.validate_email(text, check_deliverability=False).normalized.lower()
    except email_validator.EmailNotValidError as error:
        raise Unusable(external_id, "email", f"Not an e-mail address: {error}") from None


def read_phone(external_id: str, value: Any, *, region: str | None = None) -> str:
    """A number as E.164; a national notation is read as one of `region` (ISO 3166, default US). Raises Unusable."""
    if not isinstance(value, str):
        raise Unusable(external_id, "phone", "The telephone number is not a text.")
    if _E164.fullmatch(value):
        return value
    try:
        number = phonenumbers.parse(value, (region or "US").upper())
    except phonenumbers.NumberParseException:
        raise Unusable(external_id, "phone", "Not a telephone number.") from None
    if not phonenumbers.is_possible_number(number):
        raise Unusable(external_id, "phone", "Not a possible telephone number.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _equal(one: Data, other: Data, name: str) -> bool:
    return (one.get(name) or None) == (other.get(name) or None)


def _choose(base: Any, local: Any, remote: Any, local_wins: bool) -> tuple[Any, bool]:
    local, remote, base = local or None, remote or None, base or None
    if remote in (local, base):
        return local, False
    if local == base:
        return remote, False
    return (local if local_wins else remote), True


def _merge_tags(base: Data, local: Data, remote: Data) -> list[str]:
    before = set(base.get("tags") or ())
    ours, theirs = set(local.get("tags") or ()), set(remote.get("tags") or ())
    return sorted((ours | theirs) - (before - ours) - (before - theirs))


def _merge_custom_fields(base: Data, local: Data, remote: Data, *, local_wins: bool, conflicts: list[str]) -> Data:
    before = base.get("custom_fields") or {}
    ours, theirs = local.get("custom_fields") or {}, remote.get("custom_fields") or {}
    if ours == theirs:
        return dict(ours)
    kept: Data = {}
    for key in {**theirs, **ours}:
        value, clash = _choose(before.get(key), ours.get(key), theirs.get(key), local_wins)
        if clash:
            conflicts.append(f"custom_fields.{key}")
        if value is not None:
            kept[key] = value
    return kept


def _text(external_id: str, field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise Unusable(external_id, field, "Not a text.")
    if len(value) > MAX_TEXT:
        raise Unusable(external_id, field, f"Longer than {MAX_TEXT} characters.")
    return value.strip()


def _birthday(external_id: str, value: Any) -> str:
    """The vendor's search gives milliseconds since 1970, its other answers an ISO date or moment; both mean midnight UTC."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (_EPOCH + timedelta(milliseconds=value)).date().isoformat()
        found = _DATE.fullmatch(value) if isinstance(value, str) else None
        return date.fromisoformat(found.group(1) if found else "").isoformat()
    except (ValueError, OverflowError):
        raise Unusable(external_id, "dateOfBirth", "Not a date.") from None


def _tags(external_id: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise Unusable(external_id, "tags", "Not a list of texts.")
    return sorted({tag.strip().lower() for tag in value if tag.strip()})


def _custom_fields(external_id: str, value: Any) -> Data:
    if not isinstance(value, list):
        raise Unusable(external_id, "customFields", "Not a list.")
    try:
        fields = {field["id"]: field["value"] for field in value if field.get("value") not in (None, "", [])}
    except (TypeError, KeyError, AttributeError):
        raise Unusable(external_id, "customFields", "Not a list of fields with id and value.") from None
    if not all(isinstance(key, str) for key in fields):
        raise Unusable(external_id, "customFields", "A field's id is not a text.")
    return fields


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):  # OverflowError: in UTC it is no time at all
        return _EPOCH
