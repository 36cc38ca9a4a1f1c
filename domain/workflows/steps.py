"""What a workflow can do, step by step. Stored as a JSON list of objects with one key each, the step's kind."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

import sqlalchemy as sa

from db.base import any_of
from db.models.crm.connections import Location
from db.models.tenancy import Role
from db.models.workflows import ReportOf
from domain.actor import ROLE_SCOPES, Scope
from domain.crm.connections.app import LocationNotFound
from domain.errors import Invalid
from domain.jobs.args import UnreadableArgs
from domain.tenancy.accounts import parse_email
from domain.unit import Unit

MAX_STEPS = 50
MAX_RECIPIENTS = 50
_MAX_DAYS = 366
_MAX_WAIT = 30 * 86_400
_MAX_SUBJECT, _MAX_MESSAGE = 200, 20_000


class InvalidStep(Invalid):
    """A step cannot be carried out as it is given."""

    code = "WFL-001"


class StepKind(StrEnum):
    """What a step does."""

    REPORT = "report"
    JOB = "job"
    NOTIFY = "notify"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Report:
    """Write what is new of the last `days` days as CSV; of one sub-account where one is given."""

    of: ReportOf
    days: int
    location_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class SyncJob:
    """Sync a sub-account's contacts, and go on when that has ended."""

    location_id: UUID


@dataclass(frozen=True, slots=True)
class Notify:
    """Send an e-mail, with the reports that the run has made so far."""

    recipients: tuple[str, ...]
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on after so many seconds."""

    seconds: int


Step: TypeAlias = Report | SyncJob | Notify | Wait
_NEEDS: Mapping[ReportOf, Scope] = {ReportOf.CONTACTS: Scope.CONTACTS_READ, ReportOf.JOBS: Scope.JOBS_READ}


def kind_of(step: Step) -> StepKind:
    """What it does."""
    match step:
        case Report():
            return StepKind.REPORT
        case SyncJob():
            return StepKind.JOB
        case Notify():
            return StepKind.NOTIFY
        case Wait():
            return StepKind.WAIT


def title_of(step: Step) -> str:
    """The same for people."""
    match step:
        case Report(of, days):
            return f"Report of {of.value} of the last {'day' if days == 1 else f'{days} days'}"
        case SyncJob():
            return "Contact sync"
        case Notify(recipients):
            return f"E-mail to {', '.join(recipients[:3])}{' and others' if len(recipients) > 3 else ''}"  # noqa: PLR2004 -- enough to tell
        case Wait(seconds):
            return f"Wait {_span(seconds)}"


def _span(seconds: int) -> str:
    """Exactly so long, in the units that people use: 1 day 2 hours."""
    left, parts = seconds, []
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts)


def scope_of(step: Step) -> Scope:
    """The permission that somebody needs who lets a workflow do this."""
    match step:
        case Report(of):
            return _NEEDS[of]
        case SyncJob():
            return Scope.CONTACTS_WRITE
        case _:
            return Scope.WORKFLOWS_WRITE


def read_with(report: Report) -> frozenset[Scope]:
    """The permissions with which a report is made: whoever lacks one of them does not see its file.

    A report of jobs shows what everybody of the account may see.
    """
    return frozenset({Scope.CONTACTS_READ}) if report.of is ReportOf.CONTACTS else ROLE_SCOPES[Role.VIEWER]


def to_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The JSON that is stored."""
    return [{kind_of(step).value: {name: _plain(getattr(step, name)) for name in step.__slots__}} for step in steps]


def from_json(stored: Sequence[dict[str, Any]]) -> list[Step]:
    """What was stored. Raises UnreadableArgs for a step of a newer release: a job waits for the one that can do it."""
    try:
        return [_read(*next(iter(step.items()))) for step in stored]
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        raise UnreadableArgs("This release does not understand a step of the workflow.") from None


def _read(kind: str, values: dict[str, Any]) -> Step:
    match StepKind(kind):
        case StepKind.REPORT:
            location_id = values.get("location_id")
            return Report(ReportOf(values["of"]), values["days"], None if location_id is None else UUID(location_id))
        case StepKind.JOB:
            return SyncJob(UUID(values["location_id"]))
        case StepKind.NOTIFY:
            return Notify(tuple(values["recipients"]), values["subject"], values["message"])
        case StepKind.WAIT:
            return Wait(values["seconds"])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, UUID) else value


async def checked(unit: Unit, steps: Sequence[Step]) -> list[Step]:
    """The steps with tidied addresses. Raises InvalidStep, LocationNotFound, Forbidden; the field leads to the step."""
    if not 1 <= len(steps) <= MAX_STEPS:
        raise InvalidStep(f"A workflow has 1 to {MAX_STEPS} steps.", field=("steps",))
    require_scopes(unit, steps)
    tidy = [_checked(step, ("steps", str(number), kind_of(step).value)) for number, step in enumerate(steps)]
    await _require_locations(unit, steps)
    return tidy


def require_scopes(unit: Unit, steps: Sequence[Step]) -> None:
    """That the actor may do all of this, and be sent what comes of it. Raises Forbidden."""
    for step in steps:
        unit.require(scope_of(step))


def recipients_of(addresses: Collection[str], *, field: tuple[str, ...]) -> list[str]:
    """E-mail addresses, each once, in lower case. Raises Invalid."""
    if len(addresses) > MAX_RECIPIENTS:
        raise Invalid(f"At most {MAX_RECIPIENTS} recipients.", field=field)
    parsed = [parse_email(address, field=(*field, str(number))) for number, address in enumerate(addresses)]
    return list(dict.fromkeys(parsed))


def _checked(step: Step, field: tuple[str, ...]) -> Step:
    match step:
        case Report():
            _require(1 <= step.days <= _MAX_DAYS, f"days must be 1 to {_MAX_DAYS}.", (*field, "days"))
        case Wait():
            _require(1 <= step.seconds <= _MAX_WAIT, f"seconds must be 1 to {_MAX_WAIT}.", (*field, "seconds"))
        case Notify():
            subject = " ".join(step.subject.split())
            _require(0 < len(subject) <= _MAX_SUBJECT, f"A subject has 1 to {_MAX_SUBJECT} characters.", (*field, "subject"))
            said = f"A message has at most {_MAX_MESSAGE} characters."
            _require(len(step.message) <= _MAX_MESSAGE and "\x00" not in step.message, said, (*field, "message"))
            few = 1 <= len(step.recipients) <= MAX_RECIPIENTS
            _require(few, f"An e-mail has 1 to {MAX_RECIPIENTS} recipients.", (*field, "recipients"))
            recipients = recipients_of(step.recipients, field=(*field, "recipients"))
            return Notify(tuple(recipients), subject.replace("\x00", ""), step.message)
        case SyncJob():
            pass
    return step


def _require(holds: bool, message: str, field: tuple[str, ...]) -> None:
    if not holds:
        raise InvalidStep(message, field=field)


async def _require_locations(unit: Unit, steps: Sequence[Step]) -> None:
    wanted = {
        number: step.location_id
        for number, step in enumerate(steps)
        if isinstance(step, Report | SyncJob) and step.location_id is not None
    }
    if not wanted:
        return
    known = set(await unit.session.scalars(sa.select(Location.id).where(any_of(Location.id, set(wanted.values())))))
    for number, location_id in wanted.items():
        if location_id not in known:
            field = ("steps", str(number), kind_of(steps[number]).value, "locationId")
            raise LocationNotFound("There is no such sub-account.", field=field)
