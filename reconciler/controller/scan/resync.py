"""Scheduled scans of whole stores: what is due goes into the queue, and the workers do it.

A full resync reads everything and is held to the guards as a plan is: a kind above its ceiling is held whole. One of
changes reads the rows that moved since the last one, and those that vanished. Both are written down chunk by chunk and
continue where they were killed. Nothing is written to a shop here.

Before a full resync scans the profiles, a bulk query brings the mirror of a large shop up to date: users who were equal and
have not moved since, by the mirror, are passed over. The others are read live, as all are in a small shop, or where the bulk
query fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from reconciler.controller.leaving.completeness import without_successor
from reconciler.controller.observe import Claims, ObserveOptions, decide_users
from reconciler.controller.readers import Readers
from reconciler.controller.record import record_decisions, record_withheld
from reconciler.controller.scan.plan import CHUNK, all_claims, check_source, named_subjects
from reconciler.controller.scan.stream import Part, Watch, parts_of
from reconciler.controller.scan.timestamps import Evidence, compare
from reconciler.controller.standing import CHANGES, FULL, suspected_users
from reconciler.controller.step import Step
from reconciler.core.decide.cost import MUTATION_POINTS
from reconciler.core.fields.desired import config_digest, is_wanted, profile_digest
from reconciler.core.model.action import KINDS
from reconciler.core.model.batches import batches
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.store import Store
from reconciler.core.model.view import Subject
from reconciler.core.plan.guard import ceiling_now, kinds_above
from reconciler.ports import (
    Clock,
    CustomerReader,
    MappingWriter,
    PairReader,
    RequestQueue,
    RowReader,
    ScanRepository,
    StoreFacts,
)

BULK_FROM = 20_000  # users; fewer are read live in less time than a bulk query takes to come back
BLOCKED = "blocked"  # another user's customer has the new address: a reconcile resolves it, whatever the guards say
OVERLAP_S = 300.0  # rows are committed later than they are stamped
SLICE = 1000  # mapped users of a large shop that one incremental resync compares with their rows
FEW = 20  # vanished ones in a slice that need no comparison of all the others

GoOn = Callable[[], bool]


class MirrorTier(Protocol):
    """The optional mirror of one store, as a resync knows it."""

    @property
    def pairs(self) -> PairReader:
        """The mapped users with a customer that has not moved, by the mirror."""

    def is_as_of(self, since: datetime) -> bool:
        """Whether the mirror shows the shop as it was at this time, or later: brought up to date where it does not."""

    def by_mirror(self, live: CustomerReader) -> CustomerReader:
        """The customers by the mirror, and by `live` where that can't tell."""

    def note_read(self, customers: Sequence[Customer], *, as_of: datetime) -> None:
        """Keep what the shop showed of these customers at this time."""

    def moves_since(self, at: datetime) -> Iterable[Sequence[ClerkUserId]]:
        """Catch the mirror up, and give users with a customer that moved since; none where there is no mirror."""


@dataclass(frozen=True, slots=True)
class ResyncContext:
    """All that a resync of one store works with. `go_on` is False as soon as it should stop where it is.

    `large_from`, `slice_size` and `few` are numbers of users, as the constants say.
    """

    store: Store
    readers: Readers
    state: MappingWriter
    book: ScanRepository
    queue: RequestQueue
    clock: Clock
    go_on: GoOn
    interval_s: float
    mirror: MirrorTier
    large_from: int = BULK_FROM
    slice_size: int = SLICE
    few: int = FEW


@dataclass(frozen=True, slots=True)
class ResyncResult:
    """What a resync came to. `whole` False: it was stopped, and continues from there the next time.

    `actions`: those that a full one found, by kind, the held ones included.
    """

    whole: bool
    looked_at: int = 0
    wanted: int = 0
    queued: int = 0
    held: dict[str, int] | None = None
    actions: MappingOf[str, int] = field(default_factory=dict)


