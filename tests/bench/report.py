"""What a benchmark prints: the machine, medians over rounds, and whether a target is met."""

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_WIDTH: Final = 58


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a median has to hold: at most `most`, or at least `least`."""

    most: float | None = None
    least: float | None = None

    def judge(self, value: float) -> str:
        """The target and the verdict, in words."""
        bound = f"at most {self.most:g}" if self.most is not None else f"at least {self.least:g}"
        met = value <= self.most if self.most is not None else value >= (self.least or 0)
        return f"  target {bound}: {'met' if met else 'MISSED'}"


def heading(text: str) -> None:
    """Begin a benchmark's part of the output."""
    write(f"\n{text}")


def figure(name: str, values: Sequence[float], unit: str, *, target: Target | None = None) -> None:
    """One line: the median over the rounds, with the least and the most."""
    middle = statistics.median(values)
    span = f" [{_short(min(values))}..{_short(max(values))}]" if len(values) > 1 else ""
    write(f"  {name:<{_WIDTH}} {_short(middle)} {unit}{span}{target.judge(middle) if target else ''}")


def remark(text: str) -> None:
    """A line that is no measurement."""
    write(f"  {text}")


def machine() -> str:
    """What this was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return (
        f"{model}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}; load {load:.1f} at the start"
    )


def cpu_seconds(pid: int) -> float:
    """CPU time (user and system) that a process has used, all its threads together, to the nanosecond."""
    # The kernel's number of another process's CPU clock; /proc/PID/stat has the same figure in steps of 10 ms.
    return time.clock_gettime((~pid << 3) | 2)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def write(text: str) -> None:
    """Print at once, so that a long run can be followed."""
    print(text, flush=True)  # noqa: T201 - the benchmark's own output


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
