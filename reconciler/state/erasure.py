"""Erase the data of a person in a shop from every table, in one transaction, as privacy law requires.

A tombstone with the Clerk user id stays, so that no customer is created for the user again. A tombstone of each of
their customers stays in the mirror, so that older bulk results restore nothing. Rows of other users stay.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, bindparam, case, delete, false, func, or_, select, update

from reconciler.core.fields import normalise
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain
from reconciler.core.model.mapping import NO_PERSON, NO_WAITS
from reconciler.state.database.engine import writing
from reconciler.state.database.queries import Database, begins_with, parts
from reconciler.state.profile_writes import forget_users
from reconciler.state.tables.bulk import BulkLineRow
from reconciler.state.tables.mappings import EventRow, MappingRow
from reconciler.state.tables.mirror import MirrorRow
from reconciler.state.tables.scans import FindingRow

_mapping: Table = MappingRow.__table__
_event: Table = EventRow.__table__
_mirror: Table = MirrorRow.__table__
_line: Table = BulkLineRow.__table__
_finding: Table = FindingRow.__table__
_customer = _mapping.c.shopify_customer_id
_ERASED = select(_mapping.c.clerk_user_id, _customer).where(
    _mapping.c.shopify_shop == bindparam("shop"),
    _mapping.c.clerk_user_id.in_(bindparam("users", expanding=True)),
    _mapping.c.status == "erased",
)
REDACTED = "the data was redacted on request"
_NOTHING: dict[str, Any] = {
    "email": None,
    "email_key": None,
    **NO_PERSON,
    "search_key": None,
    **NO_WAITS,
    "intent": None,
    "applied": {},
    "refused": {},
    "wanted_digest": None,
    "wanted_row_at": None,
    "absent_since": None,
    "left_row_at": None,
    "profile_digest": "",  # a digest of so few values can be guessed
    "profile_fp": None,
    "observed_fp": None,
    "equal_fp": None,
    "accepted": None,
    "accepted_until": None,
}


@frozen
class Erased:
    """One erased user. `left`: their customer that still holds personal data in the shop, because we wrote it again."""

    user: ClerkUserId
    left: CustomerId | None = None


class Erasure(Database):
    """Executes customers/redact on the state."""

    def redact(
        self,
        shop: ShopDomain,
        customers: Collection[CustomerId],
        email: str | None,
        *,
        since: datetime | None,
        now: datetime,
    ) -> list[Erased]:
        """Erase what we keep of these customers and their users. The users become erased and get no customer again.

        A user is affected if they own one of the customers, have its address, or got another customer after it was deleted.
        `since`: when the shop redacted it; what we wrote to it later is personal data again.
        """
        key = normalise.email_key(email)
        with writing(self._engine) as connection:
            empty = set(customers) - _customers_written(connection, shop, customers, since)
            found = _lock_owners(connection, shop, customers, key)
            still = case((_customer.in_(sorted(empty)), None), else_=_customer)
            said: dict[str, Any] = {"status": "erased", "reason": "Erased", "message": REDACTED}
            said |= {"left_at": now, "last_seen_at": now, "reason_since": now}
            for users in parts(found):
                theirs = (_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id.in_(users))
                connection.execute(update(_mapping).where(*theirs).values(shopify_customer_id=still, **said))
            present = {customer for customer in found.values() if customer is not None}
            gone = {*customers, *present, *_mirrored_customers(connection, shop, list(found), key)}
            erase_rows(connection, shop, list(found), gone)
            forget_users(connection, list(found), key)
            if key is not None:
                _forget_claims(connection, shop, key)
            for part in parts(gone):
                for table in (_event, _line):  # also lines of other users about these customers
                    on_theirs = (table.c.shopify_shop == shop, table.c.shopify_customer_id.in_(part))
                    connection.execute(delete(table).where(*on_theirs))
                connection.execute(_mirror.insert(), [_tombstone(shop, customer, now) for customer in part])
        return [Erased(user, None if left in empty else left) for user, left in sorted(found.items())]


def _forget_claims(connection: Connection, shop: ShopDomain, key: str) -> None:
    """Clear by what other users of this email are found. They stay: a profile that still has it brings it back."""
    claims = begins_with(_mapping.c.search_key, f"{key}\n")
    connection.execute(
        update(_mapping).where(_mapping.c.shopify_shop == shop, claims).values(**NO_PERSON, search_key=None)
    )


def erase_rows(connection: Connection, shop: ShopDomain, users: Collection[str], customers: Collection[str]) -> None:
    """Delete what we keep of these users beside their tombstones, and the mirror rows of these customers."""
    for part in parts(users):
        theirs = (_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id.in_(part))
        connection.execute(update(_mapping).where(*theirs).values(_NOTHING))
        for table in (_event, _line, _finding):
            connection.execute(delete(table).where(table.c.shopify_shop == shop, table.c.clerk_user_id.in_(part)))
    for part in parts(customers):
        connection.execute(
            delete(_mirror).where(_mirror.c.shopify_shop == shop, _mirror.c.shopify_customer_id.in_(part))
        )


def erasures_of(connection: Connection, shop: ShopDomain, users: Collection[str]) -> dict[str, str | None]:
    """Return the erased ones of these users, with the customer that is still to be erased."""
    found: dict[str, str | None] = {}
    for part in parts(users):
        found |= {row[0]: row[1] for row in connection.execute(_ERASED, {"shop": shop, "users": part})}
    return found


def _customers_written(
    connection: Connection, shop: ShopDomain, customers: Collection[str], since: datetime | None
) -> set[CustomerId]:
    """Return the customers among these that we have written to since then."""
    if since is None:
        return set()
    query = select(_event.c.shopify_customer_id).where(
        _event.c.shopify_shop == shop, _event.c.shopify_customer_id.in_(sorted(customers)), _event.c.at > since
    )
    return {CustomerId(row[0]) for row in connection.execute(query)}


def _lock_owners(
    connection: Connection, shop: ShopDomain, customers: Collection[CustomerId], key: str | None
) -> dict[ClerkUserId, CustomerId | None]:
    """Return the users who own these customers, with each one's present customer; the rows stay locked."""
    named = sorted(customers)
    theirs: list[ColumnElement[bool]] = [_customer.in_(named)]
    if key is not None:
        theirs.append(_mapping.c.email_key == key)
    recreated = _recreated_users(connection, shop, named)
    query = select(_mapping.c.clerk_user_id, _customer).where(
        _mapping.c.shopify_shop == shop, or_(*theirs, _mapping.c.clerk_user_id.in_(sorted(recreated)))
    )
    rows = connection.execute(query.order_by(_mapping.c.clerk_user_id).with_for_update())
    return {ClerkUserId(user): CustomerId(customer) if customer else None for user, customer in rows}


def _recreated_users(connection: Connection, shop: ShopDomain, customers: Collection[str]) -> set[str]:
    """Return users who had one of these customers, and got a new one after it was deleted.

    The event's kind excludes users who have another customer because of a taken address or a merge.
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


def _mirrored_customers(connection: Connection, shop: ShopDomain, users: Collection[str], key: str | None) -> set[str]:
    """Return the user's customers in the mirror, by back-link or address."""
    theirs: list[ColumnElement[bool]] = [_mirror.c.backlink.in_(part) for part in parts(users)]
    if key is not None:
        theirs.append(_mirror.c.email_key == key)
    query = select(_mirror.c.shopify_customer_id).where(_mirror.c.shopify_shop == shop, or_(false(), *theirs))
    return {row[0] for row in connection.execute(query)}


def _tombstone(shop: ShopDomain, customer: str, now: datetime) -> dict[str, Any]:
    """Return a mirror row without personal data, marked as gone; what is observed from now on counts again."""
    seen = {"observed": "{}", "seen_at": now, "moved_at": now, "source": "webhook", "gone": True}
    return {"shopify_shop": shop, "shopify_customer_id": customer, **seen}
