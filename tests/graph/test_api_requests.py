"""What belongs to every request, whatever it asks: its id, its cost, who may ask from where, and the routes beside GraphQL."""

import re
from dataclasses import replace
from typing import Any

import httpx
import pytest

from domain.tenancy import budget
from domain.tenancy.budget import OPERATIONS
from domain.vendors.sandbox.gohighlevel import seed
from graph.errors import ERRORS
from tests.factories.client import Client, GraphQLFailed
from tests.factories.crm import connect, location_of
from tests.factories.house import House
from tests.factories.people import new_owner
from tests.factories.rows import add_job, unit_of

ORIGIN = "https://app.agency.example"


@pytest.fixture
def more_settings() -> dict[str, Any]:
    return {"allowed_origins": (ORIGIN,)}


async def ask(http: httpx.AsyncClient, document: str, **headers: str) -> httpx.Response:
    return await http.post("/graphql", json={"query": document}, headers={k.replace("_", "-"): v for k, v in headers.items()})


async def test_a_request_s_id_comes_back_and_is_made_where_there_is_none(shared_house: House) -> None:
    given = await ask(shared_house.http, "{ errorCodes { code } }", x_request_id="my-request-1")
    made = await ask(shared_house.http, "{ errorCodes { code } }")
    assert given.headers["x-request-id"] == "my-request-1"
    assert re.fullmatch(r"[0-9a-f]{32}", made.headers["x-request-id"])
    assert (await shared_house.http.get("/healthz")).headers["x-request-id"] != made.headers["x-request-id"]


