"""The limits on documents, and what operations cost."""

import time
from typing import Any

import pytest
from graphql import DocumentNode, parse

from graph.cost import cost_of, weigh
from graph.errors import TOO_COMPLEX, TOO_COSTLY, Refused
from graph.limits import Limits, check_variables
from graph.shape import check_shape
from tests.graph.toy import schema

core_schema = schema._schema


def code_of(refused: pytest.ExceptionInfo[Refused]) -> str:
    code: str = refused.value.errors[0]["extensions"]["code"]
    return code


def price(text: str, limits: Limits | None = None, /, **variables: Any) -> int:
    limits = limits or Limits(cost=10**9)
    document = parse(text)
    (weight,) = weigh(core_schema, document, limits).values()
    return cost_of(weight, variables, limits)


def doubling(count: int) -> DocumentNode:
    """Fragments that each spread the next one twice: 2^count fields when expanded."""
    fragments = [f"fragment F{n} on Node {{ self {{ ...F{n + 1} }} again: self {{ ...F{n + 1} }} }}" for n in range(count)]
    return parse(" ".join(["{ nodes { nodes { ...F0 } } }", *fragments, f"fragment F{count} on Node {{ id }}"]))


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("{ a { b { c } } }", Limits(depth=2)),
        ("{ ...F } fragment F on Query { a { b { c } } }", Limits(depth=2)),
        ("{ a b c }", Limits(root_fields=2)),
        ("{ ...F ...F } fragment F on Query { a b }", Limits(root_fields=3)),
        ("{ a { b c d } }", Limits(fields=3)),
        ("{ a { ...F } b { ...F } } fragment F on A { c d }", Limits(fields=5)),
        ("{ x: a y: a z: a }", Limits(aliases=2)),
        ("{ a @b @c @d }", Limits(directives=2)),
        ("{ a } fragment F on A @b @c @d { a }", Limits(directives=2)),
        ("query A { a } query B { a } query C { a }", Limits(operations=2)),
        ("{ ... { ... { ... { a } } } }", Limits(fragment_nesting=2)),
        ("{ ...A } fragment A on Q { ...B } fragment B on Q { ...C } fragment C on Q { a }", Limits(fragment_nesting=2)),
        ("{ a(b: [1, 2, 3]) }", Limits(list_items=2)),
        ("{ a(b: {c: [[1, 2, 3]]}) }", Limits(list_items=2)),
        ("{ " + "... { " * 150 + "a" + " }" * 151, Limits()),
    ],
)
def test_each_limit_refuses_just_what_exceeds_it(text: str, limits: Limits) -> None:
    with pytest.raises(Refused) as refused:
        check_shape(parse(text), limits)
    assert code_of(refused) == TOO_COMPLEX
    assert "most" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("{ a { b { c } } }", Limits(depth=3)),
        ("{ a b c }", Limits(root_fields=3, fields=3)),
        ("{ x: a y: a z: a }", Limits(aliases=3)),
        ("{ a @b @c @d }", Limits(directives=3)),
        ("{ a(b: [1, 2, 3]) }", Limits(list_items=3)),
        ("{ ...A } fragment A on Q { ...B } fragment B on Q { a }", Limits(fragment_nesting=2)),
    ],
)
def test_a_document_at_the_limit_passes(text: str, limits: Limits) -> None:
    check_shape(parse(text), limits)


def test_introspection_is_not_held_to_the_depth_of_data() -> None:
    check_shape(parse("{ __schema { types { fields { type { ofType { ofType { name } } } } } } }"), Limits(depth=2))


def test_cycles_and_missing_fragments_are_left_to_validation() -> None:
    check_shape(parse("{ ...A } fragment A on Q { a ...B } fragment B on Q { ...A ...None }"), Limits())


def test_thirty_doubling_fragments_are_counted_in_milliseconds() -> None:
    document = doubling(30)
    started = time.perf_counter()
    with pytest.raises(Refused):
        check_shape(document, Limits(depth=100, fragment_nesting=100))
    check_shape(document, Limits(depth=100, fragment_nesting=100, fields=2**40, aliases=2**40))
    (weight,) = weigh(core_schema, document, Limits()).values()
    assert cost_of(weight, {}, Limits(cost=2**50)) > 2**30
    # The bound is a thousand times what it takes, and a billionth of what visiting each field would.
    assert time.perf_counter() - started < 5


def test_a_field_costs_one_and_a_page_multiplies_its_lists() -> None:
    assert price("{ hello }") == 1
    assert price("{ nodes(first: 10) { totalCount } }") == 2
    assert price("{ nodes(first: 10) { totalCount nodes { id } } }") == 1 + 1 + 10 * 2
    assert price("{ nodes { nodes { id } } }") == 1 + 50 * 2
    assert price("{ nodes(last: 3) { nodes { nodes(first: 4) { nodes { id } } } } }") == 1 + 3 * (1 + (1 + 4 * 2))


def test_the_page_size_may_come_from_a_variable() -> None:
    text = "query($n: Int) { nodes(first: $n) { ...F } } fragment F on Nodes { nodes { id } }"
    assert price(text, n=7) == 1 + 7 * 2
    assert price(text) == 1 + 50 * 2
    assert price(text, n=None) == 1 + 50 * 2
    assert price(text, n=-5) == 1


def test_a_fragment_costs_what_the_list_around_it_makes_it_cost() -> None:
    text = "{ a: nodes(first: 2) { ...F } b: nodes(first: 3) { ... on Nodes { ...F } } } fragment F on Nodes { nodes { id } }"
    assert price(text) == (1 + 2 * 2) + (1 + 3 * 2)


@pytest.mark.parametrize("variables", [{"n": 101}, {"n": 2**31 - 1}])
def test_a_page_too_large_is_refused(variables: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        price("query($n: Int) { nodes(first: $n) { nodes { id } } }", **variables)
    assert code_of(refused) == TOO_COSTLY
    with pytest.raises(Refused):
        price("{ nodes(first: 101) { nodes { id } } }")


def test_what_costs_too_much_is_refused_with_both_numbers() -> None:
    with pytest.raises(Refused, match="costs 101; 100"):
        price("{ nodes { nodes { id } } }", Limits(cost=100))


def test_lists_in_variables_are_bounded_at_any_depth() -> None:
    check_variables({"a": [1, 2], "b": {"c": [[3]]}}, Limits(list_items=2))
    with pytest.raises(Refused):
        check_variables({"b": {"c": [[1, 2, 3]]}}, Limits(list_items=2))


def test_variables_are_bounded_in_depth() -> None:
    check_variables({"a": [[{}]], "b": 1}, Limits(variable_depth=3))
    with pytest.raises(Refused) as refused:
        check_variables({"a": [[{"b": 1}]], "b": 1}, Limits(variable_depth=3))
    assert code_of(refused) == TOO_COMPLEX
