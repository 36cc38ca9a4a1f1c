"""Progress of a running job: pure arithmetic, and the fenced write that keeps it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

# A subscriber's eye follows four updates a second; more would only cost.
MIN_SECONDS_BETWEEN_EVENTS = 0.25
# Weight of the newest measurement in the moving average: steady enough to read, quick enough to follow a rate limit.
_SMOOTHING = 0.3
# Farther ahead nothing can be foretold, and dates end.
_FORESEEABLE = timedelta(days=3650).total_seconds()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. `rate` is in items a second, `eta_at` in UTC; both None until they can be known."""

    done: int = 0
    total: int | None = None
    phase: str | None = None
    message: str | None = None
    rate: float | None = None
    eta_at: datetime | None = None
    at: datetime | None = None


def advance(
    before: Progress, *, done: int, total: int | None, now: datetime, phase: str | None = None, message: str | None = None
) -> Progress:
    """The progress after `done` of `total` items. A new phase starts its own rate."""
    same_phase = phase is None or phase == before.phase
    rate = _rate(before, done=done, now=now) if same_phase else None
    seconds = None if total is None or not rate else max(total - done, 0) / rate
    eta = now + timedelta(seconds=seconds) if seconds is not None and seconds < _FORESEEABLE else None
    return Progress(
        done=done,
        total=total,
        phase=before.phase if phase is None else phase,
        message=before.message if message is None else message,
        rate=rate,
        eta_at=eta,
        at=now,
    )


def is_worth_an_event(last_event: datetime | None, after: Progress, *, before: Progress) -> bool:
    """Whether subscribers should hear of `after`: not more than about four times a second, but never without the last one."""
    if last_event is None or after.at is None or after.phase != before.phase:
        return True
    # What is still done once all is counted is no last one again and again.
    has_moved = (before.done, before.total) != (after.done, after.total)
    complete = has_moved and after.total is not None and after.done >= after.total
    return complete or (after.at - last_event).total_seconds() >= MIN_SECONDS_BETWEEN_EVENTS


def _rate(before: Progress, *, done: int, now: datetime) -> float | None:
    if before.at is None or done <= before.done:
        return before.rate
    seconds = (now - before.at).total_seconds()
    if seconds <= 0:
        return before.rate
    measured = (done - before.done) / seconds
    return measured if before.rate is None else before.rate + _SMOOTHING * (measured - before.rate)
