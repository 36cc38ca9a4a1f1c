"""Forgets what an account need not keep any longer."""

from datetime import timedelta

import structlog

from domain.jobs import retention
from domain.jobs.retention import Retain, Rule
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from domain.unit import Unit
from jobs.handlers import handles

log = structlog.get_logger(__name__)


class RuleFailed(Exception):
    """A rule could not be carried out, for the reason that is its cause; nothing of its batch was deleted."""


@handles(Retain)
async def retain(job: Running[Retain], runtime: Runtime) -> Done:
    """Rule after rule, a batch a transaction; a later attempt goes on with the rule where the last one ended.

    A rule that fails holds up none of the others. The attempt then fails in the end, and the next one begins with that rule.
    """
    gone: dict[str, int] = {rule.name: 0 for rule in retention.RULES} | job.checkpoint.get("gone", {})
    first = job.checkpoint.get("rule", retention.RULES[0].name)
    names = [rule.name for rule in retention.RULES]
    failed: dict[str, RuleFailed] = {}
    for rule in retention.RULES[names.index(first) if first in names else 0 :]:
        kept, dropped = rule.kept(runtime.settings), 1
        try:
            while dropped:
                async with job.unit() as unit:
                    dropped = await _drop(unit, rule, kept)
                    gone[rule.name] += dropped
                    checkpoint = {"rule": next(iter(failed), rule.name), "gone": gone}
                    await job.advance(unit, phase=rule.name, done=sum(gone.values()), checkpoint=checkpoint)
        except RuleFailed as failure:
            log.warning("retention.rule_failed", rule=rule.name, error=str(failure.__cause__))
            failed[rule.name] = failure
    for first_failure in failed.values():
        raise first_failure.__cause__ or first_failure
    return Done(retention.summary(gone), gone)


async def _drop(unit: Unit, rule: Rule, kept: timedelta) -> int:
    try:
        return await rule.drop(unit, kept)
    except Exception as error:
        raise RuleFailed from error
