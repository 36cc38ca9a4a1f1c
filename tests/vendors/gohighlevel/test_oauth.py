"""How an agency lets the app in, against the sandbox."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from domain.errors import VendorBusy, VendorDown, VendorUnauthorized
from domain.vendors.gohighlevel.answers import AccountSuspended, MissingScope
from domain.vendors.gohighlevel.oauth import SCOPES, GrantRefused, OAuth, OAuthApp, TokenGrant
from domain.vendors.http import VendorHttp
from domain.vendors.limits import Limiter
from domain.vendors.sandbox.gohighlevel import seed
from tests.vendors.gohighlevel.conftest import REDIRECT_URI, Sandbox


async def code_of(sandbox: Sandbox, oauth: OAuth, **choices: str) -> str:
    address = oauth.authorize_url(redirect_uri=REDIRECT_URI, state="s-1")
    returned = await sandbox.consent(address, **choices)
    assert returned["state"] == "s-1"
    return returned["code"]


async def connect(sandbox: Sandbox, oauth: OAuth, **choices: str) -> TokenGrant:
    return await oauth.exchange_code(code=await code_of(sandbox, oauth, **choices), redirect_uri=REDIRECT_URI)


def test_the_address_asks_for_every_scope(oauth: OAuth) -> None:
    query = parse_qs(urlsplit(oauth.authorize_url(redirect_uri=REDIRECT_URI, state="a b&c")).query)
    assert query["state"] == ["a b&c"]
    assert query["redirect_uri"] == [REDIRECT_URI]
    assert set(query["scope"][0].split()) == set(SCOPES)


async def test_a_code_becomes_a_companys_tokens(sandbox: Sandbox, oauth: OAuth) -> None:
    before = datetime.now(UTC)
    grant = await connect(sandbox, oauth)
    assert (grant.user_type, grant.company_id, grant.location_id) == ("Company", seed.BRIGHT.id, None)
    assert grant.missing_scopes == frozenset()
    assert grant.refresh_token
    assert before + timedelta(hours=23) < grant.expires_at < before + timedelta(hours=25)


async def test_a_locations_own_grant_names_it(sandbox: Sandbox, oauth: OAuth) -> None:
    grant = await connect(sandbox, oauth, user_type="Location", location=seed.LARGE.id)
    assert (grant.user_type, grant.location_id) == ("Location", seed.LARGE.id)


async def test_tokens_are_not_shown(sandbox: Sandbox, oauth: OAuth) -> None:
    grant = await connect(sandbox, oauth)
    assert grant.refresh_token is not None
    assert grant.access_token not in repr(grant)
    assert grant.refresh_token not in repr(grant)
    app = OAuthApp(client_id="a", client_secret="hunter2-secret", api_url="u", authorize_url="v")
    assert "hunter2" not in repr(app)


async def test_a_code_works_once(sandbox: Sandbox, oauth: OAuth) -> None:
    code = await code_of(sandbox, oauth)
    await oauth.exchange_code(code=code, redirect_uri=REDIRECT_URI)
    with pytest.raises(GrantRefused) as raised:
        await oauth.exchange_code(code=code, redirect_uri=REDIRECT_URI)
    assert raised.value.reason == "invalid_code"


async def test_an_expired_code_is_refused(sandbox: Sandbox, oauth: OAuth) -> None:
    code = await code_of(sandbox, oauth)
    sandbox.world.clock.ahead += 3600
    with pytest.raises(GrantRefused) as raised:
        await oauth.exchange_code(code=code, redirect_uri=REDIRECT_URI)
    assert raised.value.reason == "invalid_code"


async def test_another_redirect_address_is_refused(sandbox: Sandbox, oauth: OAuth) -> None:
    code = await code_of(sandbox, oauth)
    with pytest.raises(GrantRefused) as raised:
        await oauth.exchange_code(code=code, redirect_uri="https://elsewhere.example.com/")
    assert raised.value.reason == "redirect_mismatch"


async def test_a_wrong_app_secret_is_refused_and_not_shown(
    sandbox: Sandbox, oauth: OAuth, http: VendorHttp, limiter: Limiter
) -> None:
    app = OAuthApp(client_id="app123-x", client_secret="wrong-secret", api_url=sandbox.url, authorize_url="x")
    with pytest.raises(GrantRefused) as raised:
        await OAuth(http, app, limiter=limiter).exchange_code(code=await code_of(sandbox, oauth), redirect_uri=REDIRECT_URI)
    assert raised.value.reason == "invalid_client"
    assert "wrong-secret" not in raised.value.message


async def test_a_refresh_token_is_good_for_one_use(sandbox: Sandbox, oauth: OAuth) -> None:
    first = await connect(sandbox, oauth)
    assert first.refresh_token is not None
    second = await oauth.refresh(refresh_token=first.refresh_token, user_type="Company")
    assert second.refresh_token not in (None, first.refresh_token)
    assert second.company_id == first.company_id
    with pytest.raises(GrantRefused) as raised:
        await oauth.refresh(refresh_token=first.refresh_token, user_type="Company")
    assert raised.value.reason == "invalid_refresh_token"


async def test_a_revoked_grant_cannot_be_refreshed(sandbox: Sandbox, oauth: OAuth) -> None:
    grant = await connect(sandbox, oauth)
    sandbox.world.tokens.revoke(grant.company_id)
    with pytest.raises(GrantRefused):
        await oauth.refresh(refresh_token=grant.refresh_token or "", user_type="Company")


async def test_a_suspended_agency_is_named_as_such(sandbox: Sandbox, oauth: OAuth) -> None:
    code = await code_of(sandbox, oauth, company=seed.SUSPENDED.id)
    with pytest.raises(AccountSuspended):
        await oauth.exchange_code(code=code, redirect_uri=REDIRECT_URI)


async def test_a_narrow_grant_says_what_is_missing(sandbox: Sandbox, oauth: OAuth) -> None:
    grant = await connect(sandbox, oauth, company=seed.LIMITED.id)
    assert "contacts.write" in grant.missing_scopes
    assert "contacts.readonly" not in grant.missing_scopes


async def test_a_companys_token_gives_a_locations(sandbox: Sandbox, oauth: OAuth) -> None:
    company = await connect(sandbox, oauth)
    grant = await oauth.location_token(
        company_token=company.access_token, company_id=company.company_id, location_id=seed.LARGE.id
    )
    assert (grant.user_type, grant.location_id, grant.company_id) == ("Location", seed.LARGE.id, company.company_id)
    assert grant.refresh_token is None


async def test_no_token_for_anothers_location(sandbox: Sandbox, oauth: OAuth) -> None:
    company = await connect(sandbox, oauth)
    with pytest.raises(GrantRefused):
        await oauth.location_token(
            company_token=company.access_token, company_id=company.company_id, location_id=seed.NORTHWIND_FIRST.id
        )


async def test_an_expired_company_token_is_told_from_a_refusal(sandbox: Sandbox, oauth: OAuth) -> None:
    company = await connect(sandbox, oauth)
    sandbox.world.tokens.expire(company.company_id)
    with pytest.raises(VendorUnauthorized):
        await oauth.location_token(company_token=company.access_token, company_id=company.company_id, location_id=seed.LARGE.id)
    with pytest.raises(VendorUnauthorized):
        await oauth.installed_locations(company_token=company.access_token, company_id=company.company_id)


async def test_all_installed_locations_are_listed(sandbox: Sandbox, oauth: OAuth) -> None:
    company = await connect(sandbox, oauth)
    found = await oauth.installed_locations(company_token=company.access_token, company_id=company.company_id)
    assert [row["_id"] for row in found] == sandbox.world.companies[seed.BRIGHT.id].location_ids
    assert all(row["isInstalled"] for row in found)


async def test_an_agency_without_locations_has_none(sandbox: Sandbox, oauth: OAuth) -> None:
    company = await connect(sandbox, oauth, company=seed.EMPTY.id)
    assert await oauth.installed_locations(company_token=company.access_token, company_id=company.company_id) == []


async def test_a_token_without_the_scope_is_told(sandbox: Sandbox, oauth: OAuth) -> None:
    returned = await sandbox.consent(oauth.authorize_url(redirect_uri=REDIRECT_URI, state="s", scopes=["contacts.readonly"]))
    company = await oauth.exchange_code(code=returned["code"], redirect_uri=REDIRECT_URI)
    with pytest.raises(MissingScope):
        await oauth.installed_locations(company_token=company.access_token, company_id=company.company_id)


async def test_a_denial_comes_back_as_an_error(sandbox: Sandbox, oauth: OAuth) -> None:
    returned = await sandbox.consent(oauth.authorize_url(redirect_uri=REDIRECT_URI, state="s"), decision="deny")
    assert returned["error"] == "access_denied"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "status", "status": 503}, VendorDown),
        ({"kind": "status", "status": 429}, VendorBusy),
        ({"kind": "cut"}, VendorDown),
        ({"kind": "garbage"}, VendorDown),
        ({"kind": "garbage", "body": "{}"}, VendorDown),
        ({"kind": "garbage", "body": '{"access_token": 7, "userType": "Company", "companyId": "x"}'}, VendorDown),
        ({"kind": "garbage", "body": '{"access_token": "t", "userType": "Martian", "companyId": "x"}'}, VendorDown),
    ],
)
async def test_trouble_at_the_vendor_is_no_refusal(
    sandbox: Sandbox, oauth: OAuth, fault: dict[str, object], error: type[Exception]
) -> None:
    code = await code_of(sandbox, oauth)
    sandbox.world.faults.order({"match": {"path": "/oauth/token"}, "fault": fault})
    with pytest.raises(error):
        await oauth.exchange_code(code=code, redirect_uri=REDIRECT_URI)


async def test_the_tokens_go_out_as_a_form(sandbox: Sandbox, oauth: OAuth) -> None:
    await connect(sandbox, oauth)
    sent = [request for request in sandbox.world.requests if request["path"] == "/oauth/token"]
    assert len(sent) == 1
    assert httpx.Headers(sent[0]["headers"])["content-type"] == "application/x-www-form-urlencoded"
