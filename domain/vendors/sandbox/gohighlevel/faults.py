"""Faults that the control endpoint orders: which requests they hit, how often, and what happens to those."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

KINDS = frozenset({"status", "revoked", "latency", "cut", "repeat_cursor", "wrong_tenant", "garbage", "hang"})


class BadFault(ValueError):
    """The order for a fault makes no sense; the message says why."""


@dataclass(slots=True)
class Fault:
    """One ordered fault.

    `method`, `path` (a glob), `location` and `company` are what a request must match, where given. The first `skip`
    matching requests pass, the next `times` are hit (None: all), then the fault is spent.
    """

    number: int
    kind: str
    how: Mapping[str, Any]
    method: str | None = None
    path: str = "*"
    location: str | None = None
    company: str | None = None
    skip: int = 0
    times: int | None = 1
    hits: int = 0

    def matches(self, *, method: str, path: str, location: str | None, company: str | None) -> bool:
        """Whether a request is of the kind that this fault hits."""
        return (
            self.method in (None, method)
            and fnmatchcase(path, self.path)
            and self.location in (None, location)
            and self.company in (None, company)
        )

    def describe(self) -> dict[str, Any]:
        """The fault as the control endpoint shows it."""
        match = {"method": self.method, "path": self.path, "location": self.location, "company": self.company}
        return {
            "id": self.number,
            "match": {name: value for name, value in match.items() if value is not None},
            "skip": self.skip,
            "times": self.times,
            "hits": self.hits,
            "fault": {"kind": self.kind, **self.how},
        }


@dataclass(slots=True)
class Faults:
    """The faults in force, oldest first."""

    _all: list[Fault] = field(default_factory=list)
    _numbers: int = 0

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._all)

    def order(self, wanted: Any) -> Fault:
        """Add the fault described as `{"match": {...}, "times": n, "skip": n, "fault": {"kind": ..., ...}}`.

        Raises BadFault.
        """
        if not isinstance(wanted, dict) or not isinstance(wanted.get("fault"), dict):
            raise BadFault("a fault is {match, times, skip, fault: {kind, ...}}")
        how = dict(wanted["fault"])
        kind = how.pop("kind", None)
        if kind not in KINDS:
            raise BadFault(f"kind is one of {', '.join(sorted(KINDS))}")
        if kind == "status" and not isinstance(how.get("status"), int):
            raise BadFault("a status fault needs a status")
        match = wanted.get("match") or {}
        unknown = set(match) - {"method", "path", "location", "company"}
        if unknown:
            raise BadFault(f"a fault cannot match by {', '.join(sorted(unknown))}")
        self._numbers += 1
        fault = Fault(self._numbers, kind, how, skip=wanted.get("skip", 0), times=wanted.get("times", 1), **match)
        self._all.append(fault)
        return fault

    def take(self, *, method: str, path: str, location: str | None, company: str | None) -> list[Fault]:
        """The faults that hit this request: every latency, and the first of the others."""
        taken: list[Fault] = []
        for fault in self._all:
            if fault.kind == "revoked" or not fault.matches(method=method, path=path, location=location, company=company):
                continue
            if fault.kind != "latency" and any(other.kind != "latency" for other in taken):
                continue
            if fault.skip > 0:
                fault.skip -= 1
            elif fault.times is None or fault.hits < fault.times:
                fault.hits += 1
                taken.append(fault)
        return taken

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._all.clear()
