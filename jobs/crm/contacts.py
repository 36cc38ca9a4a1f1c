"""Runs contact syncs: pull, reconcile deletes, push. Each step goes on where the last attempt's checkpoint says.

A contact that could not be sent becomes a failed item of the job, which then ends as partial; a retry sends those alone.
"""

from uuid import UUID

from db.models.jobs import LogLevel
from domain.crm.connections import commands as connections
from domain.crm.contacts import push, sync
from domain.crm.contacts.sync import Plan, SyncContacts
from domain.errors import DomainError, Invalid, VendorDown, VendorRefused
from domain.jobs import items
from domain.jobs.items import Item
from domain.jobs.running import Done, Running
from domain.runtime import Runtime
from domain.unit import Unit
from domain.vendors.gohighlevel.answers import AccountSuspended, MissingScope, NoSuchContact
from jobs.handlers import handles

PAGE = 500
_BATCH = 50
# Each is a request of its own, and a worker that drains waits for the checkpoint after them.
_ASKED_AT_ONCE = 10
# After so many failed attempts a contact for which the vendor fails is told from a vendor that is down.
_PATIENCE = 2
_NOT_SENT = "GHL-023"


@handles(SyncContacts)
async def sync_contacts(job: Running[SyncContacts], runtime: Runtime) -> Done:
    """The steps follow from the run's direction; `step` in the checkpoint names the one that goes on."""
    async with job.unit() as unit:
        the = await sync.plan(unit, runtime.ghl, run_id=job.args.run_id)
    connection_id = the.location.connection_id
    async with connections.reauthorizing(runtime.ghl, account_id=job.account_id, connection_id=connection_id):
        if job.checkpoint.get("step", "pull") == "pull":
            await _pull(job, the)
        if job.checkpoint["step"] == "reconcile":
            await _reconcile(job, the)
        if the.pushes and job.checkpoint["step"] == "push":
            await _push(job, the)
        if the.pushes:
            await _push_again(job, the)
    async with job.unit() as unit:
        failed = (await items.tally(unit, job_id=job.id)).failed
        if failed:
            await job.advance(unit, checkpoint={"step": "items"})
        run = await sync.finish(unit, run_id=the.run.id)
    synced = run.created + run.updated + run.unchanged + run.merged
    figures = ("created", "updated", "unchanged", "merged", "skipped", "conflicts", "pushed", "missing")
    message = f"{synced:,} contacts synced, {run.conflicts:,} conflicts"
    if run.skipped > failed:
        message += f", {run.skipped - failed:,} skipped"
    if failed:
        message += f", {failed:,} could not be sent"
    return Done(message, {name: getattr(run, name) for name in figures} | {"failed": failed}, partial=failed > 0)


async def _pull(job: Running[SyncContacts], the: Plan) -> None:
    external_id = the.location.external_id
    fields = await the.client.custom_fields(external_id)
    async with job.unit() as unit:
        await sync.keep_custom_fields(unit, location_id=the.location.id, fields=fields)
        await job.advance(unit, phase="contacts")
    # Only a run that has seen every contact can tell which ones are gone.
    afterwards = "reconcile" if the.pulls and not the.run.only_tags else "push"
    done: int = job.checkpoint.get("done", 0)
    pages = the.client.contacts(external_id, after=job.checkpoint.get("cursor"), page_limit=PAGE, tags=the.run.only_tags)
    async for page in pages:
        done += len(page.contacts) + len(page.foreign) + page.malformed
        total = done if page.next is None else max(page.total, done)
        step = {"step": "pull", "cursor": page.next, "done": done} if page.next else {"step": afterwards}
        async with job.unit() as unit:
            await sync.keep_page(job, unit, the, page)
            message = f"Syncing contacts: {done:,} of {total:,}"
            await job.advance(unit, done=done, total=total, message=message, checkpoint=step)


async def _reconcile(job: Running[SyncContacts], the: Plan) -> None:
    after: str = job.checkpoint.get("after", "")
    while True:
        async with job.unit() as unit:
            unseen = await sync.unseen(unit, the=the, after=after, limit=_ASKED_AT_ONCE)
        if not unseen:
            break
        gone = [external_id for external_id in unseen if await _is_gone(job, the, external_id)]
        after = unseen[-1]
        async with job.unit() as unit:
            missing = await sync.mark_missing(unit, location_id=the.location.id, external_ids=gone)
            await sync.count(unit, the.run.id, missing=missing)
            for external_id in gone:
                message = "Deleted at GoHighLevel; kept here and marked."
                job.log(unit, level=LogLevel.INFO, code="GHL-022", message=message, subject=external_id)
            await job.advance(unit, message="Looking for deleted contacts", checkpoint={"step": "reconcile", "after": after})
    async with job.unit() as unit:
        await job.advance(unit, checkpoint={"step": "push"})


async def _is_gone(job: Running[SyncContacts], the: Plan, external_id: str) -> bool:
    """The vendor's search lags behind its writes by seconds, so it is asked for the contact itself."""
    try:
        await the.client.contact(external_id)
    except NoSuchContact:
        return True
    except (Invalid, VendorRefused, VendorDown) as failed:
        await _require_about_one(job, the, failed)
        async with job.unit() as unit:
            message = f"Not found out whether it was deleted: {failed.message}"
            job.log(unit, level=LogLevel.WARNING, code="GHL-022", message=message, subject=external_id)
    return False


