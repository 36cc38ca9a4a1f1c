"""What happens outside happens once, wherever an attempt dies, whatever the vendor can be asked (invariant 16)."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.models.jobs import JobState
from db.models.recovery import EffectState
from domain import actor as actors
from domain.errors import VendorBusy, VendorDown, VendorRefused, VendorUnauthorized
from domain.jobs import effects, sweeps
from domain.jobs.effects import EffectUnknown, NotUnknown, once
from domain.jobs.running import Done, LeaseLost, Running
from domain.runtime import Runtime
from tests.factories.engine import Engine, Scripted, failing, play

KEY = "call:4711"


class Died(BaseException):
    """A process that is killed raises nothing that a handler could catch."""


@dataclass
class Vendor:
    """Does what it is asked for each time, keeps count, and answers or does not."""

    deaths: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    async def act(self, key: str) -> str:
        self._die("before the act")
        self.made.append(key)
        self._die("after the act")
        return f"vendor-{len(self.made)}"

    async def find(self, key: str) -> str | None:
        self._die("before it is asked")
        return f"vendor-{self.made.index(key) + 1}" if key in self.made else None

    def _die(self, where: str) -> None:
        if self.deaths and self.deaths[0] == where:
            self.deaths.pop(0)
            raise Died


async def held(engine: Engine) -> Running[Scripted]:
    """A job in a worker's hands."""
    return await engine.held(await engine.start(await engine.enqueue(await engine.account())))


async def taken_over(engine: Engine, job: Running[Scripted]) -> Running[Scripted]:
    """The same job in its next worker's hands, after the last one fell silent."""
    row = await engine.job(job.id)
    await engine.lapse(row)
    await engine.sql("update job set max_retries = 1000 where id = $1", row.id)
    async with engine.database.system_across_accounts() as session:
        await sweeps.take_back_lapsed(session, lease=timedelta())
    await engine.due(row)
    async with engine.database.system_across_accounts() as session:
        await sweeps.ready_due(session)
    return await engine.held(await engine.start(await engine.job(job.id)))


async def state_of(engine: Engine, job: Running[Scripted]) -> EffectState | None:
    async with engine.runtime.unit(job.actor) as unit:
        (found,) = await effects.effects_of(unit, [job.id])
    return found[0].state if found else None


async def test_it_is_done_once_and_its_id_is_known_from_then_on(engine: Engine) -> None:
    vendor, job = Vendor(), await held(engine)
    assert await once(job, key=KEY, act=vendor.act) == "vendor-1"
    assert await once(await taken_over(engine, job), key=KEY, act=vendor.act) == "vendor-1"
    assert (vendor.made, await state_of(engine, job)) == ([KEY], EffectState.DONE)


@pytest.mark.parametrize(("where", "acts"), [("before the act", 1), ("after the act", 1)])
async def test_a_worker_dies_and_the_vendor_can_be_asked(engine: Engine, where: str, acts: int) -> None:
    vendor, job = Vendor([where]), await held(engine)
    with pytest.raises(Died):
        await once(job, key=KEY, act=vendor.act, find=vendor.find)
    assert await state_of(engine, job) is EffectState.INTENDED
    assert await once(await taken_over(engine, job), key=KEY, act=vendor.act, find=vendor.find) == "vendor-1"
    assert len(vendor.made) == acts


@pytest.mark.parametrize("where", ["before the act", "after the act"])
async def test_a_worker_dies_and_nobody_can_be_asked(engine: Engine, where: str) -> None:
    vendor, job = Vendor([where]), await held(engine)
    with pytest.raises(Died):
        await once(job, key=KEY, act=vendor.act)
    made = len(vendor.made)
    for _ in range(2):  # and it stays so
        job = await taken_over(engine, job)
        with pytest.raises(EffectUnknown):
            await once(job, key=KEY, act=vendor.act)
    assert (len(vendor.made), await state_of(engine, job)) == (made, EffectState.UNKNOWN)
    (line, _) = await engine.lines(await engine.job(job.id))
    assert (line.code, line.subject) == ("BGJ-028", KEY)


@pytest.mark.parametrize(("happened", "made"), [(True, 1), (False, 2)])
async def test_a_person_says_what_nobody_could_know(engine: Engine, *, happened: bool, made: int) -> None:
    vendor, job = Vendor(["after the act"]), await held(engine)
    with pytest.raises(Died):
        await once(job, key=KEY, act=vendor.act)
    job = await taken_over(engine, job)
    with pytest.raises(EffectUnknown):
        await once(job, key=KEY, act=vendor.act)
    async with engine.runtime.unit(job.actor) as unit:
        await effects.settle(unit, job_id=job.id, key=KEY, happened=happened, vendor_id="vendor-1" if happened else None)
    assert await once(await taken_over(engine, job), key=KEY, act=vendor.act) == f"vendor-{made}"
    assert len(vendor.made) == made
    async with engine.runtime.unit(job.actor) as unit:
        with pytest.raises(NotUnknown):
            await effects.settle(unit, job_id=job.id, key=KEY, happened=False)


