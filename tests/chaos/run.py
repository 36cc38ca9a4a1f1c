"""One run: bring everything up, let things go wrong under load, stop that, let it settle, and judge."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import asyncpg

from domain.jobs import args
from domain.runtime import open_runtime
from jobs import handlers
from tests.chaos import faults
from tests.chaos.load import SLOTS, open_load
from tests.chaos.stage import stage
from tests.chaos.verdict import Verdict, judge, until_settled
from tests.chaos.watchers import Watchers
from tests.faults import kinds
from tests.faults.receiver import receiver

ACCOUNTS = 4
assert kinds  # its jobs are asked for here, and run in the workers


async def run(folder: Path, *, seed: int, seconds: float, say: Callable[[str], None]) -> Verdict:
    """Faults for so many seconds; whatever the seed, the same ones at the same times."""
    handlers.load()
    first = time.monotonic()
    async with (
        stage(folder) as opened,
        open_runtime(opened.settings, pool_size=4) as runtime,
        receiver() as vendor,
        open_load(opened, runtime, vendor.url, seed=seed, many=ACCOUNTS) as load,
    ):
        admin = await asyncpg.connect(opened.admin_url)
        await admin.execute("update account_slots set slots = $1", SLOTS)
        await admin.close()
        up = time.monotonic() - first
        watchers = Watchers(load.accounts)
        watching, asking = asyncio.create_task(watchers.run()), asyncio.create_task(load.run())
        planned = faults.plan(seed, seconds=seconds)
        for fault in planned:
            say(str(fault))
        await faults.commit(opened, planned)
        load.stop.set()
        async with asyncio.timeout(90):
            await asking
        say("The faults are over; it settles.")
        began = time.monotonic()
        admin = await asyncpg.connect(opened.admin_url)
        paused = await admin.fetch("select id from job where paused_at is not null and finished_at is null")
        await load.settle({row["id"] for row in paused})
        left = await until_settled(admin, within=30 + seconds / 4)
        settled = time.monotonic() - began
        await _until_told(watchers, admin)
        watching.cancel()
        await asyncio.wait({watching})
        verdict = await judge(admin, load, vendor, watchers)
        await admin.close()
    for row in left:
        verdict.expect(False, f"never ended, for no reason: {dict(row)}")
    verdict.figures |= {
        "faults": dict(Counter(fault.what for fault in planned).most_common()),
        "processes started": opened.starts,
        "what people did": dict(sum((account.done for account in load.accounts), Counter[str]()).most_common()),
        "seconds to come up": round(up, 1),
        "seconds to settle": round(settled, 1),
        "seconds in all": round(time.monotonic() - first, 1),
    }
    return verdict


async def _until_told(watchers: Watchers, admin: asyncpg.Connection) -> None:
    """Give dashboards the few seconds in which they notice a server that came back; those that never do are judged."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rows = await admin.fetch("select id, kind, version from job")
        now = {row["id"]: row["version"] for row in rows if not args.kinds()[row["kind"]].housekeeping}
        behind = [watcher for watcher in watchers.ones if watcher.last != now[watcher.job_id]]
        seen = {job_id: version for every in watchers.alls for job_id, (version, _) in every.seen.items()}
        if not behind and all(seen.get(job_id) == version for job_id, version in now.items()):
            return
        await asyncio.sleep(0.2)
