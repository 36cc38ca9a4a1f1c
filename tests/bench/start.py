"""`bots up`: seconds until GraphQL answers, with an empty data folder and with one of a former run."""

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path

import httpx

from db.embedded.process import die_with_parent
from tests.bench.options import Options
from tests.bench.report import Target, figure, heading
from tests.bench.system import PATIENCE, PROGRAM, ROOT, end, free_port

_DECIDED_HERE = ("DATABASE_URL", "REDIS_URL", "GHL_API_URL", "PUBLIC_URL")


async def run(options: Options) -> None:
    """Print the figures."""
    heading("start: `bots up --no-demo`, dependencies installed, until the first answer of /graphql")
    empty, existing = [], []
    for _ in range(min(options.rounds, 3)):
        folder = Path(tempfile.mkdtemp(prefix="bots-bench-"))
        try:
            empty.append(await _start(folder))
            existing.append(await _start(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    figure("with an empty data folder", empty, "s", target=Target(most=8))
    figure("with the data of a former run", existing, "s", target=Target(most=8))


async def _start(folder: Path) -> float:
    port = free_port()
    command = [*PROGRAM, "up", "--no-demo", "--port", str(port), "--sandbox-port", str(free_port())]
    environment = {name: value for name, value in os.environ.items() if name not in _DECIDED_HERE}
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment | {"DATA_DIR": str(folder / "data")},
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )
    try:
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient(trust_env=False) as http:
            while not await _answers(http, f"http://127.0.0.1:{port}/graphql"):
                if process.returncode is not None:
                    raise RuntimeError(f"`bots up` ended with code {process.returncode}")
                await asyncio.sleep(0.02)
        return time.monotonic() - started
    finally:
        await end(process)


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.post(url, json={"query": "{ __typename }"})).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
