"""What goes wrong and when: drawn from a seed before the run begins, so that the same seed brings the same again."""

import asyncio
import contextlib
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.stage import LEASE, PROCESSES, Stage

KILL, FREEZE, EMPTY, CRASH = "kill", "freeze", "empty Valkey", "crash PostgreSQL"
_WEIGHTS = {KILL: 6, FREEZE: 2, EMPTY: 2, CRASH: 1}
_PAUSE = (0.4, 1.6)


@dataclass(frozen=True)
class Fault:
    """At so many seconds after the beginning; `seconds` is how long a server stays away, or a process frozen."""

    at: float
    what: str
    whom: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:6.1f} s  {self.what} {self.whom} {f'for {self.seconds:.1f} s' if self.seconds else ''}".rstrip()


def plan(seed: int, *, seconds: float) -> list[Fault]:
    """The faults of a run of so many seconds; whatever its length, each kind comes once first."""
    return list(_drawn(random.Random(seed), seconds))  # noqa: S311 -- no secret


def _drawn(dice: random.Random, seconds: float) -> Iterator[Fault]:
    first = dice.sample(list(_WEIGHTS), len(_WEIGHTS))
    at = dice.uniform(*_PAUSE)
    while at < seconds:
        what = first.pop() if first else dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        whom, lasts = "", 0.0
        if what == KILL:
            whom = dice.choice(list(PROCESSES))
        elif what == FREEZE:
            whom = dice.choice([name for name in PROCESSES if not name.startswith("web")])
            lasts = dice.uniform(0.3, 1.8) * LEASE
        else:
            lasts = dice.uniform(0.05, 0.8)
        yield Fault(at, what, whom, lasts)
        at += dice.uniform(*_PAUSE)


async def commit(stage: Stage, faults: list[Fault]) -> None:
    """Let them happen at their times. Returns when the last one is over and what it stopped is back."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for fault in faults:
            await asyncio.sleep(max(0.0, began + fault.at - loop.time()))
            if fault.what == FREEZE:
                group.create_task(_freeze(stage, fault))
            else:
                await _commit(stage, fault)


async def _commit(stage: Stage, fault: Fault) -> None:
    if fault.what == KILL:
        program = stage.running.get(fault.whom)
        if program is not None:
            with contextlib.suppress(ProcessLookupError):
                program.process.kill()
    elif fault.what == EMPTY:
        await stage.valkey.kill()
        await asyncio.sleep(fault.seconds)
        await stage.valkey.start()
        await stage.valkey.restart(empty=True)
    else:
        await stage.postgres.kill()
        await asyncio.sleep(fault.seconds)
        await stage.postgres.start()


async def _freeze(stage: Stage, fault: Fault) -> None:
    program = stage.running.get(fault.whom)
    if program is None:
        return
    with contextlib.suppress(ProcessLookupError):
        program.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        program.process.send_signal(signal.SIGCONT)
