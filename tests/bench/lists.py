"""Lists over HTTP: CPU of the server for a request, beside strawberry over the ORM (`tests.bench.plain`) on the same tables."""

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx
from redis.asyncio import Redis

from tests.bench import report
from tests.bench.options import Options
from tests.bench.report import Target, figure, heading, remark
from tests.bench.system import Owner, System, free_port, system, until_answered

JOBS: Final = """query ($first: Int) { jobs(first: $first) { nodes { id kind title state lane version priority attempt failures
  maxRetries message runAt createdAt startedAt finishedAt } pageInfo { hasNextPage endCursor } } }"""
CONTACTS: Final = """query ($first: Int) { contacts(first: $first) { nodes { id displayName firstName lastName email phone
  company city country tags source syncState version createdAt customFields { id name value } }
  pageInfo { hasNextPage endCursor } } }"""
COUNTED: Final = "{ contacts(first: 1) { totalCount } }"
SEARCH: Final = """query ($text: String!) { contacts(first: 50, filter: {text: $text}) { nodes { id displayName email } } }"""

_ASKED_AT_ONCE = 50
_JOBS = 20_000
_CONTACTS = (5_000, 50_000)
_FILL_JOBS = """insert into job (id, account_id, kind, lane, title, args, state, priority, fence, attempt, failures,
    max_retries, timeout_seconds, version, done, total, message, result, origin_type, origin_name, request_id, created_at,
    started_at, finished_at, run_at)
  select gen_random_uuid(), $1, 'crm.contacts.sync', 'bulk', 'Contact sync of location ' || n, '{"run_id": "x"}',
    'succeeded', 0, 1, 1, 0, 5, 3600, 7, 5000, 5000, '5,000 contacts synced, 0 conflicts', '{"created": 5000}', 'user',
    'Owner', 'req-' || n, now() - n * interval '1 minute', now() - n * interval '1 minute', now() - n * interval '1 minute',
    now() - n * interval '1 minute'
  from generate_series(1, $2) n"""
_FILL_CONTACTS = """insert into contact (id, account_id, location_id, source, sync_state, display_name, first_name, last_name,
    email, other_emails, phone, other_phones, company, city, country, do_not_disturb, tags, custom_fields, version, created_at)
  select gen_random_uuid(), $1, $2, 'ghl', 'synced', first || ' ' || last, first, last,
    lower(first) || '.' || n || '@example.org', '{}', '+1512' || lpad(n::text, 7, '0'), '{}', 'Company ' || n % 997,
    'Boston', 'US', false, '{customer,newsletter}', '{"cf1": "Blue", "cf2": 42}', 1, now() - n * interval '1 second'
  from (select n, (array['Ada', 'Grace', 'Alan', 'Edsger', 'Barbara', 'Donald'])[n % 6 + 1] as first,
    'Surname' || md5(n::text) as last from generate_series(1, $3::int) n) people"""
_FILL_CONNECTION = """insert into connection (id, account_id, company_id, name, user_type, status, scopes, version)
  values (gen_random_uuid(), $1, 'company', 'Agency', 'Company', 'active', '{}', 1) returning id"""
_FILL_LOCATION = """insert into location (id, account_id, connection_id, external_id, name, status, direction, policy,
    only_tags, version)
  values (gen_random_uuid(), $1, $2, 'location', 'Boston', 'active', 'ghl_to_bb', 'ghl_wins', '{}', 1) returning id"""
_FILL_FIELDS = """insert into custom_field (account_id, location_id, external_id, key, name, data_type, options)
  select $1, $2, 'cf' || n, 'contact.cf' || n, 'Field ' || n, 'TEXT', '{}' from generate_series(1, 10) n"""

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


async def run(options: Options) -> None:
    """Print the figures."""
    heading(f"lists: CPU of the web process for a request; {_JOBS:,} jobs and {_CONTACTS[0]:,} contacts of the account")
    async with system() as vendor:
        _, url = await vendor.web()
        owner = await vendor.owner(url)
        async with vendor.database() as database:
            await _fill(database, owner.account_id, contacts=_CONTACTS[0])
        await _compare(vendor, owner, options)
        await _count_statements(vendor, owner)
        await _search(vendor, owner, options)
        large = await vendor.owner(url)
        async with vendor.database() as database:
            await _fill(database, large.account_id, contacts=_CONTACTS[1])
        remark(f"an account of {_CONTACTS[1]:,} contacts:")
        await _search(vendor, large, options)


