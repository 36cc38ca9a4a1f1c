"""Webhooks of vendors: checked, kept, answered; a job applies them."""

from datetime import UTC, datetime

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from domain.crm import webhooks
from domain.errors import DomainError
from domain.runtime import Runtime
from domain.vendors.gohighlevel.webhooks import SIGNATURE_HEADER, Forged, load_public_key, verify

_MAX_BODY = 1 << 20

log = structlog.get_logger(__name__)


async def gohighlevel(request: Request) -> Response:
    """200 once it is kept, or was before; 429 where it cannot be kept: only after that GoHighLevel sends again."""
    runtime: Runtime = request.app.state.runtime
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _MAX_BODY:
            return _answer("API-112", "The body is larger than 1 MiB.", 413)
    signature = request.headers.get(SIGNATURE_HEADER)
    public_key = load_public_key(runtime.settings.ghl_webhook_public_key)
    try:
        event = verify(bytes(raw), signature=signature, public_key=public_key, now=datetime.now(UTC))
    except Forged as error:
        log.warning("webhook.forged", ip=request.client.host if request.client else None)
        return _answer(error.code, error.message, 401)
    except DomainError as error:
        return _answer(error.code, error.message, 400)
    try:
        is_new = await webhooks.receive(runtime.database, runtime.ghl, event)
    except Exception:
        log.exception("webhook.not_kept", webhook_id=event.webhook_id, type=event.type)
        return _answer("API-100", "It could not be kept; send it again.", 429)
    return JSONResponse({"received": is_new})


def _answer(code: str, message: str, status: int) -> Response:
    return JSONResponse({"code": code, "message": message}, status)
