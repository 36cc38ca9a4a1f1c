"""A GraphQL client as a front end would use it: JSON over HTTP, and subscriptions as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

ENDED = {"SUCCEEDED", "PARTIAL", "FAILED", "CANCELLED", "SKIPPED"}
PATIENCE = 20.0

JOB = """
  id kind title state version message attempt failures maxRetries errorCode errorMessage isEnded nextAttemptAt
  progress { phase done total percent rate etaAt }
  attempts { number outcome errorCode errorClass errorMessage httpStatus stackTrace nextDelay startedAt endedAt }
"""


class GraphQLFailed(Exception):
    """The answer has top-level errors."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(orjson.dumps(errors).decode())
        self.errors = errors
        self.code = errors[0]["extensions"]["code"]


@dataclass(frozen=True)
class Client:
    """Asks as the bearer of `token`."""

    http: httpx.AsyncClient
    token: str | None = None
    account: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What says who asks."""
        headers = {} if self.token is None else {"authorization": f"Bearer {self.token}"}
        return headers if self.account is None else headers | {"x-account": self.account}

    async def ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """The data of a query or mutation. Raises GraphQLFailed."""
        answer = await self.http.post("/graphql", json={"query": document, "variables": variables}, headers=self.headers)
        body = answer.json()
        if body.get("errors"):
            raise GraphQLFailed(body["errors"])
        data: dict[str, Any] = body["data"]
        return data

    async def watch(self, document: str, **variables: Any) -> AsyncGenerator[dict[str, Any], None]:
        """The data of a subscription's answers. Close it to leave; nothing for 20 s is an error. Raises GraphQLFailed."""
        request = {"query": document, "variables": variables}
        headers = self.headers | {"accept": "text/event-stream"}
        async with self.http.stream("POST", "/graphql", json=request, headers=headers, timeout=PATIENCE) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: {"):
                    body = orjson.loads(line.removeprefix("data: "))
                    if body.get("errors"):
                        raise GraphQLFailed(body["errors"])
                    yield body["data"]

    async def until(self, job_id: str, *states: str, failures: int | None = None) -> dict[str, Any]:
        """Watch a job until it is in one of `states` (and failed so often), or has ended where none are given; the job then."""
        wanted = set(states) or ENDED
        document = f"subscription ($id: ID!) {{ jobUpdated(id: $id) {{ job {{ {JOB} }} }} }}"
        # The server's heartbeats keep the stream alive, however long nothing happens.
        async with asyncio.timeout(2 * PATIENCE), aclosing(self.watch(document, id=job_id)) as updates:
            async for update in updates:
                job: dict[str, Any] = update["jobUpdated"]["job"]
                if job["state"] in wanted and failures in {None, job["failures"]}:
                    return job
                if job["state"] in ENDED:
                    raise AssertionError(f"the job ended as {job['state']}: {job['message']}")
        raise AssertionError("the subscription ended")

    async def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is now."""
        data = await self.ask(f"query ($id: ID!) {{ job(id: $id) {{ {JOB} }} }}", id=job_id)
        job: dict[str, Any] = data["job"]
        return job
