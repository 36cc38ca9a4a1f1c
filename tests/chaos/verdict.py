"""What must hold when the faults are over, and the figures of a run."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import asyncpg

from domain.jobs.args import kinds
from tests.chaos.load import SLOTS, Load
from tests.chaos.watchers import Watchers
from tests.faults.receiver import Receiver

LEASED = {"admitted", "running", "cancelling"}
TERMINAL = {"succeeded", "partial", "failed", "cancelled", "skipped"}
# What runs by itself, or waits for nobody any more.
OPEN = """select id, kind, state, waiting_for, paused_at is not null as paused, run_at > now() as later, worker, lease_until,
  (select count(*) from job_dependency edge join job parent on parent.id = edge.parent_id
   where edge.job_id = job.id and parent.state <> all($1)) as parents
from job where state <> all($1)"""
EVENTS = "select account_id, job_id, version, at, state, attempt, done from job_event order by job_id, version"
STEPS = """select job.id, job.done, array_agg(line.subject::int order by line.id) as steps
from job join job_log line on line.job_id = job.id and line.code = 'STEP' group by job.id, job.done"""
STRAYED = """select 'attempt' from job_attempt x join job on job.id = x.job_id where x.account_id <> job.account_id
union all select 'event' from job_event x join job on job.id = x.job_id where x.account_id <> job.account_id
union all select 'line' from job_log x join job on job.id = x.job_id where x.account_id <> job.account_id
union all select 'effect' from effect x join job on job.id = x.job_id where x.account_id <> job.account_id"""


@dataclass
class Verdict:
    """`wrong` says what should not be; `figures` what there was."""

    wrong: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note what is wrong."""
        if not holds:
            self.wrong.append(otherwise)


async def until_settled(admin: asyncpg.Connection, *, within: float) -> list[asyncpg.Record]:
    """Wait until no job can do anything by itself any more; those that have not ended then."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        rows = await admin.fetch(OPEN, list(TERMINAL))
        if loop.time() > deadline or all(_has_reason(row) for row in rows):
            return list(rows)
        await asyncio.sleep(0.2)


def _has_reason(row: asyncpg.Record) -> bool:
    """Whether somebody else has to do something before the job goes on."""
    waits = (row["state"] == "waiting" and row["waiting_for"]) or (row["state"] == "blocked" and row["parents"])
    return bool(row["paused"] or waits)


async def judge(admin: asyncpg.Connection, load: Load, receiver: Receiver, watchers: Watchers) -> Verdict:
    """Compare what happened with what must hold."""
    verdict = Verdict()
    jobs = {row["id"]: row for row in await admin.fetch("select * from job")}
    events = await admin.fetch(EVENTS)
    attempts = await admin.fetch("select * from job_attempt order by job_id, number")
    _every_answer_is_a_job(verdict, load, jobs)
    _history_is_whole(verdict, jobs, events, attempts)
    _slots_were_kept(verdict, events)
    await _effects_happened_once(verdict, admin, load, receiver)
    await _nothing_crossed_accounts(verdict, admin, load, watchers, jobs)
    _live_was_what_happened(verdict, watchers, jobs, events)
    for row in await admin.fetch(STEPS):
        verdict.expect(row["steps"] == list(range(1, row["done"] + 1)), f"job {row['id']} did the steps {row['steps']}")
    verdict.figures |= {
        "jobs": dict(Counter(job["state"] for job in jobs.values()).most_common()),
        "attempts": dict(Counter(attempt["outcome"] for attempt in attempts).most_common()),
        "events": len(events),
        "leases that were admitted again": sum(job["fence"] - job["attempt"] for job in jobs.values()),
    }
    return verdict


def _every_answer_is_a_job(verdict: Verdict, load: Load, jobs: dict[UUID, Any]) -> None:
    for account in load.accounts:
        missing = [job_id for job_id in account.jobs if job_id not in jobs]
        verdict.expect(not missing, f"jobs that were asked for are gone: {missing}")
        verdict.expect(len(account.syncs) <= 1, f"one idempotency key led to {len(account.syncs)} syncs")


def _history_is_whole(verdict: Verdict, jobs: dict[UUID, Any], events: list[Any], attempts: list[Any]) -> None:
    by_job = {job_id: list(rows) for job_id, rows in groupby(attempts, itemgetter("job_id"))}
    told = {job_id: list(rows) for job_id, rows in groupby(events, itemgetter("job_id"))}
    for job_id, job in jobs.items():
        mine = by_job.get(job_id, [])
        verdict.expect([a["number"] for a in mine] == list(range(1, job["attempt"] + 1)), f"job {job_id}: attempts have gaps")
        fences = [a["fence"] for a in mine]
        verdict.expect(fences == sorted(set(fences)), f"job {job_id}: fences {fences}")
        ended = [a["outcome"] is not None and a["ended_at"] is not None for a in mine]
        verdict.expect(all(ended) or job["state"] in LEASED, f"job {job_id} is {job['state']} with an attempt that is open")
        versions = [event["version"] for event in told[job_id]]
        verdict.expect(versions == list(range(1, job["version"] + 1)), f"job {job_id}: events have gaps")
        verdict.expect(told[job_id][-1]["state"] == job["state"], f"job {job_id}: its last event is not its state")


def _slots_were_kept(verdict: Verdict, events: list[Any]) -> None:
    """An event's time is before its commit, and an admission counts what is committed: so by these times it must hold too."""
    changes: dict[UUID, list[tuple[Any, int]]] = defaultdict(list)
    for _, rows in groupby(events, itemgetter("job_id")):
        held = False
        for event in rows:
            holds = event["state"] in LEASED
            if holds is not held:
                changes[event["account_id"]].append((event["at"], 1 if holds else -1))
            held = holds
    most = 0
    for account_id, steps in changes.items():
        leases = 0
        for _, change in sorted(steps):
            leases += change
            most = max(most, leases)
            verdict.expect(leases <= SLOTS, f"account {account_id} held {leases} leases")
    verdict.figures["most leases of an account"] = f"{most} of {SLOTS}"


