"""`ConsoleTable`: the console's queries for people, their mappings and recent events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, func, or_, select

from reconciler.core.fields.people import Sought, without_accents
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping, Status
from reconciler.state.console.changes import ChangesTable
from reconciler.state.database.queries import begins_with
from reconciler.state.tables.mappings import EventRow, MappingRow
from reconciler.state.tables.rows import event_of, mapping_of

_mapping: Table = MappingRow.__table__
_event: Table = EventRow.__table__
SCANNED_MAX = 1_000_000  # rows of which a name or a phone is compared
FOUND_MAX = 1_000
ROWS_MAX = 50


class ConsoleTable(ChangesTable):
    """Queries of the console. Each is bounded and served by an index."""

    def find_people(
        self, sought: Sought | None, *, shops: Sequence[str], status: Status | None, reason: str | None, limit: int
    ) -> list[Mapping]:
        """Return mappings of the people who are sought, or of all, in the order of users."""
        wanted: list[ColumnElement[bool]] = [_mapping.c.shopify_shop.in_(list(shops))]
        if status is not None:
            wanted.append(_mapping.c.status == status)
        if reason is not None:
            wanted.append(_mapping.c.reason == reason)
        query = select(_mapping).where(*wanted)
        if sought is not None:
            users = sorted({user for part in self._users_sought(sought, wanted, limit) for user in part})[:limit]
            query = query.where(_mapping.c.clerk_user_id.in_(users))
        ordered = query.order_by(_mapping.c.clerk_user_id, _mapping.c.shopify_shop).limit(limit)
        return [mapping_of(row) for row in self._rows(ordered)]

    def search(self, sought: Sought, *, shops: Sequence[str]) -> list[Mapping]:
        """Return mappings of people by their phone or a part of their name, a bounded number of them."""
        wanted = [_mapping.c.shopify_shop.in_(list(shops))]
        users = sorted({user for part in self._users_by_parts(sought, wanted) for user in part})[:ROWS_MAX]
        query = select(_mapping).where(*wanted, _mapping.c.clerk_user_id.in_(users))
        return [mapping_of(row) for row in self._rows(query.order_by(_mapping.c.clerk_user_id))]

    def _users_sought(
        self, sought: Sought, wanted: Sequence[ColumnElement[bool]], limit: int
    ) -> Iterator[list[ClerkUserId]]:
        """Yield the users of each way to find them. Each is served by an index; `_users_by_part` is bounded."""
        ways = [begins_with(_mapping.c.clerk_user_id, sought.text)]
        if sought.email_key:
            keys = (_mapping.c.email_key, _mapping.c.search_key)  # that of the customer, and that of the profile
            ways += [begins_with(column, sought.email_key) for column in keys]
        if sought.customer is not None:
            ways.append(_mapping.c.shopify_customer_id == sought.customer)
        for way in ways:
            query = select(_mapping.c.clerk_user_id).where(*wanted, way).distinct()
            yield self._users(query.order_by(_mapping.c.clerk_user_id).limit(limit))
        yield from self._users_by_parts(sought, wanted)

    def _users_by_parts(self, sought: Sought, wanted: Sequence[ColumnElement[bool]]) -> Iterator[list[ClerkUserId]]:
        for phone in sorted(sought.phones):
            yield self._users_by_part([f"\n{phone}\n"], wanted)
        if sought.name_words:
            yield self._users_by_part(sought.name_words, wanted)

    def _users_by_part(self, parts: Sequence[str], wanted: Sequence[ColumnElement[bool]]) -> list[ClerkUserId]:
        """Return users with all these parts in their key. Reads a bounded part of the index on the key."""
        key, user = _mapping.c.search_key, _mapping.c.clerk_user_id
        read = select(user, key).where(*wanted, key.is_not(None)).limit(SCANNED_MAX).subquery()
        found = [
            or_(*(read.c.search_key.contains(word, autoescape=True) for word in _spellings(part))) for part in parts
        ]
        return self._users(select(read.c.clerk_user_id).where(*found).distinct().limit(FOUND_MAX))

    def _users(self, query: Select[Any]) -> list[ClerkUserId]:
        return [ClerkUserId(row[0]) for row in self._rows(query)]

    def users_seen(self, text: str, *, limit: int) -> list[ClerkUserId]:
        """Return the users with an id that begins with `text`, the last seen first."""
        seen = func.max(_mapping.c.last_seen_at)
        query = select(_mapping.c.clerk_user_id).where(begins_with(_mapping.c.clerk_user_id, text))
        query = query.group_by(_mapping.c.clerk_user_id).order_by(seen.desc(), _mapping.c.clerk_user_id)
        return [ClerkUserId(row[0]) for row in self._rows(query.limit(limit))]

    def person(self, user: ClerkUserId, *, shops: Sequence[str]) -> list[Mapping]:
        """Return the mappings of this user in these shops, ordered by store."""
        query = select(_mapping).where(_mapping.c.clerk_user_id == user, _mapping.c.shopify_shop.in_(list(shops)))
        return [mapping_of(row) for row in self._rows(query.order_by(_mapping.c.store))]

    def run_events(self, run_id: int, *, limit: int) -> list[Event]:
        """Return the first events that a run wrote, in the order of writing."""
        query = select(_event).where(_event.c.run_id == run_id).order_by(_event.c.at, _event.c.id).limit(limit)
        return [event_of(row) for row in self._rows(query)]


def _spellings(part: str) -> set[str]:
    """The part as it is sought, for keys of earlier versions, and without accents, as `search_key` writes it."""
    return {part, without_accents(part)}
