"""Plain RQ doing the same four writes for a job: what our engine is put beside. Also the module that its workers import."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import psutil
from redis import Redis
from rq import Queue

if TYPE_CHECKING:
    from tests.bench.system import System

_TABLE: Final = "create table if not exists plain_job (id int primary key, state text, done int, at timestamptz default now())"
_WRITE: Final = "update plain_job set state = $2, done = $3, at = now() where id = $1"
_STEPS: Final = ("running", "running", "running", "succeeded")
_PRELOADED: Final = """
import asyncpg, rq, sys
import tests.bench.plain_rq
from redis import Redis
redis = Redis.from_url(sys.argv[1])
rq.Worker([rq.Queue(connection=redis)], connection=redis).work(logging_level="ERROR")
"""
WORKERS: Final = ("default worker", "preloaded worker", "SimpleWorker")


def work(number: int) -> None:
    """RQ's job: a connection of its own, four committed writes, and a byte for whoever counts."""
    asyncio.run(_work(number))
    with Path(os.environ["PLAIN_RQ_DONE"]).open("ab") as done:
        done.write(b".")


async def _work(number: int) -> None:
    connection = await asyncpg.connect(os.environ["PLAIN_RQ_DATABASE"])
    try:
        for index, state in enumerate(_STEPS):
            await connection.execute(_WRITE, number, state, index)
    finally:
        await connection.close()


async def measure(house: "System", *, jobs: int) -> dict[str, float]:
    """Seconds of CPU for a job, children included, by the kind of worker; from a tenth of the jobs to all."""
    async with house.database() as database:
        await database.execute(_TABLE)
        await database.execute(
            "insert into plain_job select g, 'ready', 0 from generate_series(0, $1) g on conflict do nothing", jobs
        )
        await database.execute("grant all on plain_job to public")
    return {name: await _measure(house, command, jobs=jobs) for name, command in _commands(house.settings.redis_url).items()}


def _commands(redis_url: str) -> dict[str, Sequence[str]]:
    rq = (sys.executable, "-m", "rq.cli", "worker", "-u", redis_url, "-q")
    commands = (rq, (sys.executable, "-c", _PRELOADED, redis_url), (*rq, "-w", "rq.worker.SimpleWorker"))
    return dict(zip(WORKERS, commands, strict=True))


async def _measure(house: "System", command: Sequence[str], *, jobs: int) -> float:
    from tests.bench.system import PATIENCE, ROOT, end

    with tempfile.NamedTemporaryFile() as done:
        redis = Redis.from_url(house.settings.redis_url)
        queue = Queue(connection=redis)
        for number in range(jobs):
            await asyncio.to_thread(queue.enqueue, "tests.bench.plain_rq.work", number, result_ttl=0)
        environment = {"PLAIN_RQ_DONE": done.name, "PLAIN_RQ_DATABASE": house.settings.database_url, "PYTHONPATH": str(ROOT)}
        process = await house.run(program=tuple(command), name="plain-rq", **environment)
        async with asyncio.timeout(PATIENCE * 2):
            first = await _until(done.name, jobs // 10)
            cpu = _cpu(process.pid)
            last = await _until(done.name, jobs)
        cpu = _cpu(process.pid) - cpu
        await end(process)
        redis.close()
    return cpu / (last - first)


async def _until(path: str, count: int) -> int:
    while (size := Path(path).stat().st_size) < count:  # noqa: ASYNC110, ASYNC240 - another process has no event for us
        await asyncio.sleep(0.005)
    return size


def _cpu(pid: int) -> float:
    """Of a process, its children, and those children that ended."""
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        times = each.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total
