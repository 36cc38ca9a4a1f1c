"""OAuth: the token endpoints and the list of installed locations. The consent page is in `consent.py`."""

from domain.vendors.sandbox.gohighlevel import dto
from domain.vendors.sandbox.gohighlevel.answers import Answer, Json, Refused, foreign_location, ok, refused
from domain.vendors.sandbox.gohighlevel.consent import choose_location
from domain.vendors.sandbox.gohighlevel.door import Call, Endpoint
from domain.vendors.sandbox.gohighlevel.state import Company, World
from domain.vendors.sandbox.gohighlevel.tokens import Grant, InvalidRefreshToken

APP_ID = "66f1a2b3c4d5e6f708192a3b"
VERSION_ID = "66f1a2b3c4d5e6f708192a3c"
PLAN_ID = "66a0419a0dffa47fb5f8b22f"

TOKEN_BODY: dto.Shape = {
    "client_id": dto.required(dto.text()),
    "client_secret": dto.required(dto.text()),
    "grant_type": dto.required(dto.one_of("authorization_code", "refresh_token", "client_credentials")),
    "code": dto.optional(dto.text()),
    "refresh_token": dto.optional(dto.text()),
    "user_type": dto.optional(dto.one_of("Company", "Location")),
    "redirect_uri": dto.optional(dto.text()),
}
LOCATION_TOKEN_BODY: dto.Shape = {"companyId": dto.required(dto.text()), "locationId": dto.required(dto.text())}
INSTALLED_QUERY: dto.Shape = {
    "companyId": dto.required(dto.text()),
    "appId": dto.required(dto.text()),
    "skip": dto.optional(dto.integer(least=0)),
    "limit": dto.optional(dto.integer(least=1, most=100)),
    "query": dto.optional(dto.text()),
    "isInstalled": dto.optional(dto.boolean),
    "versionId": dto.optional(dto.text()),
    "onTrial": dto.optional(dto.boolean),
    "planId": dto.optional(dto.text()),
    "locationId": dto.optional(dto.text()),
}


def token(call: Call) -> Answer:
    """POST /oauth/token"""
    body = call.input(TOKEN_BODY)
    match body["grant_type"]:
        case "authorization_code":
            grant = _from_code(call.world, body)
            _install(call.world, grant)
        case "refresh_token":
            grant = _from_refresh_token(call.world, body)
        case _:
            raise refused(400, "Unsupported grant type")
    return ok(_tokens(call.world, grant))


def _from_code(world: World, body: Json) -> Grant:
    # The vendor looks at the code before it looks at the app's credentials.
    pending = world.codes.get(body.get("code", ""))
    if pending is None or pending.expires <= world.clock.now():
        raise _unauthorized("Authorization code not found")
    _check_client(world, body)
    if pending.client_id != body["client_id"] or body.get("redirect_uri", pending.redirect_uri) != pending.redirect_uri:
        raise _unauthorized("Authorization code was issued to another client or redirect_uri")
    del world.codes[body["code"]]
    _check_active(world, pending.grant)
    return pending.grant


def _from_refresh_token(world: World, body: Json) -> Grant:
    _check_client(world, body)
    try:
        grant = world.tokens.exchange(body.get("refresh_token", ""))
    except InvalidRefreshToken:
        raise Refused(400, {"error": "invalid_grant", "error_description": "This refresh token is invalid"}) from None
    _check_active(world, grant)
    return grant


def _check_client(world: World, body: Json) -> None:
    options = world.options
    if options.client_id not in (None, body["client_id"]) or options.client_secret not in (None, body["client_secret"]):
        raise _unauthorized("Invalid client credentials!")


def _check_active(world: World, grant: Grant) -> None:
    company = world.companies[grant.company_id]
    if company.suspended or (grant.location_id is not None and grant.location_id not in company.location_ids):
        raise refused(400, "Location is not active")


def _unauthorized(description: str) -> Refused:
    return Refused(401, {"error": "UnAuthorized!", "error_description": description})


def _install(world: World, grant: Grant) -> None:
    company = world.companies[grant.company_id]
    for location_id in [grant.location_id] if grant.location_id else company.location_ids:
        company.installed.setdefault(location_id, world.clock.iso())
    world.webhooks.send(
        {
            "type": "INSTALL",
            "appId": APP_ID,
            "companyId": company.id,
            **({"locationId": grant.location_id} if grant.location_id else {}),
            "userId": grant.user_id,
            "planId": PLAN_ID,
            "isWhitelabelCompany": False,
            "whitelabelDetails": {},
            "companyName": company.name,
        }
    )


def _tokens(world: World, grant: Grant) -> Json:
    company = world.companies[grant.company_id]
    whole = grant.location_id is None
    return {
        **_access(world, grant),
        "refresh_token": world.tokens.refresh(grant),
        "userType": grant.token_class,
        "companyId": grant.company_id,
        **({} if whole else {"locationId": grant.location_id}),
        **({"approvedLocations": list(company.location_ids)} if whole else {}),
        "isBulkInstallation": whole,
        **({"installToFutureLocations": True, "approveAllLocations": True} if whole else {}),
    }


def _access(world: World, grant: Grant) -> Json:
    return {
        "access_token": world.tokens.access(grant),
        "token_type": "Bearer",
        "expires_in": world.tokens.access_seconds,
        "scope": " ".join(sorted(grant.scopes)),
        "userId": grant.user_id,
        "planId": PLAN_ID,
    }


def location_token(call: Call) -> Answer:
    """POST /oauth/locationToken: a company's token for one of a location; without a refresh token, and 201 as seen in
    the field.
    """
    body = call.input(LOCATION_TOKEN_BODY)
    company = call.company_named(body["companyId"])
    if body["locationId"] not in company.location_ids:
        raise foreign_location()
    grant = call.world.grant(company, location_id=body["locationId"], scopes=call.grant.scopes)
    company.installed.setdefault(body["locationId"], call.world.clock.iso())
    return ok(
        {**_access(call.world, grant), "userType": "Location", "companyId": company.id, "locationId": grant.location_id},
        status=201,
    )


def installed_locations(call: Call) -> Answer:
    """GET /oauth/installedLocations"""
    query = call.params(INSTALLED_QUERY)
    company = call.company_named(query["companyId"])
    rows = [_installed(company, location.data) for location in call.world.locations(company)]
    if text := query.get("query", "").lower():
        rows = [row for row in rows if text in row["name"].lower()]
    if "isInstalled" in query:
        rows = [row for row in rows if row["isInstalled"] is (query["isInstalled"] == "true")]
    if "locationId" in query:
        rows = [row for row in rows if row["_id"] == query["locationId"]]
    skip, limit = int(query.get("skip", 0)), int(query.get("limit", 20))
    return ok({"locations": rows[skip : skip + limit], "count": len(rows), "installToFutureLocations": True})


def _installed(company: Company, location: Json) -> Json:
    since = company.installed.get(location["id"])
    row = {"_id": location["id"], "name": location["name"], "address": location["address"], "isInstalled": since is not None}
    return row if since is None else {**row, "versionId": VERSION_ID, "installedAt": since}


ENDPOINTS = (
    Endpoint("GET", "/v2/oauth/chooselocation", choose_location, access="open"),
    Endpoint("GET", "/oauth/chooselocation", choose_location, access="open"),
    Endpoint("POST", "/oauth/token", token, access="open", form=True),
    Endpoint("POST", "/oauth/locationToken", location_token, "oauth.write", access="agency", form=True, private=False),
    Endpoint("GET", "/oauth/installedLocations", installed_locations, "oauth.readonly", access="agency"),
)