async def _effects_happened_once(verdict: Verdict, admin: asyncpg.Connection, load: Load, receiver: Receiver) -> None:
    twice = {key: len(made) for key, made in receiver.made.items() if len(made) > 1}
    verdict.expect(not twice, f"effects that happened more than once: {twice}")
    rows = await admin.fetch(
        "select args->>'key' as key, result->>'made' as made from job where kind = 'test.acts' and state = 'succeeded'"
    )
    for row in rows:
        verdict.expect(receiver.made.get(row["key"]) == [row["made"]], f"effect {row['key']} is not what the job says")
    verdict.figures["effects"] = len(receiver.made)


async def _nothing_crossed_accounts(
    verdict: Verdict, admin: asyncpg.Connection, load: Load, watchers: Watchers, jobs: dict[UUID, Any]
) -> None:
    strayed = await admin.fetch(STRAYED)
    verdict.expect(not strayed, f"rows of another account: {Counter(row[0] for row in strayed)}")
    for watcher in watchers.alls:
        foreign = [job_id for job_id in watcher.seen if jobs[job_id]["account_id"] != watcher.account.id]
        verdict.expect(not foreign, f"a dashboard was shown another account's jobs: {foreign}")
    for account in load.accounts:
        foreign = [job_id for job_id in account.jobs if jobs[job_id]["account_id"] != account.id]
        verdict.expect(not foreign, f"jobs went to another account: {foreign}")


def _live_was_what_happened(verdict: Verdict, watchers: Watchers, jobs: dict[UUID, Any], events: list[Any]) -> None:
    happened = {
        job_id: [(e["version"], e["state"], e["attempt"], e["done"]) for e in rows]
        for job_id, rows in groupby(events, itemgetter("job_id"))
    }
    for watcher in watchers.ones:
        expected = [event for event in happened[watcher.job_id] if event[0] > watcher.since]
        verdict.expect(
            watcher.told == expected, f"job {watcher.job_id}: told {watcher.told}, but there was {expected} ({watcher.error})"
        )
    listed = {job_id: job for job_id, job in jobs.items() if not kinds()[job["kind"]].housekeeping}
    for every in watchers.alls:
        mine = {
            job_id: (job["version"], job["state"]) for job_id, job in listed.items() if job["account_id"] == every.account.id
        }
        seen = {job_id: every.seen.get(job_id) for job_id in mine}
        wrong = {job_id: (seen[job_id], now) for job_id, now in mine.items() if seen[job_id] != now}
        verdict.expect(
            not wrong,
            f"a dashboard ended with another picture: {wrong} ({every.resumes} resumes, {every.cursor}, {every.error})",
        )
    verdict.figures["events told live"] = sum(len(watcher.told) for watcher in watchers.ones)
    resumes = sum(watcher.resumes for watcher in watchers.ones) + sum(every.resumes for every in watchers.alls)
    verdict.figures["subscriptions resumed"] = resumes
