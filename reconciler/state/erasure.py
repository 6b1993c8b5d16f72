"""What the law asks for: what is held of a person in a shop goes, in every table, in one transaction.

A tombstone with her Clerk id stays, so that nobody makes her anew, and one of each of her customers in the mirror, so
that a bulk result that is older than this brings nothing back. Rows of other users stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, case, delete, false, func, or_, select, update

from reconciler.core.fields import normalise
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.core.model.mapping import NO_WAITS
from reconciler.state.database.engine import writing
from reconciler.state.database.queries import Database, parts
from reconciler.state.profile_writes import forget_users
from reconciler.state.tables.bulk import BulkLineRow
from reconciler.state.tables.mappings import EventRow, MappingRow
from reconciler.state.tables.mirror import MirrorRow
from reconciler.state.tables.sweeps import FindingRow

_mapping: Table = MappingRow.__table__  # type: ignore[attr-defined]  # SQLModel's own
_event: Table = EventRow.__table__  # type: ignore[attr-defined]  # SQLModel's own
_mirror: Table = MirrorRow.__table__  # type: ignore[attr-defined]  # SQLModel's own
_line: Table = BulkLineRow.__table__  # type: ignore[attr-defined]  # SQLModel's own
_finding: Table = FindingRow.__table__  # type: ignore[attr-defined]  # SQLModel's own
_customer = _mapping.c.shopify_customer_id
REDACTED = "her data was redacted on request"
_NOTHING: dict[str, Any] = {
    "email": None,
    "email_key": None,
    **NO_WAITS,
    "intent": None,
    "applied": {},
    "refused": {},
    "wanted_digest": None,
    "absent_since": None,
    "left_row_at": None,
    "profile_digest": "",  # digests of so little can be guessed
    "profile_fp": None,
    "observed_fp": None,
    "equal_fp": None,
}


@dataclass(frozen=True, slots=True)
class Erased:
    """One user whose data went. `left`: her customer that holds her data in the shop all the same, as we have healed it."""

    user: ClerkUserId
    left: CustomerId | None = None


class Erasure(Database):
    """customers/redact, carried out on the state."""

    def redact(
        self,
        shop: ShopDomain,
        customers: Collection[CustomerId],
        email: str | None,
        *,
        since: datetime | None,
        now: datetime,
    ) -> list[Erased]:
        """What is held of these customers goes, and of the users they are: those are erased and never made anew.

        Hers is the user whose customer it is, whose address it has, or for whom another was made since it went. `since`:
        when the shop redacted it; what we wrote on it later was her data again.
        """
        key = normalise.email_key(email)
        with writing(self._engine) as connection:
            empty = set(customers) - _written(connection, shop, customers, since)
            found = _whose(connection, shop, customers, key)
            still = case((_customer.in_(sorted(empty)), None), else_=_customer)
            said = {"status": "erased", "reason": "Erased", "message": REDACTED, "left_at": now, "last_seen_at": now}
            for users in parts(found):
                theirs = (_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id.in_(users))
                connection.execute(update(_mapping).where(*theirs).values(shopify_customer_id=still, **said))
            hers_now = {customer for customer in found.values() if customer is not None}
            gone = {*customers, *hers_now, *_mirrored(connection, shop, list(found), key)}
            withdraw(connection, shop, list(found), gone)
            forget_users(connection, list(found), key)
            for part in parts(gone):
                for table in (_event, _line):  # of others too: what they did with her customer
                    on_theirs = (table.c.shopify_shop == shop, table.c.shopify_customer_id.in_(part))
                    connection.execute(delete(table).where(*on_theirs))
                connection.execute(_mirror.insert(), [_gone(shop, customer, now) for customer in part])
        return [Erased(user, None if left in empty else left) for user, left in sorted(found.items())]


def withdraw(connection: Connection, shop: ShopDomain, users: Collection[str], customers: Collection[str]) -> None:
    """What is held of these users beside their tombstones, and the mirror of these customers: all of it by keys."""
    for part in parts(users):
        theirs = (_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id.in_(part))
        connection.execute(update(_mapping).where(*theirs).values(_NOTHING))
        for table in (_event, _line, _finding):
            connection.execute(delete(table).where(table.c.shopify_shop == shop, table.c.clerk_user_id.in_(part)))
    for part in parts(customers):
        connection.execute(
            delete(_mirror).where(_mirror.c.shopify_shop == shop, _mirror.c.shopify_customer_id.in_(part))
        )


def erased_of(connection: Connection, shop: ShopDomain, users: Collection[str]) -> dict[str, str | None]:
    """Which of these users are erased, with the customer that is still to go."""
    found: dict[str, str | None] = {}
    for part in parts(users):
        query = select(_mapping.c.clerk_user_id, _customer).where(
            _mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id.in_(part), _mapping.c.status == "erased"
        )
        found |= {row[0]: row[1] for row in connection.execute(query)}
    return found


def _written(
    connection: Connection, shop: ShopDomain, customers: Collection[str], since: datetime | None
) -> set[CustomerId]:
    """Which of these we have written on since then."""
    if since is None:
        return set()
    query = select(_event.c.shopify_customer_id).where(
        _event.c.shopify_shop == shop, _event.c.shopify_customer_id.in_(sorted(customers)), _event.c.at > since
    )
    return {CustomerId(row[0]) for row in connection.execute(query)}


def _whose(
    connection: Connection, shop: ShopDomain, customers: Collection[CustomerId], key: str | None
) -> dict[ClerkUserId, CustomerId | None]:
    """Whose they are, with the customer each has now; their rows stay locked."""
    named = sorted(customers)
    theirs: list[ColumnElement[bool]] = [_customer.in_(named)]
    if key is not None:
        theirs.append(_mapping.c.email_key == key)
    anew = _made_anew(connection, shop, named)
    query = select(_mapping.c.clerk_user_id, _customer).where(
        _mapping.c.shopify_shop == shop, or_(*theirs, _mapping.c.clerk_user_id.in_(sorted(anew)))
    )
    rows = connection.execute(query.order_by(_mapping.c.clerk_user_id).with_for_update())
    return {ClerkUserId(user): CustomerId(customer) if customer else None for user, customer in rows}


def _made_anew(connection: Connection, shop: ShopDomain, customers: Collection[str]) -> set[str]:
    """Users who had one of these, and whose present customer was created for them after it was gone.

    Whoever has another because her address was taken, or because of a merge, is told from these by the event's kind.
    """
    had = select(_event.c.clerk_user_id, func.min(_event.c.id)).where(
        _event.c.shopify_shop == shop, _event.c.shopify_customer_id.in_(customers)
    )
    linked = select(_mirror.c.backlink).where(
        _mirror.c.shopify_shop == shop, _mirror.c.shopify_customer_id.in_(customers), _mirror.c.backlink.is_not(None)
    )
    since = dict.fromkeys((row[0] for row in connection.execute(linked)), 0)
    since |= {row[0]: row[1] for row in connection.execute(had.group_by(_event.c.clerk_user_id))}
    made = (
        select(_mapping.c.clerk_user_id, _event.c.id)
        .join(_event, _event.c.clerk_user_id == _mapping.c.clerk_user_id)
        .where(
            _mapping.c.shopify_shop == shop,
            _mapping.c.clerk_user_id.in_(sorted(since)),
            _customer.not_in(customers),
            _event.c.shopify_shop == shop,
            _event.c.shopify_customer_id == _customer,
            _event.c.kind == "create",
        )
    )
    return {user for user, number in connection.execute(made) if number > since[user]}


def _mirrored(connection: Connection, shop: ShopDomain, users: Collection[str], key: str | None) -> set[str]:
    """Her customers as the mirror has them, by back-link or address."""
    theirs: list[ColumnElement[bool]] = [_mirror.c.backlink.in_(part) for part in parts(users)]
    if key is not None:
        theirs.append(_mirror.c.email_key == key)
    query = select(_mirror.c.shopify_customer_id).where(_mirror.c.shopify_shop == shop, or_(false(), *theirs))
    return {row[0] for row in connection.execute(query)}


def _gone(shop: ShopDomain, customer: str, now: datetime) -> dict[str, Any]:
    """Not there, and nothing of her; what is seen of this customer from now on counts again."""
    seen = {"observed": "{}", "seen_at": now, "moved_at": now, "source": "webhook", "gone": True}
    return {"shopify_shop": shop, "shopify_customer_id": customer, **seen}
