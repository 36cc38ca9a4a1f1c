"""What an account decides for all its jobs of a kind: priority, retries, timeout and slots; and its slots in all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.models.jobs import LEASED, Job, Lane
from db.models.queues import AccountSlots, JobSetting
from db.models.tenancy import Role
from domain.actor import Scope
from domain.errors import Forbidden, Invalid, NotFound
from domain.jobs.args import JobArgs, kinds
from domain.jobs.catalog import is_visible
from domain.jobs.priority import JobPriority
from domain.tenancy.accounts import StaleVersion
from domain.unit import Unit

MAX_ACCOUNT_SLOTS = 1_000
# The lowest and the highest value of what an account may decide. Ten retries take four hours, the last pause.
BOUNDS: Mapping[str, tuple[int, int]] = {
    "max_retries": (0, 10),
    "timeout_seconds": (1, 7 * 24 * 3600),
    "slots": (1, MAX_ACCOUNT_SLOTS),
}
_MANAGERS = frozenset({Role.OWNER, Role.ADMIN})


class UnknownJobKind(NotFound):
    """No job of this release is of this kind, or the actor may not see such jobs."""

    code = "BGJ-052"


class DecidedByManager(Forbidden):
    """An owner or admin decided the priority of this kind: a member cannot change it."""

    code = "BGJ-051"


@dataclass(frozen=True, slots=True)
class KindDefaults:
    """What a kind itself says."""

    priority: JobPriority
    max_retries: int
    timeout_seconds: int


@dataclass(frozen=True, slots=True)
class KindSettings:
    """What the account's future jobs of a kind are given; `decided` are the columns that the account has a say in."""

    kind: str
    title: str
    lane: Lane
    priority: JobPriority
    max_retries: int
    timeout_seconds: int
    slots: int | None
    defaults: KindDefaults
    decided: frozenset[str] = frozenset()
    set_by: Role | None = None
    version: int = 0
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SlotsInUse:
    """The account's slots, and how many of them its jobs hold now."""

    slots: int
    in_use: int
    version: int


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """`values` by column; None goes back to what the kind itself says."""

    kind: str
    expected_version: int
    values: Mapping[str, int | None] = field(default_factory=dict)


async def of_all_kinds(unit: Unit) -> list[KindSettings]:
    """Every kind that the actor may see, by its name. Raises Forbidden."""
    unit.require(Scope.JOBS_READ)
    decided = {row.kind: row for row in await unit.session.scalars(sa.select(JobSetting))}
    return [_settings(args, decided.get(kind)) for kind, args in sorted(kinds().items()) if _is_shown(unit, args)]


def known_kind(unit: Unit, kind: str, *, field: tuple[str, ...]) -> type[JobArgs]:
    """A kind that the actor may see and decide about, which was given in `field`. Raises UnknownJobKind."""
    args = kinds().get(kind)
    if args is None or not _is_shown(unit, args):
        raise UnknownJobKind("There are no jobs of this kind.", field=field)
    return args


async def update(unit: Unit, change: SettingsChange) -> KindSettings:
    """Decide for the account's future jobs of a kind; slots count from the next admission on.

    Members may decide the priority, unless an owner or admin has; the rest needs settings:write. Raises Forbidden,
    DecidedByManager, UnknownJobKind, Invalid, StaleVersion.
    """
    unit.require(Scope.JOBS_WRITE)
    if change.values.keys() - {"priority"}:
        unit.require(Scope.SETTINGS_WRITE)
    args = known_kind(unit, change.kind, field=("kind",))
    _check(change.values)
    row = await _lock(unit, change.kind)
    if row.version != change.expected_version:
        raise StaleVersion("The settings were changed meanwhile.", field=("expectedVersion",))
    before = _decided(row)
    role = role_of(unit)
    overrides = "priority" in change.values and row.set_by not in {None, role}
    if overrides and role not in _MANAGERS:
        raise DecidedByManager("An owner or admin has decided the priority of these jobs.", field=("priority",))
    overridden = row.set_by if overrides and row.set_by not in _MANAGERS else None
    for name, value in change.values.items():
        setattr(row, name, value)
    if "priority" in change.values:
        row.set_by = None if row.priority is None else role
    row.version += 1
    row.updated_at = sa.func.now()
    await unit.session.flush()
    await unit.session.refresh(row)
    unit.audit(
        "job.settings.update" if overridden is None else "job.settings.override",
        subject_type="job_setting",
        subject_id=None,
        kind=change.kind,
        before=before,
        after=_decided(row),
        **({} if overridden is None else {"overrides": overridden}),
    )
    if "slots" in change.values:
        unit.admit(args.lane)
    return _settings(args, row)


