"""`MappingTable`: the mapping table, its events, and facts of stores."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    union,
    update,
)

from reconciler.core.model.batches import batches
from reconciler.core.model.consent import is_consent
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.request import Claim
from reconciler.errors import StateError
from reconciler.ports import SeenRow, StoreFacts
from reconciler.state import equal
from reconciler.state.database.engine import autocommitting, writing
from reconciler.state.database.queries import ASK, Database, parts
from reconciler.state.erased_rows import PresentRows, restores_erased, tombs, without_erased
from reconciler.state.put_row import put_row
from reconciler.state.tables.mappings import TOMBSTONES, EventRow, MappingRow, StoreRow, names_consent
from reconciler.state.tables.rows import event_of, event_row, facts_of, facts_row, mapping_of, mapping_row
from reconciler.state.waits import waiting_for

OWNERS = 1  # class of advisory locks: changes of customers' owners

_mapping: Table = MappingRow.__table__
_event: Table = EventRow.__table__
_store: Table = StoreRow.__table__
_OF_SHOP = select(_mapping).where(_mapping.c.shopify_shop == bindparam("shop"))
_GET_ONE = _OF_SHOP.where(_mapping.c.clerk_user_id == bindparam("user"))
_GET = _OF_SHOP.where(_mapping.c.clerk_user_id.in_(bindparam("users", expanding=True)))
_OWNER = select(_mapping.c.clerk_user_id, _mapping.c.shopify_customer_id, _mapping.c.status).where(
    _mapping.c.shopify_shop == bindparam("shop")
)
_IS_USER = _mapping.c.clerk_user_id.in_(bindparam("users", expanding=True))
_HAS_CUSTOMER = _mapping.c.shopify_customer_id.in_(bindparam("customers", expanding=True))
_PRESENT = union(_OWNER.where(_IS_USER), _OWNER.where(_HAS_CUSTOMER))
"""Not by `or`: SQLite would read all rows of the shop."""
_LOCKED_PRESENT = _OWNER.where(or_(_IS_USER, _HAS_CUSTOMER)).order_by(_mapping.c.clerk_user_id).with_for_update()
"""Only on Postgres, which reads two indexes for it, and locks no union."""
_ADD_EVENTS = _event.insert().inline()
_SHOPS: BindParameter[Any] = bindparam("shops", expanding=True)
_GET_ACROSS = select(_mapping).where(
    _mapping.c.shopify_shop.in_(_SHOPS), _mapping.c.clerk_user_id.in_(bindparam("users", expanding=True))
)
_STANDING_ACROSS = _GET_ACROSS.with_only_columns(
    _mapping.c.shopify_shop, _mapping.c.clerk_user_id, _mapping.c.status, _mapping.c.reason
)
_EVENTS_OF = select(_event).where(
    _event.c.clerk_user_id.in_(bindparam("users", expanding=True)),
    _event.c.shopify_shop == bindparam("shop"),
    _event.c.at >= bindparam("since"),
)
_FACTS = select(_store).where(_store.c.shopify_shop.in_(_SHOPS))
_KIND = (_mapping.c.shopify_shop, _mapping.c.status, _mapping.c.reason)
_TALLY = (
    select(*_KIND, func.count(), func.count(_mapping.c.shopify_customer_id))
    .where(_mapping.c.shopify_shop.in_(_SHOPS))
    .group_by(*_KIND)
)
"""Built once: building a statement, and expanding its parameters, takes longer than to read one row."""


@dataclass(slots=True)
class MappingCounts:
    """The counts of a shop's mappings: by (status, reason), and of those with a customer, without tombstones."""

    rows: dict[tuple[str, str | None], int] = field(default_factory=dict)
    mapped: int = 0


