"""E-mails to given addresses: once for each key and address, with files attached."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from domain import actor as actors
from domain.errors import Invalid
from domain.files import store
from domain.notifications import mail
from tests.factories.house import House
from tests.factories.notices import LOG, mailed, settled
from tests.factories.people import new_owner

TEXT: dict[str, Any] = {
    "subject": "The week's report",
    "text": "See the attached file.",
    "html": "<p>See the attached file.</p>",
}


async def chunks() -> AsyncIterator[bytes]:
    yield b"name,count\n"
    yield "Müller,3\n".encode()


async def test_a_file_is_attached_and_the_same_key_sends_once(house: House) -> None:
    lisa = await new_owner(house)
    system = actors.system(lisa.account_id)
    async with house.runtime.unit(system) as unit:
        file = await store.keep(
            unit, house.runtime.files, name="report.csv", media_type="text/csv", chunks=chunks(), kept=timedelta(days=1)
        )
    for _ in range(2):
        async with house.runtime.unit(system) as unit:
            to = ["Ann@Customer.example", "bob@customer.example", "ann@customer.example"]
            await mail.send(unit, key="schedule:1", to=to, files=[file.id], **TEXT)
    async with house.workers():
        (ann,) = await mailed(house, "ann@customer.example")
        await mailed(house, "bob@customer.example")
        log = await settled(lisa.client)
    assert len(house.inbox()) == 2
    assert (ann["subject"], ann["from"]) == ("The week's report", "Bottleneck-Bots <bots@mail.example>")
    assert ann["attachments"] == [{"name": "report.csv", "type": "text/csv", "size": 21, "text": "name,count\nMüller,3\n"}]
    assert "<p>See" in ann["html"]
    assert {(each["address"], each["subject"], each["state"]) for each in log} == {
        (address, "The week's report", "DELIVERED") for address in ("ann@customer.example", "bob@customer.example")
    }


async def test_a_file_that_is_gone_does_not_hold_up_the_message(house: House) -> None:
    lisa = await new_owner(house)
    async with house.runtime.unit(actors.system(lisa.account_id)) as unit:
        await mail.send(unit, key="k", to=["ann@customer.example"], files=[lisa.user_id], **TEXT)
    async with house.workers():
        (ann,) = await mailed(house, "ann@customer.example")
    assert "A file that belonged here has expired." in ann["text"]
    assert ann["attachments"] == []


async def test_what_is_no_address_is_refused_and_a_subject_stays_a_line(house: House) -> None:
    lisa = await new_owner(house)
    async with house.runtime.unit(actors.system(lisa.account_id)) as unit:
        with pytest.raises(Invalid):
            await mail.send(unit, key="k", to=["ann@customer.example", "nobody"], **TEXT)
        await mail.send(unit, key="k", to=["ann@customer.example"], subject="One\r\nBcc: all@x.example", text="x")
    async with house.workers():
        (ann,) = await mailed(house, "ann@customer.example")
    assert ann["subject"] == "One Bcc: all@x.example"
    assert len(house.inbox()) == 1


@pytest.mark.parametrize("more_settings", [{"smtp_url": None}])
async def test_without_a_mail_server_it_fails_with_a_reason(house: House) -> None:
    lisa = await new_owner(house)
    async with house.runtime.unit(actors.system(lisa.account_id)) as unit:
        await mail.send(unit, key="k", to=["ann@customer.example"], **TEXT)
    async with house.workers():
        (delivery,) = await settled(lisa.client)
    assert (delivery["state"], "SMTP_URL" in delivery["error"]) == ("FAILED", True)
    assert (await lisa.ask(LOG, filter={"states": ["FAILED"]}))["notificationDeliveries"]["nodes"] == [delivery]
