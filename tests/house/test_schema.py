"""The house rules about the GraphQL schema: described throughout, printed, and every error code documented."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from graphql import (
    GraphQLNamedType,
    is_enum_type,
    is_input_object_type,
    is_interface_type,
    is_introspection_type,
    is_non_null_type,
    is_object_type,
    is_specified_scalar_type,
)

from domain.errors import DomainError
from graph import errors
from graph.errors import ERRORS
from graph.schema import schema, sdl
from jobs import handlers

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"\b(?:API|BGJ|GHL|IMG|SCH|WFL)-\d{3}\b")
TYPES = [named for named in schema._schema.type_map.values() if not is_introspection_type(named)]


def test_the_printed_schema_is_what_the_code_says() -> None:
    """If not: `bots schema`, and review the difference as what it is, a change of the contract."""
    assert (ROOT / "schema.graphql").read_text() == sdl()


def test_everything_is_described_for_the_developer_of_a_client() -> None:
    assert [place for named in TYPES for place, text in described(named) if not (text or "").strip()] == []


def test_descriptions_are_sentences() -> None:
    assert [place for named in TYPES for place, text in described(named) if not (text or "").endswith(".")] == []


def test_root_fields_may_be_null() -> None:
    """A failure of one must not take its siblings' answers along. What a mutation answers is a payload, never null."""
    query = schema._schema.query_type
    assert query is not None
    assert [name for name, field in query.fields.items() if is_non_null_type(field.type)] == []


def test_every_mutation_answers_with_a_payload_of_errors_as_data() -> None:
    mutation = schema._schema.mutation_type
    assert mutation is not None
    for name, field in mutation.fields.items():
        payload = field.type.of_type if is_non_null_type(field.type) else field.type
        assert is_object_type(payload), name
        assert payload.name.endswith("Payload"), name
        assert {"userErrors", "query"} <= payload.fields.keys(), name


def test_every_error_of_the_domain_has_a_documented_code() -> None:
    handlers.load()
    assert [kind for kind in errors_of_the_domain() if kind.code not in ERRORS] == []


def test_a_code_has_one_meaning() -> None:
    owners = defaultdict(list)
    for kind in errors_of_the_domain():
        if "code" in vars(kind):
            owners[kind.code].append(kind)
    assert {code: kinds for code, kinds in owners.items() if len(kinds) > 1} == {}


def test_every_code_that_is_written_anywhere_is_documented() -> None:
    """In job logs and attempts, too. A few are the parts of a numbering, such as an example in a description."""
    sources = [path for package in ("graph", "domain", "jobs") for path in (ROOT / package).rglob("*.py")]
    written = {code: path.name for path in sources if "sandbox" not in path.parts for code in CODE.findall(path.read_text())}
    assert {code: name for code, name in written.items() if code not in ERRORS and not code.startswith("IMG-")} == {}


def test_every_documented_code_is_in_use() -> None:
    """But for the story's code of what does not exist yet: credits."""
    doors = {value for value in vars(errors).values() if isinstance(value, str) and CODE.fullmatch(value)}
    domain = {kind.code for kind in errors_of_the_domain()} | {DomainError.code}
    sources = [path for package in ("domain", "jobs") for path in (ROOT / package).rglob("*.py")]
    logged = {code for path in sources for code in CODE.findall(path.read_text())}
    assert ERRORS.keys() - doors - domain - logged == {"BGJ-002"}


def test_codes_are_explained_in_sentences() -> None:
    for code, entry in ERRORS.items():
        assert entry.meaning.endswith("."), code
        assert entry.action.endswith("."), code


def described(named: GraphQLNamedType) -> Iterator[tuple[str, str | None]]:
    """Every place of a type that can have a description, and that."""
    if not is_specified_scalar_type(named):
        yield named.name, named.description
    if is_object_type(named) or is_interface_type(named):
        for name, field in named.fields.items():
            yield f"{named.name}.{name}", field.description
            for argument, given in field.args.items():
                yield f"{named.name}.{name}({argument})", given.description
    elif is_input_object_type(named):
        for name, input_field in named.fields.items():
            yield f"{named.name}.{name}", input_field.description
    elif is_enum_type(named):
        for name, value in named.values.items():
            yield f"{named.name}.{name}", value.description


def errors_of_the_domain(root: type[DomainError] = DomainError) -> list[type[DomainError]]:
    """Every kind that the product has, without those that tests made up."""
    found = [] if root.__module__.startswith("tests") else [root]
    return found + [kind for child in root.__subclasses__() for kind in errors_of_the_domain(child)]
