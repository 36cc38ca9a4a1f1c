"""Locations: search and profile, and their tags, custom fields and custom values."""

from domain.vendors.sandbox.gohighlevel import dto, seed_contacts
from domain.vendors.sandbox.gohighlevel.answers import Answer, Json, ok, refused
from domain.vendors.sandbox.gohighlevel.door import Call, Endpoint

SEARCH_QUERY: dto.Shape = {
    "companyId": dto.optional(dto.text()),
    "skip": dto.optional(dto.integer(least=0)),
    "limit": dto.optional(dto.integer(least=1, most=1000)),
    "order": dto.optional(dto.one_of("asc", "desc")),
    "email": dto.optional(dto.text()),
}
UPDATE_BODY: dto.Shape = {
    "companyId": dto.required(dto.text()),
    **dto.each(dto.text(), "name", "phone", "address", "city", "state", "country", "postalCode", "website", "timezone"),
    **dto.each(dto.an_object, "prospectInfo", "settings", "social", "twilio", "mailgun", "snapshot"),
}
FIELD_SETTINGS: dto.Shape = {
    "placeholder": dto.optional(dto.text()),
    "acceptedFormat": dto.optional(dto.texts),
    "isMultipleFile": dto.optional(dto.boolean),
    "maxNumberOfFiles": dto.optional(dto.number),
    "textBoxListOptions": dto.optional(dto.objects),
    "position": dto.optional(dto.number),
    "model": dto.optional(dto.one_of("contact", "opportunity")),
    # Not in the vendor's file, but how the options of a choice are set.
    "options": dto.optional(dto.texts),
}
DATA_TYPES = tuple(dict.fromkeys(kind for _, kind, _ in seed_contacts.FIELDS))
CREATE_FIELD: dto.Shape = {
    "name": dto.required(dto.text()),
    "dataType": dto.required(dto.one_of(*DATA_TYPES)),
    **FIELD_SETTINGS,
}
UPDATE_FIELD: dto.Shape = {"name": dto.required(dto.text()), **FIELD_SETTINGS}
FIELDS_QUERY: dto.Shape = {"model": dto.optional(dto.one_of("contact", "opportunity", "all"))}
TAG_BODY: dto.Shape = {"name": dto.required(dto.text())}
VALUE_BODY: dto.Shape = {"name": dto.required(dto.text()), "value": dto.required(dto.text())}
ZONES = ("America/New_York", "America/Chicago", "America/Denver", "Europe/London", "Australia/Sydney")


def search(call: Call) -> Answer:
    """GET /locations/search"""
    query = call.params(SEARCH_QUERY)
    company = call.company_named(query.get("companyId"))
    rows = [location.data for location in call.world.locations(company)]
    if call.grant.location_id:
        rows = [row for row in rows if row["id"] == call.grant.location_id]
    if "email" in query:
        rows = [row for row in rows if row["email"] == query["email"]]
    if query.get("order") == "desc":
        rows.reverse()
    skip, limit = int(query.get("skip", 0)), int(query.get("limit", 10))
    hidden = {"companyId", "domain", "logoUrl", "business", "reseller", "firstName", "lastName"}
    page = rows[skip : skip + limit]
    return ok({"locations": [{name: value for name, value in row.items() if name not in hidden} for row in page]})


def get(call: Call) -> Answer:
    """GET /locations/{id}"""
    return ok({"location": call.location(call.path["id"]).data})


def update(call: Call) -> Answer:
    """PUT /locations/{id}"""
    body = call.input(UPDATE_BODY)
    call.company_named(body["companyId"])
    location = call.location(call.path["id"])
    call.world.touch(location.id)
    location.data.update(body)
    data = location.data
    call.world.webhooks.send(
        {
            "type": "LocationUpdate",
            "id": data["id"],
            "companyId": data["companyId"],
            "name": data["name"],
            "email": data["email"],
        }
    )
    return ok({name: value for name, value in data.items() if name not in ("business", "reseller", "logoUrl")})


