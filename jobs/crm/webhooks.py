"""Applies webhooks: reads what is true at the vendor now, and makes ours like it."""

from uuid import UUID

from domain.crm import webhooks
from domain.crm.connections import commands as connections
from domain.crm.contacts import pages, rules, sync
from domain.crm.webhooks import ApplyWebhook
from domain.errors import VendorUnauthorized
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from domain.vendors.gohighlevel.answers import NoSuchContact
from jobs.handlers import handles


@handles(ApplyWebhook)
async def apply_webhook(job: Running[ApplyWebhook], runtime: Runtime) -> Done:
    """What to do follows from the event's type."""
    ghl, connection_id = runtime.ghl, job.args.connection_id
    if job.args.type in webhooks.UNINSTALLED:
        return await _uninstalled(job, runtime)
    async with connections.reauthorizing(ghl, account_id=job.account_id, connection_id=connection_id):
        if job.args.type in webhooks.CONTACT_CHANGED | webhooks.CONTACT_DELETED:
            return await _contact(job, runtime)
        await connections.refresh_locations(ghl, job.actor, connection_id=connection_id)
    return Done("The list of sub-accounts was read again")


async def _uninstalled(job: Running[ApplyWebhook], runtime: Runtime) -> Done:
    """The vendor is asked: the event may be late, and the app authorised again since."""
    ghl, connection_id = runtime.ghl, job.args.connection_id
    try:
        await connections.refresh_locations(ghl, job.actor, connection_id=connection_id)
    except VendorUnauthorized:
        await connections.require_reauthorization(ghl, account_id=job.account_id, connection_id=connection_id)
        return Done("The app was uninstalled at GoHighLevel")
    return Done("The app is still let in")


async def _contact(job: Running[ApplyWebhook], runtime: Runtime) -> Done:
    location_id = UUID(job.args.location_id)
    async with job.unit() as unit:
        location = await sync.ready_location(unit, location_id)
    try:
        wire = await runtime.ghl.location(job.account_id, location).contact(job.args.contact)
    except NoSuchContact:
        async with job.unit() as unit:
            missing = await sync.mark_missing(unit, location_id=location_id, external_ids=[job.args.contact])
        return Done("The contact was deleted at GoHighLevel", {"missing": missing})
    incoming = rules.from_wire(wire)
    writes_here = location.direction in sync.PULLS
    async with job.unit() as unit:
        await pages.take_in(
            unit, [incoming], location_id=location_id, run_id=None, policy=location.policy, writes_here=writes_here
        )
    return Done("The contact was read again")
