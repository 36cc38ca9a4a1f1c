"""What is asked of a job, as it is stored."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.models.jobs import Lane
from domain.jobs import args
from domain.jobs.args import JobArgs, UnknownKind, UnreadableArgs


@dataclass(frozen=True)
class Everything(JobArgs, kind="test.everything", title="Everything", lane=Lane.BULK, timeout=60, max_retries=2):
    """All types there are."""

    id: UUID
    text: str
    number: int
    share: float
    flag: bool
    ids: list[UUID]
    texts: list[str]
    later: int = 7
    more: list[int] = field(default_factory=list)


everything = st.builds(
    Everything,
    id=st.uuids(),
    text=st.text(st.characters(exclude_categories=["Cs"])),
    number=st.integers(-(2**53), 2**53),
    share=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    ids=st.lists(st.uuids(), max_size=3),
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3),
    later=st.integers(0, 9),
    more=st.lists(st.integers(0, 9), max_size=3),
)
json_values = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.lists(st.integers(0, 9), max_size=2)
ONE = Everything(UUID(int=1), "t", 1, 0.5, True, [UUID(int=2)], ["x"])


def stored(asked: JobArgs) -> dict[str, Any]:
    """As it comes back out of the database."""
    return dict(orjson.loads(orjson.dumps(asked.to_json())))


@given(everything)
def test_what_is_stored_is_what_is_read(asked: Everything) -> None:
    assert args.read(Everything.kind, stored(asked)) == asked


@given(everything, st.dictionaries(st.text(min_size=1, max_size=5).map(lambda name: f"new_{name}"), json_values, max_size=3))
def test_fields_of_a_newer_release_are_ignored(asked: Everything, newer: dict[str, Any]) -> None:
    assert args.read(Everything.kind, stored(asked) | newer) == asked


def test_fields_that_an_older_release_did_not_have_take_their_default() -> None:
    old = {name: value for name, value in stored(ONE).items() if name not in {"later", "more"}}
    assert args.read(Everything.kind, old) == ONE


@given(st.sampled_from(["id", "text", "number", "share", "flag", "ids", "texts"]))
def test_a_missing_field_is_said_plainly(name: str) -> None:
    damaged = stored(ONE)
    del damaged[name]
    with pytest.raises(UnreadableArgs, match=rf"test\.everything.*{name}"):
        args.read(Everything.kind, damaged)


@given(st.sampled_from(["id", "ids"]), json_values.filter(lambda value: value not in ([], "")))
def test_what_is_no_id_is_not_taken_for_one(name: str, value: Any) -> None:
    with pytest.raises(UnreadableArgs):
        args.read(Everything.kind, stored(ONE) | {name: value})


def test_a_kind_that_this_release_does_not_know() -> None:
    with pytest.raises(UnknownKind, match=r"test\.from\.the\.future"):
        args.read("test.from.the.future", {})


def test_a_kind_belongs_to_one_class() -> None:
    with pytest.raises(TypeError, match="two job kinds"):
        type("Impostor", (JobArgs,), {}, kind="test.everything", title="Impostor", lane=Lane.BULK)


def test_a_kind_keeps_what_it_was_declared_with() -> None:
    kind = args.kinds()["test.everything"]
    assert (kind.title, kind.lane, kind.timeout, kind.max_retries) == ("Everything", Lane.BULK, 60, 2)
