"""Importing this module loads every model, so that `Base.metadata` is complete."""

from db.base import Base
from db.models import files, jobs, notifications, queues, recovery, schedules, tenancy, webhooks, workflows
from db.models.crm import connections, contacts, syncs

METADATA = Base.metadata
MODULES = (tenancy, files, jobs, queues, recovery, syncs, connections, contacts, notifications, workflows, schedules, webhooks)
