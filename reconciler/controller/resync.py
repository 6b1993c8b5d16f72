"""Looks at whole stores, as `run` takes them: what is found goes into the queue, and the workers do it.

A full look reads everything and is held to the guards as a plan is: a kind above its ceiling is held whole. A look at
changes reads the rows that moved since the last one, and those that vanished. Both are written down chunk by chunk and
go on where they were killed. Nothing is written to a shop here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from reconciler.controller.observe import Claims, claims_of
from reconciler.controller.sweep import CHUNK, Ask, Readers, decided, joined, source_is_there
from reconciler.core.desired import config_digest, is_wanted, profile_digest
from reconciler.core.guard import ceiling_of
from reconciler.core.ids import ClerkUserId
from reconciler.core.mapping import Mapping
from reconciler.core.plan import KINDS, Kind
from reconciler.core.record import after_look
from reconciler.core.request import Priority, Request
from reconciler.core.store import Store
from reconciler.core.view import Subject
from reconciler.ports import Clock, MappingWriter, RequestQueue, StoreFacts, SweepBook

FULL, CHANGES = "full", "changes"
BLOCKED = "blocked"  # another user's customer has her new address: her own look sees to that, whatever the guards say
OVERLAP_S = 300.0  # rows are committed later than they are stamped
KEYS = 2000  # mappings asked for at once whether their rows are still there

GoOn = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Desk:
    """All that a look at a whole store in `run` works with. `go_on` is False as soon as it should stop where it is."""

    store: Store
    readers: Readers
    state: MappingWriter
    book: SweepBook
    queue: RequestQueue
    clock: Clock
    go_on: GoOn
    interval_s: float


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look came to. `whole` False: it was stopped, and goes on from there the next time."""

    whole: bool
    looked_at: int = 0
    wanted: int = 0
    queued: int = 0
    held: dict[str, int] | None = None


def full_look(desk: Desk) -> Looked:
    """Read everything, decide about everybody, queue what is to be done. Errors of reading end it; it goes on later."""
    store, book = desk.store, desk.book
    mapped = desk.readers.mappings.count(store.shop)
    source_is_there(store, desk.readers, mapped)
    mark = book.begin(store.shop, FULL, now=desk.clock.now())
    claims = claims_of(desk.readers.profiles.sharing_email(None), store)
    subjects = joined(store, desk.readers, after=mark.cursor)
    while chunk := list(islice(subjects, CHUNK)):
        if not desk.go_on():
            return Looked(whole=False)
        _look_at(chunk, claims, desk)
    return _ended(desk, mapped, mark.started_at)


def look_at_changes(desk: Desk) -> Looked:
    """Queue whoever's row moved since the last look, or whose mapping was made under another config, or whose row went."""
    store, book = desk.store, desk.book
    source_is_there(store, desk.readers, desk.readers.mappings.count(store.shop))
    mark = book.begin(store.shop, CHANGES, now=desk.clock.now())
    since = mark.watermark or datetime.min.replace(tzinfo=mark.started_at.tzinfo)
    queued = looked_at = 0
    for profiles in desk.readers.profiles.changed_since(since, overlap_s=OVERLAP_S if mark.watermark else 0.0):
        if not desk.go_on():
            return Looked(whole=False)
        rows = desk.readers.mappings.get(store.shop, [p.clerk_user_id for p in profiles])
        config = config_digest(store)
        moved = [
            p.clerk_user_id
            for p in profiles
            if _has_moved(Subject(p.clerk_user_id, p, rows.get(p.clerk_user_id)), store, config)
        ]
        queued += _queue(desk, moved, "profile")
        looked_at += len(profiles)
    for users in _mapped_users(desk):
        if not desk.go_on():
            return Looked(whole=False)
        queued += _queue(desk, sorted(desk.readers.profiles.vanished(users)), "vanished")
    book.finish(store.shop, CHANGES, now=desk.clock.now(), watermark=mark.started_at)
    return Looked(whole=True, looked_at=looked_at, queued=queued)


