"""A file that the product made, such as an export."""

from datetime import UTC, datetime

import strawberry

from db.models import files as models
from domain.files import store
from graph.about import about, resolved
from graph.context import Info
from graph.node import Node, global_id, loads, stands_for

loads("file", store.by_ids)


@strawberry.type(description="A file that the product made, such as an export. It is deleted when it expires.")
class File(Node):
    id: strawberry.ID = global_id("file")
    name: str = about("As it is saved, such as jobs-2026-11-23.csv.")
    media_type: str = about("Such as text/csv; charset=utf-8.")
    created_at: datetime = about("UTC.")
    expires_at: datetime = about("When it is deleted. UTC.")

    is_type_of = stands_for(models.File)

    @resolved("In bytes.")
    def size(root: strawberry.Parent[models.File]) -> float:
        """A float, since GraphQL's Int ends at 2 GiB."""
        return float(root.size)

    @resolved("Of its bytes, in hexadecimal.")
    def sha256(root: strawberry.Parent[models.File]) -> str:
        """To check a download by."""
        return root.sha256.hex()

    @resolved("A link that needs no credential and is valid for 15 minutes; ask again for a new one. Null once it has expired.")
    def download_url(root: strawberry.Parent[models.File], info: Info) -> str | None:
        """Signed anew each time."""
        if root.expires_at <= datetime.now(UTC):
            return None
        return info.context.runtime.links.url(root)
