"""What hangs on a contact: tags, notes, tasks, followers, workflows, campaigns, appointments."""

from domain.vendors.sandbox.gohighlevel import contact_rules as rules
from domain.vendors.sandbox.gohighlevel import dto
from domain.vendors.sandbox.gohighlevel.answers import Answer, Json, ok, refused
from domain.vendors.sandbox.gohighlevel.contact_book import Contact
from domain.vendors.sandbox.gohighlevel.door import Call, Endpoint

TAGS_BODY: dto.Shape = {"tags": dto.required(dto.texts)}
FOLLOWERS_BODY: dto.Shape = {"followers": dto.required(dto.texts)}
BULK_TAGS_BODY: dto.Shape = {
    "contacts": dto.required(dto.texts),
    "tags": dto.required(dto.texts),
    "locationId": dto.required(dto.text()),
    "removeAllTags": dto.optional(dto.boolean),
}
_NOTE: dto.Shape = {
    "userId": dto.optional(dto.text()),
    "title": dto.optional(dto.text()),
    "color": dto.optional(dto.text()),
    "pinned": dto.optional(dto.boolean),
}
CREATE_NOTE: dto.Shape = {"body": dto.required(dto.text()), **_NOTE}
UPDATE_NOTE: dto.Shape = {"body": dto.optional(dto.text()), **_NOTE}
CREATE_TASK: dto.Shape = {
    "title": dto.required(dto.text()),
    "dueDate": dto.required(dto.text()),
    "completed": dto.required(dto.boolean),
    "body": dto.optional(dto.text()),
    "assignedTo": dto.optional(dto.nullable(dto.text())),
}
UPDATE_TASK: dto.Shape = {name: dto.optional(rule.check) for name, rule in CREATE_TASK.items()}
COMPLETE_TASK: dto.Shape = {"completed": dto.required(dto.boolean)}
START_WORKFLOW: dto.Shape = {"eventStartTime": dto.optional(dto.text())}


def add_tags(call: Call) -> Answer:
    """POST /contacts/{id}/tags"""
    contact, tags = call.contact(call.path["id"]), rules.clean_tags(call.input(TAGS_BODY)["tags"])
    carried = _tags(contact)
    added = [tag for tag in tags if tag not in carried]
    rules.set_tags(call.world, call.location(), contact, [*carried, *added])
    return ok({"tags": contact.data["tags"], "tagsAdded": added}, status=201)


def remove_tags(call: Call) -> Answer:
    """DELETE /contacts/{id}/tags, with a body"""
    contact, tags = call.contact(call.path["id"]), rules.clean_tags(call.input(TAGS_BODY)["tags"])
    carried = _tags(contact)
    rules.set_tags(call.world, call.location(), contact, [tag for tag in carried if tag not in tags])
    return ok({"tags": contact.data["tags"], "tagsRemoved": [tag for tag in tags if tag in carried]})


def _tags(contact: Contact) -> list[str]:
    tags = contact.data.get("tags")
    return list(tags) if isinstance(tags, list) else []


def bulk_tags(call: Call) -> Answer:
    """POST /contacts/bulk/tags/update/{type}"""
    kind, body = call.path["type"], call.input(BULK_TAGS_BODY)
    if kind not in ("add", "remove"):
        raise refused(422, ["type must be one of the following values: add, remove"])
    location, tags = call.location(body["locationId"]), rules.clean_tags(body["tags"])
    done = []
    for contact_id in body["contacts"]:
        contact = location.contacts.get(contact_id)
        if contact is not None:
            carried = [] if body.get("removeAllTags") else _tags(contact)
            others = [tag for tag in carried if tag not in tags]
            rules.set_tags(call.world, location, contact, [*others, *tags] if kind == "add" else others)
            done.append(contact_id)
    errors = len(body["contacts"]) - len(done)
    return ok({"succeded": errors == 0, "errorCount": errors, "responses": done}, status=201)


def list_notes(call: Call) -> Answer:
    """GET /contacts/{id}/notes"""
    return ok({"notes": call.contact(call.path["id"]).notes})


