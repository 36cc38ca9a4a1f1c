"""Alembic's entry: it runs on the connection that `db.migrate` hands over, inside that connection's transaction."""

from alembic import context

from db.models.registry import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, compare_server_default=True)
context.run_migrations()