class MappingTable(Database):
    """`ports.State` on SQLite or Postgres."""

    _claim: Claim | None = None
    """Writes count only under this claim, if there is one."""

    def get(self, shop: ShopDomain, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Mapping]:
        if len(users) == 1:
            (user,) = users
            rows = self._rows(_GET_ONE, {"shop": shop, "user": user})
        else:
            rows = [row for part in parts(users) for row in self._rows(_GET, {"shop": shop, "users": part})]
        return {mapping.clerk_user_id: mapping for mapping in map(mapping_of, rows)}

    def get_across(
        self, shops: Collection[ShopDomain], users: Collection[ClerkUserId]
    ) -> dict[tuple[ShopDomain, ClerkUserId], Mapping]:
        """Return the mappings of these users in all of these shops."""
        rows = [
            mapping_of(row)
            for some in parts(shops)
            for part in parts(users)
            for row in self._rows(_GET_ACROSS, {"shops": some, "users": part})
        ]
        return {(row.shop, row.clerk_user_id): row for row in rows}

    def standing_across(
        self, shops: Collection[ShopDomain], users: Collection[ClerkUserId]
    ) -> dict[tuple[ShopDomain, ClerkUserId], tuple[str, str | None]]:
        """Return status and reason of these users in all of these shops: there may be ten thousand in each."""
        return {
            (ShopDomain(shop), ClerkUserId(user)): (status, reason)
            for some in parts(shops)
            for part in parts(users)
            for shop, user, status, reason in self._rows(_STANDING_ACROSS, {"shops": some, "users": part})
        }

    def owners(self, shop: ShopDomain, customers: Collection[CustomerId]) -> dict[CustomerId, ClerkUserId]:
        found: dict[CustomerId, ClerkUserId] = {}
        column = _mapping.c.shopify_customer_id
        for part in parts(customers):
            query = select(column, _mapping.c.clerk_user_id).where(_mapping.c.shopify_shop == shop, column.in_(part))
            found |= {CustomerId(customer): ClerkUserId(user) for customer, user in self._rows(query)}
        return found

    def first_mapped(self, shop: ShopDomain, users: Sequence[ClerkUserId], *, limit: int) -> frozenset[ClerkUserId]:
        found: list[ClerkUserId] = []
        user, has_customer = _mapping.c.clerk_user_id, _mapping.c.shopify_customer_id.is_not(None)
        for part in batches(users, ASK):
            query = select(user).where(_mapping.c.shopify_shop == shop, user.in_(part), has_customer)
            there = {one for (one,) in self._rows(query.where(_mapping.c.left_at.is_(None)))}
            found += [one for one in part if one in there]
            if len(found) >= limit:
                break
        return frozenset(found[:limit])

    def by_emails(self, shop: ShopDomain, emails: Collection[str]) -> dict[str, tuple[ClerkUserId, ...]]:
        found: defaultdict[str, list[ClerkUserId]] = defaultdict(list)
        column = _mapping.c.email_key
        for part in parts(emails):
            query = select(column, _mapping.c.clerk_user_id).where(_mapping.c.shopify_shop == shop, column.in_(part))
            for email, user in self._rows(query):
                found[email].append(ClerkUserId(user))
        return {email: tuple(sorted(users)) for email, users in found.items()}

    def waiting_for(
        self, shop: ShopDomain, keys: Collection[str] = (), customers: Collection[CustomerId] = ()
    ) -> tuple[ClerkUserId, ...]:
        return waiting_for(self._rows, shop, keys, customers)

    def waiting(self, store: StoreName, shop: ShopDomain, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        from reconciler.state.waiting import waiting_among  # noqa: PLC0415  it declares the tables of the queue

        return waiting_among(self._engine, store, shop, users)

    def scan(self, shop: ShopDomain, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Mapping]]:
        while True:
            query = select(_mapping).where(_mapping.c.shopify_shop == shop)
            if after is not None:
                query = query.where(_mapping.c.clerk_user_id > after)
            rows = [mapping_of(row) for row in self._rows(query.order_by(_mapping.c.clerk_user_id).limit(chunk))]
            if rows:
                yield rows
            if len(rows) < chunk:
                return
            after = rows[-1].clerk_user_id

    def mapped_users(self, shop: ShopDomain, *, after: ClerkUserId | None, limit: int) -> list[ClerkUserId]:
        user = _mapping.c.clerk_user_id
        query = select(user).where(_mapping.c.shopify_shop == shop, _mapping.c.status.not_in(TOMBSTONES))
        if after is not None:
            query = query.where(user > after)
        return [ClerkUserId(row[0]) for row in self._rows(query.order_by(user).limit(limit))]

    def mapped_users_before(self, shop: ShopDomain, user: ClerkUserId, *, limit: int) -> list[ClerkUserId]:
        key = _mapping.c.clerk_user_id
        query = select(key).where(_mapping.c.shopify_shop == shop, _mapping.c.status.not_in(TOMBSTONES), key < user)
        return sorted(ClerkUserId(row[0]) for row in self._rows(query.order_by(key.desc()).limit(limit)))

    def absent_users(self, shop: ShopDomain, *, limit: int) -> list[ClerkUserId]:
        user, is_missed = _mapping.c.clerk_user_id, _mapping.c.absent_since.is_not(None)
        query = select(user).where(_mapping.c.shopify_shop == shop, is_missed).order_by(user).limit(limit)
        return [ClerkUserId(row[0]) for row in self._rows(query)]

    def seen_rows(self, shop: ShopDomain, *, after: ClerkUserId | None, limit: int) -> list[SeenRow]:
        user = _mapping.c.clerk_user_id
        query = select(user, _mapping.c.profile_fp, _mapping.c.profile_digest).where(
            _mapping.c.shopify_shop == shop, _mapping.c.status.not_in(TOMBSTONES)
        )
        if after is not None:
            query = query.where(user > after)
        return [
            SeenRow(ClerkUserId(row[0]), row[1], row[2] or "") for row in self._rows(query.order_by(user).limit(limit))
        ]

    def count(self, shop: ShopDomain, *, at_most: int | None = None) -> int:
        living = and_(_mapping.c.shopify_customer_id.is_not(None), _mapping.c.status.not_in(TOMBSTONES))
        rows = select(literal(1)).select_from(_mapping).where(_mapping.c.shopify_shop == shop, living).limit(at_most)
        return int(self._rows(select(func.count()).select_from(rows.subquery()))[0][0])

    def tallies(self, shops: Collection[ShopDomain]) -> dict[ShopDomain, MappingCounts]:
        """Return the counts of each shop's mappings, in one pass over an index."""
        found = {shop: MappingCounts() for shop in shops}
        for part in parts(shops):
            for shop, status, reason, rows, customers in self._rows(_TALLY, {"shops": part}):
                tally = found[shop]
                tally.rows[status, reason] = rows
                tally.mapped += customers if status not in TOMBSTONES else 0
        return found

    def facts(self, shop: ShopDomain) -> StoreFacts | None:
        return self.facts_by_shop([shop]).get(shop)

    def facts_by_shop(self, shops: Collection[ShopDomain]) -> dict[ShopDomain, StoreFacts]:
        """Return the facts of those of these shops that have some."""
        rows = [facts_of(row) for part in parts(shops) for row in self._rows(_FACTS, {"shops": part})]
        return {facts.shop: facts for facts in rows}

    def events(
        self,
        *,
        user: ClerkUserId | None = None,
        shop: ShopDomain | None = None,
        since: datetime | None = None,
        plan_digest: str | None = None,
        run_id: int | None = None,
        consents: bool = False,
        limit: int = 1000,
    ) -> list[Event]:
        asked = {
            _event.c.clerk_user_id: user,
            _event.c.shopify_shop: shop,
            _event.c.plan_digest: plan_digest,
            _event.c.run_id: run_id,
        }
        wanted = [column == value for column, value in asked.items() if value is not None]
        if since is not None:
            wanted.append(_event.c.at >= since)
        if consents:
            wanted.append(names_consent(_event.c.changes))
        newest = select(_event).where(*wanted).order_by(_event.c.at.desc(), _event.c.id.desc()).limit(limit)
        return [event_of(row) for row in reversed(self._rows(newest))]

    def events_of(self, users: Collection[ClerkUserId], *, shop: ShopDomain, since: datetime) -> list[Event]:
        """All events of these users in this shop since then, oldest first."""
        rows = [
            row
            for part in parts(users)
            for row in self._rows(_EVENTS_OF, {"users": part, "shop": shop, "since": since})
        ]
        return [event_of(row) for row in sorted(rows, key=lambda row: (row.at, row.id))]

    def put(self, mapping: Mapping, *events: Event) -> tuple[ClerkUserId, ...]:
        return () if self._put_alone(mapping, events) else self._put([mapping], events)

    def put_many(self, mappings: Sequence[Mapping], *events: Event) -> tuple[ClerkUserId, ...]:
        return self._put(mappings, events) if mappings else ()

    def put_unchanged(
        self, decided: Sequence[tuple[Mapping | None, Mapping]], *events: Event
    ) -> tuple[ClerkUserId, ...]:
        before = {(row.shop, row.clerk_user_id): was for was, row in decided}
        return self._put([row for _, row in decided], events, before=before) if decided else ()

    def forget(self, shop: ShopDomain, user: ClerkUserId) -> None:
        with writing(self._engine) as connection:
            connection.execute(
                delete(_mapping).where(_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id == user)
            )

    def put_facts(self, facts: StoreFacts) -> None:
        with writing(self._engine) as connection:
            self._upsert(connection, _store, [facts_row(facts)])

    def _put_alone(self, mapping: Mapping, events: Sequence[Event]) -> bool:
        """Write the mapping in one statement, if it concerns no other row; return whether it was written."""
        if len(events) > 1 or mapping.status == "erased" or equal.may_be_equal(mapping):
            return False
        row, event = _row(mapping, {}), next(map(event_row, events), None)

        def work(connection: Connection) -> bool:
            return put_row(connection, row, event, claim=self._claim, unless=restores_erased)

        return self._transact(work, autocommitting(self._engine))

    def _before_write(self, connection: Connection) -> None:
        """Run first in the transaction of a mapping write. Nothing here; fenced.py checks its claim."""

    def _note_losers(self, users: Sequence[ClerkUserId]) -> None:
        """Run after a write with the users who lost a customer by it. Nothing here; fenced.py keeps them."""

    def _put(
        self,
        mappings: Sequence[Mapping],
        events: Sequence[Event],
        *,
        also: Callable[[Connection, Sequence[Mapping]], None] = lambda _connection, _kept: None,
        before: MappingOf[tuple[ShopDomain, ClerkUserId], Mapping | None] | None = None,
    ) -> tuple[ClerkUserId, ...]:
        _refuse_doubles(mappings)
        ordered = sorted(mappings, key=lambda m: (m.shop, m.clerk_user_id))

        def work(connection: Connection) -> tuple[ClerkUserId, ...]:
            # Another transaction may have just taken over the user's customer; a later one sees that in the next reconcile.
            self._before_write(connection)
            observed_fps = equal.lock_observed_fps(connection, ordered)
            present = {shop: _present_rows(connection, shop, wanted) for shop, wanted in _wanted(ordered).items()}
            erased = tombs(present)
            kept = without_erased(ordered, erased) if before is None else _lock_unchanged(connection, ordered, before)
            losers = _free_customers(connection, kept, present)
            there = self._write_kept(connection, kept, observed_fps, check=bool(events))
            for row in kept:
                if row.status == "erased" and (row.shop, row.clerk_user_id) not in erased:
                    from reconciler.state.erasure import erase_rows  # noqa: PLC0415  it declares most of the tables

                    erase_rows(connection, row.shop, [row.clerk_user_id], [row.customer_id] if row.customer_id else [])
            if kept_events := _events_of_kept(events, ordered, there):
                connection.execute(_ADD_EVENTS, [event_row(event) for event in kept_events])
            also(connection, kept)
            return losers

        losers = self._transact(work)
        self._note_losers(losers)
        return losers

    def _write_kept(
        self, connection: Connection, kept: list[Mapping], observed_fps: equal.ObservedFps, *, check: bool
    ) -> list[Mapping]:
        """Write these rows. `check`: return them without those of users who were erased since the rows were read."""
        rows = [_row(m, observed_fps) for m in kept]
        if len(rows) == 1:
            return kept if self._upsert_one(connection, _mapping, rows[0], unless=restores_erased) else []
        if rows:
            self._upsert(connection, _mapping, rows, unless=restores_erased)
        if not check:
            return kept
        present = {shop: _present_rows(connection, shop, wanted) for shop, wanted in _wanted(kept).items()}
        return without_erased(kept, tombs(present))


