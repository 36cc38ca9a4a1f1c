"""What the vendor answers: a status and JSON, and the refusals with the wording seen in the field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson

Json = dict[str, Any]

REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
}
"""The `error` text that goes with a status."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `body` is its bytes."""

    status: int
    body: bytes
    media_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def trace_id() -> str:
    """A new `traceId`."""
    return str(uuid4())


def ok(content: Any, *, status: int = 200) -> Answer:
    """`content` as JSON."""
    return Answer(status, orjson.dumps(content))


class Refused(Exception):
    """The vendor says no; carries the answer that says so."""

    def __init__(self, status: int, content: Json) -> None:
        super().__init__(status, content)
        self.answer = ok(content, status=status)


def refused(status: int, message: str | Sequence[str], **more: Any) -> Refused:
    """A refusal in the vendor's usual shape; `message` is a list where several DTO rules are violated (422)."""
    return Refused(
        status,
        {"statusCode": status, "message": message, "error": REASONS.get(status, "Error"), "traceId": trace_id(), **more},
    )


def no_route(method: str, path: str) -> Refused:
    """There is no such path, or not with this method."""
    return refused(404, f"Cannot {method} {path}")


def foreign_location() -> Refused:
    """The token is for another location or company."""
    return refused(403, "The token does not have access to this location.")