def timezones(call: Call) -> Answer:
    """GET /locations/{id}/timezones"""
    call.location(call.path["id"])
    return ok({"timeZones": ZONES})


def list_tags(call: Call) -> Answer:
    """GET /locations/{id}/tags"""
    return ok({"tags": list(call.location(call.path["id"]).tags.values())})


def create_tag(call: Call) -> Answer:
    """POST /locations/{id}/tags"""
    location, name = call.location(call.path["id"]), call.input(TAG_BODY)["name"].strip().lower()
    if any(tag["name"] == name for tag in location.tags.values()):
        raise refused(400, "The tag name is already exist.")
    tag = {"id": call.world.new_id(), "name": name, "locationId": location.id}
    location.tags[tag["id"]] = tag
    return ok({"tag": tag})


def get_tag(call: Call) -> Answer:
    """GET /locations/{id}/tags/{tag_id}"""
    return ok({"tag": _one(call.location(call.path["id"]).tags, call.path["tag_id"], "Tag")})


def update_tag(call: Call) -> Answer:
    """PUT /locations/{id}/tags/{tag_id}: contacts that carry it follow."""
    location, name = call.location(call.path["id"]), call.input(TAG_BODY)["name"].strip().lower()
    tag = _one(location.tags, call.path["tag_id"], "Tag")
    for contact in list(location.contacts):
        carried = contact.data.get("tags")
        if isinstance(carried, list) and tag["name"] in carried:
            contact.data["tags"] = [name if each == tag["name"] else each for each in carried]
            location.contacts.put(contact)
    tag["name"] = name
    return ok({"tag": tag})


def delete_tag(call: Call) -> Answer:
    """DELETE /locations/{id}/tags/{tag_id}"""
    location = call.location(call.path["id"])
    _one(location.tags, call.path["tag_id"], "Tag")
    del location.tags[call.path["tag_id"]]
    return ok({"succeded": True})


def list_fields(call: Call) -> Answer:
    """GET /locations/{id}/customFields"""
    model = call.params(FIELDS_QUERY).get("model", "contact")
    fields = call.location(call.path["id"]).fields.values()
    return ok({"customFields": [field for field in fields if model in ("all", field["model"])]})


def create_field(call: Call) -> Answer:
    """POST /locations/{id}/customFields"""
    location, body = call.location(call.path["id"]), call.input(CREATE_FIELD)
    model = body.get("model", "contact")
    key = f"{model}.{'_'.join(body['name'].lower().split())}"
    if any(field["fieldKey"] == key for field in location.fields.values()):
        raise refused(400, "Custom field with the same name already exists")
    field: Json = {
        "id": call.world.new_id(),
        "fieldKey": key,
        "dataType": body["dataType"],
        "picklistImageOptions": [],
        "isAllowedCustomOption": False,
        "locationId": location.id,
        "model": model,
        **_settings(body),
    }
    location.fields[field["id"]] = field
    return ok({"customField": field}, status=201)


def _settings(body: Json) -> Json:
    boxes = [box.get("label", "") for box in body.get("textBoxListOptions", [])]
    return {
        "name": body["name"],
        "placeholder": body.get("placeholder", ""),
        "position": body.get("position", 0),
        "picklistOptions": body.get("options", boxes),
        "isMultiFileAllowed": body.get("isMultipleFile", False),
        "maxFileLimit": body.get("maxNumberOfFiles", 1),
    }


def get_field(call: Call) -> Answer:
    """GET /locations/{id}/customFields/{field_id}"""
    return ok({"customField": _one(call.location(call.path["id"]).fields, call.path["field_id"], "Custom field")})


def update_field(call: Call) -> Answer:
    """PUT /locations/{id}/customFields/{field_id}"""
    location, body = call.location(call.path["id"]), call.input(UPDATE_FIELD)
    field = _one(location.fields, call.path["field_id"], "Custom field")
    field.update(_settings({"options": field["picklistOptions"], **body}))
    return ok({"customField": field})


