"""Users, companies, workflows and campaigns: simple lists."""

from domain.vendors.sandbox.gohighlevel import dto
from domain.vendors.sandbox.gohighlevel.answers import Answer, Json, ok, refused
from domain.vendors.sandbox.gohighlevel.door import Call, Endpoint

LOCATION_QUERY: dto.Shape = {"locationId": dto.required(dto.text())}
CAMPAIGNS_QUERY: dto.Shape = {**LOCATION_QUERY, "status": dto.optional(dto.one_of("draft", "published"))}
USERS_QUERY: dto.Shape = {
    "companyId": dto.required(dto.text()),
    "skip": dto.optional(dto.integer(least=0)),
    "limit": dto.optional(dto.integer(least=1, most=100)),
    "enabled2waySync": dto.optional(dto.boolean),
    **dto.each(dto.text(), "query", "locationId", "type", "role", "ids", "sort", "sortDirection"),
}


def search_users(call: Call) -> Answer:
    """GET /users/search"""
    query = call.params(USERS_QUERY)
    users = call.company_named(query["companyId"]).users
    location_id = query.get("locationId") or call.grant.location_id
    if location_id:
        users = _of_location(users, location_id)
    wanted = query.get("query", "").lower()
    users = [user for user in users if wanted in f"{user['name']} {user['email']}".lower()]
    for name in ("type", "role"):
        users = [user for user in users if query.get(name) in (None, user["roles"][name])]
    if "ids" in query:
        users = [user for user in users if user["id"] in query["ids"].split(",")]
    skip, limit = int(query.get("skip", 0)), int(query.get("limit", 25))
    return ok({"users": users[skip : skip + limit], "count": len(users)})


def list_users(call: Call) -> Answer:
    """GET /users/"""
    location = call.location(call.params(LOCATION_QUERY)["locationId"])
    return ok({"users": _of_location(call.company.users, location.id)})


def _of_location(users: list[Json], location_id: str) -> list[Json]:
    return [user for user in users if location_id in user["roles"]["locationIds"]]


def get_user(call: Call) -> Answer:
    """GET /users/{id}"""
    user = next((user for user in call.company.users if user["id"] == call.path["id"]), None)
    if user is None:
        raise refused(400, f"User with id {call.path['id']} not found")
    return ok(user)


def get_company(call: Call) -> Answer:
    """GET /companies/{id}"""
    company = call.company_named(call.path["id"])
    slug = company.name.lower().replace(" ", "-")
    return ok(
        {
            "company": {
                "id": company.id,
                "name": company.name,
                "email": f"hello@{slug}.example",
                "phone": "+15125550199",
                "website": f"https://{slug}.example",
                "country": "US",
                "timezone": "America/Chicago",
                "status": "suspended" if company.suspended else "active",
                "locationCount": len(company.location_ids),
                "isSandboxAccount": False,
            }
        }
    )


def list_workflows(call: Call) -> Answer:
    """GET /workflows/"""
    return ok({"workflows": call.location(call.params(LOCATION_QUERY)["locationId"]).workflows})


def list_campaigns(call: Call) -> Answer:
    """GET /campaigns/"""
    query = call.params(CAMPAIGNS_QUERY)
    campaigns = call.location(query["locationId"]).campaigns
    return ok({"campaigns": [each for each in campaigns if query.get("status") in (None, each["status"])]})


ENDPOINTS = (
    Endpoint("GET", "/users/search", search_users, "users.readonly", access="both"),
    Endpoint("GET", "/users", list_users, "users.readonly"),
    Endpoint("GET", "/users/{id}", get_user, "users.readonly", access="both"),
    Endpoint("GET", "/companies/{id}", get_company, "companies.readonly", access="agency"),
    Endpoint("GET", "/workflows", list_workflows, "workflows.readonly"),
    Endpoint("GET", "/campaigns", list_campaigns, "campaigns.readonly"),
)