def _look_at(chunk: Sequence[Subject], claims: Claims, desk: Desk) -> None:
    store, now = desk.store, desk.clock.now()
    findings: dict[ClerkUserId, str] = {}
    rows: list[Mapping] = []
    wanted = 0
    for subject, decision, _ in decided(chunk, store, desk.readers, claims, Ask(now=now, explicit=False)):
        wanted += is_wanted(subject.profile, store) is not False
        if decision.blocked_by is not None:
            findings[subject.user] = BLOCKED
        elif decision.action is not None:
            findings[subject.user] = decision.action.kind
        else:
            row = after_look(subject.mapping, decision, subject.profile, store, now=now)
            rows += [row] if row is not None else []
    desk.state.put_many(rows)
    desk.book.note(store.shop, FULL, cursor=chunk[-1].user, looked_at=len(chunk), wanted=wanted, findings=findings)


def _ended(desk: Desk, mapped: int, started_at: datetime) -> Looked:
    """Hold what is above a ceiling, queue the rest, close the book."""
    store, book = desk.store, desk.book
    totals = book.totals(store.shop, FULL)
    held: dict[str, int] = {}
    queued = 0
    for kind in KINDS:
        count = totals.get(kind, 0)
        if count > ceiling_of(getattr(store.guards, kind), mapped):
            held[kind] = count
            _hold(desk, kind, count)
        elif count:
            queued += sum(_queue(desk, users, kind) for users in book.findings(store.shop, FULL, kind))
    queued += sum(_queue(desk, users, "address") for users in book.findings(store.shop, FULL, BLOCKED))
    mark = book.mark(store.shop, FULL)
    looked_at, wanted = (mark.looked_at, mark.wanted) if mark else (0, 0)
    now = desk.clock.now()
    book.finish(store.shop, FULL, now=now, watermark=started_at)
    before = desk.readers.mappings.facts(store.shop)
    desk.state.put_facts(
        StoreFacts(
            store.name,
            store.shop,
            profiles=wanted,
            last_sweep_at=now,
            suspended_at=before.suspended_at if before else None,
            suspended_reason=before.suspended_reason if before else None,
        )
    )
    return Looked(whole=True, looked_at=looked_at, wanted=wanted, queued=queued, held=held)


def _hold(desk: Desk, kind: Kind, count: int) -> None:
    """Say in each row that a guard holds it; the plan shows the same, and `apply --approve` lets it go."""
    store, now = desk.store, desk.clock.now()
    ceiling = getattr(store.guards, kind)
    message = f"{count} {kind} actions are above the ceiling of {ceiling.max}; reconciler plan shows them"
    for users in desk.book.findings(store.shop, FULL, kind):
        known = desk.readers.mappings.get(store.shop, users)
        rows = [
            known.get(u) or Mapping(clerk_user_id=u, store=store.name, shop=store.shop, first_seen_at=now)
            for u in users
        ]
        update = {"status": "held", "reason": "GuardExceeded", "message": message, "last_seen_at": now}
        desk.state.put_many([row.model_copy(update=update) for row in rows])


def _queue(desk: Desk, users: Sequence[ClerkUserId], reason: str) -> int:
    if not users:
        return 0
    requests = [Request(desk.store.name, user) for user in users]
    return desk.queue.add(requests, desk.clock.now(), priority=Priority.RESYNC, reason=reason)


def _has_moved(subject: Subject, store: Store, config: str) -> bool:
    """Whether the row says something else than at the last look, or the config does."""
    mapping = subject.mapping
    if mapping is None:
        return is_wanted(subject.profile, store) is not False
    return mapping.profile_digest != profile_digest(subject.profile) or mapping.config_digest != config


def _mapped_users(desk: Desk) -> Iterator[list[ClerkUserId]]:
    for rows in desk.readers.mappings.scan(desk.store.shop, chunk=KEYS):
        users = [row.clerk_user_id for row in rows if row.status not in {"released", "erased"}]
        if users:
            yield users
