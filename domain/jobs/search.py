"""What the text of a job filter means.

Each word must be found somewhere in a job: in its title, its message or its error's, in any case of letters and anywhere in
them; in its kind's name or title; as its error's code; as its id, or the beginning of one; or, exactly, as the subject of a
line of its log, which is the vendor's id of a thing that it met (of 8 characters or more). The sentences of logs are not
searched: an account has millions of them, and row-level security keeps PostgreSQL from asking a text index.
"""

import re
from uuid import UUID

import sqlalchemy as sa

from db.base import any_of
from db.models.jobs import Job, JobLog
from domain import ids
from domain.jobs.args import kinds
from domain.unit import Unit

_MAX_WORDS = 8
_PREFIX = "job_"
_LETTERS = 26  # of an id, five bits each
_FEW = 1_000
_SHORTEST_SUBJECT = 8
_CODE = re.compile(r"[A-Z]{3}-\d{3}", re.IGNORECASE)
_SPECIAL = re.compile(r"[%_\\]")
# Shorter ones are ordinary words; an id begins with the time at which it was made, and such a part of it is some days long.
_PART = re.compile(r"(?:job_)?([0-7][0-9a-hjkmnp-tv-z]{5,25})", re.IGNORECASE)


def words_of(text: str | None) -> list[str]:
    """The words that are searched for."""
    return (text or "").replace("\x00", "").split()[:_MAX_WORDS]


def fits(unit: Unit, word: str) -> sa.ColumnElement[bool]:
    """Whether a job has this word."""
    part = _PART.fullmatch(word)
    if part is not None and (word.lower().startswith(_PREFIX) or len(part[1]) == _LETTERS):
        return _id_between(part[1])
    # A whole pattern with PostgreSQL's own escape, or it would put one together for each row; ILIKE takes half as long again.
    pattern = "%" + _SPECIAL.sub(r"\\\g<0>", word.lower()) + "%"
    named = [name for name, args in kinds().items() if word.lower() in f"{name} {args.title}".lower()]
    conditions = [
        *(sa.func.lower(column).like(pattern) for column in (Job.title, Job.message, Job.error_message)),
        any_of(Job.kind, [*named, word]),
    ]
    if _CODE.fullmatch(word):
        conditions.append(Job.error_code == word.upper())
    if len(word) >= _SHORTEST_SUBJECT:
        conditions.append(Job.id == sa.any_(_with_subject(unit, word)))
    if part is not None:
        conditions.append(_id_between(part[1]))
    return sa.or_(*conditions)


def _with_subject(unit: Unit, word: str) -> sa.ColumnElement[list[UUID]]:
    """Looked up once, before the jobs are."""
    lines = sa.select(JobLog.job_id).where(JobLog.account_id == unit.account_id, JobLog.subject == word)
    return sa.func.array(lines.limit(_FEW).scalar_subquery(), type_=sa.ARRAY(sa.Uuid))


def _id_between(part: str) -> sa.ColumnElement[bool]:
    """Whether the id begins so."""
    low, high = (ids.decode(_PREFIX + part.lower().ljust(_LETTERS, fill)) for fill in "0z")
    if low is None or high is None:
        return sa.false()
    return Job.id.between(low[1], high[1])