def _row(mapping: Mapping, observed_fps: equal.ObservedFps) -> dict[str, Any]:
    return mapping_row(mapping) | {"equal_fp": equal.equal_fp(mapping, observed_fps)}


def _refuse_doubles(mappings: Sequence[Mapping]) -> None:
    users = Counter((m.shop, m.clerk_user_id) for m in mappings)
    customers = Counter((m.shop, m.customer_id) for m in mappings if m.customer_id is not None)
    for (shop, name), count in (users + customers).items():
        if count > 1:
            raise StateError(f"{name} of {shop} appears in {count} rows of one write")


def _lock_rows(connection: Connection, mappings: Sequence[Mapping]) -> dict[tuple[ShopDomain, ClerkUserId], Mapping]:
    """Return the present rows of these users, locked in key order until the transaction ends."""
    found: dict[tuple[ShopDomain, ClerkUserId], Mapping] = {}
    for shop in sorted({m.shop for m in mappings}):
        for users in parts([m.clerk_user_id for m in mappings if m.shop == shop]):
            query = select(_mapping).where(_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id.in_(users))
            for row in connection.execute(query.order_by(_mapping.c.clerk_user_id).with_for_update()):
                found[shop, ClerkUserId(row.clerk_user_id)] = mapping_of(row)
    return found


