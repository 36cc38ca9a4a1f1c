"""Workflows and schedules, as a client makes them, and what a test does to their time."""

from datetime import datetime
from typing import Any

import asyncpg

from tests.factories.client import JOB, Client
from tests.factories.house import House

ERRORS = "userErrors { __typename code message field ... on InvalidCronError { part } }"
STEPS = "steps { number kind title state message startedAt endedAt file { id name size downloadUrl } job { id state } }"
WORKFLOW = """id name description version deletedAt
  steps { kind title reportOf days recipients subject message seconds location { id } }"""
RUN = f"id name workflowVersion {STEPS} workflow {{ id }} job {{ id state }}"
INSTANT = "{ at local zoneName text }"
FIRE = f"""id nominalAt firedAt startedAt endedAt durationSeconds result message missed isManual
  job {{ {JOB} priority }} run {{ {RUN} }}"""
SCHEDULE = f"""id name status zone missedPolicy overlapPolicy priority recipients nextAt pausedAt disabledAt
  disabledReason version recurrence {{ form text cron hour minute days day minutes at }}
  workflow {{ id name }} nextRuns {INSTANT}"""
WARNINGS = f"warnings {{ code message schedule {{ id name }} at {INSTANT} }}"


def _mutation(name: str, input_type: str, answer: str) -> str:
    return f"mutation ($input: {input_type}!) {{ {name}(input: $input) {{ {answer} {ERRORS} }} }}"


CREATE_WORKFLOW = _mutation("createWorkflow", "CreateWorkflowInput", f"workflow {{ {WORKFLOW} }}")
UPDATE_WORKFLOW = _mutation("updateWorkflow", "UpdateWorkflowInput", f"workflow {{ {WORKFLOW} }}")
DISABLED = "disabledSchedules { id status }"
DELETE_WORKFLOW = _mutation("deleteWorkflow", "DeleteWorkflowInput", f"workflow {{ {WORKFLOW} }} {DISABLED}")
RUN_WORKFLOW = _mutation("runWorkflow", "RunWorkflowInput", f"run {{ {RUN} }} job {{ {JOB} }}")
CREATE_SCHEDULE = _mutation("createSchedule", "CreateScheduleInput", f"schedule {{ {SCHEDULE} }} {WARNINGS}")
UPDATE_SCHEDULE = _mutation("updateSchedule", "UpdateScheduleInput", f"schedule {{ {SCHEDULE} }} {WARNINGS}")
PAUSE_SCHEDULE = _mutation("pauseSchedule", "ScheduleVersionInput", f"schedule {{ {SCHEDULE} }} {WARNINGS}")
RESUME_SCHEDULE = _mutation("resumeSchedule", "ScheduleVersionInput", f"schedule {{ {SCHEDULE} }} {WARNINGS}")
DELETE_SCHEDULE = _mutation("deleteSchedule", "ScheduleVersionInput", f"schedule {{ {SCHEDULE} }} {WARNINGS}")
RUN_NOW = _mutation("runScheduleNow", "RunScheduleNowInput", f"fire {{ {FIRE} }} job {{ {JOB} }}")
PREVIEW = f"""query ($recurrence: RecurrenceInput!, $zone: String!, $after: DateTime) {{
  previewSchedule(recurrence: $recurrence, zone: $zone, after: $after) {{ cron text runs {INSTANT}
    userErrors {{ __typename code message field ... on InvalidCronError {{ part }} }} }} }}"""
HISTORY = f"""query ($id: ID!) {{ schedule(id: $id) {{ {SCHEDULE} fires(first: 100) {{ totalCount nodes {{ {FIRE} }} }} }} }}"""
RUNS = f"query ($of: ID) {{ workflowRuns(workflowId: $of, first: 100) {{ totalCount nodes {{ {RUN} }} }} }}"


def wait(seconds: int) -> dict[str, Any]:
    """A step that lets time pass."""
    return {"wait": {"seconds": seconds}}


def notify(*recipients: str, subject: str = "News") -> dict[str, Any]:
    """A step that sends an e-mail."""
    return {"notify": {"recipients": list(recipients), "subject": subject, "message": "Please see what is attached."}}


REPORT: dict[str, Any] = {"report": {"of": "JOBS", "days": 1}}


async def send(client: Client, document: str, **given: Any) -> dict[str, Any]:
    """What a mutation answers, whether it was done or not."""
    (payload,) = (await client.ask(document, input=given)).values()
    answer: dict[str, Any] = payload
    return answer


async def do(client: Client, document: str, **given: Any) -> dict[str, Any]:
    """What a mutation that must be done answers."""
    payload = await send(client, document, **given)
    assert payload["userErrors"] == [], payload["userErrors"]
    return payload


async def new_workflow(client: Client, *steps: dict[str, Any], name: str = "Daily Lead Report") -> dict[str, Any]:
    """A workflow of these steps; a report of jobs where none are given."""
    workflow: dict[str, Any] = (await do(client, CREATE_WORKFLOW, name=name, steps=list(steps) or [REPORT]))["workflow"]
    return workflow


async def new_schedule(client: Client, workflow: dict[str, Any], **given: Any) -> dict[str, Any]:
    """A schedule of a workflow, far from due unless said otherwise."""
    usual = {"name": "Every morning", "zone": "America/New_York", "recurrence": {"monthly": {"day": 1, "hour": 6}}}
    payload = await do(client, CREATE_SCHEDULE, **{**usual, "workflowId": workflow["id"], **given})
    schedule: dict[str, Any] = payload["schedule"]
    return schedule


async def history(client: Client, schedule: dict[str, Any]) -> list[dict[str, Any]]:
    """What a schedule did, the latest first."""
    nodes: list[dict[str, Any]] = (await client.ask(HISTORY, id=schedule["id"]))["schedule"]["fires"]["nodes"]
    return nodes


async def admin_of(house: House) -> asyncpg.Connection:
    """The superuser's connection."""
    return await asyncpg.connect(house.settings.database_url.replace("bots@", "postgres@", 1))


async def make_due(house: House, *, ago: str = "1 ms", name: str | None = None) -> datetime:
    """Let the time come at which schedules are due (of this name, or all), so long ago."""
    admin = await admin_of(house)
    due: datetime = await admin.fetchval(
        "update schedule set next_at = now() - $1::text::interval where next_at is not null and name = coalesce($2, name) "
        "returning next_at",
        ago,
        name,
    )
    await admin.close()
    return due
