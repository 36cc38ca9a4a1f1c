"""The short form of `make chaos`: a few seconds of everything going wrong, with a fixed seed."""

from pathlib import Path

from tests.chaos.run import run


async def test_whatever_dies_no_job_is_lost_and_nothing_happens_twice(tmp_path: Path) -> None:
    verdict = await run(tmp_path, seed=2026, seconds=8, say=print)
    assert verdict.wrong == []
    assert verdict.figures["jobs"]["succeeded"] > 10
    assert verdict.figures["attempts"].get("lost", 0) + verdict.figures["leases that were admitted again"] > 0
