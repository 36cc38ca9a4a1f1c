"""Files that the product made for an account: the row is here, the bytes are in the file store."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import AccountOwned, Base, new_id, owned_key


class File(AccountOwned, Base):
    """A file until `expires_at`. `needs` are the scopes without which nobody sees it; `size` is in bytes."""

    __tablename__ = "file"
    __table_args__ = (owned_key("file"), sa.Index(None, "expires_at"))

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[bytes]
    storage_key: Mapped[str]
    needs: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    expires_at: Mapped[datetime]
