"""What a failed attempt leads to."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.models.jobs import AttemptOutcome, JobState
from domain.errors import Conflict, DomainError, VendorBusy, VendorDown, VendorRefused, VendorUnauthorized
from domain.jobs import retry
from domain.jobs.args import UnknownKind, UnreadableArgs
from domain.jobs.retry import Verdict, delay_before, judge
from domain.vendors.http import Answer

counts = st.integers(0, 12)
waits = st.floats(0, 1e7)
DOWN, FAULT, SILENCE = VendorDown("down", status=503), RuntimeError("ours"), None


def verdict_on(error: Exception | None, *, failures: int, max_retries: int) -> Verdict:
    if error is None:
        return retry.lost(failures=failures, max_retries=max_retries)
    return judge(error, failures=failures, max_retries=max_retries)


def test_the_delays_are_30_seconds_doubling() -> None:
    assert [delay_before(n) for n in (1, 2, 3, 4, 5)] == [30, 60, 120, 240, 480]


@given(st.integers(1, 60))
def test_each_delay_is_exactly_30_times_a_power_of_two(n: int) -> None:
    assert delay_before(n) == 30 * 2 ** (n - 1)


@given(st.integers(max_value=0))
def test_there_is_no_retry_before_the_first(n: int) -> None:
    with pytest.raises(ValueError, match="from 1"):
        delay_before(n)


@given(st.integers(400, 499), counts, counts)
def test_a_4xx_is_final_except_those_that_ask_for_patience(status: int, failures: int, max_retries: int) -> None:
    with pytest.raises(DomainError) as raised:
        Answer("Vendor", "test", status, httpx.Headers(), b"{}").checked()
    verdict = judge(raised.value, failures=failures, max_retries=max_retries)
    match status:
        case 401:  # a person can mend it
            assert verdict == Verdict(JobState.WAITING, AttemptOutcome.WAITING)
        case 429:
            assert verdict.state is JobState.BACKOFF
            assert not verdict.costs_retry
        case 408 | 425:
            assert (verdict.state is JobState.BACKOFF) == (failures < max_retries)
        case _:
            assert verdict == Verdict(JobState.FAILED, AttemptOutcome.FAILED)


@given(waits, counts, counts)
def test_a_rate_limit_never_spends_a_retry(wait: float, failures: int, max_retries: int) -> None:
    verdict = judge(VendorBusy("busy", retry_after=wait, status=429), failures=failures, max_retries=max_retries)
    assert verdict == Verdict(JobState.BACKOFF, AttemptOutcome.SNOOZED, max(wait, 1.0), costs_retry=False)


@given(st.lists(st.sampled_from([DOWN, FAULT, SILENCE, "busy"]), max_size=30), counts)
def test_whatever_comes_between_a_job_fails_upon_the_first_failure_that_it_has_no_retry_for(
    story: list[Exception | str | None], max_retries: int
) -> None:
    failures, delays = 0, []
    for chapter in story:
        error = VendorBusy("busy", retry_after=7) if isinstance(chapter, str) else chapter
        verdict = verdict_on(error, failures=failures, max_retries=max_retries)
        assert verdict.costs_retry == (chapter != "busy")
        if verdict.state is JobState.FAILED:
            assert failures == max_retries
            assert verdict.delay is None
            break
        assert verdict.state is JobState.BACKOFF
        if verdict.costs_retry:
            failures += 1
            delays.append(verdict.delay)
    else:
        assert failures <= max_retries
    assert delays == [30 * 2**n for n in range(len(delays))]


@given(counts, counts)
def test_a_worker_that_falls_silent_is_always_told_apart(failures: int, max_retries: int) -> None:
    assert retry.lost(failures=failures, max_retries=max_retries).outcome is AttemptOutcome.LOST


@pytest.mark.parametrize("error", [VendorUnauthorized("revoked"), UnknownKind("newer"), UnreadableArgs("newer")])
def test_what_a_person_or_a_deploy_must_mend_waits(error: DomainError) -> None:
    assert judge(error, failures=9, max_retries=0) == Verdict(JobState.WAITING, AttemptOutcome.WAITING)


@pytest.mark.parametrize("error", [VendorRefused("no", status=422), Conflict("no"), DomainError("no")])
def test_a_refusal_of_the_domain_is_final(error: DomainError) -> None:
    assert judge(error, failures=0, max_retries=5).state is JobState.FAILED
