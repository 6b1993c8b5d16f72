"""Scheduled scans of whole stores: what is due goes into the queue, and the workers do it. Here the full resync.

It reads everything and is held to the guards as a plan is: a kind above its ceiling is held whole. Its progress is recorded
chunk by chunk, and it continues where it was killed. Nothing is written to a shop here.

Before it scans the profiles, a bulk query brings the mirror of a large shop up to date: users who were equal and have not
moved since, by the mirror, are passed over. The others are read live, as all are in a small shop, or where the bulk query
fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import field
from datetime import datetime
from typing import Protocol

from reconciler.controller.claims import AllClaims, ClaimReader
from reconciler.controller.observe import ObserveOptions, decide_users
from reconciler.controller.readers import Readers
from reconciler.controller.record import record_decisions, record_withheld
from reconciler.controller.scan.plan import CHUNK, check_source, named_subjects
from reconciler.controller.scan.standing import BULK_FROM, CHANGES, FULL
from reconciler.controller.scan.stream import Part, Watch, parts_of
from reconciler.controller.scan.timestamps import Evidence, evidence_since
from reconciler.controller.step import Step
from reconciler.core.decide.consent import DIRECTIONS
from reconciler.core.decide.cost import MUTATION_POINTS
from reconciler.core.fields.desired import is_wanted, profile_digest
from reconciler.core.model.action import KINDS
from reconciler.core.model.batches import batches
from reconciler.core.model.customer import Customer
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.store import Store
from reconciler.core.model.view import Subject
from reconciler.core.plan.guard import GUARDS, guard_of, kinds_above
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

BLOCKED = "blocked"  # another user's customer has the new address: a reconcile resolves it, whatever the guards say
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


@frozen
class ResyncContext:
    """All that a resync of one store works with. `go_on` is False as soon as it should stop where it is.

    `reread_policy` is called once the start of a full resync is recorded: `go_on` is False after it if the store has another
    policy by now. So a resync that is later than a wave used the policy of that wave.
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
    reread_policy: Callable[[], None]
    large_from: int = BULK_FROM
    slice_size: int = SLICE
    few: int = FEW


@frozen
class ResyncResult:
    """What a resync came to. `whole` False: it was stopped, and continues from there the next time.

    `actions`: those that a full one found and did not hold, by kind.
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
    context.reread_policy()
    live = not _is_mirrored(context, mark.started_at)
    if not context.go_on():
        return ResyncResult(whole=False)
    by_mirror = None if live else context.mirror.by_mirror(context.readers.customers)
    changes = book.mark(store.shop, CHANGES)
    untold = evidence_since(changes.watermark if changes is not None else None, store, context.readers)
    claims = AllClaims(context.readers.profiles, store)
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


def _observe_part(
    part: Part, claims: ClaimReader, context: ResyncContext, untold: Evidence, by_mirror: CustomerReader | None
) -> bool:
    """Observe the users that the part names, and record the whole of it; False where it was stopped on the way."""
    store = context.store
    findings: dict[ClerkUserId, str] = {}
    wanted = part.equal
    for chunk in named_subjects(batches(part.users, CHUNK), part.odd, store, context.readers):
        if not context.go_on():
            return False
        asked_at = context.clock.now()
        found, customers, more = _decide(chunk, claims, context, by_mirror)
        if part.users and customers:  # what was observed is not read again
            context.mirror.note_read(customers, as_of=asked_at)
        known = ((s.profile, s.mapping.profile_digest) for s in chunk if s.profile and s.mapping)
        untold.note((profile, digest, profile_digest(profile)) for profile, digest in known)
        findings |= found
        wanted += more
    if part.upto is not None:
        context.book.note(store.shop, FULL, cursor=part.upto, looked_at=part.rows, wanted=wanted, findings=findings)
    return True


def _decide(
    chunk: Sequence[Subject], claims: ClaimReader, context: ResyncContext, by_mirror: CustomerReader | None
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
        elif decision.absent:
            released = decision.customer is not None and decision.successor is None
            findings[subject.user] = "release" if released else BLOCKED
        elif decision.successor is not None and subject.profile is None:
            findings[subject.user] = BLOCKED
        elif decision.action is not None:
            findings[subject.user] = guard_of(decision.action)
        else:
            idle.append(one)
    queue_users(context, record_decisions(idle, store, context.state, now), "address")
    return findings, list(customers.values()), wanted


def _finish(context: ResyncContext, mapped: int, started_at: datetime, untold: Sequence[ClerkUserId]) -> ResyncResult:
    """Hold what is above a ceiling, queue the rest, finish the scan."""
    store, book = context.store, context.book
    totals = book.totals(store.shop, FULL)
    queued = 0
    counts = {kind: totals[kind] for kind in GUARDS if kind in totals}
    over = kinds_above(counts, store, mappings=mapped)
    for kind, count in counts.items():
        for users in book.findings(store.shop, FULL, kind):
            if kind in over:
                record_withheld(users, over[kind], store, context.readers, context.state, context.clock.now())
            else:
                queued += queue_users(context, users, kind, count)
    held: dict[str, int] = {kind: counts[kind] for kind in over}
    queued += sum(queue_users(context, users, "address") for users in book.findings(store.shop, FULL, BLOCKED))
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
    actions: dict[str, int] = {kind: counts[kind] for kind in KINDS if counts.get(kind) and kind not in over}
    for each in (each for each in DIRECTIONS if counts.get(each) and each not in over):
        actions["update"] = actions.get("update", 0) + counts[each]
    return ResyncResult(whole=True, looked_at=looked_at, wanted=wanted, queued=queued, held=held, actions=actions)


def queue_users(context: ResyncContext, users: Sequence[ClerkUserId], reason: str, of: int = 0) -> int:
    """Enqueue each, as a part `of` so many. They fall due one by one, over the time that all may take."""
    if not users:
        return 0
    takes_s = 2 * of * MUTATION_POINTS / context.readers.customers.restore_rate()
    interval_s = max(context.interval_s, takes_s)
    return context.queue.add_all(context.store.name, users, context.clock.now(), interval_s=interval_s, reason=reason)
