"""The client for Slack's incoming webhooks, against the sandbox, which answers by the contract."""

from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import DomainError, VendorBusy, VendorDown, VendorRefused
from domain.vendors.http import VendorHttp, open_client
from domain.vendors.sandbox.app import build
from domain.vendors.sandbox.options import Options
from domain.vendors.sandbox.slack.hooks import ANSWERS, SlackHooks
from domain.vendors.slack.client import NoWebhook, Slack, WebhookGone, escaped
from tests.vendors.standin import served

PATH = "/services/T0000001/B0000001/secretsecret"
OUTCOMES = {403: WebhookGone, 404: WebhookGone, 410: WebhookGone, 400: VendorRefused, 429: VendorBusy}


@pytest.fixture
async def url() -> AsyncIterator[tuple[str, SlackHooks]]:
    """A sandbox's address and its webhooks."""
    app = build(Options())
    async with served(app) as address:
        yield address, app.state.slack


@pytest.fixture
async def slack(url: tuple[str, SlackHooks]) -> AsyncIterator[Slack]:
    async with open_client() as client:
        yield Slack(VendorHttp(client, vendor="Slack"), url[0])


async def test_a_message_is_posted(slack: Slack, url: tuple[str, SlackHooks]) -> None:
    await slack.post(url[0] + PATH, {"text": "Hello"})
    assert [(message["url"], message["text"]) for message in url[1].messages] == [(PATH, "Hello")]


@pytest.mark.parametrize("answer", sorted(ANSWERS))
async def test_each_answer_becomes_its_error(slack: Slack, url: tuple[str, SlackHooks], answer: str) -> None:
    url[1].order(answer)
    with pytest.raises(OUTCOMES.get(ANSWERS[answer], VendorDown), match=answer) as failed:
        await slack.post(url[0] + PATH, {"text": "Hello"})
    assert PATH.rpartition("/")[2] not in str(failed.value)
    if isinstance(failed.value, VendorBusy):
        assert failed.value.retry_after == 1
    await slack.post(url[0] + PATH, {"text": "Hello"})


async def test_what_slack_refuses_is_said(slack: Slack, url: tuple[str, SlackHooks]) -> None:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}
    for message, reason in (
        ({}, "no_text"),
        ({"attachments": [{}] * 101}, "too_many_attachments"),
        ({"blocks": [section]}, "invalid_blocks"),
        ({"blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
    ):
        with pytest.raises(VendorRefused, match=reason):
            await slack.post(url[0] + PATH, message)
    async with httpx.AsyncClient() as http:
        assert (await http.post(url[0] + PATH, content=b"{")).text == "invalid_payload"


@given(st.text(max_size=80))
def test_no_other_url_is_ever_asked(text: str) -> None:
    slack = Slack(http=None)  # type: ignore[arg-type]  # nothing is sent
    for candidate in (text, f"https://hooks.slack.com{text}", f"https://hooks.slack.com/services/{text}"):
        try:
            assert slack.checked(candidate) == candidate.strip()
        except NoWebhook:
            continue
        assert httpx.URL(candidate.strip()).host == "hooks.slack.com"
        assert httpx.URL(candidate.strip()).path.startswith("/services/")


@pytest.mark.parametrize(
    "wrong", ["http://hooks.slack.com", "https://hooks.slack.com.evil.example", "https://hooks.slack.com:444"]
)
def test_neither_another_host_nor_another_door(wrong: str) -> None:
    with pytest.raises(DomainError, match="looks like"):
        Slack(http=None).checked(wrong + PATH)  # type: ignore[arg-type]  # nothing is sent


def test_text_is_shown_as_it_is() -> None:
    assert escaped("<!channel> & <http://evil|here>") == "&lt;!channel&gt; &amp; &lt;http://evil|here&gt;"
