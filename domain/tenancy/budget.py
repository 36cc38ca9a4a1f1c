"""How much may be asked in a while: counters in Redis that forget by themselves."""

from dataclasses import dataclass
from datetime import UTC, datetime
from time import time

from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.errors import LimitReached


@dataclass(frozen=True, slots=True)
class Budget:
    """`limit` points in each window of `seconds`, for whatever `name` is counted by."""

    name: str
    limit: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Where a budget stands. `resets_at` is UTC."""

    limit: int
    remaining: int
    resets_at: datetime


OPERATIONS = Budget("operations", limit=1_000_000, seconds=60)


async def spend(redis: Redis, budget: Budget, *, of: str, points: int = 1) -> Spent:
    """Take `points` off the budget of `of`. Raises LimitReached. While Redis is away nothing is counted."""
    window, elapsed = divmod(int(time()), budget.seconds)
    key = f"bots:budget:{budget.name}:{of}:{window}"
    try:
        async with redis.pipeline(transaction=False) as pipeline:
            pipeline.incrby(key, points)
            pipeline.expire(key, budget.seconds + 1)
            used = int((await pipeline.execute())[0])
    except (RedisError, OSError):
        used = points
    left = budget.seconds - elapsed
    if used > budget.limit:
        raise LimitReached(f"Too much was asked in {budget.seconds} seconds.", retry_after=left)
    return Spent(budget.limit, budget.limit - used, datetime.fromtimestamp((window + 1) * budget.seconds, UTC))
