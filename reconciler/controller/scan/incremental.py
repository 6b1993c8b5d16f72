"""The incremental resync: reads the rows that moved since the last resync, and finds those that vanished.

It continues where it was killed, and writes nothing to a shop.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from reconciler.controller.leaving.completeness import without_successor
from reconciler.controller.scan.plan import CHUNK, check_source
from reconciler.controller.scan.resync import ResyncContext, ResyncResult, queue_users
from reconciler.controller.scan.standing import CHANGES, FULL, suspects
from reconciler.controller.scan.timestamps import OVERLAP_S, Evidence, compare, evidence_since, less_overlap
from reconciler.core.decide.leaving.absence import has_ceased_to_match
from reconciler.core.fields.desired import config_digest, is_wanted, profile_digest
from reconciler.core.model.batches import batches
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.profile import Profile
from reconciler.core.model.store import DESTRUCTIVE, Store
from reconciler.core.plan.guard import ceiling_now


def incremental_resync(context: ResyncContext) -> ResyncResult:
    """Queue users with a row that moved since the last resync, with a mapping made under another config, or without a row.

    The first one continues from the full resync. The cost is what has changed, and a slice of the keys. Deleted rows leave
    no trace, so each resync compares the next slice of the mapped users with the rows, and begins again after the last one.
    A shop that is not large is one slice.
    """
    store, book, profiles = context.store, context.book, context.readers.profiles
    check_source(store, context.readers)
    mark = book.begin(store.shop, CHANGES, now=context.clock.now())
    full = book.mark(store.shop, FULL)
    watermark = mark.watermark or (full.watermark if full else None)
    if watermark is not None and watermark > context.clock.now():
        watermark = None  # written by a clock that was wrong: read everything once
    since = watermark or datetime.min.replace(tzinfo=mark.started_at.tzinfo)
    unmoved = suspects(mark, full)
    if unmoved:  # rows change here without their `updated_at`
        since = datetime.min.replace(tzinfo=mark.started_at.tzinfo)
    evidence = evidence_since(watermark, store, context.readers)
    queued = looked_at = 0
    config = config_digest(store)
    for changed in profiles.changes_since(since, overlap_s=OVERLAP_S if since == watermark else 0.0):
        if not context.go_on():
            return ResyncResult(whole=False)
        rows = context.readers.mappings.get(store.shop, [p.clerk_user_id for p in changed])
        read = [(p, rows.get(p.clerk_user_id), profile_digest(p)) for p in changed]
        evidence.note((p, row.profile_digest, digest) for p, row, digest in read if row is not None)
        moved = [p.clerk_user_id for p, row, digest in read if _has_moved(p, row, digest, store, config)]
        queued += queue_users(context, moved, "profile")
        looked_at += len(changed)
    vanished = _find_vanished(context, mark.cursor, evidence)
    if vanished is None:
        return ResyncResult(whole=False)
    queued += queue_users(context, _find_returned(context), "profile") + queue_users(
        context, vanished.untold, "profile"
    )
    queued += queue_users(context, vanished.users, "vanished") + _queue_moved_in_shop(context, watermark)
    book.finish(
        store.shop,
        CHANGES,
        now=context.clock.now(),
        watermark=mark.started_at,
        cursor=vanished.upto,
        counted=evidence.told_of(unmoved),
    )
    return ResyncResult(whole=True, looked_at=looked_at, queued=queued, held=vanished.held)


@frozen
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
    # Within a round the store is large: counting reads as much as it counts.
    is_large = after is not None or mappings.count(shop, at_most=large_from) == large_from
    limit = context.slice_size if is_large else large_from
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
    """Users with a row that was absent at the last resync and is there again, whatever its `updated_at` says."""
    profiles, store = context.readers.profiles, context.store
    missed = context.readers.mappings.absent_users(store.shop, limit=context.large_from)
    if store.on_leave not in DESTRUCTIVE:
        return sorted(set(missed) - profiles.users_without_row(missed)) if missed else []
    rows = [row for users in batches(missed, CHUNK) for row in profiles.get(users).values()]
    return [row.clerk_user_id for row in rows if not has_ceased_to_match(row, store)]


def _queue_moved_in_shop(context: ResyncContext, watermark: datetime | None) -> int:
    """Queue users with a customer that moved by what the mirror learned since; their reconcile tells what is true."""
    if watermark is None:
        return 0
    return sum(queue_users(context, users, "shop") for users in context.mirror.moves_since(less_overlap(watermark)))


def _has_moved(profile: Profile, mapping: Mapping | None, digest: str, store: Store, config: str) -> bool:
    """Whether the row or the config differs from the last resync, or the row was absent and is not any more."""
    if mapping is None or mapping.status == "released":
        return is_wanted(profile, store) is not False
    was_absent = mapping.absent_since is not None or mapping.reason in {"RowMissing", "NoLongerWanted"}
    if was_absent and not has_ceased_to_match(profile, store):
        return True
    return mapping.profile_digest != digest or mapping.config_digest != config
