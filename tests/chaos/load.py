"""Accounts that ask for jobs of every kind of behaviour, and people who cancel, pause, boost and retry them."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import httpx
import sqlalchemy as sa
from redis.exceptions import RedisError

from db.models.jobs import Job
from db.models.queues import DependencyPolicy
from domain import actor as actors
from domain.jobs import commands
from domain.jobs.args import JobArgs
from domain.runtime import Runtime
from domain.tenancy import accounts, sessions
from domain.tenancy.sessions import Device
from graph import ids
from tests.chaos.stage import Stage
from tests.factories.client import Client, GraphQLFailed
from tests.factories.crm import connect, start_sync
from tests.faults.kinds import Acts, BulkSteps, Fails, Steps

SLOTS = 4
PASSWORD = "correct horse battery staple"
ACTIONS = {
    "cancelJob": "CancelJobInput",
    "pauseJob": "PauseJobInput",
    "resumeJob": "ResumeJobInput",
    "boostJob": "BoostJobInput",
    "retryJob": "RetryJobInput",
}
# What a process or a server that is away right now looks like from here.
AWAY = (
    httpx.TransportError,
    GraphQLFailed,
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    sa.exc.SQLAlchemyError,
    RedisError,
    TimeoutError,
    ValueError,
    KeyError,
)
T = TypeVar("T")


@dataclass
class Account:
    """One that works. `jobs` are the ids of those whose asking was answered."""

    id: UUID
    token: str
    urls: list[str]
    http: httpx.AsyncClient
    dice: random.Random
    jobs: list[UUID] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    syncs: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)

    def client(self) -> Client:
        """Speaks to any of the web servers."""
        return Client(_At(self.http, self.dice.choice(self.urls)), self.token)  # type: ignore[arg-type]  # as much as it uses


@dataclass(frozen=True)
class _At:
    """An HTTP client for many servers, as one for one of them."""

    http: httpx.AsyncClient
    url: str

    async def post(self, path: str, **options: Any) -> httpx.Response:
        return await self.http.post(self.url + path, **options)

    def stream(self, method: str, path: str, **options: Any) -> Any:
        return self.http.stream(method, self.url + path, **options)


@dataclass
class Load:
    """The accounts, asking until `stop` is set."""

    stage: Stage
    runtime: Runtime
    receiver_url: str
    accounts: list[Account]
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Ask and meddle until stopped."""
        async with asyncio.TaskGroup() as group:
            for account in self.accounts:
                group.create_task(self._ask(account))
                group.create_task(self._meddle(account))
                group.create_task(self._sync(account))

    async def settle(self, paused: Collection[UUID]) -> None:
        """People let go on what they had paused."""
        for account in self.accounts:
            for job_id in set(account.jobs).intersection(paused):
                await patiently(partial(act, account, "resumeJob", job_id))

    async def _ask(self, account: Account) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            args = self._order(account, number)
            after = []
            if account.jobs and account.dice.random() < 0.2:
                policy = account.dice.choice(list(DependencyPolicy))
                after = [(account.dice.choice(account.jobs[-5:]), policy)]
            priority = account.dice.choice([0, 0, 0, 10])
            job = await patiently(lambda: self._enqueue(account, args, after, priority, f"order-{number}"))  # noqa: B023
            account.jobs.append(job.id)
            await asyncio.sleep(account.dice.uniform(0.02, 0.25))

    def _order(self, account: Account, number: int) -> JobArgs:
        key = f"{account.id}-{number}"
        match account.dice.choices(["quick", "steps", "bulk", "effect", "flaky", "refused"], [3, 4, 2, 4, 2, 1])[0]:
            case "quick":
                return Steps(steps=1)
            case "steps":
                return Steps(steps=account.dice.randint(2, 8), pause_ms=account.dice.randint(10, 150))
            case "bulk":
                return BulkSteps(steps=account.dice.randint(2, 8), pause_ms=account.dice.randint(10, 150))
            case "effect":
                account.effects.append(key)
                return Acts(key=key, receiver=self.receiver_url)
            case "flaky":
                return Fails(times=1)
        return Fails(refused=True)

    async def _enqueue(self, account: Account, args: JobArgs, after: list[Any], priority: int, key: str) -> Job:
        async with self.runtime.unit(actors.system(account.id)) as unit:
            asked = await commands.enqueue(unit, args, dedupe_key=key, after=after, priority=priority)
        return asked.job

    async def _meddle(self, account: Account) -> None:
        while not self.stop.is_set():
            await asyncio.sleep(account.dice.uniform(0.05, 0.3))
            if account.jobs:
                action = account.dice.choice(list(ACTIONS))
                with contextlib.suppress(*AWAY):
                    await act(account, action, account.dice.choice(account.jobs[-12:]))

    async def _sync(self, account: Account) -> None:
        """A job of the product: asked for again until somebody answers, with the same key."""
        connection = await patiently(lambda: connect(account.client(), _Consent(self.stage)))  # type: ignore[arg-type]
        location_id = str(connection["locations"]["nodes"][-1]["id"])
        for _ in range(3):
            job = await patiently(lambda: start_sync(account.client(), location_id, idempotencyKey=f"sync of {account.id}"))
            account.syncs.add(job["id"])


@dataclass(frozen=True)
class _Consent:
    """What `connect` needs of a house."""

    stage: Stage

    async def consent(self, url: str, **choices: str) -> dict[str, str]:
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(url, params={**query, "decision": "allow", **choices})
        return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


async def act(account: Account, action: str, job_id: UUID) -> None:
    """Do something to a job over GraphQL; a refusal is an answer too."""
    document = f"mutation ($input: {ACTIONS[action]}!) {{ {action}(input: $input) {{ job {{ id }} userErrors {{ code }} }} }}"
    answer = await account.client().ask(document, input={"id": ids.encode("job", job_id)})
    account.done[f"{action} {'refused' if answer[action]['userErrors'] else 'done'}"] += 1


async def patiently(ask: Callable[[], Awaitable[T]], *, within: float = 60) -> T:
    """Again and again until somebody answers."""
    async with asyncio.timeout(within):
        while True:
            try:
                return await ask()
            except AWAY:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def open_load(stage: Stage, runtime: Runtime, receiver_url: str, *, seed: int, many: int) -> AsyncIterator[Load]:
    """So many accounts, each with an owner who is signed in."""
    async with httpx.AsyncClient(timeout=5) as http:
        made = []
        for number in range(many):
            name = f"Agency {number}"
            account, user = await accounts.create_account(
                runtime.database, name=name, owner_name="Owner", email=f"owner{number}@agency.example", password=PASSWORD
            )
            tokens = await sessions.start_session(runtime.database, stage.settings, user=user, device=Device())
            dice = random.Random(f"{seed} {number}")  # noqa: S311 -- no secret
            made.append(Account(account.id, tokens.access_token, stage.urls, http, dice))
        yield Load(stage, runtime, receiver_url, made)