def full_resync(context: ResyncContext) -> ResyncResult:
    """Read everything, decide about all users, queue what is due. Errors of reading end it; it continues later."""
    store, book = context.store, context.book
    check_source(store, context.readers)
    mapped = context.readers.mappings.count(store.shop)
    mark = book.begin(store.shop, FULL, now=context.clock.now(), total=context.readers.profiles.count())
    live = not _is_mirrored(context, mark.started_at)
    if not context.go_on():
        return ResyncResult(whole=False)
    by_mirror = None if live else context.mirror.by_mirror(context.readers.customers)
    changes = book.mark(store.shop, CHANGES)
    untold = _evidence(context, changes.watermark if changes is not None else None)
    claims = all_claims(store, context.readers)
    for part in _parts(context, mark.cursor, live=live):
        if not context.go_on():
            return ResyncResult(whole=False)
        if not _observe_part(part, claims, context, untold, by_mirror):
            return ResyncResult(whole=False)
    return _finish(context, mapped, mark.started_at, untold.untold) if context.go_on() else ResyncResult(whole=False)


def _parts(context: ResyncContext, after: ClerkUserId | None, *, live: bool) -> Iterator[Part]:
    """All users behind this one, a part at a time: those who have not moved as a number, the rest by name.

    `live`: no mirror is new enough to pass over anyone.
    """
    rows = context.readers.profiles
    assert isinstance(rows, RowReader)
    watch = Watch(context.store, context.mirror.pairs, live=live)
    return (part for _, part in parts_of([watch], rows, after=after))


def _is_mirrored(context: ResyncContext, since: datetime) -> bool:
    """Whether the mirror shows a large shop as it was at this time, or later: brought up to date where it does not."""
    return _is_large(context) and context.mirror.is_as_of(since)


def _is_large(context: ResyncContext) -> bool:
    """Whether very many users are mapped, or wanted as far as the last resync knows; before the first all rows may be."""
    shop, mappings = context.store.shop, context.readers.mappings
    if mappings.count(shop, at_most=context.large_from) == context.large_from:
        return True
    facts = mappings.facts(shop)
    if facts is not None and facts.profiles is not None:
        return facts.profiles >= context.large_from
    return context.readers.profiles.count(at_most=context.large_from) == context.large_from


def incremental_resync(context: ResyncContext) -> ResyncResult:
    """Queue users with a row that moved since the last resync, with a mapping made under another config, or without a row.

    The first one continues from the full resync. Costs what has changed, and a slice of the keys: rows that went leave no
    trace, so that each resync compares the next slice of the mapped users with the rows, beginning again at the end. A
    shop that is not large is one slice.
    """
    store, book, profiles = context.store, context.book, context.readers.profiles
    check_source(store, context.readers)
    mark = book.begin(store.shop, CHANGES, now=context.clock.now())
    full = book.mark(store.shop, FULL)
    watermark = mark.watermark or (full.watermark if full else None)
    if watermark is not None and watermark > context.clock.now():
        watermark = None  # written by a clock that was wrong: read everything once
    since = watermark or datetime.min.replace(tzinfo=mark.started_at.tzinfo)
    suspects = suspected_users(mark, full)
    if suspects:  # rows change here without their `updated_at`
        since = datetime.min.replace(tzinfo=mark.started_at.tzinfo)
    evidence = _evidence(context, watermark)
    queued = looked_at = 0
    config = config_digest(store)
    for changed in profiles.changes_since(since, overlap_s=OVERLAP_S if since == watermark else 0.0):
        if not context.go_on():
            return ResyncResult(whole=False)
        rows = context.readers.mappings.get(store.shop, [p.clerk_user_id for p in changed])
        subjects = [Subject(p.clerk_user_id, p, rows.get(p.clerk_user_id)) for p in changed]
        evidence.note((p, row.profile_digest) for p in changed if (row := rows.get(p.clerk_user_id)))
        queued += _queue(context, [s.user for s in subjects if _has_moved(s, store, config)], "profile")
        looked_at += len(changed)
    vanished = _find_vanished(context, mark.cursor, evidence)
    if vanished is None:
        return ResyncResult(whole=False)
    queued += _queue(context, _find_returned(context), "profile") + _queue(context, vanished.untold, "profile")
    queued += _queue(context, vanished.users, "vanished") + _queue_moved_in_shop(context, watermark)
    book.finish(
        store.shop,
        CHANGES,
        now=context.clock.now(),
        watermark=mark.started_at,
        cursor=vanished.upto,
        counted=evidence.told_of(suspects),
    )
    return ResyncResult(whole=True, looked_at=looked_at, queued=queued, held=vanished.held)


