"""Which function runs which kind of job."""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, TypeVar

from domain.jobs.args import JobArgs
from domain.jobs.running import Done, Running
from domain.runtime import Runtime

A = TypeVar("A", bound=JobArgs)
Handler = Callable[[Running[A], Runtime], Awaitable[Done]]

MODULES = ("jobs.bulk", "jobs.crm.contacts", "jobs.crm.webhooks", "jobs.exports", "jobs.retention", "jobs.workflows")

_HANDLERS: dict[type[JobArgs], Handler[Any]] = {}


def handles(args: type[A]) -> Callable[[Handler[A]], Handler[A]]:
    """Declare the handler of a kind.

    @handles(SyncContacts)
    async def sync_contacts(job: Running[SyncContacts], runtime: Runtime) -> Done: ...
    """

    def declare(handler: Handler[A]) -> Handler[A]:
        if args in _HANDLERS:
            raise TypeError(f"{args.kind} has a handler already")
        _HANDLERS[args] = handler
        return handler

    return declare


def handler_of(args: JobArgs) -> Handler[Any] | None:
    """The declared handler, or None."""
    return _HANDLERS.get(type(args))


def load() -> None:
    """Import every module that declares handlers."""
    for module in MODULES:
        import_module(module)
