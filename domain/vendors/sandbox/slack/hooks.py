"""Slack's incoming webhooks as they answer: `ok`, or one word of plain text that says why not.

Every URL of the right form is a webhook that works, until it is told otherwise under `/__control__/slack`:

- GET `messages`: what was posted, oldest first: url, text, blocks, at; DELETE empties it
- POST `faults` {"answer": "no_service", "times": 1, "token": null}: the next so many posts (times null: all) get this answer;
  one of `ANSWERS`, or `hang`
- DELETE `faults`: all is well again
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

ANSWERS: Final = {
    "invalid_payload": 400,
    "user_not_found": 400,
    "action_prohibited": 403,
    "invalid_token": 403,
    "posting_to_general_channel_denied": 403,
    "team_disabled": 403,
    "channel_not_found": 404,
    "no_active_hooks": 404,
    "no_service": 404,
    "no_service_id": 404,
    "no_team": 404,
    "channel_is_archived": 410,
    "rate_limited": 429,
    "rollup_error": 500,
    "service_unavailable": 503,
}
_RETRY_AFTER = "1"
_MAX_BLOCKS = 50
_MAX_ATTACHMENTS = 100
_MAX_SECTION = 3_000
_MAX_HEADER = 150
_HANGS = 60.0


@dataclass(slots=True)
class _Fault:
    answer: str
    times: int | None
    token: str | None


@dataclass(slots=True)
class SlackHooks:
    """The webhooks of one sandbox."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    _faults: list[_Fault] = field(default_factory=list)
    _well: asyncio.Event = field(default_factory=asyncio.Event)

    def routes(self) -> list[Route]:
        """The webhooks themselves."""
        return [Route("/services/{team}/{service}/{token}", self._post, methods=["POST"])]

    def controls(self) -> list[Route]:
        """For whoever tests against it."""
        return [
            Route("/__control__/slack/messages", self._log, methods=["GET", "DELETE"]),
            Route("/__control__/slack/faults", self._order, methods=["POST", "DELETE"]),
        ]

    def order(self, answer: str, *, times: int | None = 1, token: str | None = None) -> None:
        """Let the next posts be answered like this. Raises ValueError for what Slack never says."""
        if answer != "hang" and answer not in ANSWERS:
            raise ValueError(f"Slack never answers {answer}")
        self._well.clear()
        self._faults.append(_Fault(answer, times, token))

    def clear(self) -> None:
        """All is well again."""
        self._faults.clear()
        self._well.set()

    async def _post(self, request: Request) -> Response:
        raw = await request.body()
        answer = self._take(request.path_params["token"])
        if answer == "hang":
            with_patience = asyncio.wait_for(self._well.wait(), _HANGS)
            await asyncio.gather(with_patience, return_exceptions=True)
            answer = "service_unavailable"
        if answer is not None:
            headers = {"retry-after": _RETRY_AFTER} if answer == "rate_limited" else None
            return PlainTextResponse(answer, ANSWERS[answer], headers)
        try:
            message = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return PlainTextResponse("invalid_payload", 400)
        wrong = _wrong(message)
        if wrong is not None:
            return PlainTextResponse(wrong, 400)
        self.messages.append({"url": str(request.url.path), "at": datetime.now(UTC).isoformat(), **message})
        return PlainTextResponse("ok")

    def _take(self, token: str) -> str | None:
        for fault in self._faults:
            if fault.token in {None, token} and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                return fault.answer
        return None

    async def _log(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.messages.clear()
        return JSONResponse(self.messages)

    async def _order(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.clear()
            return JSONResponse({})
        wanted = orjson.loads(await request.body())
        try:
            self.order(wanted["answer"], times=wanted.get("times", 1), token=wanted.get("token"))
        except (KeyError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(wanted, 201)


def _wrong(message: Any) -> str | None:
    """What Slack has against a message; None: nothing."""
    if not isinstance(message, dict):
        return "invalid_payload"
    blocks, attachments = message.get("blocks", []), message.get("attachments", [])
    if not isinstance(blocks, list) or not isinstance(attachments, list) or not isinstance(message.get("text", ""), str):
        return "invalid_payload"
    if not (message.get("text") or blocks or attachments):
        return "no_text"
    if len(attachments) > _MAX_ATTACHMENTS:
        return "too_many_attachments"
    return None if len(blocks) <= _MAX_BLOCKS and all(map(_is_block, blocks)) else "invalid_blocks"


def _is_block(block: Any) -> bool:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        return False
    longest = {"section": _MAX_SECTION, "header": _MAX_HEADER}.get(block["type"])
    text = block.get("text", {}).get("text", "") if isinstance(block.get("text", {}), dict) else None
    return isinstance(text, str) and (longest is None or 0 < len(text) <= longest)