@pytest.mark.parametrize("error", [VendorRefused("no"), VendorBusy("later", retry_after=1), VendorUnauthorized("who are you?")])
async def test_what_the_vendor_says_that_it_did_not_do_may_be_tried_again(engine: Engine, error: Exception) -> None:
    vendor, job = Vendor(), await held(engine)

    async def refuse(_: str) -> str:
        raise error

    with pytest.raises(type(error)):
        await once(job, key=KEY, act=refuse)
    assert await state_of(engine, job) is None
    assert await once(job, key=KEY, act=vendor.act) == "vendor-1"


async def test_an_answer_that_never_came_leaves_it_open(engine: Engine) -> None:
    vendor, job = Vendor(), await held(engine)

    async def lose(key: str) -> str:
        await vendor.act(key)
        raise VendorDown("the line is dead")

    with pytest.raises(VendorDown):
        await once(job, key=KEY, act=lose, find=vendor.find)
    assert await once(job, key=KEY, act=lose, find=vendor.find) == "vendor-1"
    assert vendor.made == [KEY]


async def test_who_was_frozen_after_the_intent_does_not_act(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor, job = Vendor(), await held(engine)
    monkeypatch.setattr(effects, "BEGINS_WITHIN", -1.0)  # as if that long had passed
    with pytest.raises(LeaseLost):
        await once(job, key=KEY, act=vendor.act)
    monkeypatch.undo()
    assert vendor.made == []
    assert await once(await taken_over(engine, job), key=KEY, act=vendor.act, find=vendor.find) == "vendor-1"


async def test_who_lost_the_lease_neither_intends_nor_acts(engine: Engine) -> None:
    vendor, job = Vendor(), await held(engine)
    await engine.sql("update job set fence = fence + 1 where id = $1", job.id)
    with pytest.raises(LeaseLost):
        await once(job, key=KEY, act=vendor.act)
    assert (vendor.made, await state_of(engine, job)) == ([], None)


async def test_a_worker_that_drains_before_the_act_leaves_nothing_open(engine: Engine) -> None:
    vendor, draining = Vendor(), asyncio.Event()
    draining.set()

    async def script(job: Running[Scripted], runtime: Runtime) -> Done:
        await once(job, key=KEY, act=vendor.act)
        return Done("Called")

    job = await engine.attempt(await engine.enqueue(await engine.account(), play(script)), draining=draining)
    assert (job.state, vendor.made) == (JobState.READY, [])
    assert (await engine.attempt(job)).state is JobState.SUCCEEDED
    assert vendor.made == [KEY]


async def test_an_unknown_effect_fails_its_job_for_a_person_to_see(engine: Engine) -> None:
    job = await engine.attempt(await engine.enqueue(await engine.account(), failing(EffectUnknown("Who knows?"))))
    assert (job.state, job.error_code, job.failures) == (JobState.FAILED, "BGJ-028", 0)


async def test_another_accounts_key_is_another(engine: Engine) -> None:
    vendor, one, other = Vendor(), await held(engine), await held(engine)
    await once(one, key=KEY, act=vendor.act)
    await once(other, key=KEY, act=vendor.act)
    assert vendor.made == [KEY, KEY]
    async with engine.runtime.unit(actors.system(other.account_id)) as unit:
        assert await effects.effects_of(unit, [one.id]) == [[]]


async def test_however_often_attempts_die_it_happens_at_most_once(engine: Engine) -> None:
    loop = asyncio.get_running_loop()
    places = st.sampled_from(["before the act", "after the act", "before it is asked"])

    @settings(max_examples=25, deadline=None)
    @given(deaths=st.lists(places, max_size=5), can_be_asked=st.booleans())
    def check(deaths: list[str], *, can_be_asked: bool) -> None:
        asyncio.run_coroutine_threadsafe(at_most_once(engine, deaths, can_be_asked=can_be_asked), loop).result(30)

    await asyncio.to_thread(check)


async def at_most_once(engine: Engine, deaths: list[str], *, can_be_asked: bool) -> None:
    vendor, key, job = Vendor(list(deaths)), f"call:{uuid4()}", await held(engine)
    ends: list[str] = []
    for _ in range(len(deaths) + 2):
        try:
            ends.append(await once(job, key=key, act=vendor.act, find=vendor.find if can_be_asked else None))
        except (Died, EffectUnknown) as end:
            ends.append(type(end).__name__)
        job = await taken_over(engine, job)
    assert len(vendor.made) <= 1
    if can_be_asked and not vendor.deaths:
        assert ends[-1] == "vendor-1"
    if not can_be_asked and "Died" in ends:
        assert ends[-1] == "EffectUnknown"