def _lock_unchanged(
    connection: Connection,
    mappings: Sequence[Mapping],
    before: MappingOf[tuple[ShopDomain, ClerkUserId], Mapping | None],
) -> list[Mapping]:
    """Lock the rows of these mappings, and return those that have not changed since they were read."""
    now = _lock_rows(connection, mappings)
    return [m for m in mappings if now.get((m.shop, m.clerk_user_id)) == before[m.shop, m.clerk_user_id]]


def _wanted(mappings: Sequence[Mapping]) -> dict[ShopDomain, dict[ClerkUserId, CustomerId | None]]:
    """Return the customers of these rows by shop and user."""
    found: dict[ShopDomain, dict[ClerkUserId, CustomerId | None]] = {
        shop: {} for shop in sorted({m.shop for m in mappings})
    }
    for m in mappings:
        found[m.shop][m.clerk_user_id] = m.customer_id
    return found


def _events_of_kept(events: Sequence[Event], mappings: Sequence[Mapping], kept: Sequence[Mapping]) -> list[Event]:
    """Return the events without those of users without a written row."""
    dropped = {(m.shop, m.clerk_user_id) for m in mappings} - {(m.shop, m.clerk_user_id) for m in kept}
    return [event for event in events if (event.shop, event.clerk_user_id) not in dropped]


