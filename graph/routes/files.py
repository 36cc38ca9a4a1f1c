"""Downloads by signed link."""

from email.message import Message

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from db.models.files import File
from domain.errors import NotFound
from domain.files import store
from domain.files.store import FileGone
from domain.runtime import Runtime

_PRIVATE = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "referrer-policy": "no-referrer",
}


async def download(request: Request) -> Response:
    """The bytes; 404 for a link that is not ours, 410 for one that has expired or whose file has."""
    runtime: Runtime = request.app.state.runtime
    try:
        file = await runtime.links.resolve(runtime.database, request.path_params["token"])
        if request.method == "HEAD":
            return Response(headers=_headers(file))
        return StreamingResponse(await store.read(runtime.files, file), headers=_headers(file))
    except NotFound as error:
        status = 410 if isinstance(error, FileGone) else 404
        return JSONResponse({"code": error.code, "message": error.message}, status, headers=_PRIVATE)


def _headers(file: File) -> dict[str, str]:
    disposition = Message()
    disposition.add_header("content-disposition", "attachment", filename=("utf-8", "", file.name))
    return _PRIVATE | {
        "content-type": file.media_type,
        "content-length": str(file.size),
        "content-disposition": str(disposition["content-disposition"]),
        "etag": f'"{file.sha256.hex()}"',
    }
