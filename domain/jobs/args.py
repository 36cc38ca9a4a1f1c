"""What can be asked of a job: one frozen dataclass per kind, with a stable `kind` string that outlives renames of the class."""

import hashlib
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Self, get_type_hints
from uuid import UUID

import orjson

from db.models.jobs import Job, Lane
from domain.actor import Scope
from domain.errors import DomainError
from domain.unit import Unit


class UnknownKind(DomainError):
    """No handler of this release runs such a job; it waits for one that does (a deploy was rolled back, say)."""

    code = "BGJ-010"


class UnreadableArgs(DomainError):
    """The stored arguments do not fit the kind: they come from a newer release, or were damaged."""

    code = "BGJ-011"


def waits_for_release(kind: str) -> str:
    """The key under which jobs wait for a release that can run their kind."""
    return f"release:{kind}"


_KINDS: dict[str, type["JobArgs"]] = {}


@dataclass(frozen=True)
class JobArgs:
    """The base of all kinds.

        @dataclass(frozen=True)
        class SyncContacts(JobArgs, kind="crm.contacts.sync", title="Contact sync", lane=Lane.BULK):
            run_id: UUID

    Fields are str, int, float, bool, UUID, or lists of these. `timeout` bounds all attempts together, in seconds from the
    first start; it wins over retries. Who lacks the scope `seen_with` does not see such jobs. A `housekeeping` job is the
    product's own: it is left out of lists and counts unless asked for, and nobody is notified of it. One that does not
    `takes_slot` changes what takes them, and must not wait behind it: it starts first, however full the account's slots are.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    lane: ClassVar[Lane]
    timeout: ClassVar[int]
    max_retries: ClassVar[int]
    seen_with: ClassVar[Scope]
    housekeeping: ClassVar[bool]
    takes_slot: ClassVar[bool]

    def __init_subclass__(
        cls,
        *,
        kind: str,
        title: str,
        lane: Lane,
        timeout: int = 3600,
        max_retries: int = 5,
        seen_with: Scope = Scope.JOBS_READ,
        housekeeping: bool = False,
        takes_slot: bool = True,
    ) -> None:
        super().__init_subclass__()
        cls.kind, cls.title, cls.lane, cls.timeout, cls.max_retries = kind, title, lane, timeout, max_retries
        cls.seen_with, cls.housekeeping, cls.takes_slot = seen_with, housekeeping, takes_slot
        known = _KINDS.setdefault(kind, cls)
        # A dataclass with slots is made twice, and is the same one.
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"two job kinds are called {kind!r}")

    def to_json(self) -> dict[str, Any]:
        """The JSON object that is stored in the job's row."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    async def changes(self, unit: Unit, job: Job) -> list[str]:  # noqa: ARG002 -- a kind that works on nothing
        """What was changed, since the job ended, of that which it works on: a sentence for each thing that a retry meets.

        Raises NotRecoverable where it is gone.
        """
        return []

    async def accept(self, unit: Unit, job: Job) -> None:
        """Make the job's own rows fit those changes; it then starts from the beginning."""

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Read a stored object. Unknown keys (of a newer release) are ignored. Raises UnreadableArgs."""
        hints = get_type_hints(cls)
        try:
            known = {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
            return cls(**{name: _typed(hints[name], value) for name, value in known.items()})
        except (TypeError, ValueError, AttributeError) as error:
            raise UnreadableArgs(f"The stored arguments do not fit {cls.kind}: {error}") from None


def kinds() -> MappingProxyType[str, type[JobArgs]]:
    """Every kind whose module was imported."""
    return MappingProxyType(_KINDS)


def read(kind: str, stored: dict[str, Any]) -> JobArgs:
    """The typed arguments of a stored job. Raises UnknownKind or UnreadableArgs."""
    if kind not in _KINDS:
        raise UnknownKind(f"This release does not know jobs of kind {kind}.")
    return _KINDS[kind].from_json(stored)


def digest(stored: dict[str, Any]) -> bytes:
    """By which one sees later whether stored arguments are still those that were asked for."""
    return hashlib.sha256(orjson.dumps(stored, option=orjson.OPT_SORT_KEYS)).digest()


def is_intact(stored: dict[str, Any], expected: bytes | None) -> bool:
    """Whether stored arguments still have the digest that was kept with them."""
    return expected is None or digest(stored) == expected


def _typed(hint: Any, value: Any) -> Any:
    if hint is UUID:
        return UUID(value)
    return [UUID(item) for item in value] if hint == list[UUID] else value


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