async def _compare(vendor: System, owner: Owner, options: Options) -> None:
    process, url = await vendor.web()
    port = free_port()
    program = (sys.executable, "-m", "tests.bench.plain")
    plain_url = vendor.postgres.url_of("bots", role="postgres")
    plain = await vendor.run(plain_url, str(owner.account_id), str(port), program=program, name="plain")
    await until_answered(f"http://127.0.0.1:{port}/graphql?query=%7B__typename%7D", plain)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        ours, theirs = _asker(http, url, owner.token), _asker(http, f"http://127.0.0.1:{port}", None)
        # An account may ask for a hundred or two of such pages in a minute; here it is forgiven what it has spent.
        budget = await vendor.stack.enter_async_context(Redis.from_url(vendor.environment["REDIS_URL"]))
        count = 50 if options.quick else 150
        for name, document in (("jobs", JOBS), ("contacts", CONTACTS)):
            mine, others = [], []
            for number in range(options.rounds + 1):
                one = await _cpu(process.pid, ours, document, count, budget=budget)
                other = await _cpu(plain.pid, theirs, document, count, budget=budget)
                if number:  # the first round fills caches and pools
                    mine.append(one)
                    others.append(other)
            figure(f"{name}(first: 50), 15 fields", mine, "ms")
            figure("... the same of strawberry over the ORM, side by side", others, "ms")
            ratios = [one / other for one, other in zip(mine, others, strict=True)]
            figure("... ours is of theirs", ratios, "", target=Target(most=0.5) if name == "jobs" else None)
        await _caches(process.pid, ours, options, budget)
        figure(
            "contacts { totalCount }",
            [await _cpu(process.pid, ours, COUNTED, count, budget=budget) for _ in range(options.rounds)],
            "ms",
        )


async def _caches(pid: int, ask: Ask, options: Options, budget: Redis) -> None:
    """A document that was seen before is neither parsed nor validated again."""
    known, unknown = [], []
    for number in range(options.rounds):
        known.append(await _cpu(pid, ask, "{ __typename }", 100, budget=budget))
        before = report.cpu_seconds(pid)
        await budget.flushdb()
        for each in range(100):
            await ask(f"{JOBS} # {number} {each}", {"first": 1})
        unknown.append((report.cpu_seconds(pid) - before) * 10)
        one_row = await _cpu(pid, ask, JOBS, 100, budget=budget, first=1)
        unknown[-1] -= one_row
    figure("{ __typename }, the least that a request costs", known, "ms")
    figure("parsing and validating a new document of 15 fields, in addition", unknown, "ms")


async def _cpu(pid: int, ask: Ask, document: str, count: int, *, budget: Redis, first: int = 50) -> float:
    """Milliseconds of the server's CPU for each of `count` requests, one after another."""
    spent = 0.0
    for _ in range(count // _ASKED_AT_ONCE):
        await budget.flushdb()
        before = report.cpu_seconds(pid)
        for _ in range(_ASKED_AT_ONCE):
            await ask(document, {"first": first})
        spent += report.cpu_seconds(pid) - before
    return spent / count * 1000


async def _count_statements(vendor: System, owner: Owner) -> None:
    """How many statements PostgreSQL is sent for a page, by its own log."""
    counts = {}
    for first in (1, 100):
        for name, document in (("jobs", JOBS), ("contacts", CONTACTS)):
            await owner.client.ask(document, first=first)
            await _log_statements(vendor, on=True)
            size = vendor.postgres.log.stat().st_size
            await owner.client.ask(document, first=first)
            lines = vendor.postgres.log.read_bytes()[size:]
            counts[name, first] = len(re.findall(rb"LOG:  (?:statement|execute)", lines))
            await _log_statements(vendor, on=False)
    remark("statements for a page of 1 and of 100 rows, with sign-in, BEGIN and COMMIT:")
    for name in ("jobs", "contacts"):
        one, hundred = counts[name, 1], counts[name, 100]
        remark(f"  {name} {one} and {hundred}: {'constant' if one == hundred else 'NOT CONSTANT'}")


async def _log_statements(vendor: System, *, on: bool) -> None:
    async with vendor.database() as database:
        await database.execute(f"alter system set log_statement = '{'all' if on else 'none'}'")
        await database.execute("select pg_reload_conf()")
    await asyncio.sleep(0.3)


async def _search(vendor: System, owner: Owner, options: Options) -> None:
    """Wall clock of a search as a client sees it: a rare word reads all contacts of the account, a common one few."""
    async with vendor.database() as database:
        rare = await database.fetchval("select last_name from contact where account_id = $1 limit 1", owner.account_id)
    for name, document, variables in (
        ("search for a word that one contact has", SEARCH, {"text": rare[7:20]}),
        ("search for a word that a sixth of them has", SEARCH, {"text": "Barbara"}),
        ("the newest 50, no search", CONTACTS, {"first": 50}),
        ("totalCount", COUNTED, {}),
    ):
        times = []
        for _ in range(5 if options.quick else 15):
            started = time.monotonic()
            await owner.client.ask(document, **variables)
            times.append((time.monotonic() - started) * 1000)
        figure(name + ", until answered", times[2:], "ms")


async def _fill(database: asyncpg.Connection, account_id: UUID, *, contacts: int) -> None:
    connection = await database.fetchval(_FILL_CONNECTION, account_id)
    location = await database.fetchval(_FILL_LOCATION, account_id, connection)
    await database.execute(_FILL_FIELDS, account_id, location)
    await database.execute(_FILL_JOBS, account_id, _JOBS)
    await database.execute(_FILL_CONTACTS, account_id, location, contacts)
    await database.execute("vacuum analyze")


def _asker(http: httpx.AsyncClient, url: str, token: str | None) -> Ask:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}

    async def ask(document: str, variables: dict[str, Any]) -> dict[str, Any]:
        answer = await http.post(f"{url}/graphql", json={"query": document, "variables": variables}, headers=headers)
        body: dict[str, Any] = answer.json()
        if body.get("errors"):
            raise RuntimeError(body["errors"])
        return body

    return ask
