"""Keeps one shop's mirror: filled by a bulk query, caught up by what was touched since, corrected by the next bulk query.

The mirror is never the last word before a write: a user that it proves in sync is not observed, any other one is. So it
may lag, and is not used for long: `check_mirror` says when a scan may rest on it (docs/tasks/large-shops.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from reconciler.controller.mirror.reader import MirrorReader
from reconciler.controller.scan.standing import OVERLAP, is_fresh
from reconciler.core.fields import normalise
from reconciler.core.fields.fingerprint import metafields_of, observed_fp, values_json
from reconciler.core.model.batches import batches
from reconciler.core.model.consent import field_of
from reconciler.core.model.customer import Customer
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.model.scalars import LATER
from reconciler.core.model.store import Store
from reconciler.errors import AccessError, PermanentError, StateError, TemporaryError
from reconciler.ports import (
    BulkReader,
    BulkState,
    Clock,
    CustomerLists,
    CustomerReader,
    Mirror,
    MirrorMark,
    PairReader,
    Seen,
)

CLOCKS = timedelta(minutes=5)  # more than a shop's clock and ours may differ
RUNS_MAX = timedelta(hours=24)  # a bulk query that takes longer is cancelled, and another one begun the next time
BATCH = 1000
READ = 250
POLL_FIRST_S, POLL_LAST_S = 1.0, 30.0


@frozen
class Progress:
    """How far a bulk query is: what is being done, how much of how much (None: not known)."""

    doing: str
    done: int
    total: int | None


@frozen
class MirrorContext:
    """All that keeping one shop's mirror takes. `wait` waits so many seconds and is False where the process should stop.

    `batch` lines of a bulk query's result are stored in one transaction.
    """

    store: Store
    mirror: Mirror
    bulk: BulkReader
    lists: CustomerLists
    customers: CustomerReader
    clock: Clock
    wait: Callable[[float], bool]
    progress: Callable[[Progress], None] = lambda _progress: None
    batch: int = BATCH

    @property
    def pairs(self) -> PairReader:
        """controller.scan.resync.MirrorTier, as the methods below."""
        return self.mirror

    def is_as_of(self, since: datetime) -> bool:
        mark = self.mirror.mirror_mark(self.store.shop)
        if mark.complete_at is not None and mark.complete_at >= since and mark.shape == shape_of(self.store):
            return True
        try:
            return fill(self).whole
        except (TemporaryError, PermanentError):
            return False  # live reads cost more, and are as good

    def by_mirror(self, live: CustomerReader) -> CustomerReader:
        return MirrorReader(self.store, self.mirror, live)

    def note_read(self, customers: Sequence[Customer], *, as_of: datetime) -> None:
        seen = [seen_of(customer) for customer in customers]
        self.mirror.put_seen(self.store.shop, seen, as_of=as_of, now=self.clock.now(), source="read")

    def moves_since(self, at: datetime) -> Iterable[Sequence[ClerkUserId]]:
        if self.mirror.mirror_mark(self.store.shop).complete_at is None:
            return ()
        try:
            catch_up(self)
        except (TemporaryError, PermanentError):
            return ()  # the next full resync reads everything
        return self.mirror.moves_since(self.store.shop, at)


@frozen
class Filled:
    """What a bulk query came to. `whole` False: it was stopped, and continues from there the next time."""

    whole: bool
    lines: int = 0
    moved: int = 0
    gone: int = 0


@frozen
class MirrorCheck:
    """Whether a scan of all users may pass over those who have not moved: the mirror is as the shop's list was at `as_of`.

    None: it may not. `doubt` says why, where there is a mirror at all.
    """

    as_of: datetime | None = None
    doubt: str = ""


def check_mirror(context: MirrorContext) -> MirrorCheck:
    """Catch the mirror up, and say whether a scan may rest on it. Asks nothing where no bulk query was ever complete.

    The list of touched customers names none that were deleted; so the shop must have exactly as many customers as the
    mirror. It lags, too, and a new customer would make up for a deleted one; so the mirror first reads all
    newcomers. Whatever goes wrong here is a reason to read all live, and no error.
    """
    mark = context.mirror.mirror_mark(context.store.shop)
    if mark.complete_at is None:
        return MirrorCheck()
    if mark.shape != shape_of(context.store):
        other = "for another back-link or other metafields" if mark.shape is not None else "by an earlier version"
        return MirrorCheck(doubt=f"its mirror was filled {other}")
    if not is_fresh(mark, context.clock.now()):
        return MirrorCheck(doubt=f"its mirror is of {mark.complete_at:%Y-%m-%d %H:%M} UTC, which is too long ago")
    try:
        mirror_check = _compare_counts(context)
        return (
            mirror_check if mirror_check.as_of is not None else _compare_counts(context)
        )  # a customer may have come after the list
    except AccessError:
        return MirrorCheck()  # the live scan reports it
    except (PermanentError, StateError, TemporaryError) as error:
        return MirrorCheck(doubt=f"its mirror can't be brought up to date: {error.message}")


def shape_of(store: Store) -> str:
    """What a bulk query asks for: the back-link and the metafields of the policy in their order, and later fields."""
    return " ".join(
        [
            f"{store.backlink.namespace}.{store.backlink.key}",
            *store.metafields,
            *LATER,
            *map(field_of, store.consent.channels),
        ]
    )


def _compare_counts(context: MirrorContext) -> MirrorCheck:
    """Caught up, and compared with how many customers the shop has.

    Counted before newcomers are read: one that comes in between then makes the mirror larger, and is never one that the
    shop counted and the mirror does not know, which would hide a deletion.
    """
    as_of = context.clock.now()
    catch_up(context)
    there = context.lists.count()
    if there is None:
        return MirrorCheck(doubt="the shop does not say exactly how many customers it has")
    _read_new_customers(context)
    known = context.mirror.mirror_size(context.store.shop)
    if there != known:
        return MirrorCheck(doubt=f"the shop has {there:,} customers, its mirror {known:,}")
    return MirrorCheck(as_of)


def fill(context: MirrorContext) -> Filled:
    """Bring the mirror up to date by a bulk query: continues one that is under way, and its lines where it was.

    TemporaryError: it failed, was cancelled or took more than a day. What it had found by then is in the mirror, and
    no customer counts as gone by it. The next call begins again.
    """
    shop, mirror = context.store.shop, context.mirror
    mark = mirror.mirror_mark(shop)
    state = context.bulk.state(mark.operation) if mark.operation is not None else None
    if state is not None and mark.begun_shape != shape_of(context.store):  # its lines would be read for others
        if state.status == "running":
            context.bulk.cancel(state.operation)
        state = None
    if state is None or (state.status == "expired"):
        mark = _begin(context)
    assert mark.operation is not None
    assert mark.began_at is not None
    state = _wait_for_end(context, mark.operation, mark.began_at)
    if state is None:
        return Filled(whole=False, lines=mark.lines)
    complete = state.status == "completed"
    moved, lines = 0, mark.lines
    if state.readable:
        try:
            for part in context.bulk.lines(mark.operation, skip=mark.lines, batch=context.batch):
                lines += len(part)
                now = context.clock.now()
                moved += mirror.put_seen(
                    shop, context.lists.seen_in(part), as_of=mark.began_at, now=now, source="bulk", lines=lines
                )
                context.progress(Progress("storing", lines, state.objects or None))
                if not context.wait(0):
                    return Filled(whole=False, lines=lines, moved=moved)
        except PermanentError:
            mirror.end_mirror(shop, complete=False, now=context.clock.now())  # the result is no more: begin again
            raise
    gone = mirror.end_mirror(shop, complete=complete, now=context.clock.now())
    if not complete:
        why = f" ({state.error_code})" if state.error_code else ""
        raise TemporaryError(
            f"{shop}: the bulk query is {state.status}{why} after {lines} customers; no customer counts as gone by it",
            hint="reconciler backfill shopify, which begins again",
        )
    return Filled(whole=True, lines=lines, moved=moved, gone=gone)


def catch_up(context: MirrorContext) -> int:
    """Read customers touched since the last time, by point reads; how many had moved. Gone by a point read is gone.

    One that the mirror surely read since it was touched is not read again, though the lists overlap. Nothing is done
    without a complete bulk query before, which saw all that was touched until then. PermanentError where too many were
    touched: a bulk query is due.
    """
    shop, mirror = context.store.shop, context.mirror
    mark = mirror.mirror_mark(shop)
    if mark.listed_at is None or mark.complete_at is None:
        return 0
    since = _untold_since(mark.listed_at, mark.complete_at)
    began_at = context.clock.now()
    moved = 0
    known: set[str] = set()
    for page in context.lists.updates_since(since):
        fresh = mirror.customers_to_read(shop, [one for one in page if one[0] not in known])
        known.update(customer for customer, _ in page)
        moved += _read(context, fresh)
    mirror.mark_listed(shop, began_at)
    return moved


def _read_new_customers(context: MirrorContext) -> None:
    """Read new customers that are not in the mirror, newest first; one small page where few came.

    As far back as the index may not tell yet, but not before the last bulk query, which saw all. That a new one is
    known is no sign that older ones are: the index need not list them in their order. PermanentError: too many.
    """
    shop, mirror = context.store.shop, context.mirror
    complete_at = mirror.mirror_mark(shop).complete_at
    since = _untold_since(context.clock.now(), complete_at) if complete_at is not None else None
    for page in context.lists.newest():
        _read(context, mirror.customers_to_read(shop, page))
        if page and since is not None and page[-1][1] < since:
            return


def _untold_since(at: datetime, complete_at: datetime) -> datetime:
    """From when on something may have happened that neither the index nor the last bulk query had seen at this time."""
    return max(at - OVERLAP, complete_at - CLOCKS)


def _read(context: MirrorContext, customers: list[CustomerId]) -> int:
    """Keep what these show now, by point reads; how many had moved. Who is not found is gone."""
    shop, mirror = context.store.shop, context.mirror
    moved = 0
    for part in batches(customers, READ):
        as_of = context.clock.now()
        found = context.customers.by_ids(part)
        moved += mirror.put_seen(
            shop, [seen_of(c) for c in found.values()], as_of=as_of, now=context.clock.now(), source="list"
        )
        gone = [i for i in part if i not in found]
        if gone:
            mirror.touch(shop, gone, now=context.clock.now(), gone=True)
    return moved


def seen_of(customer: Customer) -> Seen:
    """A customer as the mirror keeps it."""
    scalars, metafields = customer.scalars(), metafields_of(customer)
    return Seen(
        customer_id=customer.id,
        email_key=normalise.email_key(customer.email),
        backlink=customer.backlink,
        fp=observed_fp(customer),
        values=values_json(scalars, customer.tags, customer.backlink, metafields, customer.consents),
        updated_at=customer.updated_at,
        phone_key=normalise.phone_key(customer.phone),
    )


def _begin(context: MirrorContext) -> MirrorMark:
    """A new bulk query. Its time is taken before it is asked for: a customer made later is seen by it or by a later one."""
    now = context.clock.now()
    expected = context.lists.count()
    operation = context.bulk.start()
    shape = shape_of(context.store)
    return context.mirror.begin_mirror(context.store.shop, operation, now=now, expected=expected, shape=shape)


def _wait_for_end(context: MirrorContext, operation: str, began_at: datetime) -> BulkState | None:
    """The query's end; None where the process should stop. Polls less and less often, twice a minute at last."""
    expected = context.mirror.mirror_mark(context.store.shop).expected
    pause = POLL_FIRST_S
    while True:
        state = context.bulk.state(operation)
        if state is None:
            context.mirror.end_mirror(context.store.shop, complete=False, now=context.clock.now())
            raise TemporaryError(f"{context.store.shop}: the shop no longer knows {operation}", hint="start again")
        if state.status != "running":
            return state
        context.progress(Progress("running", state.objects, expected))
        if context.clock.now() - began_at > RUNS_MAX:
            context.bulk.cancel(operation)
            context.mirror.end_mirror(context.store.shop, complete=False, now=context.clock.now())
            raise TemporaryError(
                f"{context.store.shop}: the bulk query ran for more than a day and was cancelled",
                hint="reconciler backfill shopify, which begins again",
            )
        if not context.wait(pause):
            return None
        pause = min(pause * 1.5, POLL_LAST_S)
