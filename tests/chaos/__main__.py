"""A chaos run from the command line: python -m tests.chaos --seed 7 --minutes 3"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

from domain.logs import configure
from domain.settings import Settings
from tests.chaos.run import run


def main() -> int:
    """Run, print the figures, and fail where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed brings the same faults at the same times")
    parser.add_argument("--minutes", type=float, default=3.0, help="for how long things go wrong")
    given = parser.parse_args()
    for name in Settings.model_fields:  # a developer's own configuration decides nothing here
        os.environ.pop(name.upper(), None)
    configure("critical", process="chaos")
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o755)
    verdict = asyncio.run(run(folder, seed=given.seed, seconds=60 * given.minutes, say=_say))
    for name, figure in verdict.figures.items():
        _say(f"{name:<32} {figure}")
    for wrong in verdict.wrong:
        _say(f"WRONG: {wrong}")
    if verdict.wrong:
        _say(f"What the processes said is kept in {folder}.")
    else:
        shutil.rmtree(folder)
    _say("All as it must be." if not verdict.wrong else f"{len(verdict.wrong)} things are wrong (seed {given.seed}).")
    return 1 if verdict.wrong else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
