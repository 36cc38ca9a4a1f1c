"""The vendor's own SDK works against the sandbox.

It needs Node and an installed copy of the SDK. With CI=true or SDK_TESTS=1 npm installs one into `.data/sdk`.
"""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from domain.vendors.sandbox.gohighlevel import seed, seed_sales
from tests.vendors.sandbox.harness import Sandbox

HERE = Path(__file__).parent / "sdk"
FOLDER = Path(".data/sdk").resolve()
INSTALL_SECONDS, WALK_SECONDS = 120, 60


async def _run(*command: str, seconds: float) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, err.decode()
    return out.decode()


async def _install() -> None:
    if (FOLDER / "node_modules/@gohighlevel/api-client").is_dir():
        return
    if os.environ.get("CI") != "true" and os.environ.get("SDK_TESTS") != "1":
        pytest.skip("the vendor's SDK is not installed; SDK_TESTS=1 lets npm install it into .data/sdk")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here")
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "package.json", FOLDER / "package.json")
    await _run(npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", seconds=INSTALL_SECONDS)


async def test_the_vendors_sdk_walks_through_the_sandbox(sandbox: Sandbox) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not here")
    await _install()
    code = (await sandbox.consent()).params["code"]
    arguments = (str(FOLDER), sandbox.url, code, seed.BRIGHT.id, seed.LARGE.id)
    seen: dict[str, Any] = json.loads(await _run(node, str(HERE / "walk.cjs"), *arguments, seconds=WALK_SECONDS))
    duplicate, wrong_class = seen.pop("duplicate"), seen.pop("wrongClass")
    assert duplicate["status"] == 400
    assert wrong_class["status"] == 401
    assert seen == {
        "userType": "Company",
        "rotated": True,
        "locations": 25,
        "installed": 25,
        "locationId": seed.LARGE.id,
        "total": seed.CONTACTS,
        "distinct": 200,
        "read": "sdk@example.com",
        "updated": "Lyon",
        "upserted": False,
        "tags": ["one", "two"],
        "tagsLeft": ["two"],
        "note": "Hello",
        "deleted": True,
        "fields": 16,
        "pipelines": ["Sales", "Onboarding"],
        "opportunities": seed_sales.OPPORTUNITIES,
        "calendars": 2,
        "slots": ["2026-01-06", "traceId"],
        "workflows": 2,
    }
    versions = {each["headers"]["version"] for each in await sandbox.control("GET", "requests?path=/contacts*")}
    assert versions == {"2023-02-21"}
