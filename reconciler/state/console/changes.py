"""`ChangesTable`: the search for what was written, page by page, in time that does not grow with the number of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Engine, Select, Table, Text, and_, cast, false, func, or_, select

from reconciler.core.report.changes import ChangesAsked, ChangesFound, EventPlace
from reconciler.state.database.queries import Database
from reconciler.state.operations.runs import RunRow
from reconciler.state.tables.mappings import EventRow
from reconciler.state.tables.rows import event_of

_event: Table = EventRow.__table__
_run: Table = RunRow.__table__
READ_MAX: Final = 50_000  # events of a page that are compared with what no index knows: kind, field, actor
BY_QUEUE: Final = "run"  # the actor of what no run wrote


class ChangesTable(Database):
    """The search for events. An index serves the users, the store and the time; the rest is compared in a bounded range."""

    def __init__(self, engine: Engine, *, read_max: int = READ_MAX) -> None:
        super().__init__(engine)
        self._read_max = read_max

    def find_changes(self, asked: ChangesAsked, *, shops: Sequence[str], limit: int) -> ChangesFound:
        """Return the newest events that are sought in these shops."""
        served = _served(asked, shops)
        if not shops or asked.users == ():
            return ChangesFound(())
        edge = self._edge(served) if asked.is_filtered else None
        wanted = [*served, *_compared(asked)]
        if edge is not None:
            wanted.append(_from(edge))
        rows = self._rows(newest(select(_event).where(*wanted)).limit(limit + 1))
        events = tuple(event_of(row) for row in rows[:limit])
        if len(rows) > limit:
            return ChangesFound(events, EventPlace(rows[limit - 1].at, rows[limit - 1].id))
        return ChangesFound(events, edge, edge.at if edge is not None else None)

    def _edge(self, served: Sequence[ColumnElement[bool]]) -> EventPlace | None:
        """Return the last event that may be read; None where all may."""
        query = newest(select(_event.c.at, _event.c.id).where(*served)).offset(self._read_max - 1).limit(1)
        row = next(iter(self._rows(query)), None)
        return EventPlace(row.at, row.id) if row is not None else None


def newest(query: Select[tuple[object, ...]]) -> Select[tuple[object, ...]]:
    """Return the query with its events newest first, those of one time in the reverse order of writing."""
    return query.order_by(_event.c.at.desc(), _event.c.id.desc())


def _served(asked: ChangesAsked, shops: Sequence[str]) -> list[ColumnElement[bool]]:
    """Return the conditions that an index serves."""
    shop = _event.c.shopify_shop
    # Of several shops not by their index, which would sort all their events: nearly all are of these shops.
    found = [shop == shops[0] if len(shops) == 1 else func.coalesce(shop, "").in_(list(shops))]
    if asked.users is not None:
        found.append(_event.c.clerk_user_id.in_(asked.users))
    if asked.since is not None:
        found.append(_event.c.at >= asked.since)
    if asked.until is not None:
        found.append(_event.c.at < asked.until)
    if asked.before is not None:
        found.append(_before(asked.before))
    return found


def _compared(asked: ChangesAsked) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if asked.kind is not None:
        found.append(_event.c.kind == asked.kind)
    if asked.field is not None:  # quotes within a value are escaped, so only the name of a field reads like this
        named = f'"field": "{asked.field}"'
        found.append(cast(_event.c.changes, Text).contains(named, autoescape=True))
    if asked.actor is not None:
        number = func.coalesce(_event.c.run_id, 0)  # not by the index of runs: one run may have written any number
        theirs = number.in_(select(_run.c.id).where(_run.c.actor == asked.actor))
        found.append(or_(theirs, _event.c.run_id.is_(None) if asked.actor == BY_QUEUE else false()))
    return found


def _before(place: EventPlace) -> ColumnElement[bool]:
    """Return whether an event comes before this place. The first part is what an index serves."""
    at, number = _event.c.at, _event.c.id
    return and_(at <= place.at, or_(at < place.at, number < place.id))


def _from(place: EventPlace) -> ColumnElement[bool]:
    """Return whether an event is at this place or after it."""
    at, number = _event.c.at, _event.c.id
    return and_(at >= place.at, or_(at > place.at, number >= place.id))
