"""RQ as the carrier: it takes (job id, fence) to a worker of a lane, and nothing more is asked of it.

What Redis loses, the lease's end brings back; what it doubles, the claim refuses.
"""

import asyncio
from functools import partial
from uuid import UUID

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from db.models.jobs import Lane

ENTRY = "jobs.worker.run"


def queue_name(lane: Lane) -> str:
    """The RQ queue of a lane; a worker listens to exactly one, or RQ pops without the safety of LMOVE."""
    return f"bots-{lane.value}"


class Carrier:
    """Pushes to the lanes' queues. Enqueueing is synchronous in RQ, so it runs on a thread."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(redis_url, socket_connect_timeout=2, socket_timeout=5)
        self._queues = {lane: Queue(queue_name(lane), connection=self._redis, serializer=JSONSerializer) for lane in Lane}

    async def require(self) -> None:
        """Raises RedisError when Redis is away: then nothing need be admitted in vain."""
        await asyncio.to_thread(self._redis.ping)

    async def push(self, lane: Lane, carried: list[tuple[UUID, int]]) -> None:
        """Carry jobs with their fences. Raises RedisError when Redis is away: the clock repairs that."""
        if carried:
            await asyncio.to_thread(partial(self._push, lane, carried))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _push(self, lane: Lane, carried: list[tuple[UUID, int]]) -> None:
        queue = self._queues[lane]
        with self._redis.pipeline() as pipeline:
            queue.enqueue_many(
                [
                    Queue.prepare_data(ENTRY, args=(str(job_id), fence), job_id=f"{job_id}-{fence}", result_ttl=0, timeout=60)
                    for job_id, fence in carried
                ],
                pipeline=pipeline,
            )
            pipeline.execute()
