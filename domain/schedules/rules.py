"""What a schedule does about what is due: pure decisions by its two policies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from db.models.schedules import MissedPolicy, OverlapPolicy

GRACE = timedelta(seconds=60)  # so much later than due is not called missed
CATCH_UP = 50
COUNTED = 100


class Action(StrEnum):
    """`queue`: start after the schedule's latest run has ended."""

    START = "start"
    QUEUE = "queue"
    OVERLAPPED = "overlapped"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about the instant `nominal`; `missed` counts earlier ones that nothing is done about."""

    nominal: datetime
    action: Action
    missed: int = 0


def decide(
    due: Sequence[datetime], *, now: datetime, missed_policy: MissedPolicy, overlap_policy: OverlapPolicy, active: int
) -> list[Decision]:
    """What is done about the instants that are due, oldest first, while `active` runs of the schedule have not ended.

    RUN_ONCE runs for the latest instant. SKIP does so only if that is at most a minute ago. RUN_ALL runs for the latest 50,
    one after another unless runs may overlap.
    """
    latest = due[-1]
    if missed_policy is MissedPolicy.SKIP and now - latest > GRACE:
        return [Decision(latest, Action.MISSED, len(due) - 1)]
    chosen = due[-CATCH_UP:] if missed_policy is MissedPolicy.RUN_ALL else due[-1:]
    left_out = len(due) - len(chosen)
    first, *others = chosen
    follows = Action.START if overlap_policy is OverlapPolicy.ALLOW else Action.QUEUE
    opening = _by_overlap(overlap_policy, active) if not others else Action.START if not active else follows
    return [Decision(first, opening, left_out), *(Decision(instant, follows) for instant in others)]


def _by_overlap(policy: OverlapPolicy, active: int) -> Action:
    if active == 0 or policy is OverlapPolicy.ALLOW:
        return Action.START
    return Action.QUEUE if policy is OverlapPolicy.QUEUE_ONE and active == 1 else Action.OVERLAPPED
