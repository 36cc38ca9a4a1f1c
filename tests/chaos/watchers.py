"""Dashboards that stay open through everything: what they were told, to be compared with what happened."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from graph import ids
from tests.chaos.load import Account

JOB = """subscription ($id: ID!, $after: Int) { jobUpdated(id: $id, afterVersion: $after) {
  kind version event { version state attempt done } job { id version } } }"""
JOBS = """subscription ($after: String) { jobsChanged(afterCursor: $after) {
  kind cursor jobs { id version state } goneIds } }"""
_PER_ACCOUNT = 6


@dataclass
class OneJob:
    """Follows one job, resuming after its last version: `told` is every event, `since` the version of the snapshot."""

    account: Account
    job_id: UUID
    since: int = 0
    last: int | None = None
    told: list[tuple[int, str, int, int]] = field(default_factory=list)
    resumes: int = 0
    error: str = ""

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._stream()
            except Exception as error:  # noqa: BLE001 -- judged by what it was told in the end
                self.resumes += 1
                self.error = repr(error)
            await asyncio.sleep(0.1)

    async def _stream(self) -> None:
        updates = self.account.client().watch(JOB, id=ids.encode("job", self.job_id), after=self.last)
        async with aclosing(updates):
            async for update in updates:
                self._take(update["jobUpdated"])

    def _take(self, update: dict[str, Any]) -> None:
        event = update["event"]
        if event is None:
            assert self.last is None or update["kind"] == "RESYNC", update
            self.since, self.told = update["version"], []
        else:
            self.told.append((event["version"], event["state"].lower(), event["attempt"], event["done"]))
        self.last = update["version"]


@dataclass
class AllJobs:
    """Follows all jobs of an account, resuming after its last cursor: `seen` is the last version of each."""

    account: Account
    cursor: str | None = None
    seen: dict[UUID, tuple[int, str]] = field(default_factory=dict)
    resumes: int = 0
    error: str = ""

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._stream()
            except Exception as error:  # noqa: BLE001 -- judged by what it was told in the end
                self.resumes += 1
                self.error = repr(error)
            await asyncio.sleep(0.1)

    async def _stream(self) -> None:
        async with aclosing(self.account.client().watch(JOBS, after=self.cursor)) as updates:
            async for update in updates:
                told = update["jobsChanged"]
                for job in told["jobs"]:
                    read = ids.read("job", job["id"], field="id")
                    self.seen[read] = job["version"], job["state"].lower()
                self.cursor = told["cursor"]


@dataclass
class Watchers:
    """All dashboards of a run."""

    accounts: list[Account]
    ones: list[OneJob] = field(default_factory=list)
    alls: list[AllJobs] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def run(self) -> None:
        """Open one for each account, and for some of its jobs as they come; until cancelled."""
        self.alls = [AllJobs(account) for account in self.accounts]
        self._tasks += [asyncio.create_task(watcher.watch()) for watcher in self.alls]
        try:
            while True:
                for account in self.accounts:
                    self._follow_newest(account)
                await asyncio.sleep(0.3)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _follow_newest(self, account: Account) -> None:
        followed = {watcher.job_id for watcher in self.ones if watcher.account is account}
        if account.jobs and account.jobs[-1] not in followed and len(followed) < _PER_ACCOUNT:
            watcher = OneJob(account, account.jobs[-1])
            self.ones.append(watcher)
            self._tasks.append(asyncio.create_task(watcher.watch()))
