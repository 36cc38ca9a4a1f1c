"""What a person wants to be told of. Each change is a new row: what happened before it is told as it was wanted then."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from db.models.notifications import Channel, NotificationSetting
from db.models.tenancy import ActorType
from domain.actor import Actor
from domain.errors import Forbidden, Invalid
from domain.jobs.settings import known_kind
from domain.notifications.people import preferences_of
from domain.notifications.routing import Preferences, Rule
from domain.tenancy.accounts import StaleVersion
from domain.unit import Unit

MAX_RULES: Final = 200
LONGEST_MUTE: Final = timedelta(days=365)


class NotAPerson(Forbidden):
    """Only the account's own people have notifications; programs and support staff have none."""

    code = "NTF-003"


@dataclass(frozen=True, slots=True)
class Versioned:
    """Preferences, and the version to send with a change; 0 for somebody who never chose."""

    version: int
    preferences: Preferences


def person(actor: Actor) -> UUID:
    """The user who asks. Raises NotAPerson."""
    if actor.type is not ActorType.USER or actor.id is None:
        raise NotAPerson("Only people have notifications: sign in as one.")
    return actor.id


async def get(unit: Unit) -> Versioned:
    """What the person who asks wants. Raises NotAPerson."""
    newest = (
        sa.select(NotificationSetting)
        .where(NotificationSetting.account_id == unit.account_id, NotificationSetting.user_id == person(unit.actor))
        .order_by(NotificationSetting.version.desc())
        .limit(1)
    )
    setting = (await unit.session.scalars(newest)).one_or_none()
    return Versioned(0, Preferences()) if setting is None else Versioned(setting.version, preferences_of(setting))


async def update(
    unit: Unit,
    *,
    expected_version: int,
    enabled: bool | None = None,
    default_channel: Channel | None = None,
    rules: Sequence[Rule] | None = None,
) -> Versioned:
    """Change what is given; `rules` replace all there were. For what happens from now on.

    Raises StaleVersion, Invalid, UnknownJobKind.
    """
    if rules is not None:
        _check(unit, rules)
    current = await get(unit)
    if current.version != expected_version:
        raise _stale()
    now = current.preferences
    wanted = replace(
        now,
        enabled=now.enabled if enabled is None else enabled,
        default_channel=now.default_channel if default_channel is None else default_channel,
        rules=now.rules if rules is None else tuple(rules),
    )
    return await _keep(unit, current.version + 1, wanted)


async def mute(unit: Unit, *, until: datetime | None) -> Versioned:
    """Show what is not critical in the app only, and silently, until then; None ends it. Raises Invalid, StaleVersion."""
    now = datetime.now(UTC)
    if until is not None and not now < until <= now + LONGEST_MUTE:
        raise Invalid("Choose a time to come, within a year.", field=("until",))
    current = await get(unit)
    return await _keep(unit, current.version + 1, replace(current.preferences, muted_until=until))


async def _keep(unit: Unit, version: int, wanted: Preferences) -> Versioned:
    row = insert(NotificationSetting).values(
        account_id=unit.account_id,
        user_id=person(unit.actor),
        version=version,
        enabled=wanted.enabled,
        default_channel=wanted.default_channel,
        muted_until=wanted.muted_until,
        rules=[rule.to_json() for rule in wanted.rules],
    )
    kept = (await unit.session.scalars(row.on_conflict_do_nothing().returning(NotificationSetting.version))).one_or_none()
    if kept is None:
        raise _stale()
    return Versioned(version, wanted)


def _check(unit: Unit, rules: Sequence[Rule]) -> None:
    if len(rules) > MAX_RULES:
        raise Invalid(f"At most {MAX_RULES} rules are kept.", field=("rules",))
    seen: set[tuple[str, str | None]] = set()
    for number, rule in enumerate(rules):
        if rule.kind is not None:
            known_kind(unit, rule.kind, field=("rules", str(number), "jobKind"))
        if (rule.event, rule.kind) in seen:
            raise Invalid("There is a rule for this event and kind already.", field=("rules", str(number)))
        seen.add((rule.event, rule.kind))


def _stale() -> StaleVersion:
    return StaleVersion("The preferences were changed meanwhile.", field=("expectedVersion",))
