"""The consent page, the token endpoints, and what tokens are good for."""

from typing import Any

import httpx
import jwt
import pytest

from domain.vendors.sandbox.gohighlevel import seed
from tests.vendors.sandbox.harness import CALLBACK, CLIENT, Sandbox, running


async def test_the_consent_page_lists_the_scopes_and_both_buttons(sandbox: Sandbox) -> None:
    query = {
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": CALLBACK,
        "scope": "contacts.readonly <b>",
        "state": "x",
    }
    answer = await sandbox.http.get("/v2/oauth/chooselocation", params=query)
    assert answer.status_code == 200
    assert "contacts.readonly" in answer.text
    assert 'value="allow"' in answer.text
    assert 'value="deny"' in answer.text
    assert "<b>" not in answer.text
    assert "Northwind" in answer.text


async def test_allow_comes_back_with_code_and_state(sandbox: Sandbox) -> None:
    back = await sandbox.consent(state="a b")
    assert str(back).startswith(CALLBACK)
    assert back.params["state"] == "a b"
    assert back.params["code"]


async def test_deny_comes_back_with_an_error(sandbox: Sandbox) -> None:
    back = await sandbox.consent(decision="deny")
    assert back.params["error"] == "access_denied"
    assert back.params["state"] == "s1"
    assert "code" not in back.params


@pytest.mark.parametrize("wrong", [{"client_id": "other"}, {"redirect_uri": "javascript:alert(1)"}, {"scope": " "}])
async def test_a_bad_link_is_not_redirected(sandbox: Sandbox, wrong: dict[str, str]) -> None:
    query = {"client_id": "app", "redirect_uri": CALLBACK, "scope": "contacts.readonly", "decision": "allow", **wrong}
    answer = await sandbox.http.get("/v2/oauth/chooselocation", params=query)
    assert answer.status_code == 400


async def test_a_code_becomes_the_tokens_of_the_company(sandbox: Sandbox) -> None:
    tokens = await sandbox.authorize()
    assert tokens["userType"] == "Company"
    assert tokens["companyId"] == seed.BRIGHT.id
    assert "locationId" not in tokens
    assert len(tokens["approvedLocations"]) == 25
    assert tokens["expires_in"] == 86_399
    assert set(tokens["scope"].split()) == seed.SCOPES
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert claims["authClass"] == "Company"
    assert claims["authClassId"] == seed.BRIGHT.id


async def test_a_code_can_be_for_one_location(sandbox: Sandbox) -> None:
    tokens = await sandbox.authorize(user_type="Location", location=seed.LARGE.id)
    assert (tokens["userType"], tokens["locationId"]) == ("Location", seed.LARGE.id)


async def test_a_code_works_once(sandbox: Sandbox) -> None:
    code = (await sandbox.consent()).params["code"]
    assert (await sandbox.token(grant_type="authorization_code", code=code)).status_code == 200
    again = await sandbox.token(grant_type="authorization_code", code=code)
    assert again.status_code == 401
    assert again.json() == {"error": "UnAuthorized!", "error_description": "Authorization code not found"}


async def test_a_code_lasts_ten_minutes(sandbox: Sandbox) -> None:
    code = (await sandbox.consent()).params["code"]
    await sandbox.control("POST", "clock", {"seconds": 601})
    assert (await sandbox.token(grant_type="authorization_code", code=code)).status_code == 401


async def test_the_code_is_looked_at_before_the_credentials(sandbox: Sandbox) -> None:
    wrong = {"client_secret": "wrong", "grant_type": "authorization_code"}
    unknown = await sandbox.token(code="unknown", **wrong)
    assert unknown.json()["error_description"] == "Authorization code not found"
    code = (await sandbox.consent()).params["code"]
    known = await sandbox.token(code=code, **wrong)
    assert known.status_code == 401
    assert known.json()["error_description"] == "Invalid client credentials!"


async def test_all_violations_of_the_token_request_are_listed(sandbox: Sandbox) -> None:
    answer = await sandbox.http.post("/oauth/token", data={"grant_type": "password", "extra": "1"})
    assert answer.status_code == 422
    messages = answer.json()["message"]
    assert "property extra should not exist" in messages
    assert "client_id should not be empty" in messages
    assert any(line.startswith("grant_type must be one of") for line in messages)


async def test_the_token_request_must_be_form_encoded(sandbox: Sandbox) -> None:
    answer = await sandbox.http.post("/oauth/token", json={**CLIENT, "grant_type": "refresh_token"})
    assert answer.status_code == 422