@pytest.mark.parametrize("given", ["short", "x" * 65, "with space", "new\tline", "<script>", "ünïcode-id", ""])
async def test_an_id_that_could_do_harm_in_a_log_is_replaced(shared_house: House, given: str) -> None:
    answer = await shared_house.http.post(
        "/graphql", json={"query": "{ errorCodes { code } }"}, headers={b"x-request-id": given.encode()}
    )
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_a_request_s_id_reaches_its_job(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    place = location_of(await connect(owner.client, shared_house), seed.LARGE.id)
    document = f'mutation {{ startContactSync(input: {{locationId: "{place}"}}) {{ job {{ requestId originName }} }} }}'
    headers = {**owner.client.headers, "x-request-id": "asked-for-this"}
    answer = await shared_house.http.post("/graphql", json={"query": document}, headers=headers)
    assert answer.json()["data"]["startContactSync"]["job"]["requestId"] == "asked-for-this"


async def test_every_code_is_told_with_what_to_do(shared_house: House) -> None:
    """To anybody: a client needs its messages before somebody signs in."""
    told = (await Client(shared_house.http).ask("{ errorCodes { code meaning action } }"))["errorCodes"]
    assert [entry["code"] for entry in told] == sorted(ERRORS)
    assert {"BGJ-001", "BGJ-002", "BGJ-003", "GHL-001", "GHL-002", "GHL-003"} <= {entry["code"] for entry in told}
    assert all(entry["meaning"] and entry["action"] for entry in told)


@pytest.mark.parametrize(
    "document",
    [
        "{ viewer { name } }",
        "{ jobs { totalCount } }",
        '{ node(id: "x") { id } }',
        "{ rateLimit { limit } }",
        "mutation { signOut { signedOut } }",
    ],
)
async def test_nobody_is_told_anything_else(shared_house: House, document: str) -> None:
    answer = await ask(shared_house.http, document)
    body = answer.json()
    # A garbage id is nothing to anybody.
    if body.get("data") != {"node": None}:
        assert [error["extensions"]["code"] for error in body["errors"]] == ["API-005"]


async def test_what_is_left_of_the_minute_s_points(shared_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "time", lambda: 1_800_000_000.0)
    owner, other = await new_owner(shared_house), await new_owner(shared_house)
    document = "{ rateLimit { limit remaining resetsAt } }"
    before = (await owner.ask(document))["rateLimit"]
    assert (before["limit"], before["resetsAt"]) == (1_000_000, "2027-01-15T08:01:00+00:00")
    await owner.ask("{ jobs(first: 100) { nodes { id attempts { number } } } }")
    after = (await owner.ask(document))["rateLimit"]
    assert before["remaining"] - after["remaining"] > 200
    assert (await other.ask(document))["rateLimit"]["remaining"] > after["remaining"], "each account has its own"


async def test_whoever_asks_too_much_is_told_to_wait(shared_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await new_owner(shared_house)
    monkeypatch.setattr("graph.app.OPERATIONS", replace(OPERATIONS, limit=0))
    answer = await ask(shared_house.http, "{ viewer { name } }", authorization=f"Bearer {owner.client.token}")
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (429, "API-007")
    assert 1 <= int(answer.headers["retry-after"]) <= 60


async def test_a_fault_of_ours_is_masked_and_has_the_request_s_id(shared_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await new_owner(shared_house)

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("password=hunter2")

    for where in ("graph.app.budget.spend", "domain.tenancy.accounts.get_account"):
        with monkeypatch.context() as patch:
            patch.setattr(where, fail)
            answer = await ask(
                shared_house.http,
                "{ viewer { account { name } } }",
                authorization=f"Bearer {owner.client.token}",
                x_request_id="fault-0001",
            )
        [error] = answer.json()["errors"]
        assert error["extensions"] == {"code": "API-100", "correlationId": "fault-0001"}
        assert "hunter2" not in answer.text
        assert "Traceback" not in answer.text


async def test_a_process_is_alive_and_ready(shared_house: House) -> None:
    alive, ready = await shared_house.http.get("/healthz"), await shared_house.http.get("/readyz")
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "postgresql": "ok", "redis": "ok"})


async def test_metrics_are_prometheus_s(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    async with unit_of(shared_house, owner.account_id) as unit:
        await add_job(unit)
    answer = await shared_house.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    figures = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert float(figures['bots_jobs{kind="test.plain",lane="interactive",state="ready"}']) >= 1
    assert float(figures['bots_worker_capacity{lane="bulk"}']) == 0
    assert any(name.startswith('bots_http_seconds_count{method="POST",route="/graphql",status="200"}') for name in figures)
    assert owner.account_gid not in answer.text


async def test_an_unknown_path_is_not_found(shared_house: House) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await shared_house.http.request(method, "/nope")
        assert answer.status_code == 404
        assert "x-request-id" in answer.headers


async def test_a_page_of_an_allowed_origin_may_ask(house: House) -> None:
    preflight = await house.http.options(
        "/graphql",
        headers={
            "origin": ORIGIN,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,x-account,x-request-id",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers, "credentials are headers here, never cookies"
    answer = await ask(house.http, "{ errorCodes { code } }", origin=ORIGIN)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "x-request-id" in answer.headers["access-control-expose-headers"]


async def test_a_page_of_another_origin_may_not(house: House, shared_house: House) -> None:
    for http in (house.http, shared_house.http):
        stranger = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        preflight = await http.options("/graphql", headers=stranger)
        assert "access-control-allow-origin" not in preflight.headers
        answer = await ask(http, "{ errorCodes { code } }", origin="https://evil.example")
        assert "access-control-allow-origin" not in answer.headers


async def test_a_mutation_s_errors_leave_its_siblings_alone(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    answer = await owner.ask("""mutation {
      bad: cancelJob(input: {id: "garbage"}) {
        job { id } userErrors { code field message retryable } query { viewer { name } } }
      good: createApiKey(input: {name: "CI", scopes: [JOBS_READ]}) { secret } }""")
    [error] = answer["bad"]["userErrors"]
    assert (error["code"], error["field"], error["retryable"]) == ("API-002", ["id"], False)
    assert answer["bad"]["query"]["viewer"]["name"]
    assert answer["good"]["secret"]


async def test_one_field_s_failure_leaves_its_siblings_alone(shared_house: House) -> None:
    owner = await new_owner(shared_house)
    body = (
        await shared_house.http.post(
            "/graphql",
            json={"query": "{ good: jobs { totalCount } bad: jobs(first: 0) { totalCount } }"},
            headers=owner.client.headers,
        )
    ).json()
    assert body["data"] == {"good": {"totalCount": 0}, "bad": None}
    assert [(error["path"], error["extensions"]["code"]) for error in body["errors"]] == [(["bad"], "API-002")]


async def test_introspection_is_for_those_who_are_signed_in(shared_house: House) -> None:
    document = "{ __schema { queryType { name } } }"
    owner = await new_owner(shared_house)
    assert (await owner.ask(document))["__schema"]
    with pytest.raises(GraphQLFailed) as failed:
        await Client(shared_house.http).ask(document)
    assert failed.value.code == "API-108"