def _evidence(context: ResyncContext, watermark: datetime | None) -> Evidence:
    """What a resync that began then must have seen, if rows say when they changed."""
    return Evidence(context.store, context.readers, _less_overlap(watermark) if watermark is not None else None)


@dataclass(frozen=True, slots=True)
class _Vanished:
    """Mapped users without a row, as far as the keys were compared; `held`: so many that none may go.

    `untold` are users with a row that was compared, and had changed without its `updated_at`.
    """

    users: Sequence[ClerkUserId]
    upto: ClerkUserId | None
    held: dict[str, int]
    untold: Sequence[ClerkUserId] = ()


def _find_vanished(context: ResyncContext, after: ClerkUserId | None, evidence: Evidence) -> _Vanished | None:
    """Who of the next slice of mapped users has no row any more; None: stopped on the way.

    Where many went, all keys are compared, and above the ceiling none goes: half a table is no news. Those with an address
    that another row has are not counted: they may have a new id, and their customers are adopted and not released.
    """
    shop, mappings, profiles = context.store.shop, context.readers.mappings, context.readers.profiles
    large_from = context.large_from
    limit = context.slice_size if mappings.count(shop, at_most=large_from) == large_from else large_from
    seen = mappings.seen_rows(shop, after=after, limit=limit)
    compared = compare(seen, context.readers, evidence)
    found = compared.missing
    upto = seen[-1].user if len(seen) == limit else None
    if not found:
        return _Vanished((), upto, {}, compared.untold)
    ceiling = ceiling_now(context.store, "release", lambda most: mappings.count(shop, at_most=most))
    if len(found) <= min(context.few, ceiling):
        return _Vanished(found, upto, {}, compared.untold)
    succeeded: list[ClerkUserId] = []
    alone: list[ClerkUserId] = []
    gone, at = 0, None
    while users := mappings.mapped_users(shop, after=at, limit=context.slice_size):
        if not context.go_on():
            return None
        missing = profiles.users_without_row(users)
        released = without_successor(missing, context.store, profiles, mappings) if missing else missing
        gone += len(released)
        alone = sorted({*alone, *released}) if gone <= ceiling else []
        succeeded += sorted(missing - released)
        at = users[-1]
    held = {"release": gone} if gone > ceiling else {}
    return _Vanished([*succeeded, *alone], upto, held, compared.untold)


def _find_returned(context: ResyncContext) -> list[ClerkUserId]:
    """Users with a row that was missing at the last resync and is there again, whatever its `updated_at` says."""
    missed = context.readers.mappings.absent_users(context.store.shop, limit=context.large_from)
    return sorted(set(missed) - context.readers.profiles.users_without_row(missed)) if missed else []


def _less_overlap(at: datetime) -> datetime:
    return at - timedelta(seconds=OVERLAP_S) if at.year > 1 else at


def _queue_moved_in_shop(context: ResyncContext, watermark: datetime | None) -> int:
    """Queue users with a customer that moved by what the mirror learned since; their reconcile tells what is true."""
    if watermark is None:
        return 0
    return sum(_queue(context, users, "shop") for users in context.mirror.moves_since(_less_overlap(watermark)))


def _observe_part(
    part: Part, claims: Callable[[], Claims], context: ResyncContext, untold: Evidence, by_mirror: CustomerReader | None
) -> bool:
    """Observe the users that the part names, and record the whole of it; False where it was stopped on the way."""
    store = context.store
    findings: dict[ClerkUserId, str] = {}
    wanted = part.equal
    for chunk in named_subjects(batches(part.users, CHUNK), part.odd, store, context.readers):
        if not context.go_on():
            return False
        asked_at = context.clock.now()
        found, customers, more = _decide(chunk, claims(), context, by_mirror)
        if part.users and customers:  # what was observed is not read again
            context.mirror.note_read(customers, as_of=asked_at)
        untold.note((s.profile, s.mapping.profile_digest) for s in chunk if s.profile and s.mapping)
        findings |= found
        wanted += more
    if part.upto is not None:
        context.book.note(store.shop, FULL, cursor=part.upto, looked_at=part.rows, wanted=wanted, findings=findings)
    return True