def create_note(call: Call) -> Answer:
    """POST /contacts/{id}/notes"""
    contact, body = call.contact(call.path["id"]), call.input(CREATE_NOTE)
    note = {"id": call.world.new_id(), "contactId": contact.id, "dateAdded": call.world.clock.iso(), **body}
    contact.notes.insert(0, note)
    _announce_note(call, "NoteCreate", note)
    return ok({"note": note}, status=201)


def get_note(call: Call) -> Answer:
    """GET /contacts/{id}/notes/{note_id}"""
    return ok({"note": _one(call.contact(call.path["id"]).notes, call.path["note_id"], "Note")})


def update_note(call: Call) -> Answer:
    """PUT /contacts/{id}/notes/{note_id}"""
    note, body = _one(call.contact(call.path["id"]).notes, call.path["note_id"], "Note"), call.input(UPDATE_NOTE)
    note.update(body)
    _announce_note(call, "NoteUpdate", note)
    return ok({"note": note})


def delete_note(call: Call) -> Answer:
    """DELETE /contacts/{id}/notes/{note_id}"""
    contact = call.contact(call.path["id"])
    note = _one(contact.notes, call.path["note_id"], "Note")
    contact.notes.remove(note)
    _announce_note(call, "NoteDelete", note)
    return ok({"succeded": True})


def _announce_note(call: Call, event: str, note: Json) -> None:
    fields = {name: note[name] for name in ("id", "body", "contactId", "dateAdded")}
    call.world.webhooks.send({"type": event, "locationId": call.location().id, **fields})


def list_tasks(call: Call) -> Answer:
    """GET /contacts/{id}/tasks"""
    return ok({"tasks": call.contact(call.path["id"]).tasks})


def create_task(call: Call) -> Answer:
    """POST /contacts/{id}/tasks"""
    contact, body = call.contact(call.path["id"]), call.input(CREATE_TASK)
    task = {"id": call.world.new_id(), "contactId": contact.id, **body}
    contact.tasks.append(task)
    _announce_task(call, "TaskCreate", task)
    return ok({"task": task}, status=201)


def get_task(call: Call) -> Answer:
    """GET /contacts/{id}/tasks/{task_id}"""
    return ok({"task": _one(call.contact(call.path["id"]).tasks, call.path["task_id"], "Task")})


def update_task(call: Call) -> Answer:
    """PUT /contacts/{id}/tasks/{task_id}"""
    return _change_task(call, UPDATE_TASK)


def complete_task(call: Call) -> Answer:
    """PUT /contacts/{id}/tasks/{task_id}/completed"""
    return _change_task(call, COMPLETE_TASK)


def _change_task(call: Call, shape: dto.Shape) -> Answer:
    task, body = _one(call.contact(call.path["id"]).tasks, call.path["task_id"], "Task"), call.input(shape)
    completed = body.get("completed") and not task["completed"]
    task.update(body)
    if completed:
        _announce_task(call, "TaskComplete", task)
    return ok({"task": task})


def delete_task(call: Call) -> Answer:
    """DELETE /contacts/{id}/tasks/{task_id}"""
    contact = call.contact(call.path["id"])
    task = _one(contact.tasks, call.path["task_id"], "Task")
    contact.tasks.remove(task)
    _announce_task(call, "TaskDelete", task)
    return ok({"succeded": True})


def _announce_task(call: Call, event: str, task: Json) -> None:
    fields: Json = {name: task[name] for name in ("id", "title", "body", "assignedTo", "dueDate", "contactId") if name in task}
    call.world.webhooks.send({"type": event, "locationId": call.location().id, "dateAdded": call.world.clock.iso(), **fields})


def add_followers(call: Call) -> Answer:
    """POST /contacts/{id}/followers"""
    contact, wanted = call.contact(call.path["id"]), call.input(FOLLOWERS_BODY)["followers"]
    added = [each for each in wanted if each not in contact.data["followers"]]
    contact.data["followers"] = [*contact.data["followers"], *added]
    call.location().contacts.put(contact)
    return ok({"followers": contact.data["followers"], "followersAdded": added}, status=201)