def delete_field(call: Call) -> Answer:
    """DELETE /locations/{id}/customFields/{field_id}"""
    location = call.location(call.path["id"])
    _one(location.fields, call.path["field_id"], "Custom field")
    del location.fields[call.path["field_id"]]
    return ok({"succeded": True})


def list_values(call: Call) -> Answer:
    """GET /locations/{id}/customValues"""
    return ok({"customValues": list(call.location(call.path["id"]).values.values())})


def create_value(call: Call) -> Answer:
    """POST /locations/{id}/customValues"""
    location, body = call.location(call.path["id"]), call.input(VALUE_BODY)
    key = f"{{{{ custom_values.{'_'.join(body['name'].lower().split())} }}}}"
    value = {"id": call.world.new_id(), "fieldKey": key, "locationId": location.id, **body}
    location.values[value["id"]] = value
    return ok({"customValue": value}, status=201)


def get_value(call: Call) -> Answer:
    """GET /locations/{id}/customValues/{value_id}"""
    return ok({"customValue": _one(call.location(call.path["id"]).values, call.path["value_id"], "Custom value")})


def update_value(call: Call) -> Answer:
    """PUT /locations/{id}/customValues/{value_id}"""
    location, body = call.location(call.path["id"]), call.input(VALUE_BODY)
    value = _one(location.values, call.path["value_id"], "Custom value")
    value.update(body)
    return ok({"customValue": value})


def delete_value(call: Call) -> Answer:
    """DELETE /locations/{id}/customValues/{value_id}"""
    location = call.location(call.path["id"])
    _one(location.values, call.path["value_id"], "Custom value")
    del location.values[call.path["value_id"]]
    return ok({"succeded": True})


def _one(rows: dict[str, Json], row_id: str, what: str) -> Json:
    if row_id not in rows:
        raise refused(400, f"{what} with id {row_id} not found")
    return rows[row_id]


ENDPOINTS = (
    Endpoint("GET", "/locations/search", search, "locations.readonly", access="both"),
    Endpoint("GET", "/locations/{id}", get, "locations.readonly", access="both"),
    Endpoint("PUT", "/locations/{id}", update, "locations.write", access="agency"),
    Endpoint("GET", "/locations/{id}/timezones", timezones, "locations.readonly", access="both"),
    Endpoint("GET", "/locations/{id}/tags", list_tags, "locations/tags.readonly"),
    Endpoint("POST", "/locations/{id}/tags", create_tag, "locations/tags.write"),
    Endpoint("GET", "/locations/{id}/tags/{tag_id}", get_tag, "locations/tags.readonly"),
    Endpoint("PUT", "/locations/{id}/tags/{tag_id}", update_tag, "locations/tags.write"),
    Endpoint("DELETE", "/locations/{id}/tags/{tag_id}", delete_tag, "locations/tags.write"),
    Endpoint("GET", "/locations/{id}/customFields", list_fields, "locations/customFields.readonly"),
    Endpoint("POST", "/locations/{id}/customFields", create_field, "locations/customFields.write"),
    Endpoint("GET", "/locations/{id}/customFields/{field_id}", get_field, "locations/customFields.readonly"),
    Endpoint("PUT", "/locations/{id}/customFields/{field_id}", update_field, "locations/customFields.write"),
    Endpoint("DELETE", "/locations/{id}/customFields/{field_id}", delete_field, "locations/customFields.write"),
    Endpoint("GET", "/locations/{id}/customValues", list_values, "locations/customValues.readonly"),
    Endpoint("POST", "/locations/{id}/customValues", create_value, "locations/customValues.write"),
    Endpoint("GET", "/locations/{id}/customValues/{value_id}", get_value, "locations/customValues.readonly"),
    Endpoint("PUT", "/locations/{id}/customValues/{value_id}", update_value, "locations/customValues.write"),
    Endpoint("DELETE", "/locations/{id}/customValues/{value_id}", delete_value, "locations/customValues.write"),
)
