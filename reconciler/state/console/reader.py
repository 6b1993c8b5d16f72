"""`ConsoleTable`: the console's queries for people, their mappings and recent events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, func, or_, select

from reconciler.core.fields import normalise
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.mapping import Mapping, Status
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import EventRow, MappingRow
from reconciler.state.tables.rows import event_of, mapping_of

_mapping: Table = MappingRow.__table__
_event: Table = EventRow.__table__


class ConsoleTable(Database):
    """Queries of the console. Each is bounded and served by an index."""

    def find_people(
        self, text: str, *, shops: Sequence[str], status: Status | None, reason: str | None, limit: int
    ) -> list[Mapping]:
        """Return mappings of which the user id or email begins with `text` or the customer id equals it; all if empty."""
        query = select(_mapping).where(_mapping.c.shopify_shop.in_(list(shops)))
        words = text.strip()
        if words:
            key = normalise.email_key(words) or ""
            gid = words if words.startswith("gid://") else f"gid://shopify/Customer/{words}"
            query = query.where(
                or_(
                    _begins(_mapping.c.clerk_user_id, words),
                    _begins(_mapping.c.email_key, key),
                    _mapping.c.shopify_customer_id == gid,
                )
            )
        if status is not None:
            query = query.where(_mapping.c.status == status)
        if reason is not None:
            query = query.where(_mapping.c.reason == reason)
        ordered = query.order_by(_mapping.c.clerk_user_id, _mapping.c.shopify_shop).limit(limit)
        return [mapping_of(row) for row in self._rows(ordered)]

    def users_seen(self, text: str, *, limit: int) -> list[ClerkUserId]:
        """Return the users with an id that begins with `text`, the last seen first."""
        seen = func.max(_mapping.c.last_seen_at)
        query = select(_mapping.c.clerk_user_id).where(_begins(_mapping.c.clerk_user_id, text))
        query = query.group_by(_mapping.c.clerk_user_id).order_by(seen.desc(), _mapping.c.clerk_user_id)
        return [ClerkUserId(row[0]) for row in self._rows(query.limit(limit))]

    def person(self, user: ClerkUserId, *, shops: Sequence[str]) -> list[Mapping]:
        """Return the mappings of this user in these shops, ordered by store."""
        query = select(_mapping).where(_mapping.c.clerk_user_id == user, _mapping.c.shopify_shop.in_(list(shops)))
        return [mapping_of(row) for row in self._rows(query.order_by(_mapping.c.store))]

    def recent_events(self, *, user: ClerkUserId | None, shops: Sequence[str], limit: int) -> list[Event]:
        """Return events of these shops, newest first."""
        query = select(_event).where(_event.c.shopify_shop.in_(list(shops)))
        if user is not None:
            query = query.where(_event.c.clerk_user_id == user)
        return [event_of(r) for r in self._rows(query.order_by(_event.c.at.desc(), _event.c.id.desc()).limit(limit))]

    def run_events(self, run_id: int, *, limit: int) -> list[Event]:
        """Return the first events that a run wrote, in the order of writing."""
        query = select(_event).where(_event.c.run_id == run_id).order_by(_event.c.id).limit(limit)
        return [event_of(row) for row in self._rows(query)]


def _begins(column: Column[Any], words: str) -> ColumnElement[bool]:
    escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return column.like(escaped + "%", escape="\\")
