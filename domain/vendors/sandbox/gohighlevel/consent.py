"""The page where a user picks an account and allows or denies; with `decision=` it decides at once, for scripts."""

import secrets
from html import escape
from urllib.parse import urlencode, urlsplit

from domain.vendors.sandbox.gohighlevel.answers import Answer
from domain.vendors.sandbox.gohighlevel.door import Call
from domain.vendors.sandbox.gohighlevel.seed import BRIGHT
from domain.vendors.sandbox.gohighlevel.state import Company, PendingCode

CODE_SECONDS = 600.0

HTML = "text/html; charset=utf-8"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sandbox: connect an account</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem}}
label{{display:block;margin:1rem 0}}button{{font:inherit;padding:.5rem 1.5rem;margin-right:1rem}}</style>
<h1>{title}</h1>{content}</html>"""
ERROR = "<p>{0}</p>"


def choose_location(call: Call) -> Answer:
    """GET /v2/oauth/chooselocation

    Besides the vendor's parameters: `decision` (allow or deny), `company` (an id or a name), `user_type` (Company or
    Location) and `location` (an id; the company's first by default).
    """
    query = call.query
    problem = _problem(call)
    if problem:
        return Answer(400, PAGE.format(title="This link does not work", content=ERROR.format(escape(problem))).encode(), HTML)
    match query.get("decision"):
        case "deny":
            return _back(call, {"error": "access_denied", "error_description": "The user denied access"})
        case "allow":
            return _allow(call)
        case _:
            return Answer(200, _page(call).encode(), HTML)


def _problem(call: Call) -> str | None:
    query, options = call.query, call.world.options
    if query.get("response_type", "code") != "code":
        return "response_type must be code"
    if options.client_id not in (None, query.get("client_id")) or not query.get("client_id"):
        return "No app has this client_id"
    if urlsplit(query.get("redirect_uri", "")).scheme not in ("http", "https"):
        return "redirect_uri must be an http or https address"
    return None if query.get("scope", "").split() else "scope is missing"


def _allow(call: Call) -> Answer:
    query, world = call.query, call.world
    company = _company(call)
    if company is None:
        return _back(call, {"error": "invalid_request", "error_description": "There is no such company"})
    location_id = None
    if query.get("user_type") == "Location":
        location_id = query.get("location") or next(iter(company.location_ids), None)
        if location_id not in company.location_ids:
            return _back(call, {"error": "invalid_request", "error_description": "The company has no such location"})
    code = secrets.token_hex(20)
    world.codes[code] = PendingCode(
        grant=world.grant(company, location_id=location_id, scopes=frozenset(query["scope"].split())),
        client_id=query["client_id"],
        redirect_uri=query["redirect_uri"],
        expires=world.clock.now() + CODE_SECONDS,
    )
    return _back(call, {"code": code})


def _company(call: Call) -> Company | None:
    wanted = call.query.get("company") or BRIGHT.id
    return next((each for each in call.world.companies.values() if wanted in (each.id, each.name)), None)


def _back(call: Call, outcome: dict[str, str]) -> Answer:
    address = call.query["redirect_uri"]
    state = {"state": call.query["state"]} if "state" in call.query else {}
    joint = "&" if "?" in address else "?"
    return Answer(302, b"", HTML, {"location": f"{address}{joint}{urlencode({**outcome, **state})}"})


def _page(call: Call) -> str:
    query = call.query
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in query.items()
        if name not in ("company", "user_type", "decision")
    )
    scopes = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in query["scope"].split())
    companies = "".join(
        f'<option value="{escape(company.id)}">{escape(_label(company))}</option>' for company in call.world.companies.values()
    )
    return PAGE.format(
        title="Connect your account",
        content=f"""<p>This is the offline sandbox of GoHighLevel. The app asks for:</p><ul>{scopes}</ul>
<form method="get">{hidden}
<label>Account <select name="company">{companies}</select></label>
<label>Connect <select name="user_type"><option value="Company">the whole agency</option>
<option value="Location">its first sub-account only</option></select></label>
<button name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button></form>""",
    )


def _label(company: Company) -> str:
    state = ", suspended" if company.suspended else ""
    return f"{company.name} ({len(company.location_ids)} sub-accounts{state})"