def _decide(
    chunk: Sequence[Subject], claims: Claims, context: ResyncContext, by_mirror: CustomerReader | None
) -> tuple[dict[ClerkUserId, str], list[Customer], int]:
    """What is due for each, customers that the shop showed, and how many are wanted; what was observed is recorded."""
    store, now = context.store, context.clock.now()
    findings: dict[ClerkUserId, str] = {}
    idle: list[Step] = []
    customers: dict[CustomerId, Customer] = {}
    wanted = 0
    options = ObserveOptions(now=now, explicit=False)
    for one in decide_users(chunk, store, context.readers, claims, options, by_mirror=by_mirror):
        subject, decision = one.subject, one.decision
        wanted += is_wanted(subject.profile, store) is not False
        if decision.customer is not None and one.live:
            customers[decision.customer.id] = decision.customer
        if one.blocked is not None:
            findings[subject.user] = BLOCKED
        elif decision.missing:
            released = decision.customer is not None and decision.successor is None
            findings[subject.user] = "release" if released else BLOCKED
        elif decision.successor is not None and subject.profile is None:
            findings[subject.user] = BLOCKED
        elif decision.action is not None:
            findings[subject.user] = decision.action.kind
        else:
            idle.append(one)
    _queue(context, record_decisions(idle, store, context.state, now), "address")
    return findings, list(customers.values()), wanted


def _finish(context: ResyncContext, mapped: int, started_at: datetime, untold: Sequence[ClerkUserId]) -> ResyncResult:
    """Hold what is above a ceiling, queue the rest, finish the scan."""
    store, book = context.store, context.book
    totals = book.totals(store.shop, FULL)
    queued = 0
    counts = {kind: totals[kind] for kind in KINDS if kind in totals}
    over = kinds_above(counts, store, mappings=mapped)
    for kind, count in counts.items():
        for users in book.findings(store.shop, FULL, kind):
            if kind in over:
                record_withheld(users, over[kind], store, context.readers, context.state, context.clock.now())
            else:
                queued += _queue(context, users, kind, count)
    held: dict[str, int] = {kind: counts[kind] for kind in over}
    queued += sum(_queue(context, users, "address") for users in book.findings(store.shop, FULL, BLOCKED))
    mark = book.mark(store.shop, FULL)
    looked_at, wanted = (mark.looked_at, mark.wanted) if mark else (0, 0)
    now = context.clock.now()
    book.finish(store.shop, FULL, now=now, watermark=started_at, counted=untold)
    before = context.readers.mappings.facts(store.shop)
    context.state.put_facts(
        StoreFacts(
            store.name,
            store.shop,
            profiles=wanted,
            last_sweep_at=now,
            suspended_at=before.suspended_at if before else None,
            suspended_reason=before.suspended_reason if before else None,
        )
    )
    actions: dict[str, int] = {kind: totals[kind] for kind in KINDS if totals.get(kind)}
    return ResyncResult(whole=True, looked_at=looked_at, wanted=wanted, queued=queued, held=held, actions=actions)


def _queue(context: ResyncContext, users: Sequence[ClerkUserId], reason: str, of: int = 0) -> int:
    """Enqueue each, as a part `of` so many. They fall due one by one, over the time that all may take."""
    if not users:
        return 0
    takes_s = 2 * of * MUTATION_POINTS / context.readers.customers.restore_rate()
    interval_s = max(context.interval_s, takes_s)
    return context.queue.add_all(context.store.name, users, context.clock.now(), interval_s=interval_s, reason=reason)


def _has_moved(subject: Subject, store: Store, config: str) -> bool:
    """Whether the row or the config differs from the last resync, or the row was not there."""
    mapping = subject.mapping
    if mapping is None or mapping.status == "released":
        return is_wanted(subject.profile, store) is not False
    if mapping.absent_since is not None or mapping.reason == "RowMissing":
        return True
    return mapping.profile_digest != profile_digest(subject.profile) or mapping.config_digest != config
