"""`bots up` with real servers and a stand-in for the programs, run as a person would: started, watched, interrupted."""

import asyncio
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from db.embedded.process import lives

ROOT = Path(__file__).parents[2]

UP = """
import asyncio, os, sys
from jobs.up import CannotStart, Options, up
port, sandbox_port, *program = sys.argv[1:]
try:
    host = os.environ.get("HOST", "127.0.0.1")
    options = Options(program=tuple(program), host=host, port=int(port), sandbox_port=int(sandbox_port), demo=True)
    asyncio.run(up(options))
except CannotStart as error:
    sys.exit(str(error))
"""
STAND_IN = """
import http.server, os, signal, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
    def log_message(self, *_): pass
name = " ".join(sys.argv[1:])
def leave(*_):
    print(f"left {name}", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
print(f"pid {os.getpid()} {name}", flush=True)
if name == "demo":
    print("demo of", os.environ["PUBLIC_URL"], flush=True)
elif sys.argv[1] == "web":
    print("address", os.environ["DATABASE_URL"], flush=True)
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[-1])), Answer).serve_forever()
else:
    while True: signal.pause()
"""


class Terminal:
    """A running `bots up` and everything it printed."""

    def __init__(self, folder: Path, *, port: int, sandbox_port: int) -> None:
        script = folder / "stand_in.py"
        script.write_text(STAND_IN)
        command = [sys.executable, "-c", UP, str(port), str(sandbox_port), sys.executable, str(script)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "DATA_DIR": str(folder / "data")}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)  # noqa: S603 - our own
        self.text = ""

    def until(self, condition: Callable[[str], bool], *, within: float = 30) -> None:
        """Read on until `condition` holds for all that was printed."""
        assert self.process.stdout
        deadline = time.monotonic() + within
        while not condition(self.text):
            chunk = os.read(self.process.stdout.fileno(), 65536)
            assert chunk, f"ended early:\n{self.text}"
            assert time.monotonic() < deadline, self.text
            self.text += chunk.decode()

    def rest(self) -> None:
        output, _ = self.process.communicate(timeout=30)
        self.text += output.decode()

    def pids(self) -> set[int]:
        return {int(pid) for pid in re.findall(r"pid (\d+) ", self.text)}


@contextmanager
def running(folder: Path, *, port: int, sandbox_port: int) -> Iterator[Terminal]:
    terminal = Terminal(folder, port=port, sandbox_port=sandbox_port)
    try:
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.communicate()


# Below those that the system gives away to whoever asks for any, and apart from those of the tests that run beside these.
_PORTS = itertools.count(20_000 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")), 3)


@pytest.fixture
def ports() -> tuple[int, int]:
    """For the web server and for the sandbox, whose mail server takes the one after it."""
    while True:
        first = next(_PORTS)
        try:
            for port in range(first, first + 3):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first, first + 1


def test_comes_up_leaves_nothing_behind_and_comes_up_again(tmp_path: Path, ports: tuple[int, int]) -> None:
    port, sandbox_port = ports
    with running(tmp_path, port=port, sandbox_port=sandbox_port) as terminal:
        terminal.until(lambda text: "Ready at" in text)
        assert f"demo of http://127.0.0.1:{port}" in terminal.text
        servers = {int(file.read_text().split()[0]) for file in tmp_path.glob("data/postgres/postmaster.pid")}
        assert len(servers) == 1
        assert (tmp_path / "data" / "demo.env").stat().st_mode & 0o777 == 0o600
        pids = terminal.pids() | servers
        terminal.process.send_signal(signal.SIGINT)
        terminal.rest()
        assert terminal.process.returncode == 0
        left = re.findall(r"left (\w+)", terminal.text)
        assert (left[:2], left[2:4], left[4:]) == (["web", "clock"], ["worker", "worker"], ["sandbox"])
        assert not any(lives(pid) for pid in pids)

    secrets = (tmp_path / "data" / "demo.env").read_text()
    with running(tmp_path, port=port, sandbox_port=sandbox_port) as terminal:
        terminal.until(lambda text: "Ready at" in text)
        assert (tmp_path / "data" / "demo.env").read_text() == secrets


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - bound by the stand-in to the loopback address only
def test_who_else_can_reach_it_is_said_loudly(
    tmp_path: Path, ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HOST", host)
    port, sandbox_port = ports
    with running(tmp_path, port=port, sandbox_port=sandbox_port) as terminal:
        terminal.until(lambda text: "Ready at" in text)
        terminal.process.send_signal(signal.SIGINT)
        terminal.rest()
    assert ("WARNING: 0.0.0.0 can be reached from other machines" in terminal.text) is (host != "127.0.0.1")


def test_an_interrupt_during_the_start_leaves_nothing_behind(tmp_path: Path, ports: tuple[int, int]) -> None:
    port, sandbox_port = ports
    with running(tmp_path, port=port, sandbox_port=sandbox_port) as terminal:
        terminal.until(lambda text: "pid" in text)  # the sandbox; PostgreSQL's files are being made
        terminal.process.send_signal(signal.SIGINT)
        terminal.rest()
        assert terminal.process.returncode == 0
        assert not any(lives(pid) for pid in terminal.pids())
    with running(tmp_path, port=port, sandbox_port=sandbox_port) as terminal:
        terminal.until(lambda text: "Ready at" in text)


async def test_a_dead_postgres_is_started_again_and_kill_9_takes_all_along(tmp_path: Path, ports: tuple[int, int]) -> None:
    port, sandbox_port = ports
    with running(tmp_path, port=port, sandbox_port=sandbox_port) as terminal:
        terminal.until(lambda text: "Ready at" in text)
        match = re.search(r"address (\S+)", terminal.text)
        assert match
        os.kill(int((tmp_path / "data" / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        terminal.until(lambda text: "The embedded PostgreSQL ended (-9) and is started again" in text)
        deadline = time.monotonic() + 30
        while True:
            try:
                connection = await asyncpg.connect(match[1])
            except (OSError, asyncpg.PostgresError):
                assert time.monotonic() < deadline
            else:
                await connection.close()
                break
        pids = terminal.pids()
        assert len(pids) == 6  # sandbox, two workers, clock, web, demo
        terminal.process.kill()
        while any(lives(pid) for pid in pids):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("option", ["--port", "--sandbox-port"])
def test_a_taken_port_is_said_plainly(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        number = taken.getsockname()[1]
        other = free.getsockname()[1]
        free.close()
        port, sandbox_port = (number, other) if option == "--port" else (other, number)
        with running(tmp_path, port=port, sandbox_port=sandbox_port) as terminal:
            terminal.rest()
            assert terminal.process.returncode == 1
            assert terminal.text == (
                f"Cannot listen on 127.0.0.1:{number} (Address already in use). Choose another with {option}.\n"
            )
