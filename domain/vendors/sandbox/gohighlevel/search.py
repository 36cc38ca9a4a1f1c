"""`POST /contacts/search`: filters, sorting and the two ways to page."""

import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import total_ordering
from typing import Any

import orjson

from domain.vendors.sandbox.gohighlevel import dto
from domain.vendors.sandbox.gohighlevel.answers import Json, refused, trace_id
from domain.vendors.sandbox.gohighlevel.contact_book import NAMES, PLACE, Contact, ContactBook, epoch_ms, full_name, lower

REACH = 10_000
"""How many records `page` reaches; beyond, only `searchAfter` does."""

OPERATORS = (
    "eq",
    "not_eq",
    "contains",
    "not_contains",
    "exists",
    "not_exists",
    "range",
    "wildcard",
    "has_value",
    "not_has_value",
)
TIMES: dict[str, Callable[[Contact], int]] = {
    "dateAdded": lambda contact: contact.added,
    "dateUpdated": lambda contact: contact.updated,
}
TEXTS = frozenset({"id", "source", "type", "assignedTo", "dateOfBirth", "gender", "address1"} | {*NAMES, *PLACE})
DERIVED: dict[str, Callable[[Json], Any]] = {
    "firstNameLowerCase": lambda data: lower(data.get("firstName")),
    "lastNameLowerCase": lambda data: lower(data.get("lastName")),
    "fullNameLowerCase": lambda data: full_name(data).lower(),
    "address": lambda data: data.get("address1"),
}
OTHERS = ("tags", "dnd", "followers")
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
Test = Callable[[Contact], bool]
Sort = tuple[tuple[str, str], ...]
DEFAULT_SORT: Sort = (("dateAdded", "desc"),)

BODY: dto.Shape = {
    "locationId": dto.required(dto.text()),
    "pageLimit": dto.required(dto.integer(least=1, most=500)),
    "page": dto.optional(dto.integer(least=1)),
    "searchAfter": dto.optional(dto.items),
    "query": dto.optional(dto.text(most=75)),
    "filters": dto.optional(dto.objects),
    "sort": dto.optional(dto.objects),
}