async def test_refresh_tokens_rotate_and_work_once(sandbox: Sandbox) -> None:
    first = await sandbox.authorize()
    second = (await sandbox.token(grant_type="refresh_token", refresh_token=first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    reused = await sandbox.token(grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert reused.status_code == 400
    assert reused.json()["error"] == "invalid_grant"
    assert (await sandbox.token(grant_type="refresh_token", refresh_token=second["refresh_token"])).status_code == 200


async def test_tokens_outlive_a_restart() -> None:
    async with running() as before:
        tokens = await before.authorize()
    async with running() as after:
        assert (await _locations(after, tokens["access_token"])).status_code == 200
        assert (await after.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])).status_code == 200


async def test_a_location_token_comes_from_a_company_token(sandbox: Sandbox) -> None:
    form = {"companyId": seed.BRIGHT.id, "locationId": seed.LARGE.id}
    answer = await sandbox.http.post("/oauth/locationToken", headers=sandbox.company_headers(), data=form)
    assert answer.status_code == 201
    assert answer.json()["locationId"] == seed.LARGE.id
    assert "refresh_token" not in answer.json()
    contact = f"/contacts/{seed.contact_id(seed.LARGE, 0)}"
    assert (await sandbox.http.get(contact, headers=sandbox.headers(answer.json()["access_token"]))).status_code == 200


@pytest.mark.parametrize(
    ("company", "location", "status"),
    [(seed.BRIGHT.id, seed.NORTHWIND_FIRST.id, 403), (seed.NORTHWIND.id, seed.NORTHWIND_FIRST.id, 403), ("", "", 422)],
)
async def test_a_location_token_is_refused_across_companies(sandbox: Sandbox, company: str, location: str, status: int) -> None:
    form = {"companyId": company, "locationId": location}
    answer = await sandbox.http.post("/oauth/locationToken", headers=sandbox.company_headers(), data=form)
    assert answer.status_code == status


async def test_a_private_integration_token_gets_no_location_token(sandbox: Sandbox) -> None:
    form = {"companyId": seed.BRIGHT.id, "locationId": seed.LARGE.id}
    headers = sandbox.headers(seed.BRIGHT.private_token)
    assert (await sandbox.http.post("/oauth/locationToken", headers=headers, data=form)).status_code == 401
    assert (await sandbox.http.get("/locations/search", headers=headers)).status_code == 200


async def test_installed_locations_are_paged_and_filtered(sandbox: Sandbox) -> None:
    await sandbox.authorize(user_type="Location", location=seed.LARGE.id)
    query: dict[str, Any] = {"companyId": seed.BRIGHT.id, "appId": "app", "skip": 20, "limit": 10}
    page = (await sandbox.http.get("/oauth/installedLocations", headers=sandbox.company_headers(), params=query)).json()
    assert (len(page["locations"]), page["count"]) == (5, 25)
    query = {"companyId": seed.BRIGHT.id, "appId": "app", "isInstalled": "true"}
    page = (await sandbox.http.get("/oauth/installedLocations", headers=sandbox.company_headers(), params=query)).json()
    assert [row["_id"] for row in page["locations"]] == [seed.LARGE.id]


async def test_a_suspended_company_gets_no_tokens(sandbox: Sandbox) -> None:
    code = (await sandbox.consent(company=seed.SUSPENDED.id)).params["code"]
    answer = await sandbox.token(grant_type="authorization_code", code=code)
    assert answer.status_code == 400
    assert answer.json()["message"] == "Location is not active"


async def test_a_company_can_be_suspended_later(sandbox: Sandbox) -> None:
    tokens = await sandbox.authorize()
    await sandbox.control("POST", "company", {"company": "Bright Agency", "suspended": True})
    assert (await sandbox.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])).status_code == 400
    assert (await _locations(sandbox, tokens["access_token"])).status_code == 403


async def test_a_company_may_have_no_locations_and_may_grant_less(sandbox: Sandbox) -> None:
    assert (await sandbox.authorize(company=seed.EMPTY.id))["approvedLocations"] == []
    assert set((await sandbox.authorize(company=seed.LIMITED.id))["scope"].split()) == seed.FEW_SCOPES


async def test_access_tokens_expire_and_refresh_tokens_do_not(sandbox: Sandbox) -> None:
    tokens = await sandbox.authorize()
    await sandbox.control("POST", "tokens/expire", {"company": seed.BRIGHT.id})
    refused = await _locations(sandbox, tokens["access_token"])
    assert (refused.status_code, refused.json()["message"]) == (401, "Invalid JWT")
    fresh = (await sandbox.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])).json()
    assert (await _locations(sandbox, fresh["access_token"])).status_code == 200
    await sandbox.control("POST", "clock", {"seconds": 86_400})
    assert (await _locations(sandbox, fresh["access_token"])).status_code == 401


async def test_revoked_tokens_are_refused_until_the_app_is_authorised_again(sandbox: Sandbox) -> None:
    tokens = await sandbox.authorize()
    other = await sandbox.authorize(company=seed.NORTHWIND.id)
    await sandbox.fault("revoked", match={"company": seed.BRIGHT.id})
    refused = await _locations(sandbox, tokens["access_token"])
    assert refused.json()["message"] == "Invalid token: access token is invalid"
    assert (await sandbox.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])).status_code == 400
    assert (await _locations(sandbox, other["access_token"])).status_code == 200
    assert (await _locations(sandbox, (await sandbox.authorize())["access_token"])).status_code == 200


async def _locations(sandbox: Sandbox, token: str) -> httpx.Response:
    return await sandbox.http.get("/locations/search", headers=sandbox.headers(token))
