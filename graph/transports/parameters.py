"""The parameters of a GraphQL request, checked before anything is done with them."""

from collections.abc import Mapping
from typing import Any

import orjson

from graph.errors import BAD_REQUEST, refuse
from graph.execution import Request


def parse_json(body: bytes | str) -> object:
    """Parse strict JSON. Raises Refused for NaN, broken UTF-8 and any depth that Python's stack would not survive."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise refuse(BAD_REQUEST, "This is not valid JSON.") from None


def from_json(value: object, *, wants_cost: bool = False) -> Request:
    """Read a request object. Raises Refused if it is none; batches are not supported."""
    if not isinstance(value, dict):
        raise refuse(BAD_REQUEST, "A GraphQL request is a JSON object.")
    return Request(
        _text(value, "query"),
        _text(value, "operationName") or None,
        _object(value, "variables"),
        _object(value, "extensions"),
        _text(value, "documentId"),
        wants_cost,
    )


def from_query(pairs: list[tuple[str, str]], *, wants_cost: bool = False) -> Request:
    """Read a request out of a URL, where objects are JSON. Raises Refused if a parameter is repeated or wrong."""
    value: dict[str, Any] = dict(pairs)
    if len(value) != len(pairs):
        raise refuse(BAD_REQUEST, "A parameter is given twice.")
    for name in ("variables", "extensions"):
        if name in value:
            value[name] = parse_json(value[name]) if value[name] else None
    return from_json(value, wants_cost=wants_cost)


def _text(value: Mapping[str, Any], name: str) -> str | None:
    text = value.get(name)
    if text is not None and not isinstance(text, str):
        raise refuse(BAD_REQUEST, f"`{name}` must be a string.")
    return text


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    item = value.get(name)
    if item is not None and not isinstance(item, dict):
        raise refuse(BAD_REQUEST, f"`{name}` must be an object.")
    return item or {}
