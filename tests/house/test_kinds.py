"""The web process knows every kind that workers run: what may not be seen is hidden by what the kind says."""

import subprocess
import sys

from domain.jobs.args import JobArgs, kinds
from jobs import handlers

_PROGRAM = "import graph.app; from domain.jobs.args import kinds; print(*kinds())"


def test_the_web_process_knows_every_kind() -> None:
    handlers.load()
    ours: dict[str, type[JobArgs]] = {name: args for name, args in kinds().items() if not args.__module__.startswith("tests.")}
    printed = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)  # noqa: S603 -- our own
    assert ours.keys() - set(printed.stdout.split()) == set()
