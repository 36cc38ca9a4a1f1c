"""What both embedded servers share: a data folder with one owner, a reachable socket, a child that dies with its parent."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

READY_WITHIN = 60.0
STOPPED_WITHIN = 30.0
_POLL = 0.01
_LOG_LIMIT = 5 * 1024 * 1024
_SOCKET_PATH_LIMIT = 107  # sockaddr_un holds 108 bytes with the closing zero
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class EmbeddedError(Exception):
    """An embedded server cannot run; the message says why and what to do."""


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends the child `number` when the thread that starts it dies, even by kill -9."""
    parent = os.getpid()

    def bind() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above
            os.kill(os.getpid(), signal.SIGKILL)

    return bind


@dataclass(frozen=True)
class Account:
    """The operating system's user that a server runs as; None means ours."""

    uid: int
    gid: int


@dataclass
class EmbeddedServer(ABC):
    """One server over one data folder. `start` after `stop` or `kill` finds the data again.

    Raises EmbeddedError from `start`. Not for concurrent use of the same object.
    """

    folder: Path
    _process: Process | None = field(default=None, init=False)
    _socket_folder: Path | None = field(default=None, init=False)
    _claim: int | None = field(default=None, init=False)

    title: ClassVar[str]
    socket_name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()

    @abstractmethod
    async def _prepare(self) -> Account | None:
        """Make the data folder ready and name the user that owns it."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The server's command line; its working directory is the data folder."""

    @abstractmethod
    async def _answers(self) -> bool:
        """Whether the process started here, and no other, serves requests on the socket."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise EmbeddedError(f"{self.title} is not started.")
        return self._process.pid

    @property
    def socket_folder(self) -> Path:
        """Folder of the server's socket, or a short link to it; changes with each `start` after a `stop`."""
        if self._socket_folder is None:
            raise EmbeddedError(f"{self.title} is not started.")
        return self._socket_folder

    @property
    def log(self) -> Path:
        """What the server wrote, beside its data folder."""
        return self.folder.with_name(f"{self.folder.name}.log")

    async def start(self) -> None:
        """Start and wait until requests are answered; a predecessor's remains are given 60 s to end."""
        if self._process is not None:
            raise EmbeddedError(f"{self.title} is already started.")
        first = self._socket_folder is None
        try:
            await self._start()
        except BaseException as error:
            await self.kill()
            if first:
                self._forget_socket()
            if isinstance(error, OSError):  # another user's folder, a full disk, a binary of another machine
                raise EmbeddedError(f"{self.title} cannot start: {error}") from None
            raise

    async def _start(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._claim = await _claim(self.folder, title=self.title)
        account = await self._prepare()
        if self._socket_folder is None:
            self._socket_folder = _reachable_folder(self.folder, self.socket_name)
        self._process = await self._run(self._command(), folder=self.folder, account=account, dies_by=self.stop_signal)
        await self._until_ready(self._process)

    async def stop(self) -> None:
        """Stop in order, by force after 30 s. Does nothing when it is not running."""
        await self._end()
        self._forget_socket()

    async def _end(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(self.stop_signal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOPPED_WITHIN)
        await self.kill()

    async def kill(self) -> None:
        """End it with kill -9, as a crash would. `start` recovers, at the same address."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._process = None
        self._release()

    async def wait(self) -> int:
        """Return the server's exit code once it has ended, however it came to that."""
        return 0 if self._process is None else await self._process.wait()

    async def _run(self, command: list[str], *, folder: Path, account: Account | None, dies_by: signal.Signals) -> Process:
        """Start `command` in `folder` as `account`; what it writes goes to the log, what it holds is the folder's lock."""
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.unlink()
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=() if self._claim is None else (self._claim,),
                start_new_session=True,  # the terminal's Ctrl-C reaches only us, and we stop the servers last
                preexec_fn=die_with_parent(dies_by),  # runs after the change of user, which would undo it
            )

    async def _until_ready(self, process: Process) -> None:
        try:
            async with asyncio.timeout(READY_WITHIN):
                while not await self._answers():
                    if process.returncode is not None:
                        raise EmbeddedError(f"{self.title} ended with code {process.returncode}:\n{self.last_words()}")
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise EmbeddedError(f"{self.title} does not answer after {READY_WITHIN:g} s:\n{self.last_words()}") from None

    def last_words(self) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:]) + f"\nThe whole log: {self.log}"

    def _release(self) -> None:
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _forget_socket(self) -> None:
        if self._socket_folder not in {None, self.folder}:
            shutil.rmtree(self._socket_folder.parent, ignore_errors=True)
        self._socket_folder = None


async def _claim(folder: Path, *, title: str) -> int:
    """Lock `folder`. The server inherits the lock, so it is free only when the last process of a predecessor is gone."""
    lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        async with asyncio.timeout(READY_WITHIN):
            while not _locked(lock):
                _refuse_living_holder(lock, folder, title=title)
                await asyncio.sleep(_POLL)
    except TimeoutError:
        os.close(lock)
        raise EmbeddedError(f"{title}: processes of an earlier server still use {folder} after {READY_WITHIN:g} s.") from None
    except BaseException:
        os.close(lock)
        raise
    os.pwrite(lock, str(os.getpid()).ljust(20).encode(), 0)
    return lock


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_living_holder(lock: int, folder: Path, *, title: str) -> None:
    """A dead holder's servers are about to end; a living one's are not."""
    holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
    if holder.isdigit() and int(holder) != os.getpid() and lives(holder):
        raise EmbeddedError(f"{title}: the folder {folder} is in use by process {holder}. Stop that one first.")


def lives(pid: int | str) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def _reachable_folder(folder: Path, socket_name: str) -> Path:
    """`folder`, or a link to it where its path is too long for a socket or would need quoting in a URL."""
    length = len(os.fsencode(folder / socket_name))
    if length <= _SOCKET_PATH_LIMIT and re.fullmatch(r"[\w./-]+", str(folder), re.ASCII):
        return folder
    link = Path(tempfile.mkdtemp(prefix="bots-")) / "socket"  # mkdtemp makes it 0700
    link.symlink_to(folder)
    return link
