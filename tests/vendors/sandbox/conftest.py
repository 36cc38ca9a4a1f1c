"""One running sandbox, put back to its seed for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.vendors.sandbox.harness import Sandbox, running


@pytest.fixture(scope="session")
async def running_sandbox() -> AsyncIterator[Sandbox]:
    """The sandbox of the whole run."""
    async with running() as sandbox:
        yield sandbox


@pytest.fixture
async def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """The sandbox as seeded."""
    await running_sandbox.control("POST", "reset")
    return running_sandbox
