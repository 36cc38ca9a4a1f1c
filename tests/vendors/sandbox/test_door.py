"""What every request must pass: Version, token, class of token, scope, tenant, validation, rate limit."""

import pytest

from domain.vendors.sandbox.gohighlevel import seed
from domain.vendors.sandbox.options import Options
from tests.vendors.sandbox.harness import Sandbox, running

CONTACT = f"/contacts/{seed.contact_id(seed.LARGE, 0)}"


@pytest.mark.parametrize("version", ["2021-04-15", "2021-07-28", "2023-02-21", "v3"])
async def test_any_known_version_is_accepted(sandbox: Sandbox, version: str) -> None:
    answer = await sandbox.call("GET", CONTACT, headers={**sandbox.location_headers(), "version": version})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("version", "message"), [("", "version header was not found."), ("2020-01-01", "version header is invalid")]
)
async def test_a_missing_or_unknown_version_is_refused(sandbox: Sandbox, version: str, message: str) -> None:
    answer = await sandbox.call("GET", CONTACT, headers={**sandbox.location_headers(), "version": version})
    assert (answer.status_code, answer.json()["message"]) == (401, message)


async def test_an_unknown_path_or_method_is_not_found(sandbox: Sandbox) -> None:
    answer = await sandbox.call("GET", "/smart-lists/")
    assert (answer.status_code, answer.json()["message"]) == (404, "Cannot GET /smart-lists/")
    assert (await sandbox.call("PATCH", CONTACT)).json()["message"] == f"Cannot PATCH {CONTACT}"


@pytest.mark.parametrize(
    ("token", "message"),
    [("nonsense", "Invalid JWT"), ("pit-unknown", "Invalid token: access token is invalid")],
)
async def test_a_wrong_token_is_refused(sandbox: Sandbox, token: str, message: str) -> None:
    answer = await sandbox.call("GET", CONTACT, headers=sandbox.headers(token))
    assert (answer.status_code, answer.json()["message"]) == (401, message)


async def test_no_token_is_refused(sandbox: Sandbox) -> None:
    assert (await sandbox.call("GET", CONTACT, headers={"version": "v3"})).status_code == 401


async def test_the_class_of_the_token_matters(sandbox: Sandbox) -> None:
    by_company = await sandbox.call("GET", CONTACT, headers=sandbox.company_headers())
    assert by_company.status_code == 401
    assert by_company.json()["message"].startswith("This authClass type is not allowed to access this scope.")
    by_private = await sandbox.call("GET", CONTACT, headers=sandbox.headers(seed.BRIGHT.private_token))
    assert by_private.json()["message"] == "Token's user type mismatch!"
    by_location = await sandbox.call("GET", f"/companies/{seed.BRIGHT.id}")
    assert by_location.status_code == 401
    private_of_location = await sandbox.call("GET", CONTACT, headers=sandbox.headers(seed.LARGE_LOCATION_TOKEN))
    assert private_of_location.status_code == 200


async def test_a_missing_scope_is_refused(sandbox: Sandbox) -> None:
    headers = sandbox.location_headers(scopes=frozenset({"contacts.write"}))
    answer = await sandbox.call("GET", CONTACT, headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (401, "The token is not authorized for this scope.")


async def test_another_tenant_is_forbidden(sandbox: Sandbox) -> None:
    headers = sandbox.location_headers(seed.NORTHWIND_FIRST)
    for method, path, content in (
        ("GET", CONTACT, None),
        ("DELETE", CONTACT, None),
        ("POST", "/contacts/search", {"locationId": seed.LARGE.id, "pageLimit": 1}),
        ("GET", f"/locations/{seed.LARGE.id}/tags", None),
        ("GET", f"/opportunities/pipelines?locationId={seed.LARGE.id}", None),
    ):
        answer = await sandbox.call(method, path, headers=headers, json=content)
        assert (answer.status_code, answer.json()["message"]) == (403, "The token does not have access to this location.")


async def test_a_body_that_is_no_json_is_refused(sandbox: Sandbox) -> None:
    answer = await sandbox.call("POST", "/contacts/search", content=b"{", headers=sandbox.location_headers())
    assert answer.status_code == 400


@pytest.mark.parametrize("content", [[], "text", 5, None, {"locationId": 5, "pageLimit": "x", "sort": 4, "filters": [3]}])
async def test_a_body_of_the_wrong_shape_is_refused(sandbox: Sandbox, content: object) -> None:
    answer = await sandbox.call("POST", "/contacts/search", json=content)
    assert answer.status_code == 422
    assert isinstance(answer.json()["message"], list)


async def test_every_answer_tells_the_limits(sandbox: Sandbox) -> None:
    for answer in (await sandbox.call("GET", CONTACT), await sandbox.call("GET", CONTACT, headers={"version": "v3"})):
        assert answer.headers["x-ratelimit-max"] == "100"
        assert answer.headers["x-ratelimit-interval-milliseconds"] == "10000"
        assert answer.headers["x-ratelimit-limit-daily"] == "200000"
        assert int(answer.headers["x-ratelimit-daily-reset"]) <= 86_400_000
    assert (await sandbox.call("GET", CONTACT)).headers["x-ratelimit-remaining"] == "98"


async def test_the_hundred_and_first_request_in_ten_seconds_is_refused(sandbox: Sandbox) -> None:
    headers = sandbox.location_headers()
    statuses = [(await sandbox.call("GET", CONTACT, headers=headers)).status_code for _ in range(100)]
    assert statuses == [200] * 100
    over = await sandbox.call("GET", CONTACT, headers=headers)
    assert over.status_code == 429
    assert over.headers["x-ratelimit-remaining"] == "0"
    assert over.headers["x-ratelimit-daily-remaining"] == "199900"
    other = await sandbox.call("GET", "/contacts/x", headers=sandbox.location_headers(seed.NORTHWIND_FIRST))
    assert other.status_code == 400
    await sandbox.control("POST", "clock", {"seconds": 10})
    assert (await sandbox.call("GET", CONTACT, headers=headers)).status_code == 200
    assert (await sandbox.control("GET", "state"))["throttled"] == 1


async def test_the_daily_limit(sandbox: Sandbox) -> None:
    await sandbox.control("POST", "limits", {"daily": 2})
    statuses = [(await sandbox.call("GET", CONTACT)).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    await sandbox.control("POST", "clock", {"seconds": 86_400})
    assert (await sandbox.call("GET", CONTACT)).status_code == 200


async def test_the_limit_can_be_off() -> None:
    async with running(Options(rate_limit=False)) as sandbox:
        headers = sandbox.location_headers()
        answers = [await sandbox.call("GET", "/contacts/x", headers=headers) for _ in range(120)]
        assert {answer.status_code for answer in answers} == {400}
        assert "x-ratelimit-max" not in answers[-1].headers