def remove_followers(call: Call) -> Answer:
    """DELETE /contacts/{id}/followers, with a body"""
    contact, wanted = call.contact(call.path["id"]), call.input(FOLLOWERS_BODY)["followers"]
    removed = [each for each in contact.data["followers"] if each in wanted]
    contact.data["followers"] = [each for each in contact.data["followers"] if each not in wanted]
    call.location().contacts.put(contact)
    return ok({"followers": contact.data["followers"], "followersRemoved": removed})


def set_workflow(call: Call) -> Answer:
    """POST and DELETE /contacts/{id}/workflow/{workflow_id}"""
    call.contact(call.path["id"])
    if isinstance(call.body, dict) and call.body:
        call.input(START_WORKFLOW)
    _one(call.location().workflows, call.path["workflow_id"], "Workflow")
    return ok({"succeded": True})


def set_campaign(call: Call) -> Answer:
    """POST and DELETE /contacts/{id}/campaigns/{campaign_id}"""
    call.contact(call.path["id"])
    if call.path["campaign_id"] != "removeAll":
        _one(call.location().campaigns, call.path["campaign_id"], "Campaign")
    return ok({"succeded": True}, status=201 if call.method == "POST" else 200)


def appointments(call: Call) -> Answer:
    """GET /contacts/{id}/appointments"""
    contact = call.contact(call.path["id"])
    return ok({"events": [event for event in call.location().events.values() if event["contactId"] == contact.id]})


def _one(rows: list[Json], row_id: str, what: str) -> Json:
    found = next((row for row in rows if row["id"] == row_id), None)
    if found is None:
        raise refused(400, f"{what} with id {row_id} not found")
    return found


_READ, _WRITE = "contacts.readonly", "contacts.write"
ENDPOINTS = (
    Endpoint("POST", "/contacts/bulk/tags/update/{type}", bulk_tags, _WRITE),
    Endpoint("POST", "/contacts/{id}/tags", add_tags, _WRITE),
    Endpoint("DELETE", "/contacts/{id}/tags", remove_tags, _WRITE),
    Endpoint("GET", "/contacts/{id}/notes", list_notes, _READ),
    Endpoint("POST", "/contacts/{id}/notes", create_note, _WRITE),
    Endpoint("GET", "/contacts/{id}/notes/{note_id}", get_note, _READ),
    Endpoint("PUT", "/contacts/{id}/notes/{note_id}", update_note, _WRITE),
    Endpoint("DELETE", "/contacts/{id}/notes/{note_id}", delete_note, _WRITE),
    Endpoint("GET", "/contacts/{id}/tasks", list_tasks, _READ),
    Endpoint("POST", "/contacts/{id}/tasks", create_task, _WRITE),
    Endpoint("GET", "/contacts/{id}/tasks/{task_id}", get_task, _READ),
    Endpoint("PUT", "/contacts/{id}/tasks/{task_id}", update_task, _WRITE),
    Endpoint("PUT", "/contacts/{id}/tasks/{task_id}/completed", complete_task, _WRITE),
    Endpoint("DELETE", "/contacts/{id}/tasks/{task_id}", delete_task, _WRITE),
    Endpoint("POST", "/contacts/{id}/followers", add_followers, _WRITE),
    Endpoint("DELETE", "/contacts/{id}/followers", remove_followers, _WRITE),
    Endpoint("POST", "/contacts/{id}/workflow/{workflow_id}", set_workflow, _WRITE),
    Endpoint("DELETE", "/contacts/{id}/workflow/{workflow_id}", set_workflow, _WRITE),
    Endpoint("POST", "/contacts/{id}/campaigns/{campaign_id}", set_campaign, _WRITE),
    Endpoint("DELETE", "/contacts/{id}/campaigns/{campaign_id}", set_campaign, _WRITE),
    Endpoint("GET", "/contacts/{id}/appointments", appointments, _READ),
)
