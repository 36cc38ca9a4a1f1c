"""A worker that dies when the vendor has acted, and before anybody wrote that down."""

from db.models.jobs import AttemptOutcome, JobState
from db.models.recovery import EffectState
from tests.faults.kinds import Acts
from tests.faults.receiver import receiver
from tests.faults.site import BOUND, Site, measured


async def test_an_effect_that_nobody_wrote_down_is_found_by_its_key_and_not_made_again(site: Site) -> None:
    async with receiver() as vendor:
        for _ in range(2):
            await site.programs.worker("interactive")
        await site.programs.clock()
        site.barriers.arm("effect-done:before")
        job = await site.ask(Acts(key="the-one", receiver=vendor.url))
        working = await site.barriers.reached("effect-done:before")
        site.barriers.disarm("effect-done:before")
        assert len(vendor.made["the-one"]) == 1
        await site.kill(working)
        with measured("worker, after the effect, before `done`", bound=BOUND):
            await site.until(job, JobState.BACKOFF)
            await site.skip_delay(job)
            ended = await site.until(job, JobState.SUCCEEDED)
        assert vendor.made == {"the-one": [(ended.result or {})["made"]]}
        assert await site.outcomes(job) == [AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED]
        (effect,) = await site.engine.sql("select state, vendor_id from effect where job_id = $1", job.id)
        assert tuple(effect) == (EffectState.DONE.value, vendor.made["the-one"][0])