@total_ordering
class _Falling:
    """A value that sorts the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Falling) and self.value == other.value

    def __lt__(self, other: "_Falling") -> bool:
        return bool(other.value < self.value)

    def __hash__(self) -> int:
        return hash(self.value)


def search(book: ContactBook, body: Json) -> bytes:
    """The answer to a search, as JSON. Raises Refused (400, 422)."""
    _check(body)
    sort = tuple((part["field"], part["direction"]) for part in body.get("sort", [])) or DEFAULT_SORT
    key = _sort_key(sort)
    contacts = book.ordered(sort, key)
    if keep := _tests(body):
        contacts = [contact for contact in contacts if all(test(contact) for test in keep)]
    start = _start(body, contacts, key=key, cursor=lambda after: _cursor_key(sort, after))
    shown = contacts[start : start + body["pageLimit"]]
    page = [book.found_json(contact) if sort == DEFAULT_SORT else _row(book, contact, sort) for contact in shown]
    return b'{"contacts":[%b],"total":%d,"traceId":"%b"}' % (b",".join(page), len(contacts), trace_id().encode())


def _check(body: Any) -> None:
    more = []
    if isinstance(body, dict):
        if "page" in body and "searchAfter" in body:
            more.append("page and searchAfter should not be used together")
        more += [line for part in _dicts(body.get("sort")) for line in dto.violations(part, _SORT)]
    dto.demand(body, BODY, more=more)
    if body.get("page", 1) * body["pageLimit"] > REACH:
        raise refused(400, f"page * pageLimit must be at most {REACH}, use searchAfter instead")
    for part in body.get("sort", []):
        _value_of(part["field"])


_SORT: dto.Shape = {"field": dto.required(dto.text()), "direction": dto.required(dto.one_of("asc", "desc"))}


def _dicts(value: Any) -> Iterable[Json]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _start(body: Json, contacts: list[Contact], *, key: Callable[[Contact], Any], cursor: Callable[[list[Any]], Any]) -> int:
    after = body.get("searchAfter")
    if not after:
        return int((body.get("page", 1) - 1) * body["pageLimit"])
    try:
        return bisect_right(contacts, cursor(after), key=key)
    except ValueError:
        raise refused(400, "searchAfter is invalid") from None


def _sort_key(sort: Sort) -> Callable[[Contact], Any]:
    values = [(_value_of(field), direction) for field, direction in sort]
    return lambda contact: (
        *(_sortable(value(contact), direction) for value, direction in values),
        contact.id,
    )


def _cursor_key(sort: Sort, after: list[Any]) -> Any:
    if len(after) != len(sort) + 1 or any(
        field in TIMES and not isinstance(value, int) for value, (field, _) in zip(after, sort, strict=False)
    ):
        raise ValueError(after)
    return (*(_sortable(value, direction) for value, (_, direction) in zip(after, sort, strict=False)), str(after[-1]))


def _sortable(value: Any, direction: str) -> tuple[bool, bool, Any]:
    # What is not set comes last in either direction; numbers never meet texts, which a row with bad data may hold.
    if isinstance(value, int | float):
        return False, False, (-value if direction == "desc" else value)
    text = str(value or "")
    return value is None, True, (_Falling(text) if direction == "desc" else text)


def _row(book: ContactBook, contact: Contact, sort: Sort) -> bytes:
    row, _, _ = book.found_json(contact).rpartition(b',"searchAfter":')
    cursor = [_value_of(field)(contact) for field, _ in sort]
    return b'%b,"searchAfter":%b}' % (row, orjson.dumps([*cursor, contact.id]))


def _tests(body: Json) -> list[Test]:
    tests = [_test(part) for part in body.get("filters", [])]
    if query := body.get("query", "").strip().lower():
        tests.append(lambda contact: matches_query(contact, query))
    return tests


def matches_query(contact: Contact, query: str) -> bool:
    """Whether the free text (in lower case) occurs in a name, the company, an e-mail address or a number."""
    data = contact.data
    fields = (full_name(data), data.get("email"), data.get("phone"), data.get("companyName"))
    return any(query in value.lower() for value in fields if isinstance(value, str))


def _test(part: Json) -> Test:
    if "group" in part:
        if part["group"] not in ("AND", "OR") or not isinstance(part.get("filters"), list):
            raise refused(422, ["group must be one of the following values: AND, OR", "filters must be an array"])
        inner = [_test(each) for each in _dicts(part["filters"])]
        quantifier = all if part["group"] == "AND" else any
        return lambda contact: quantifier(test(contact) for test in inner)
    broken = dto.violations(part, _FILTER)
    if broken:
        raise refused(422, broken)
    value = _value_of(part["field"])
    holds = _operator(part["operator"], part.get("value"), dates=part["field"] in TIMES)
    return lambda contact: holds(value(contact))


_FILTER: dto.Shape = {
    "field": dto.required(dto.text()),
    "operator": dto.required(dto.one_of(*OPERATORS)),
    "value": dto.optional(dto.anything),
}


def _value_of(field: str) -> Callable[[Contact], Any]:
    if field in TIMES:
        return TIMES[field]
    if field in DERIVED:
        return lambda contact: DERIVED[field](contact.data)
    if field in TEXTS or field in OTHERS:
        return lambda contact: contact.data.get(field)
    if field.startswith("customFields."):
        wanted = field.removeprefix("customFields.")
        return lambda contact: next(
            (item.get("value") for item in _dicts(contact.data.get("customFields")) if item.get("id") == wanted), None
        )
    raise refused(400, f"Invalid field {field}")


def _operator(name: str, wanted: Any, *, dates: bool) -> Callable[[Any], bool]:
    if name.startswith("not_"):
        positive = _operator(name.removeprefix("not_"), wanted, dates=dates)
        return lambda value: not positive(value)
    if name in ("exists", "has_value"):
        return lambda value: value not in (None, "", [], {})
    if name == "range":
        return _range(wanted)
    options = [_folded(each, dates=dates) for each in (wanted if isinstance(wanted, list) else [wanted])]
    if name == "eq":
        return lambda value: any(_folded(each, dates=False) in options for each in _several(value))
    if name == "contains":
        return lambda value: any(str(each) in str(_folded(one, dates=False)) for one in _several(value) for each in options)
    return lambda value: any(
        fnmatchcase(str(_folded(one, dates=False)), str(each)) for one in _several(value) for each in options
    )


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _folded(value: Any, *, dates: bool) -> Any:
    return epoch_ms(value) if dates else lower(value)


def _range(wanted: Any) -> Callable[[Any], bool]:
    if not isinstance(wanted, dict) or not set(wanted) <= set(COMPARISONS) or not wanted:
        raise refused(422, ["value of a range must be an object of gt, gte, lt, lte"])
    bounds = {name: epoch_ms(bound) for name, bound in wanted.items()}
    if None in bounds.values():
        raise refused(422, ["value of a range must hold numbers or ISO dates"])

    def inside(value: Any) -> bool:
        number = epoch_ms(value)
        return number is not None and all(COMPARISONS[name](number, bound) for name, bound in bounds.items())

    return inside
