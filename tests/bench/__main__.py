"""The benchmarks.

    python -m tests.bench [NAME ...] [--quick]

Without names all are run. Each brings up the servers and processes that it measures, in a temporary folder, and stops them.
"""

import argparse
import asyncio
import resource
import time
from collections.abc import Callable, Coroutine
from typing import Final

from tests.bench import admission, dashboard, engine, fanout, latency, lists, start, sync
from tests.bench.options import Options
from tests.bench.report import machine, write

BENCHMARKS: Final[dict[str, Callable[[Options], Coroutine[None, None, None]]]] = {
    "start": start.run,
    "sync": sync.run,
    "latency": latency.run,
    "fanout": fanout.run,
    "lists": lists.run,
    "dashboard": dashboard.run,
    "engine": engine.run,
    "admission": admission.run,
}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all when none is given")
    parser.add_argument("--quick", action="store_true", help="fewer rounds of less; the figures are rough")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    write(machine())
    for name in given.names or BENCHMARKS:
        began = time.monotonic()
        asyncio.run(BENCHMARKS[name](Options(quick=given.quick)))
        write(f"  ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
