"""Downloads by signed link."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from pydantic import SecretStr

from db.models.files import File
from domain.files import links, store
from domain.files.links import Links
from tests.factories.client import Client
from tests.factories.house import House
from tests.factories.rows import account_id_of, gid, unit_of

FILE = "query ($id: ID!) { node(id: $id) { ... on File { name mediaType size sha256 expiresAt downloadUrl } } }"


async def some(*chunks: bytes) -> AsyncIterator[bytes]:
    """A stream."""
    for chunk in chunks:
        yield chunk


async def kept(house: House, account_id: UUID, name: str = "jobs.csv") -> File:
    """A file of the account."""
    async with unit_of(house, account_id) as unit:
        chunks = some(b"a,b\r\n", b"1,2\r\n")
        return await store.keep(
            unit, house.runtime.files, name=name, media_type="text/csv; charset=utf-8", chunks=chunks, kept=timedelta(days=1)
        )


@pytest.fixture
async def file(house: House, owner: Client) -> File:
    """A file of the owner's account."""
    return await kept(house, await account_id_of(owner), 'Jöbs "x"\r\nset-cookie: y.csv')


async def test_a_file_is_downloaded_by_its_link_without_a_credential(house: House, owner: Client, file: File) -> None:
    shown = (await owner.ask(FILE, id=gid("file", file)))["node"]
    answer = await house.http.get(shown["downloadUrl"])
    assert answer.status_code == 200
    assert answer.content == b"a,b\r\n1,2\r\n"
    assert shown["size"] == len(answer.content)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    disposition = "attachment; filename*=utf-8''J%C3%B6bs%20%22x%22%0D%0Aset-cookie%3A%20y.csv"
    assert answer.headers["content-disposition"] == disposition
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["etag"] == f'"{shown["sha256"]}"'
    head = await house.http.head(shown["downloadUrl"])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "10")


async def test_a_forged_link_leads_nowhere(house: House, file: File) -> None:
    token = house.runtime.links.url(file).rpartition("/")[2]
    raw = urlsafe_b64decode(token)
    forged = [raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :] for position in (0, 16, 39, 40, 71)]
    foreign = Links(SecretStr("another deployment's key, which is as long"), house.url).url(file).rpartition("/")[2]
    tokens = [foreign, *(urlsafe_b64encode(each).decode() for each in (*forged, raw[:-1], raw + b"x", b""))]
    for wrong in (*tokens, "x", "%00", "é", "." * 500):
        answer = await house.http.get(f"/files/{wrong}")
        assert answer.status_code == 404, wrong
        assert "Traceback" not in answer.text


async def test_an_expired_link_says_so(house: House, file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "VALID", timedelta(seconds=-1))
    answer = await house.http.get(house.runtime.links.url(file))
    assert (answer.status_code, answer.json()["code"]) == (410, "FIL-002")


async def test_an_expired_or_deleted_file_has_no_link_and_no_bytes(house: House, owner: Client, file: File) -> None:
    url = house.runtime.links.url(file)
    await house.runtime.files.delete([file.storage_key])
    answer = await house.http.get(url)
    assert (answer.status_code, answer.json()["code"]) == (410, "FIL-001")
    async with unit_of(house, file.account_id) as unit:
        kept_file = await unit.session.get_one(File, file.id)
        kept_file.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    assert (await owner.ask(FILE, id=gid("file", file)))["node"]["downloadUrl"] is None
    assert await store.delete_expired(house.runtime.database, house.runtime.files) == 1
    assert (await owner.ask(FILE, id=gid("file", file)))["node"] is None
    assert (await house.http.get(url)).status_code == 410


async def test_another_accounts_file_is_none(house: House, file: File) -> None:
    _, user = await house.account("Other & Co")
    stranger = await house.client_of(user)
    assert (await stranger.ask(FILE, id=gid("file", file)))["node"] is None
