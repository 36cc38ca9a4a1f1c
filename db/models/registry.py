"""Importing this module loads every model, so that `Base.metadata` is complete."""

from db.base import Base
from db.models import jobs, queues, recovery, tenancy
from db.models.crm import connections, contacts, syncs

METADATA = Base.metadata
MODULES = (tenancy, jobs, queues, recovery, syncs, connections, contacts)
