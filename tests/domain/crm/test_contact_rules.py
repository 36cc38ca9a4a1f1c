"""What a contact's data is, and how two versions of it become one: properties of pure functions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.models.crm.syncs import ConflictPolicy
from domain.crm.contacts import rules
from domain.crm.contacts.rules import FIELDS, SCALARS, Data, Incoming, Unusable

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = EARLY + timedelta(hours=1)
WIRE_FIELDS = (
    *rules._WIRE_NAMES.values(),
    "address",
    "email",
    "phone",
    "dateOfBirth",
    "dateAdded",
    "dateUpdated",
    "dnd",
    "tags",
    "customFields",
)

WORDS = st.sampled_from(["", "a", "b", "c"])
CUSTOM = st.dictionaries(st.sampled_from(["f1", "f2"]), st.sampled_from(["x", "y", 1]))
DATA: st.SearchStrategy[Data] = st.fixed_dictionaries(
    {},
    optional={
        **{name: WORDS for name in SCALARS if name != "do_not_disturb"},
        "do_not_disturb": st.booleans(),
        "tags": st.lists(st.sampled_from(["lead", "vip", "cold"]), unique=True).map(sorted),
        "custom_fields": CUSTOM,
    },
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def read(wire: dict[str, Any]) -> Incoming | Unusable:
    try:
        return rules.from_wire(wire)
    except Unusable as unusable:
        return unusable


def without_empty(data: Data) -> Data:
    return {name: value for name, value in data.items() if value}


def merge(
    base: Data, local: Data, remote: Data, policy: ConflictPolicy = ConflictPolicy.MOST_RECENT_WINS, **at: Any
) -> rules.Merged:
    times = {"local_at": EARLY, "remote_at": LATE, **at}
    return rules.merge(base=base, local=local, remote=remote, policy=policy, **times)


@given(st.dictionaries(st.sampled_from(WIRE_FIELDS), JSON))
def test_a_row_is_read_or_refused_and_never_a_fault(wire: dict[str, Any]) -> None:
    outcome = read({"id": "abc123", **wire})
    assert outcome.external_id == "abc123"
    if isinstance(outcome, Unusable):  # it goes into the job's log as it is
        assert outcome.field
        assert outcome.message
    else:
        assert outcome.data.keys() <= set(FIELDS)
        assert outcome.modified_at.tzinfo is UTC
        assert b"\\u0000" not in orjson.dumps(outcome.data), "PostgreSQL keeps no such text"


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday", 7, None, "2026-01-01"]
)
def test_a_time_that_is_none_is_long_ago(moment: object) -> None:
    incoming = rules.from_wire({"id": "abc123", "dateUpdated": moment})
    assert incoming.modified_at in (datetime(1970, 1, 1, tzinfo=UTC), EARLY)


@pytest.mark.parametrize("row", [{}, {"id": None}, {"id": ""}, {"id": 7}, {"id": "a\x00b"}])
def test_a_row_without_an_id_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(Unusable):
        rules.from_wire(row)


@pytest.mark.parametrize(
    ("wire", "data"),
    [
        ({"email": " Ada@Lovelace.EXAMPLE "}, {"email": "ada@lovelace.example"}),
        ({"phone": "(512) 555-0123"}, {"phone": "+15125550123"}),
        ({"phone": "030 123456", "country": "DE"}, {"phone": "+4930123456", "country": "DE"}),
        ({"phone": "+15125550123"}, {"phone": "+15125550123"}),
        ({"tags": [" VIP ", "lead", "vip", ""]}, {"tags": ["lead", "vip"]}),
        ({"dateOfBirth": 0, "firstName": "A"}, {"first_name": "A"}),
        ({"dateOfBirth": 86_400_000}, {"birthday": "1970-01-02"}),
        ({"dateOfBirth": "1815-12-10T00:00:00.000Z"}, {"birthday": "1815-12-10"}),
        ({"address": "1 Main St"}, {"street": "1 Main St"}),
        ({"customFields": [{"id": "f1", "value": "x"}, {"id": "f2", "value": ""}]}, {"custom_fields": {"f1": "x"}}),
        ({"firstName": None, "tags": None, "customFields": None, "dnd": False}, {}),
    ],
)
def test_what_the_vendor_sends_is_kept_as_we_keep_it(wire: dict[str, Any], data: Data) -> None:
    assert rules.from_wire({"id": "abc123", **wire}).data == data


@pytest.mark.parametrize(
    ("wire", "field"),
    [
        ({"email": "not an address"}, "email"),
        ({"email": "a@b..example"}, "email"),
        ({"email": ["a@b.example"]}, "email"),
        ({"phone": "12"}, "phone"),
        ({"phone": "call me"}, "phone"),
        ({"phone": 15125550123}, "phone"),
        ({"dateOfBirth": "2026-02-30"}, "dateOfBirth"),
        ({"dateOfBirth": 1e300}, "dateOfBirth"),
        ({"firstName": "x" * 501}, "firstName"),
        ({"city": 7}, "city"),
        ({"tags": "lead"}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"customFields": {"id": "f1"}}, "customFields"),
        ({"customFields": ["f1"]}, "customFields"),
        ({"customFields": [{"value": "x"}]}, "customFields"),
    ],
)
def test_a_damaged_row_is_refused_with_the_field(wire: dict[str, Any], field: str) -> None:
    with pytest.raises(Unusable) as unusable:
        rules.from_wire({"id": "abc123", **wire})
    assert unusable.value.field == (field,)


@given(DATA, DATA)
def test_what_only_they_changed_is_theirs(base: Data, remote: Data) -> None:
    merged = merge(base, base, remote)
    assert rules.same(merged.data, remote)
    assert merged.conflicts == ()


@given(DATA, DATA)
def test_what_only_we_changed_is_ours(base: Data, local: Data) -> None:
    merged = merge(base, local, base)
    assert rules.same(merged.data, local)
    assert merged.conflicts == ()
    assert not merged.differs_from_local


@given(DATA, DATA, st.sampled_from(ConflictPolicy))
def test_the_same_change_on_both_sides_is_no_conflict(base: Data, both: Data, policy: ConflictPolicy) -> None:
    merged = merge(base, both, both, policy)
    assert rules.same(merged.data, both)
    assert merged.conflicts == ()


@given(DATA, DATA, DATA, st.sampled_from(ConflictPolicy))
def test_no_value_is_made_up(base: Data, local: Data, remote: Data, policy: ConflictPolicy) -> None:
    merged = merge(base, local, remote, policy)
    for name in SCALARS:
        assert merged.data.get(name) in (local.get(name), remote.get(name)) or not merged.data.get(name)
    assert set(merged.data.get("tags", ())) <= {*local.get("tags", ()), *remote.get("tags", ())}
    assert merged.differs_from_local != rules.same(merged.data, local)


@given(DATA, DATA, DATA, st.sampled_from(ConflictPolicy))
def test_a_second_merge_changes_nothing(base: Data, local: Data, remote: Data, policy: ConflictPolicy) -> None:
    """Once both sides have what the first one decided, they are in step."""
    merged = merge(base, local, remote, policy).data
    again = merge(merged, merged, merged, policy)
    assert rules.same(again.data, merged)
    assert not again.differs_from_local


@given(DATA, DATA, DATA)
def test_the_two_sides_policies_mirror_each_other(base: Data, local: Data, remote: Data) -> None:
    ours = merge(base, local, remote, ConflictPolicy.BB_WINS)
    theirs = merge(base, remote, local, ConflictPolicy.GHL_WINS)
    assert rules.same(ours.data, theirs.data)
    assert sorted(ours.conflicts) == sorted(theirs.conflicts)


@given(DATA, DATA, DATA)
def test_the_most_recent_side_wins_and_a_tie_is_theirs(base: Data, local: Data, remote: Data) -> None:
    for local_at, remote_at, winner in ((LATE, EARLY, "BB_WINS"), (EARLY, LATE, "GHL_WINS"), (EARLY, EARLY, "GHL_WINS")):
        recent = merge(base, local, remote, local_at=local_at, remote_at=remote_at)
        assert recent == merge(base, local, remote, ConflictPolicy[winner])


@pytest.mark.parametrize(
    ("policy", "city"),
    [(ConflictPolicy.GHL_WINS, "Paris"), (ConflictPolicy.BB_WINS, "Rome"), (ConflictPolicy.MOST_RECENT_WINS, "Paris")],
)
def test_on_a_conflict_the_policy_decides_and_it_is_told(policy: ConflictPolicy, city: str) -> None:
    merged = merge(
        {"city": "London", "email": "a@b.example"}, {"city": "Rome", "email": "a@b.example"}, {"city": "Paris"}, policy
    )
    assert (merged.data, merged.conflicts) == ({"city": city}, ("city",))


def test_tags_are_merged_one_by_one() -> None:
    merged = merge({"tags": ["cold", "lead"]}, {"tags": ["lead", "vip"]}, {"tags": ["cold", "new"]})
    assert merged.data == {"tags": ["new", "vip"]}


def test_custom_fields_are_merged_one_by_one() -> None:
    base, local, remote = {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 3, "c": 4}
    merged = merge({"custom_fields": base}, {"custom_fields": local}, {"custom_fields": remote})
    assert (merged.data, merged.conflicts) == ({"custom_fields": {"a": 2, "b": 3, "c": 4}}, ())


@given(DATA, DATA)
def test_a_duplicate_fills_what_is_empty_and_takes_nothing(primary: Data, duplicate: Data) -> None:
    folded = rules.fold(primary, duplicate)
    for name in SCALARS:
        assert (folded.get(name) or None) == (primary.get(name) or duplicate.get(name) or None)
    assert set(folded.get("tags", ())) == {*primary.get("tags", ()), *duplicate.get("tags", ())}
    assert rules.same(rules.fold(primary, primary), without_empty(primary))


@given(DATA, DATA)
def test_only_what_changed_is_written_and_then_nothing_is_left_to_write(base: Data, data: Data) -> None:
    changed = rules.changes(base, data)
    wire = rules.to_wire(data, changed)
    assert (wire == {}) == (changed == [])
    assert rules.changes(data, data) == []
    common = rules.delivered(base, without_empty(data), changed)
    assert [name for name in rules.changes(common, data) if not name.startswith("custom_fields.")] == []


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"first_name": "Ada", "last_name": "Lovelace", "email": "a@b.example"}, "Ada Lovelace"),
        ({"last_name": "Lovelace"}, "Lovelace"),
        ({"company": "Engines", "email": "a@b.example"}, "Engines"),
        ({"email": "a@b.example", "phone": "+15125550123"}, "a@b.example"),
        ({"phone": "+15125550123"}, "+15125550123"),
        ({}, "Unnamed contact"),
    ],
)
def test_a_contact_is_shown_by_what_tells_it_best(data: Data, shown: str) -> None:
    assert rules.display_name(data) == shown
