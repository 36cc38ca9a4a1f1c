"""Where GoHighLevel's consent page sends the browser back to."""

from html import escape
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from domain.crm.connections import authorizations
from domain.errors import DomainError, VendorBusy, VendorDown
from domain.runtime import Runtime

_HEADERS = {"cache-control": "no-store", "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui;max-width:36rem;margin:15vh auto;padding:0 1rem}}code{{color:#666}}</style>
<h1>{title}</h1><p>{text}</p>{code}</html>"""


async def callback(request: Request) -> Response:
    """Hand the answer to the SPA, whose signed-in user finishes with completeGhlAuthorization; in demo mode finish here."""
    runtime: Runtime = request.app.state.runtime
    query = {name: request.query_params[name] for name in ("state", "code", "error") if name in request.query_params}
    if runtime.settings.spa_url is not None:
        url = f"{runtime.settings.spa_url.rstrip('/')}/oauth/gohighlevel?{urlencode(query)}"
        return RedirectResponse(url, 303, headers={"cache-control": "no-store", "referrer-policy": "no-referrer"})
    if not runtime.settings.demo:
        # Only a signed-in front end knows that it is the same person who began; a link could have been sent to anybody.
        return _page(
            "GoHighLevel was not connected", "This server has no front end to finish it: SPA_URL is not set.", None, 501
        )
    try:
        done = await authorizations.complete(
            runtime.database,
            runtime.ghl,
            state=query.get("state", ""),
            code=query.get("code"),
            error=query.get("error"),
            actor=None,
        )
    except (VendorDown, VendorBusy) as error:
        return _page("GoHighLevel cannot be reached", f"{error.message} Reload this page to try again.", error.code, 502)
    except DomainError as error:
        return _page("GoHighLevel was not connected", error.message, error.code, 400)
    title = "GoHighLevel is connected again" if done.is_update else "GoHighLevel connected successfully"
    text = done.notice or f"{done.connection.name}: {done.location_count} sub-accounts found. You can close this page."
    return _page(title, text, None, 200)


def _page(title: str, text: str, code: str | None, status: int) -> Response:
    shown = f"<p><code>{escape(code)}</code></p>" if code else ""
    return HTMLResponse(_PAGE.format(title=escape(title), text=escape(text), code=shown), status, headers=_HEADERS)
