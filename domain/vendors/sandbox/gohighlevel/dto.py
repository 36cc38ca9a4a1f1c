"""The vendor's strict validation of bodies and queries: every violation is listed in one 422, unknown properties too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.vendors.sandbox.gohighlevel.answers import refused

Check = Callable[[str, Any], list[str]]


@dataclass(frozen=True, slots=True)
class Field:
    """One property: its check, and whether it must be there."""

    check: Check
    required: bool = False


Shape = Mapping[str, Field]


def text(*, most: int | None = None) -> Check:
    """A string of at most `most` characters."""

    def check(name: str, value: Any) -> list[str]:
        if not isinstance(value, str):
            return [f"{name} must be a string"]
        if most is not None and len(value) > most:
            return [f"{name} must be shorter than or equal to {most} characters"]
        return []

    return check


def email(name: str, value: Any) -> list[str]:
    """An e-mail address, as loosely as the vendor looks at it; an empty one clears."""
    if value in (None, ""):
        return []
    local, at, host = value.strip().rpartition("@") if isinstance(value, str) else ("", "", "")
    return [] if local and at and "." in host and " " not in value.strip() else [f"{name} must be an email"]


def integer(*, least: int | None = None, most: int | None = None) -> Check:
    """A whole number; one in a query string counts."""

    def check(name: str, value: Any) -> list[str]:
        number = as_int(value)
        broken = [] if number is not None else [f"{name} must be an integer number"]
        if least is not None and (number is None or number < least):
            broken.append(f"{name} must not be less than {least}")
        if most is not None and (number is None or number > most):
            broken.append(f"{name} must not be greater than {most}")
        return broken

    return check


def as_int(value: Any) -> int | None:
    """The whole number that `value` is or spells, else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        return int(value)
    return None


def number(name: str, value: Any) -> list[str]:
    """Any number."""
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    return [] if fits else [f"{name} must be a number conforming to the specified constraints"]


def boolean(name: str, value: Any) -> list[str]:
    """A boolean; `true` and `false` in a query string count."""
    return [] if value in (True, False, "true", "false") else [f"{name} must be a boolean value"]


def texts(name: str, value: Any) -> list[str]:
    """A list of strings."""
    if not isinstance(value, list):
        return [f"each value in {name} must be a string", f"{name} must be an array"]
    return [] if all(isinstance(item, str) for item in value) else [f"each value in {name} must be a string"]


def items(name: str, value: Any) -> list[str]:
    """A list of anything."""
    return [] if isinstance(value, list) else [f"{name} must be an array"]


def objects(name: str, value: Any) -> list[str]:
    """A list of objects."""
    fits = isinstance(value, list) and all(isinstance(item, dict) for item in value)
    return [] if fits else [f"each value in nested property {name} must be either object or array"]


def an_object(name: str, value: Any) -> list[str]:
    """An object."""
    return [] if isinstance(value, dict) else [f"{name} must be an object"]


def one_of(*allowed: str) -> Check:
    """One of these strings."""

    def check(name: str, value: Any) -> list[str]:
        return [] if value in allowed else [f"{name} must be one of the following values: {', '.join(allowed)}"]

    return check


def nullable(inner: Check) -> Check:
    """`inner`, or null."""
    return lambda name, value: [] if value is None else inner(name, value)


def anything(_name: str, _value: Any) -> list[str]:
    """No rule."""
    return []


def required(check: Check) -> Field:
    """A property that must be there."""
    return Field(check, required=True)


def optional(check: Check) -> Field:
    """A property that may be left out."""
    return Field(check)


def each(check: Check, *names: str) -> dict[str, Field]:
    """Several properties of one kind that may be left out."""
    return dict.fromkeys(names, optional(check))


def violations(content: Any, shape: Shape) -> list[str]:
    """Everything that is wrong with `content`, in the vendor's words; unknown properties come first."""
    if not isinstance(content, Mapping):
        return ["body must be an object"]
    broken = [f"property {name} should not exist" for name in content if name not in shape]
    for name, rule in shape.items():
        if name in content and not (rule.required and content[name] in (None, "")):
            broken += rule.check(name, content[name])
        elif rule.required:
            broken += [*rule.check(name, None), f"{name} should not be empty"]
    return broken


def demand(content: Any, shape: Shape, *, more: Sequence[str] = ()) -> None:
    """Refuse with 422 where `content` violates `shape`, or where `more` names further violations."""
    broken = [*violations(content, shape), *more]
    if broken:
        raise refused(422, broken)
