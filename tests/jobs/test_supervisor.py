"""The supervisor, with small stand-ins for the processes of the system."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from db.embedded.process import lives
from jobs.supervisor import Backoff, ProcessSpec, Supervisor

ROOT = Path(__file__).parents[2]
AT_ONCE = Backoff(first=0.01, most=0.02)

POLITE = """
import os, signal, sys
def leave(*_):
    print("left", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print(os.getpid(), flush=True)
while True: signal.pause()
"""
STUBBORN = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
while True: signal.pause()
"""
WITH_CHILD = """
import signal, subprocess, sys
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
while True: signal.pause()
"""


class Terminal:
    """What was written, and a way to wait for more of it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self._more = asyncio.Event()

    def write(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._more.set()

    def said(self, name: str) -> list[str]:
        return [line for who, line in self.lines if who == name]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def spec(name: str, program: str, *, grace: float = 10.0) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", program), dict(os.environ), grace=grace)


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while lives(pid):  # noqa: ASYNC110 - the kernel has no event for us
            await asyncio.sleep(0.005)


async def test_groups_end_in_reverse_order_and_nothing_is_left(terminal: Terminal) -> None:
    supervisor = Supervisor(terminal.write)
    supervisor.start(spec("sandbox", POLITE))
    supervisor.start(spec("worker 1", POLITE), spec("worker 2", POLITE))
    supervisor.start(spec("web", POLITE))
    names = ["sandbox", "worker 1", "worker 2", "web"]
    await terminal.until(lambda: all(terminal.said(name) for name in names))
    pids = supervisor.pids()
    assert sorted(pids) == sorted(names)

    await supervisor.stop()

    left = [name for name, line in terminal.lines if line == "left"]
    assert (left[0], set(left[1:3]), left[3:]) == ("web", {"worker 1", "worker 2"}, ["sandbox"])
    assert not any(lives(pid) for pid in pids.values())
    assert supervisor.pids() == {}


async def test_a_crashed_process_starts_again(terminal: Terminal) -> None:
    supervisor = Supervisor(terminal.write, backoff=AT_ONCE)
    supervisor.start(spec("worker", POLITE))
    await terminal.until(lambda: len(terminal.said("worker")) == 1)
    first = supervisor.pids()["worker"]

    os.kill(first, signal.SIGKILL)

    await terminal.until(lambda: len(terminal.said("worker")) == 3)
    assert terminal.said("worker")[1] == "ended (-9); starts again in 0.01 s"
    assert supervisor.pids()["worker"] == int(terminal.said("worker")[2]) != first
    await supervisor.stop()


async def test_a_program_that_does_not_exist_is_reported_and_can_be_stopped(terminal: Terminal) -> None:
    supervisor = Supervisor(terminal.write, backoff=AT_ONCE)
    supervisor.start(ProcessSpec("web", ("/no/such/program",), {}))
    await terminal.until(lambda: len(terminal.said("web")) >= 2)
    assert "No such file" in terminal.said("web")[0]
    await supervisor.stop()


async def test_who_ignores_the_request_is_killed_after_the_grace(terminal: Terminal) -> None:
    supervisor = Supervisor(terminal.write)
    supervisor.start(spec("worker", STUBBORN, grace=0.05))
    await terminal.until(lambda: bool(terminal.said("worker")))
    pid = supervisor.pids()["worker"]
    await supervisor.stop()
    assert not lives(pid)
    assert terminal.said("worker")[-1] == "did not end within 0.05 s and is killed"


async def test_hurry_cuts_the_grace_short(terminal: Terminal) -> None:
    supervisor = Supervisor(terminal.write)
    supervisor.start(spec("worker", STUBBORN, grace=600))
    await terminal.until(lambda: bool(terminal.said("worker")))
    pid = supervisor.pids()["worker"]
    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0)
    supervisor.hurry()
    async with asyncio.timeout(10):
        await stopping
    assert not lives(pid)


async def test_what_a_process_left_behind_ends_with_it(terminal: Terminal) -> None:
    supervisor = Supervisor(terminal.write)
    supervisor.start(spec("worker", WITH_CHILD))
    await terminal.until(lambda: bool(terminal.said("worker")))
    grandchild = int(terminal.said("worker")[0])
    assert lives(grandchild)
    await supervisor.stop()
    await until_gone(grandchild)


async def test_a_stop_before_the_first_breath(terminal: Terminal) -> None:
    supervisor = Supervisor(terminal.write)
    supervisor.start(spec("web", POLITE))
    await supervisor.stop()
    assert supervisor.pids() == {}


async def test_odd_output_is_passed_on(terminal: Terminal) -> None:
    supervisor = Supervisor(terminal.write)
    program = """
import sys, time
sys.stdout.buffer.write(b"bad \\xff utf-8\\n" + b"x" * 3_000_000 + b"\\n")
sys.stdout.buffer.write(b"no newline at the end")
sys.stdout.flush()
"""
    supervisor.start(spec("web", program))
    await terminal.until(lambda: any("ended" in line for line in terminal.said("web")))
    await supervisor.stop()
    said = terminal.said("web")
    assert said[0] == "bad \ufffd utf-8"
    assert "left out" in said[1]
    assert any(line.endswith("no newline at the end") for line in said)


def test_the_pause_doubles_up_to_a_limit() -> None:
    backoff = Backoff(first=0.5, most=30)
    assert [backoff.delay(crashes) for crashes in (1, 2, 3, 7, 8, 10_000)] == [0.5, 1, 2, 30, 30, 30]


PARENT = """
import asyncio, sys
from jobs.supervisor import ProcessSpec, Supervisor

async def main():
    supervisor = Supervisor(lambda name, line: print(line, flush=True))
    supervisor.start(ProcessSpec("child", (sys.executable, "-c", sys.argv[1]), {}))
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_kill_9_of_the_parent_takes_the_children_along() -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220, S603 - our own command, started in no time
        [sys.executable, "-c", PARENT, STUBBORN], stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert parent.stdout
        child = int(await asyncio.to_thread(parent.stdout.readline))
        assert lives(child)
    finally:
        parent.kill()
        parent.communicate()
    await until_gone(child)
