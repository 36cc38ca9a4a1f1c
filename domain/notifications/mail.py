"""E-mails to given addresses, such as a schedule's results with the report attached."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from db.base import new_id
from db.models.notifications import Channel, Delivery
from domain.tenancy.accounts import parse_email
from domain.unit import Unit


async def send(
    unit: Unit,
    *,
    key: str,
    to: Sequence[str],
    subject: str,
    text: str,
    html: str | None = None,
    files: Sequence[UUID] = (),
) -> None:
    """Queue one e-mail for each address, with `files` of domain/files attached. They go out after the commit.

    The same key sends to the same address once, however often this is called. Raises Invalid for what is no address.
    """
    addresses = dict.fromkeys(parse_email(address, field=("to",)) for address in to)
    if not addresses:
        return
    content = {"subject": subject, "text": text, "html": html, "files": [str(file_id) for file_id in files]}
    rows = [
        {
            "id": new_id(),
            "account_id": unit.account_id,
            "channel": Channel.EMAIL,
            "key": key,
            "address": address,
            "content": content,
        }
        for address in addresses
    ]
    once = insert(Delivery).on_conflict_do_nothing(
        index_elements=[Delivery.account_id, Delivery.key, Delivery.address], index_where=Delivery.key.is_not(None)
    )
    await unit.session.execute(once.values(rows))
