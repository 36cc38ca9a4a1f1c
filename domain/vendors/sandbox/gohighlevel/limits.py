"""The rate limit: 100 requests in any 10 seconds and 200,000 a day, for each location or company."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a resource stands after a request; `allowed` says whether that request passes."""

    allowed: bool
    remaining: int
    daily_remaining: int
    daily_reset_ms: int


@dataclass(slots=True)
class _Used:
    recent: deque[float] = field(default_factory=deque)
    day_began: float = 0.0
    today: int = 0


class RateLimit:
    """Counts requests of each resource.

    The window slides: it is the strictest reading of the documented limit, so a client that holds it here holds it
    against any window that the vendor may really use. A refused request does not count.
    """

    def __init__(self, *, enabled: bool, burst: int, interval: float, daily: int, now: Callable[[], float]) -> None:
        self.enabled = enabled
        self.burst = burst
        self.interval = interval
        self.daily = daily
        self._now = now
        self._used: dict[str, _Used] = {}

    def take(self, resource: str) -> Standing:
        """Count one request of `resource`."""
        now = self._now()
        used = self._used.setdefault(resource, _Used(day_began=now))
        self._forget(used, now)
        allowed = not self.enabled or (len(used.recent) < self.burst and used.today < self.daily)
        if allowed:
            used.today += 1
            if self.enabled:
                used.recent.append(now)
        return self._standing(used, now, allowed=allowed)

    def look(self) -> Standing:
        """The standing of somebody who has not used anything."""
        now = self._now()
        return self._standing(_Used(day_began=now), now, allowed=True)

    def headers(self, standing: Standing) -> dict[str, str]:
        """The headers which every answer carries while there is a limit: clients hold themselves to what they say."""
        if not self.enabled:
            return {}
        return {
            "x-ratelimit-limit-daily": str(self.daily),
            "x-ratelimit-daily-remaining": str(standing.daily_remaining),
            "x-ratelimit-daily-reset": str(standing.daily_reset_ms),
            "x-ratelimit-interval-milliseconds": str(round(self.interval * 1000)),
            "x-ratelimit-max": str(self.burst),
            "x-ratelimit-remaining": str(standing.remaining),
        }

    def _forget(self, used: _Used, now: float) -> None:
        while used.recent and used.recent[0] <= now - self.interval:
            used.recent.popleft()
        if now - used.day_began >= DAY:
            used.day_began, used.today = now, 0

    def _standing(self, used: _Used, now: float, *, allowed: bool) -> Standing:
        return Standing(
            allowed=allowed,
            remaining=max(0, self.burst - len(used.recent)),
            daily_remaining=max(0, self.daily - used.today),
            daily_reset_ms=round(max(0.0, used.day_began + DAY - now) * 1000),
        )