async def _require_about_one(job: Running[SyncContacts], the: Plan, failed: DomainError) -> None:
    """Raises `failed` unless it is about one contact, which is then set aside so that the others are not held up by it.

    A vendor that fails may be down, which the job's retries wait for. One that after those still fails for this contact, while
    it answers for the location, fails because of the contact. Raises VendorDown where it does not answer.
    """
    if isinstance(failed, AccountSuspended | MissingScope):
        raise failed
    if isinstance(failed, VendorDown):
        if job.failures < _PATIENCE:
            raise failed
        await the.client.custom_fields(the.location.external_id)


async def _push(job: Running[SyncContacts], the: Plan) -> None:
    location_id, tags = the.location.id, the.run.only_tags
    done: int = job.checkpoint.get("pushed", 0)
    after = UUID(job.checkpoint["after"]) if job.checkpoint.get("after") else None
    async with job.unit() as unit:
        total = done + await push.pending_count(unit, location_id=location_id, only_tags=tags)
        if total:
            await job.advance(unit, phase="push", done=done, total=total, message=f"Sending {total:,} contacts")
    while True:
        async with job.unit() as unit:
            batch = await push.pending(unit, location_id=location_id, only_tags=tags, after=after, limit=_BATCH)
        if not batch:
            return
        for out in batch:
            done, after = done + 1, out.contact_id
            await _push_one(job, the, out, done=done, total=max(total, done))


async def _push_again(job: Running[SyncContacts], the: Plan) -> None:
    """Send what could not be sent before, where a retry was asked for."""
    location_id, done = the.location.id, 0
    async with job.unit() as unit:
        total = (await items.tally(unit, job_id=job.id)).pending
        if total:
            await job.advance(unit, phase="push", done=0, total=total, message=f"Sending {total:,} contacts again")
    while total:
        async with job.unit() as unit:
            batch = await items.pending(unit, job_id=job.id, limit=_BATCH)
        if not batch:
            return
        for item in batch:
            async with job.unit() as unit:
                out = await push.one(unit, location_id=location_id, contact_id=UUID(item.key))
                if out is None:  # sent by another sync, or deleted here
                    await items.finish(unit, job_id=job.id, key=item.key)
                    await sync.count(unit, the.run.id, skipped=-1)
            done += 1
            if out is not None:
                await _push_one(job, the, out, done=done, total=max(total, done), again=True)


async def _push_one(
    job: Running[SyncContacts], the: Plan, out: push.Outgoing, *, done: int, total: int, again: bool = False
) -> None:
    problem = await _why_not(job, the, out)
    delivered: push.Delivered | None = None
    failure: DomainError | None = None
    gone: str | None = None
    if problem is None:
        try:
            delivered = await push.deliver(the.client, out, location_external_id=the.location.external_id)
        except NoSuchContact:
            gone, problem = out.external_id, "Was deleted at GoHighLevel meanwhile; kept here and marked."
        except (Invalid, VendorRefused, VendorDown) as failed:
            await _require_about_one(job, the, failed)
            failure, problem = failed, failed.message
    async with job.unit() as unit:
        if delivered is not None and not await push.keep_delivered(unit, out, delivered, location_id=the.location.id):
            problem = "GoHighLevel took it for another contact that is known here."
        if gone is not None:
            missing = await sync.mark_missing(unit, location_id=the.location.id, external_ids=[gone])
            await sync.count(unit, the.run.id, missing=missing)
        if problem is not None:
            job.log(unit, level=LogLevel.WARNING, code=_NOT_SENT, message=f"Not sent: {problem}", subject=str(out.contact_id))
        sent, skipped = problem is None, problem is not None and gone is None
        if failure is not None or again:
            code = _NOT_SENT if failure is None else failure.code
            await _keep_item(job, unit, out, code=code, problem=problem if skipped else None)
        await sync.count(unit, the.run.id, pushed=int(sent), skipped=int(skipped) - int(again))
        checkpoint = {"step": "items"} if again else {"step": "push", "after": str(out.contact_id), "pushed": done}
        await job.advance(unit, done=done, total=total, message=f"Sent {done:,} of {total:,}", checkpoint=checkpoint)


async def _keep_item(job: Running[SyncContacts], unit: Unit, out: push.Outgoing, *, code: str, problem: str | None) -> None:
    key = str(out.contact_id)
    await items.add(unit, job_id=job.id, items=[Item(key, out.title)])
    if problem is None:
        await items.finish(unit, job_id=job.id, key=key)
    else:
        await items.fail(unit, job_id=job.id, key=key, code=code, message=problem)


async def _why_not(job: Running[SyncContacts], the: Plan, out: push.Outgoing) -> str | None:
    """What keeps a contact from being sent, if anything does."""
    if not out.can_be_matched:
        return "Has neither e-mail nor telephone, by which GoHighLevel could tell it from another contact."
    if out.external_id is None:
        async with job.unit() as unit:
            twin = await push.twin(unit, out, location_id=the.location.id)
        if twin is not None:
            return f"Shares its e-mail or telephone with {twin}; GoHighLevel would take both for one person."
    return None
