"""`bots up`: the embedded servers and every process of the system in one terminal, until it is told to stop."""

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from db import migrate
from db.embedded.postgres import EmbeddedPostgres
from db.embedded.process import EmbeddedError, EmbeddedServer, die_with_parent
from db.embedded.valkey import EmbeddedValkey
from domain import development
from jobs.supervisor import ProcessSpec, Supervisor

_READY_WITHIN = 60.0
_HELD_LINES = 2000
_REACHABLE = """
WARNING: {host} can be reached from other machines, and this is a demo: no TLS, and an account whose token and password stand
above. The token is filled in for browsers on this machine only; give neither to anybody who should not act in the account.
"""


class CannotStart(Exception):
    """The system cannot come up; the message says what to do."""


@dataclass(frozen=True)
class Options:
    """What the command line decides. `program` is the command that runs `bots`; `demo` plays the demo once all is up."""

    program: tuple[str, ...]
    host: str
    port: int
    sandbox_port: int
    demo: bool

    @property
    def mail_port(self) -> int:
        """Where the sandbox takes e-mail: the port after its own."""
        return self.sandbox_port + 1

    @property
    def local_url(self) -> str:
        """Where this machine reaches the web server."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::", ""} else self.host  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def is_private(self) -> bool:
        """Whether the web server is reached from this machine only."""
        return self.host in {"127.0.0.1", "::1", "localhost"}


class Terminal:
    """Prints lines with the name of who said them, and keeps them back while the demo draws."""

    def __init__(self) -> None:
        self._held: deque[str] | None = None

    def write(self, name: str, line: str) -> None:
        """Print a line, or keep it for later."""
        text = f"{name:<18} | {line}" if name else line
        if self._held is None:
            _print(text)
        else:
            self._held.append(text)

    def hold(self) -> None:
        """Keep lines back from now on."""
        self._held = deque(maxlen=_HELD_LINES)

    def release(self) -> None:
        """Print what was kept back, and keep nothing back any more."""
        held, self._held = self._held or (), None
        for text in held:
            _print(text)


async def up(options: Options) -> None:
    """Run everything until SIGINT, SIGTERM or SIGHUP; a second signal hurries. Raises CannotStart and EmbeddedError."""
    house = _House(options)
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            house.hurry()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)

    running = asyncio.create_task(house.run())
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if running.done():
            running.result()
        house.terminal.release()
        house.terminal.write("", "Stopping. Ctrl-C again hurries.")
    finally:
        asked.cancel()
        running.cancel()
        await asyncio.wait({running})
        await house.stop()


@dataclass
class _House:
    options: Options
    terminal: Terminal = field(default_factory=Terminal)
    hurried: bool = False
    servers: list[EmbeddedServer] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.terminal.write)

    async def run(self) -> None:
        """Bring everything up and watch the embedded servers; never returns."""
        options = self.options
        sandbox_url = f"http://127.0.0.1:{options.sandbox_port}"
        given = {name: value for name, value in os.environ.items() if value}  # set to nothing is as good as not set
        with_sandbox = "GHL_API_URL" not in given
        _require_free(options.host, options.port, "--port")
        if with_sandbox:
            _require_free("127.0.0.1", options.sandbox_port, "--sandbox-port")
            _require_free("127.0.0.1", options.mail_port, "--sandbox-port")

        data = _data_folder(given)
        secrets = development.stored_secrets(data / "demo.env")
        self.environment = development.environment(
            secrets | given, public_url=options.local_url, sandbox_url=sandbox_url, mail_port=options.mail_port
        )
        self.environment |= {"DATA_DIR": str(data), "PYTHONUNBUFFERED": "1"}

        if with_sandbox:  # stands on nothing else: its start overlaps with the servers'
            self.supervisor.start(self._process("sandbox", "sandbox", "--port", str(options.sandbox_port)))
        await self._start_servers(data)
        await asyncio.to_thread(migrate.upgrade, self.environment["DATABASE_URL"])
        # stopped in reverse: the web takes no more requests, the clock admits no more jobs, then the workers drain
        lanes = ("interactive", "bulk")
        self.supervisor.start(*(self._process(f"worker {lane}", "worker", lane) for lane in lanes))
        self.supervisor.start(self._process("clock", "clock"))
        self.supervisor.start(self._process("web", "web", "--host", options.host, "--port", str(options.port)))
        await self._until_ready()
        if options.demo and with_sandbox:
            await self._play()
        self.terminal.write(
            "", f"\nReady at {options.local_url} - GraphiQL, with the demo account's token filled in. Ctrl-C stops."
        )
        if not options.is_private:
            self.terminal.write("", _REACHABLE.format(host=options.host or "every address"))
        await asyncio.gather(*(self._keep(server) for server in self.servers))
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """End the processes in order, then the servers they stood on."""
        await self.supervisor.stop()
        await asyncio.gather(*(server.kill() if self.hurried else server.stop() for server in self.servers))

    def hurry(self) -> None:
        self.hurried = True
        self.supervisor.hurry()

    def _process(self, name: str, *arguments: str) -> ProcessSpec:
        return ProcessSpec(name, (*self.options.program, *arguments), self.environment)

    async def _start_servers(self, data: Path) -> None:
        if "REDIS_URL" not in self.environment:
            valkey = EmbeddedValkey(data / "valkey")
            self.servers.append(valkey)
            await valkey.start()
            self.environment["REDIS_URL"] = valkey.url
        if "DATABASE_URL" not in self.environment:
            postgres = EmbeddedPostgres(data / "postgres")
            self.servers.append(postgres)
            await postgres.start()
            self.environment["DATABASE_URL"] = postgres.url

    async def _keep(self, server: EmbeddedServer) -> None:
        """Start an embedded server again when it dies, at the same address."""
        while True:
            code = await server.wait()
            self.terminal.write("", f"{server.title} ended ({code}) and is started again; its log is {server.log}")
            await server.kill()
            while not await self._revived(server):  # noqa: ASYNC110 - a pause, not a wait for something of ours
                await asyncio.sleep(1)

    async def _revived(self, server: EmbeddedServer) -> bool:
        try:
            await server.start()
        except EmbeddedError as error:
            self.terminal.write("", str(error))
            return False
        return True

    async def _until_ready(self) -> None:
        try:
            async with asyncio.timeout(_READY_WITHIN):
                while not await _answers(self.options.local_url, "/readyz"):  # noqa: ASYNC110 - another process has no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise CannotStart(f"The web server is not ready after {_READY_WITHIN:g} s; its output above says why.") from None

    async def _play(self) -> None:
        """Run the demo on this terminal, without a prefix, so that it can draw."""
        self.terminal.hold()
        try:
            demo = await asyncio.create_subprocess_exec(
                *self.options.program,
                "demo",
                env=self.environment,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
            try:
                code = await demo.wait()
            except asyncio.CancelledError:
                with contextlib.suppress(ProcessLookupError):
                    demo.kill()
                await demo.wait()
                raise
        finally:
            self.terminal.release()
        if code:
            self.terminal.write("", f"The demo ended with code {code}; the server stays up.")


def _print(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed: what remains is to stop in order
        print(text, flush=True)  # noqa: T201 - this is the terminal's own output


def _data_folder(given: Mapping[str, str]) -> Path:
    folder = Path(given.get("DATA_DIR", ".data")).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStart(f"The data folder {folder} cannot be made: {error.strerror}.") from None
    return folder


def _require_free(host: str, port: int, option: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(f"Cannot listen on {host}:{port} ({error.strerror}). Choose another with {option}.") from None


async def _answers(url: str, path: str) -> bool:
    """Whether a GET is answered with 200."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except OSError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
