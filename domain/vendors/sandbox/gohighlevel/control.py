"""The control endpoints under `/__control__/`: order faults, look at what happened, and change the world behind the API.

- GET `state`: counts of requests and refusals, contacts of each location asked for so far
- POST `reset`: back to the seed
- GET, POST, DELETE `faults`: list; add one (see `faults.Faults.order`); clear
- GET, DELETE `requests`: the log, oldest first (`?path=` a glob, `?method=`); empty it
- POST, PATCH, DELETE `contacts`: create, change or delete contacts, without events or limits (see `control_contacts`)
- POST `tokens`: a pair without the consent page: company, and location, scopes, seconds where wanted
- POST `tokens/expire`: let the company's access tokens be past their time
- POST `company`: change a company: suspended, locations ("none", "all" or ids), scopes
- POST `uninstall`: remove the app from a company: its tokens are revoked and UNINSTALL is sent
- GET, POST `webhooks`: the log of deliveries and the public key; send one now (see `_send_webhook`)
- POST `webhooks/url`: where webhooks go from now on (null: nowhere)
- POST `clock`: move the time forward by `seconds`
- POST `limits`: change the rate limit: enabled, burst, interval_seconds, daily

`company` is an id or a name.
"""

from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain.vendors.sandbox.gohighlevel import control_contacts
from domain.vendors.sandbox.gohighlevel.answers import Json
from domain.vendors.sandbox.gohighlevel.control_contacts import BadOrder
from domain.vendors.sandbox.gohighlevel.faults import BadFault
from domain.vendors.sandbox.gohighlevel.oauth import APP_ID
from domain.vendors.sandbox.gohighlevel.seed import LOCATIONS, SCOPES
from domain.vendors.sandbox.gohighlevel.state import Company, World

Order = Callable[[World, Any, Request], Any]


def routes(world: World) -> list[Route]:
    """The routes, to be mounted at `/__control__`."""
    orders: list[tuple[str, str, Order]] = [
        ("GET", "/state", _state),
        ("POST", "/reset", _reset),
        ("GET", "/faults", _list_faults),
        ("POST", "/faults", _add_fault),
        ("DELETE", "/faults", _clear_faults),
        ("GET", "/requests", _list_requests),
        ("DELETE", "/requests", _clear_requests),
        ("POST", "/contacts", control_contacts.create),
        ("PATCH", "/contacts", control_contacts.change),
        ("DELETE", "/contacts", control_contacts.delete),
        ("POST", "/tokens", _issue_tokens),
        ("POST", "/tokens/expire", _expire_tokens),
        ("POST", "/company", _change_company),
        ("POST", "/uninstall", _uninstall),
        ("GET", "/webhooks", _list_webhooks),
        ("POST", "/webhooks", _send_webhook),
        ("POST", "/webhooks/url", _set_webhook_url),
        ("POST", "/clock", _advance),
        ("POST", "/limits", _set_limits),
    ]
    return [Route(path, _served(world, order), methods=[method]) for method, path, order in orders]


