"""What the embedded servers share: one owner of a folder, and no server without its owner."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from db.embedded.postgres import EmbeddedPostgres
from db.embedded.process import EmbeddedError, lives
from db.embedded.valkey import EmbeddedValkey

ROOT = Path(__file__).parents[2]
ORDINARY_USER = 65534


async def test_a_folder_in_use_is_refused_at_once(tmp_path: Path) -> None:
    holder = subprocess.Popen(  # noqa: ASYNC220, S603 - our own command, started in no time
        [sys.executable, "-c", HOLD, str(tmp_path / "postgres.lock")], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout
        assert await asyncio.to_thread(holder.stdout.readline) == b"held\n"
        with pytest.raises(EmbeddedError, match=f"in use by process {holder.pid}"):
            await EmbeddedPostgres(tmp_path / "postgres").start()
    finally:
        holder.kill()
        holder.communicate()


HOLD = """
import fcntl, os, signal, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
os.write(lock, str(os.getpid()).encode())
print("held", flush=True)
signal.pause()
"""


async def test_a_folder_that_cannot_be_made_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = EmbeddedValkey(tmp_path / "file" / "valkey")
    with pytest.raises(EmbeddedError, match="The embedded Valkey cannot start"):
        await server.start()


async def test_dies_with_its_parent_and_starts_again(tmp_path: Path) -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220, S603 - our own command, started in no time
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert parent.stdout
        line = await asyncio.to_thread(parent.stdout.readline)
        postgres_pid, valkey_pid = (int(pid) for pid in line.split())
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.communicate()
    async with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:  # waits until nothing is left of the first
        assert server.pid != postgres_pid
        assert not lives(postgres_pid)
        async with EmbeddedValkey(tmp_path / "valkey"):
            assert not lives(valkey_pid)


PARENT = """
import asyncio, sys
from pathlib import Path
from db.embedded.postgres import EmbeddedPostgres
from db.embedded.valkey import EmbeddedValkey

async def main():
    postgres = EmbeddedPostgres(Path(sys.argv[1]) / "postgres", durable=False)
    valkey = EmbeddedValkey(Path(sys.argv[1]) / "valkey")
    await postgres.start()
    await valkey.start()
    print(postgres.pid, valkey.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


REACHABLE = all(
    folder.stat().st_mode & 0o001 for folder in (Path(sys.executable).resolve(), *Path(sys.executable).resolve().parents)
)


@pytest.mark.skipif(os.geteuid() != 0 or not REACHABLE, reason="only root can become another user, and that one needs a Python")
def test_an_ordinary_user_runs_both() -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own are closed to others
    os.chown(folder, ORDINARY_USER, ORDINARY_USER)
    try:
        command = [sys.executable, "-c", ORDINARY, str(folder)]
        ran = subprocess.run(  # noqa: S603 - our own command
            command,
            cwd=ROOT,
            user=ORDINARY_USER,
            group=ORDINARY_USER,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.stdout == f"{ORDINARY_USER} bots {ORDINARY_USER}\n", ran.stderr
    finally:
        shutil.rmtree(folder)


ORDINARY = """
import asyncio, sys
from pathlib import Path
import asyncpg
from db.embedded.postgres import EmbeddedPostgres
from db.embedded.valkey import EmbeddedValkey

async def main():
    folder = Path(sys.argv[1])
    async with EmbeddedPostgres(folder / "postgres") as postgres, EmbeddedValkey(folder / "valkey") as valkey:
        connection = await asyncpg.connect(postgres.url)
        role = await connection.fetchval("select current_user")
        await connection.close()
        print(Path(f"/proc/{postgres.pid}").stat().st_uid, role, Path(f"/proc/{valkey.pid}").stat().st_uid)

asyncio.run(main())
"""
