"""A dispatcher that dies around a push. Two clocks run, of which the second takes over."""

from db.models.jobs import JobState, Lane
from tests.faults.kinds import Steps
from tests.faults.site import BOUND, Site, measured


async def test_what_was_admitted_and_never_pushed_is_admitted_again_and_costs_no_attempt(site: Site) -> None:
    await site.programs.worker("interactive")
    for _ in range(2):
        await site.programs.clock()
    site.barriers.arm("push:before")
    job = await site.ask(Steps())
    dispatcher = await site.barriers.reached("push:before")
    site.barriers.disarm("push:before")
    assert (await site.engine.job(job.id)).state is JobState.ADMITTED
    await site.kill(dispatcher)
    with measured("dispatcher, admitted, before the push", bound=BOUND):
        ended = await site.until(job, JobState.SUCCEEDED)
    assert (ended.fence, ended.attempt, ended.failures) == (2, 1, 0)
    told = [event.state.value for event in await site.engine.events(job)]
    assert told[:5] == ["ready", "admitted", "ready", "admitted", "running"]
    await site.has_a_sound_history(job)


async def test_what_was_pushed_twice_is_claimed_once(site: Site) -> None:
    await site.programs.worker("interactive")
    await site.programs.clock()
    for name in ("push:after", "step:2"):
        site.barriers.arm(name)
    job = await site.ask(Steps())
    dispatcher = await site.barriers.reached("push:after")
    with measured("dispatcher, after the push", bound=1):
        await site.kill(dispatcher)
        working = await site.barriers.reached("step:2")
    fence = (await site.engine.job(job.id)).fence
    for _ in range(3):  # as by somebody who does not know how far it came
        await site.engine.runtime.carrier.push(Lane.INTERACTIVE, [(job.id, fence)])
    witness = await site.engine.ask(job.account_id, Steps(steps=1))  # pushed after them
    await site.until(witness, JobState.SUCCEEDED)
    await working.go_on()
    ended = await site.until(job, JobState.SUCCEEDED)
    assert (ended.fence, ended.attempt) == (1, 1)
    await site.has_a_sound_history(job)
