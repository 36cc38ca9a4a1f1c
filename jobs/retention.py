"""Forgets what an account need not keep any longer."""

from domain.jobs import retention
from domain.jobs.retention import Retain
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from jobs.handlers import handles


@handles(Retain)
async def retain(job: Running[Retain], runtime: Runtime) -> Done:
    """Rule after rule, a batch a transaction; a later attempt goes on with the rule where the last one ended."""
    gone: dict[str, int] = {rule.name: 0 for rule in retention.RULES} | job.checkpoint.get("gone", {})
    first = job.checkpoint.get("rule", retention.RULES[0].name)
    names = [rule.name for rule in retention.RULES]
    for rule in retention.RULES[names.index(first) if first in names else 0 :]:
        kept, dropped = rule.kept(runtime.settings), 1
        while dropped:
            async with job.unit() as unit:
                dropped = await rule.drop(unit, kept)
                gone[rule.name] += dropped
                checkpoint = {"rule": rule.name, "gone": gone}
                await job.advance(unit, phase=rule.name, done=sum(gone.values()), checkpoint=checkpoint)
    return Done(retention.summary(gone), gone)
