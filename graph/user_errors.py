"""Errors as data: what a user can do something about comes back in the payload, typed, beside what did work."""

import functools
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import strawberry

from domain.errors import DomainError, LimitReached, Unauthenticated, VendorBusy, VendorDown
from domain.tenancy.accounts import StaleVersion
from graph.about import about, optional, resolved, shown
from graph.errors import ERRORS
from graph.node import Node

if TYPE_CHECKING:
    from graph.schema import Query

R = TypeVar("R")


@strawberry.interface(description="Why a mutation did not do what was asked. Nothing was changed, unless the payload says so.")
class UserError:
    code: str = about("Stable, such as GHL-001; `errorCodes` lists them all with what the user can do.")
    message: str = about("A sentence for the user, in English.")
    field: list[str] | None = about("The path, within `input`, to what is wrong; null where it is not about one field.")
    retryable: bool = about("Whether the same request may succeed later.")


@strawberry.type(description="An error that needs no further fields.")
class GenericError(UserError):
    pass


@strawberry.type(description="Too much was asked too fast.")
class RateLimitedError(UserError):
    retry_after_seconds: float | None = about("When it may succeed, in seconds from now; null where waiting does not help.")


@strawberry.type(description="What was to be changed was changed since the client read it; nothing was done.")
class StaleVersionError(UserError):
    current: Node | None = optional("As it is now, with the version to send next; null where it is no Node.")


@strawberry.type(description="What every mutation answers with, beside what it is about.")
class Payload:
    user_errors: list[UserError] = strawberry.field(default_factory=list, description="Why it was not done; empty when it was.")

    @resolved("The whole API again, to read in the same request what the mutation led to.")
    def query(self) -> Annotated["Query", strawberry.lazy("graph.schema")]:
        """The root."""
        root: Query = import_module("graph.schema").Query()  # by its name, or imports would run in a circle
        return root


Build = Callable[[Any, dict[str, Any]], UserError]
_BUILDERS: dict[type[DomainError], Build] = {}


def builds(error: type[DomainError]) -> Callable[[Build], Build]:
    """Declare the GraphQL type of a domain error that carries more than the interface has."""

    def declare(build: Build) -> Build:
        _BUILDERS[error] = build
        return build

    return declare


@builds(LimitReached)
@builds(VendorBusy)
def _rate_limited(error: LimitReached | VendorBusy, base: dict[str, Any]) -> UserError:
    return RateLimitedError(**base, retry_after_seconds=error.retry_after)


@builds(StaleVersion)
def _stale_version(error: StaleVersion, base: dict[str, Any]) -> UserError:
    return StaleVersionError(**base, current=shown(error.current))


def user_error(error: DomainError) -> UserError:
    """The GraphQL form of a domain error."""
    base: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "field": list(error.field) if error.field else None,
        "retryable": isinstance(error, VendorBusy | VendorDown)
        or (isinstance(error, LimitReached) and error.retry_after is not None),
    }
    for kind in type(error).__mro__:
        if kind in _BUILDERS:
            return _BUILDERS[kind](error, base)
    return GenericError(**base)


def mutation(description: str) -> Callable[[Callable[..., Awaitable[Any]]], Any]:
    """A mutation whose domain errors become its payload's `userErrors`.

    Unauthenticated stays a top-level error: it is about the request, not about the input.
    """

    def declare(resolver: Callable[..., Awaitable[Any]]) -> Any:
        payload = get_type_hints(resolver)["return"]

        @functools.wraps(resolver)
        async def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return await resolver(*args, **kwargs)
            except Unauthenticated:
                raise
            except DomainError as error:
                return payload(user_errors=[user_error(error)])

        return strawberry.mutation(run, description=description)

    return declare


@strawberry.type(description="What an error code means.")
class ErrorCodeInfo:
    code: str = about("The code, as in `userErrors.code` and `extensions.code`.")
    meaning: str = about("What happened.")
    action: str = about("What the user or the client's developer can do.")


def error_codes() -> list[ErrorCodeInfo]:
    """Every documented code."""
    return [ErrorCodeInfo(code=code, meaning=entry.meaning, action=entry.action) for code, entry in sorted(ERRORS.items())]
