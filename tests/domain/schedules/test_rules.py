"""What a schedule decides about what is due."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from db.models.schedules import MissedPolicy, OverlapPolicy
from domain.schedules.rules import CATCH_UP, COUNTED, GRACE, Action, Decision, decide

START = datetime(2026, 1, 1, tzinfo=UTC)
DUE = st.integers(1, COUNTED).map(lambda count: [START + timedelta(minutes=number) for number in range(count)])
LATE = st.timedeltas(timedelta(0), timedelta(days=2))


@given(DUE, LATE, st.sampled_from(MissedPolicy), st.sampled_from(OverlapPolicy), st.integers(0, 3))
def test_each_instant_is_decided_about_once(
    due: list[datetime], late: timedelta, missed: MissedPolicy, overlap: OverlapPolicy, active: int
) -> None:
    """Either it has a decision of its own, or it is counted in one of a later instant."""
    decisions = decide(due, now=due[-1] + late, missed_policy=missed, overlap_policy=overlap, active=active)
    assert len(decisions) + sum(decision.missed for decision in decisions) == len(due)
    assert [decision.nominal for decision in decisions] == due[-len(decisions) :]


@given(DUE, LATE, st.sampled_from(OverlapPolicy), st.integers(0, 3))
def test_the_policies_for_what_was_missed(due: list[datetime], late: timedelta, overlap: OverlapPolicy, active: int) -> None:
    now = due[-1] + late

    def by(policy: MissedPolicy) -> list[Decision]:
        return decide(due, now=now, missed_policy=policy, overlap_policy=overlap, active=active)

    assert len(by(MissedPolicy.RUN_ONCE)) == len(by(MissedPolicy.SKIP)) == 1
    assert (by(MissedPolicy.SKIP)[0].action is Action.MISSED) == (late > GRACE)
    assert by(MissedPolicy.RUN_ONCE)[0].action is not Action.MISSED
    assert len(by(MissedPolicy.RUN_ALL)) == min(len(due), CATCH_UP)


@given(st.sampled_from([MissedPolicy.RUN_ONCE, MissedPolicy.SKIP, MissedPolicy.RUN_ALL]), st.integers(0, 5))
def test_the_policies_for_runs_that_overlap(missed: MissedPolicy, active: int) -> None:
    def by(policy: OverlapPolicy) -> Action:
        (decision,) = decide([START], now=START, missed_policy=missed, overlap_policy=policy, active=active)
        return decision.action

    assert by(OverlapPolicy.ALLOW) is Action.START
    assert by(OverlapPolicy.SKIP) is (Action.START if active == 0 else Action.OVERLAPPED)
    queued = {0: Action.START, 1: Action.QUEUE}.get(active, Action.OVERLAPPED)
    assert by(OverlapPolicy.QUEUE_ONE) is queued


@given(DUE.filter(lambda due: len(due) > 1), st.sampled_from(OverlapPolicy), st.integers(0, 3))
def test_what_is_caught_up_runs_one_after_another(due: list[datetime], overlap: OverlapPolicy, active: int) -> None:
    policies = {"missed_policy": MissedPolicy.RUN_ALL, "overlap_policy": overlap}
    first, *others = decide(due, now=due[-1], active=active, **policies)  # type: ignore[arg-type]  # a dict of two enums
    allowed = overlap is OverlapPolicy.ALLOW
    assert {decision.action for decision in others} == {Action.START if allowed else Action.QUEUE}
    assert first.action is (Action.START if allowed or active == 0 else Action.QUEUE)