async def account_slots(unit: Unit) -> SlotsInUse:
    """How many jobs of the account may run at once, and how many do. Raises Forbidden."""
    unit.require(Scope.JOBS_READ)
    row = (await unit.session.scalars(sa.select(AccountSlots))).one()
    leased = sa.select(sa.func.count()).select_from(Job).where(Job.account_id == unit.account_id, Job.state.in_(LEASED))
    leased = leased.where(Job.takes_slot)
    return SlotsInUse(row.slots, (await unit.session.execute(leased)).scalar_one(), row.version)


async def update_account_slots(unit: Unit, *, slots: int, expected_version: int) -> SlotsInUse:
    """Decide how many jobs of the account run at once; running ones go on. Raises Forbidden, Invalid, StaleVersion."""
    unit.require(Scope.SETTINGS_WRITE)
    if not 1 <= slots <= MAX_ACCOUNT_SLOTS:
        raise Invalid(f"slots must be between 1 and {MAX_ACCOUNT_SLOTS}.", field=("slots",))
    row = (await unit.session.scalars(sa.select(AccountSlots).with_for_update())).one()
    if row.version != expected_version:
        raise StaleVersion("The slots were changed meanwhile.", field=("expectedVersion",))
    before, row.slots = row.slots, slots
    row.version += 1
    await unit.session.flush()
    unit.audit("account.slots", subject_type="account", subject_id=unit.account_id, before=before, after=slots)
    for lane in {args.lane for args in kinds().values()}:
        unit.admit(lane)
    return await account_slots(unit)


def role_of(unit: Unit) -> Role:
    """The actor's role; programs and the product itself count as what they may do."""
    if unit.actor.role is not None:
        return unit.actor.role
    return Role.ADMIN if Scope.SETTINGS_WRITE in unit.actor.scopes else Role.MEMBER


def _settings(args: type[JobArgs], row: JobSetting | None) -> KindSettings:
    own = {"priority": int(JobPriority.NORMAL), "max_retries": args.max_retries, "timeout_seconds": args.timeout, "slots": None}
    decided = {name: getattr(row, name) for name in own if getattr(row, name, None) is not None}
    given: dict[str, Any] = {**own, **decided}
    return KindSettings(
        kind=args.kind,
        title=args.title,
        lane=args.lane,
        priority=JobPriority.nearest(given["priority"]),
        max_retries=given["max_retries"],
        timeout_seconds=given["timeout_seconds"],
        slots=given["slots"],
        defaults=KindDefaults(JobPriority.NORMAL, args.max_retries, args.timeout),
        decided=frozenset(decided),
        set_by=None if row is None else row.set_by,
        version=0 if row is None else row.version,
        updated_at=None if row is None else row.updated_at,
    )


def _is_shown(unit: Unit, args: type[JobArgs]) -> bool:
    return is_visible(unit, args.kind) and not args.housekeeping


def _check(values: Mapping[str, int | None]) -> None:
    if not values:
        raise Invalid("Say what is to be changed.")
    for name, (least, most) in BOUNDS.items():
        value = values.get(name)
        if value is not None and not least <= value <= most:
            shown = _FIELDS[name]
            raise Invalid(f"{shown} must be between {least} and {most}.", field=(shown,))


async def _lock(unit: Unit, kind: str) -> JobSetting:
    """The account's row for a kind, made where there is none: its version is 0 until somebody decides something."""
    fresh = insert(JobSetting).values(account_id=unit.account_id, kind=kind, version=0).on_conflict_do_nothing()
    await unit.session.execute(fresh)
    return (await unit.session.scalars(sa.select(JobSetting).where(JobSetting.kind == kind).with_for_update())).one()


def _decided(row: JobSetting) -> dict[str, Any]:
    priority = None if row.priority is None else JobPriority.nearest(row.priority).name
    return {"priority": priority, **{name: getattr(row, name) for name in BOUNDS}}


_FIELDS = {"max_retries": "maxRetries", "timeout_seconds": "timeoutSeconds", "slots": "slots"}
