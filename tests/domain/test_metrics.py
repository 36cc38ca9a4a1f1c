"""What Prometheus is told: of each kind of job, of slots and queues, and of an event loop that is blocked."""

import asyncio
import socket
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from db.models.jobs import Lane
from domain import health, metrics
from domain.errors import VendorDown
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from jobs import clock
from tests.factories.engine import Engine, Scripted, failing, play

KIND = {"kind": "test.scripted"}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def succeed(job: Running[Scripted], runtime: Runtime) -> Done:
    return Done("Done")


async def waited(engine: Engine, job: Any) -> float:
    """By how much the queue's latency grew when a job was started."""
    before = value("bots_job_queue_seconds_sum", **KIND)
    await engine.start(job)
    return value("bots_job_queue_seconds_sum", **KIND) - before


async def test_latency_counts_from_ready_to_started_at_every_attempt(engine: Engine) -> None:
    account_id = await engine.account()
    job = await engine.enqueue(account_id, failing(VendorDown("away")))
    await engine.sql(
        "update job set run_at = now() - interval '40 s', created_at = now() - interval '1 h' where id = $1", job.id
    )
    assert 40 <= await waited(engine, job) < 50
    await engine.sql(
        "update job set state = 'ready', lease_until = null, run_at = now() - interval '5 s' where id = $1", job.id
    )
    assert 5 <= await waited(engine, await engine.job(job.id)) < 15  # the second attempt is as good as the first


async def test_a_job_that_is_handed_back_waits_anew(engine: Engine) -> None:
    async def drained(job: Running[Scripted], runtime: Runtime) -> Done:
        async with job.unit():
            pass
        return Done("not reached")

    job = await engine.enqueue(await engine.account(), play(drained))
    await engine.sql("update job set run_at = now() - interval '1 h' where id = $1", job.id)
    draining = asyncio.Event()
    draining.set()
    handed_back = await engine.attempt(job, draining=draining)
    assert handed_back.state == "ready"
    assert datetime.now(UTC) - handed_back.run_at < timedelta(seconds=10)


async def test_run_times_outcomes_and_retries_are_counted_by_kind(engine: Engine) -> None:
    account_id = await engine.account()
    before = {
        "ok": value("bots_job_run_seconds_count", outcome="succeeded", **KIND),
        "backoff": value("bots_job_run_seconds_count", outcome="backoff", **KIND),
        "retries": value("bots_job_retries_total", **KIND),
    }
    await engine.attempt(await engine.enqueue(account_id, play(succeed)))
    await engine.attempt(await engine.enqueue(account_id, failing(VendorDown("away"))))
    assert value("bots_job_run_seconds_count", outcome="succeeded", **KIND) == before["ok"] + 1
    assert value("bots_job_run_seconds_count", outcome="backoff", **KIND) == before["backoff"] + 1
    assert value("bots_job_retries_total", **KIND) == before["retries"] + 1


async def test_slots_queues_and_backlogs_are_gauges_that_forget_what_is_over(engine: Engine) -> None:
    lane = {"lane": "interactive"}
    account_id = await engine.account()
    running = await engine.start(await engine.enqueue(account_id))
    await engine.capacity(7)
    waiting = await engine.enqueue(account_id)
    await engine.sql("update job set run_at = now() - interval '90 s' where id = $1", waiting.id)
    await health.measure(engine.runtime)
    assert (value("bots_worker_capacity", **lane), value("bots_worker_used", **lane), value("bots_workers", **lane)) == (
        7,
        1,
        1,
    )
    assert value("bots_jobs", state="ready", **lane, **KIND) == 1
    assert 90 <= value("bots_oldest_ready_seconds", **lane) < 100
    await engine.sql("delete from job where id in ($1, $2)", running.id, waiting.id)
    await health.measure(engine.runtime)
    assert REGISTRY.get_sample_value("bots_jobs", {"state": "ready", **lane, **KIND}) is None
    assert value("bots_oldest_ready_seconds", **lane) == value("bots_worker_used", **lane) == 0
    assert value("bots_deliveries_pending", outlet="webhooks") == value("bots_deliveries_pending", outlet="email") == 0


async def test_sweeps_and_dispatch_are_timed(engine: Engine) -> None:
    steps = ("admit", "react", "ready_due", "take_back_lapsed")
    before = {step: value("bots_step_seconds_count", step=step) for step in steps}
    await engine.enqueue(await engine.account())
    await engine.runtime.admit(Lane.INTERACTIVE)
    await clock.sweep(engine.runtime)
    assert all(value("bots_step_seconds_count", step=step) > before[step] for step in steps)


async def test_no_figure_is_kept_by_account(engine: Engine) -> None:
    account_id = await engine.account()
    await engine.attempt(await engine.enqueue(account_id, play(succeed)))
    await health.measure(engine.runtime)
    labels = [sample.labels for metric in REGISTRY.collect() for sample in metric.samples]
    assert not [
        each for each in labels if str(account_id) in each.values() or {"account", "account_id", "job_id"} & each.keys()
    ]


async def test_a_blocked_loop_is_seen_while_it_is_blocked_and_afterwards(unused_port: int) -> None:
    metrics.serve(unused_port, host="127.0.0.1")
    metrics.serve(unused_port, host="127.0.0.1")  # taken: the process works on
    watching = asyncio.create_task(metrics.Pulse().watch())
    await asyncio.sleep(0)
    late = value("bots_loop_lag_seconds_count") - value("bots_loop_lag_seconds_bucket", le="0.1")
    asked = asyncio.create_task(asyncio.to_thread(scraped_later, unused_port))
    await asyncio.sleep(0.1)
    time.sleep(1.6)  # noqa: ASYNC251 -- that is the fault
    text = await asked
    silent = next(line for line in text.splitlines() if line.startswith("bots_loop_silent_seconds "))
    assert float(silent.split()[1]) > 0.3
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    watching.cancel()
    assert value("bots_loop_lag_seconds_count") - value("bots_loop_lag_seconds_bucket", le="0.1") > late


def scraped_later(port: int) -> str:
    """What the metrics' own thread answers a second from now."""
    time.sleep(1.2)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