def _free_customers(
    connection: Connection, mappings: Sequence[Mapping], present: MappingOf[ShopDomain, PresentRows]
) -> tuple[ClerkUserId, ...]:
    """Remove the customers of the new rows from the rows that hold them; return the other users who lost one.

    A transaction that changes an owner waits for others that do in this shop. It then locks the rows in key order, as
    every write does, so that two processes never deadlock.
    """
    losers: set[ClerkUserId] = set()
    for shop, wanted in _wanted(mappings).items():
        held = _holders(present[shop])
        if all(customer is None or held.get(user) == customer for user, customer in wanted.items()):
            continue
        if connection.dialect.name == "postgresql":
            key = f"customer-parity {shop}"
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, OWNERS))))
            held = _holders(_present_rows(connection, shop, wanted, lock=True))
        named = set(wanted.values())
        moved = {user for user, customer in held.items() if customer in named and wanted.get(user) != customer}
        for users in parts(moved):
            _clear_customers(connection, shop, users)
        losers |= moved - wanted.keys()
    return tuple(sorted(losers))


def _present_rows(
    connection: Connection, shop: ShopDomain, wanted: MappingOf[ClerkUserId, CustomerId | None], *, lock: bool = False
) -> PresentRows:
    """Return the rows of these users, and of those who hold these customers, as they are now."""
    found: PresentRows = {}
    for users in parts(wanted):
        customers = [customer for user in users if (customer := wanted[ClerkUserId(user)]) is not None]
        values = {"shop": shop, "users": users, "customers": customers}
        rows = connection.execute(_LOCKED_PRESENT if lock else _PRESENT, values)
        found |= {user: (customer, status) for user, customer, status in rows}
    return found


def _holders(present: PresentRows) -> dict[ClerkUserId, CustomerId]:
    return {user: customer for user, (customer, _) in present.items() if customer is not None}


def _clear_customers(connection: Connection, shop: ShopDomain, users: Sequence[str]) -> None:
    """Clear the customer of these rows, and what was last applied to it: all but the consents, which are the user's."""
    these = and_(_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id.in_(users))
    tombstone = or_(*(_mapping.c.status == status for status in TOMBSTONES))
    query = select(_mapping.c.clerk_user_id, _mapping.c.applied).where(these, names_consent(_mapping.c.applied))
    kept = {
        user: {name: value for name, value in applied.items() if is_consent(name)}
        for user, applied in connection.execute(query)
    }
    connection.execute(
        update(_mapping)
        .where(these)
        .values(
            shopify_customer_id=None,
            email=None,
            email_key=None,
            applied={},
            profile_fp=None,
            config_fp=None,
            observed_fp=None,
            equal_fp=None,
            status=case((tombstone, _mapping.c.status), else_="pending"),
            generation=_mapping.c.generation + 1,
        )
    )
    for user, consents in kept.items():
        this = and_(_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id == user)
        connection.execute(update(_mapping).where(this).values(applied=consents))
