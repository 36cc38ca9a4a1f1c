"""Where the processes of a test come from: one that has loaded all code, and forks for each program that is asked for.

A program's own start takes a second or two of a core, and these tests start dozens of them. What is forked is a process as any
other: it is killed, frozen and replaced by itself.

    python -m tests.faults.nursery SOCKET
"""

import asyncio
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from db.embedded.process import die_with_parent

ROOT = Path(__file__).parents[2]
# These tell a process how many seconds something takes that is no setting, and takes half a minute in production.
FIRST_DELAY = "TEST_FIRST_DELAY"
OUTBOX_LEASE = "TEST_OUTBOX_LEASE"


class Forked:
    """A process of the nursery's, as `asyncio.subprocess.Process` would show it."""

    def __init__(self, pid: int, news: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._writer = writer
        self._ended = asyncio.create_task(self._until_ended(news))

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with kill -9."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await asyncio.shield(self._ended)

    async def _until_ended(self, news: asyncio.StreamReader) -> int:
        line = await news.readline()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        self.returncode = int(line) if line else -int(signal.SIGKILL)
        return self.returncode


@dataclass(frozen=True)
class Nursery:
    """A running one."""

    path: Path

    async def start(self, *arguments: str, environment: Mapping[str, str], output: Path) -> Forked:
        """Start `bots` with these arguments."""
        news, writer = await asyncio.open_unix_connection(self.path)
        wish = {"arguments": arguments, "environment": dict(environment), "output": str(output)}
        writer.write(json.dumps(wish).encode() + b"\n")
        return Forked(int(await news.readline()), news, writer)


@asynccontextmanager
async def nursery(folder: Path) -> AsyncIterator[Nursery]:
    """A nursery of one's own, which ends with its processes."""
    path = folder / "nursery"
    command = (sys.executable, "-m", "tests.faults.nursery", str(path))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=DEVNULL, preexec_fn=die_with_parent())
    try:
        async with asyncio.timeout(60):
            while not path.exists():
                assert process.returncode is None
                await asyncio.sleep(0.02)
        yield Nursery(path)
    finally:
        process.kill()
        await process.wait()


def main(path: Path) -> None:
    """Fork until killed."""
    prepare()
    wakes, waker = socket.socketpair()
    for end in (wakes, waker):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen()
    Path(f"{path}.new").rename(path)
    asked: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(wakes, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    pid = fork(json.loads(connection.makefile("rb").readline()))
                    connection.sendall(b"%d\n" % pid)
                    asked[pid] = connection
                else:
                    wakes.recv(1024)
            report(asked)


def report(asked: dict[int, socket.socket]) -> None:
    """Tell of the children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with asked.pop(ended[0]) as connection, contextlib.suppress(OSError):
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))


def prepare() -> None:
    """Load what every program needs. Nothing may run or be open yet: a fork would double it."""
    import graph.server
    import jobs.clock
    import jobs.worker
    from jobs import handlers
    from tests.faults import barriers, kinds

    handlers.load()
    barriers.install()
    assert graph.server
    assert jobs.clock
    assert jobs.worker
    assert kinds
    gc.collect()
    gc.freeze()


def fork(wish: dict[str, Any]) -> int:
    """A child that does what is wished; returns its id."""
    bind = die_with_parent()
    if pid := os.fork():
        return pid
    code = 1
    try:
        bind()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        output = os.open(wish["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in (1, 2):
            os.dup2(output, number)
        os.closerange(3, 1024)
        os.environ.clear()
        os.environ.update(wish["environment"])
        sys.argv = ["bots", *wish["arguments"]]
        import bots

        hurry()
        bots.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 -- the child must never go on as its parent
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def hurry() -> None:
    """Take what the environment says instead of the product's own pauses."""
    from domain.jobs import retry
    from domain.notifications import outbox

    retry.FIRST_DELAY = float(os.environ.get(FIRST_DELAY, retry.FIRST_DELAY))
    if OUTBOX_LEASE in os.environ:
        vars(outbox)["LEASE"] = timedelta(seconds=float(os.environ[OUTBOX_LEASE]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
