"""Progress: numbers that make sense whatever the clock and the handler do, and events that an eye can follow."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from domain.jobs.progress import MIN_SECONDS_BETWEEN_EVENTS, Progress, advance, is_worth_an_event

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
START = Progress(at=NOON)
# Clocks are set back, and handlers finish a batch within the clock's resolution.
seconds = st.one_of(st.just(0.0), st.floats(-5, 100_000), st.floats(0, 0.6))
steps = st.tuples(seconds, st.integers(0, 10**12), st.none() | st.integers(0, 10**12), st.none() | st.sampled_from("ab"))


def at(moment: float) -> datetime:
    return NOON + timedelta(seconds=moment)


@given(st.lists(steps, min_size=1, max_size=20))
@example([(100_000.0, 1, 10**12, None)])  # would be done in three billion years, after the last date there is
def test_rate_and_eta_are_finite_and_never_in_the_past(walk: list[tuple[float, int, int | None, str | None]]) -> None:
    progress, moment = START, NOON
    for passed, done, total, phase in walk:
        moment += timedelta(seconds=passed)
        before = progress
        progress = advance(before, done=done, total=total, now=moment, phase=phase)
        assert (progress.done, progress.total, progress.at) == (done, total, moment)
        assert progress.phase == (phase or before.phase)
        if progress.rate is not None:
            assert math.isfinite(progress.rate)
            assert progress.rate > 0
        if progress.eta_at is not None:
            assert progress.eta_at >= moment
            assert total is not None


@given(st.integers(1, 1000), st.floats(0.01, 1000), st.integers(1, 30))
def test_a_steady_pace_is_told_as_it_is(batch: int, pause: float, rounds: int) -> None:
    progress, total = START, batch * rounds
    for number in range(1, rounds + 1):
        progress = advance(progress, done=batch * number, total=total, now=at(pause * number))
        assert progress.rate is not None
        assert math.isclose(progress.rate, batch / pause, rel_tol=1e-3)
        assert progress.eta_at is not None
        assert math.isclose((progress.eta_at - NOON).total_seconds(), pause * rounds, rel_tol=1e-3, abs_tol=1e-3)


def test_a_new_phase_starts_its_own_rate() -> None:
    pulled = advance(START, done=500, total=1000, now=at(1))
    assert pulled.rate == 500
    pushing = advance(pulled, done=0, total=7, now=at(2), phase="push")
    assert (pushing.rate, pushing.eta_at, pushing.phase) == (None, None, "push")


def test_a_pause_keeps_the_rate_and_moves_the_eta() -> None:
    going = advance(START, done=500, total=1000, now=at(1))
    waiting = advance(going, done=500, total=1000, now=at(11))
    assert waiting.rate == 500
    assert waiting.eta_at == at(12)


def test_without_a_total_there_is_no_eta() -> None:
    assert advance(START, done=10, total=None, now=at(1)).eta_at is None


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=60))
def test_events_keep_their_distance_but_the_last_is_always_told(pauses: list[float]) -> None:
    progress, moment, told = START, NOON, [(NOON, 0)]
    for number, pause in enumerate(pauses, start=1):
        moment += timedelta(seconds=pause)
        after = advance(progress, done=number, total=len(pauses), now=moment)
        if is_worth_an_event(told[-1][0], after, before=progress):
            told.append((moment, number))
        progress = after
    assert told[-1][1] == len(pauses)
    gaps = [(later - earlier).total_seconds() for (earlier, _), (later, _) in pairwise(told[:-1])]
    assert all(gap >= MIN_SECONDS_BETWEEN_EVENTS for gap in gaps)


def test_the_first_progress_and_a_new_phase_are_always_told() -> None:
    after = advance(START, done=1, total=9, now=at(0.01), phase="push")
    assert is_worth_an_event(None, after, before=Progress(phase="push"))
    assert is_worth_an_event(NOON, after, before=Progress(phase="pull"))
    assert not is_worth_an_event(NOON, after, before=Progress(phase="push"))


def test_what_is_done_after_all_is_counted_keeps_its_distance_too() -> None:
    """A sync that looks for deleted contacts has counted all of them already."""
    before = advance(START, done=9, total=10, now=at(0))
    counted = advance(before, done=10, total=10, now=at(0.01))
    looking = advance(counted, done=10, total=10, now=at(0.02), message="Looking for deleted contacts")
    assert is_worth_an_event(at(0), counted, before=before)
    assert not is_worth_an_event(counted.at, looking, before=counted)
    later = advance(looking, done=10, total=10, now=at(0.3))
    assert is_worth_an_event(counted.at, later, before=looking)