def _served(world: World, order: Order) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        try:
            content = order(world, orjson.loads(raw) if raw else {}, request)
            return Response(orjson.dumps(content), media_type="application/json")
        except (BadOrder, BadFault, ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"missing: {error}" if isinstance(error, KeyError) else str(error)
            return Response(orjson.dumps({"error": message}), 400, media_type="application/json")

    return endpoint


def _state(world: World, _body: Json, _request: Request) -> Json:
    return {
        "requests": sum(world.counts.values()),
        "paths": dict(world.counts),
        "throttled": world.throttled,
        "contacts": {location.id: len(location.contacts) for location in world.awake()},
        "faults": [fault.describe() for fault in world.faults],
        "time": world.clock.iso(),
    }


def _reset(world: World, _body: Json, _request: Request) -> Json:
    world.reset()
    return {}


def _list_faults(world: World, _body: Json, _request: Request) -> list[Json]:
    return [fault.describe() for fault in world.faults]


def _add_fault(world: World, body: Json, _request: Request) -> Json:
    fault = world.faults.order(body)
    if fault.kind == "revoked":
        if fault.company is None:
            world.faults.clear()
            raise BadFault("a revoked fault matches a company")
        world.tokens.revoke(fault.company)
    return fault.describe()


def _clear_faults(world: World, _body: Json, _request: Request) -> Json:
    world.faults.clear()
    world.tokens.unrevoke()
    return {}


def _list_requests(world: World, _body: Json, request: Request) -> list[Json]:
    path, method = request.query_params.get("path", "*"), request.query_params.get("method")
    return [each for each in world.requests if fnmatchcase(each["path"], path) and method in (None, each["method"])]


def _clear_requests(world: World, _body: Json, _request: Request) -> Json:
    world.requests.clear()
    world.counts.clear()
    world.throttled = 0
    return {}


def _issue_tokens(world: World, body: Json, _request: Request) -> Json:
    company = _company(world, body)
    grant = world.grant(company, location_id=body.get("location"), scopes=frozenset(body.get("scopes", SCOPES)))
    return {
        "access_token": world.tokens.access(grant, seconds=body.get("seconds")),
        "refresh_token": world.tokens.refresh(grant),
    }


def _expire_tokens(world: World, body: Json, _request: Request) -> Json:
    world.tokens.expire(_company(world, body).id)
    return {}


def _change_company(world: World, body: Json, _request: Request) -> Json:
    company = _company(world, body)
    if "suspended" in body:
        company.suspended = bool(body["suspended"])
    if "scopes" in body:
        company.scopes = frozenset(body["scopes"])
    if "locations" in body:
        own = [location.id for location in LOCATIONS if location.company_id == company.id]
        wanted = {"all": own, "none": []}.get(body["locations"]) if isinstance(body["locations"], str) else body["locations"]
        if wanted is None or not set(wanted) <= set(own):
            raise BadOrder('locations is "all", "none" or a list of the company\'s location ids')
        company.location_ids = list(wanted)
    return {
        "id": company.id,
        "suspended": company.suspended,
        "locations": company.location_ids,
        "scopes": sorted(company.scopes),
    }


def _uninstall(world: World, body: Json, _request: Request) -> Json:
    company = _company(world, body)
    world.tokens.revoke(company.id)
    company.installed.clear()
    world.webhooks.send({"type": "UNINSTALL", "appId": APP_ID, "companyId": company.id})
    return {}


def _list_webhooks(world: World, _body: Json, _request: Request) -> Json:
    hooks = world.webhooks
    return {"url": hooks.url, "publicKey": hooks.public_key, "deliveries": [delivery.describe() for delivery in hooks.log]}


def _send_webhook(world: World, body: Json, _request: Request) -> Json:
    """{"event": {...}, "signing": "good|forged|missing|not_available", "age_seconds": n, "webhookId": "..."}"""
    event, age = body["event"], body.get("age_seconds")
    if not isinstance(event, dict) or "type" not in event:
        raise BadOrder("an event is an object with a type")
    delivery = world.webhooks.send(
        event,
        timestamp=None if age is None else world.clock.now() - age,
        webhook_id=body.get("webhookId"),
        signing=body.get("signing", "good"),
    )
    if delivery is None:
        raise BadOrder("there is no webhook URL")
    return delivery.describe()


def _set_webhook_url(world: World, body: Json, _request: Request) -> Json:
    world.webhooks.url = body["url"]
    return {}


def _advance(world: World, body: Json, _request: Request) -> Json:
    world.clock.ahead += float(body["seconds"])
    world.webhooks.poke()
    return {"time": world.clock.iso()}


def _set_limits(world: World, body: Json, _request: Request) -> Json:
    limits = world.limits
    limits.enabled = bool(body.get("enabled", limits.enabled))
    limits.burst = int(body.get("burst", limits.burst))
    limits.interval = float(body.get("interval_seconds", limits.interval))
    limits.daily = int(body.get("daily", limits.daily))
    return {"enabled": limits.enabled, "burst": limits.burst, "interval_seconds": limits.interval, "daily": limits.daily}


def _company(world: World, body: Json) -> Company:
    wanted = body["company"]
    found = next((each for each in world.companies.values() if wanted in (each.id, each.name)), None)
    if found is None:
        raise BadOrder("there is no such company")
    return found
