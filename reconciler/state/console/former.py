"""`FormerTable`: who had an email or a customer that they no longer have, by the events and the mirror."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Literal

from sqlalchemy import Engine, Table, Text, and_, cast, func, or_, select

from reconciler.core.fields import normalise
from reconciler.core.fields.people import Sought
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.report.answer import Former
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import EventRow, MappingRow
from reconciler.state.tables.mirror import MirrorRow

_event: Table = EventRow.__table__
_mapping: Table = MappingRow.__table__
_mirror: Table = MirrorRow.__table__
READ_MAX: Final = 200_000  # events that are compared: no index knows their values
ROWS_MAX: Final = 200
_STAYS: Final = and_(_mapping.c.status != "erased", func.coalesce(_mapping.c.reason, "") != "Erased")
_PRESENT: Final = (_mapping.c.shopify_customer_id.label("customer"), _mapping.c.email)


class FormerTable(Database):
    """The search for former values. An erased or forgotten user is not found: their mapping says so, or is gone."""

    def __init__(self, engine: Engine, *, read_max: int = READ_MAX) -> None:
        super().__init__(engine)
        self._read_max = read_max

    def find_former(self, sought: Sought, *, shops: Sequence[str]) -> list[Former]:
        """Return who had exactly this email or this customer in these shops, by user and store, each with its last time.

        Reads a bounded number of the newest events.
        """
        found: dict[tuple[ClerkUserId, StoreName], Former] = {}
        ways = (self._by_email(sought, shops), self._by_customer(sought, shops), self._by_mirror(sought, shops))
        for former in (each for way in ways for each in way):
            found.setdefault((former.clerk_user_id, former.store), former)
        return sorted(found.values(), key=attrgetter("clerk_user_id", "store"))

    def _by_email(self, sought: Sought, shops: Sequence[str]) -> Iterator[Former]:
        key = sought.email_key
        if key is None or "@" not in key:
            return
        text = func.lower(cast(_event.c.changes, Text))
        spelled = {json.dumps(key), json.dumps(key, ensure_ascii=False)}  # as SQLite and as Postgres store it
        for row in self._events(shops, or_(*(text.contains(each, autoescape=True) for each in sorted(spelled)))):
            values = {each for change in row.changes if change["field"] == "email" for each in _texts(change)}
            if key in map(normalise.email_key, values) and normalise.email_key(row.email) != key:
                yield _former(row, "email", sought.text, row.email, row.at)

    def _by_customer(self, sought: Sought, shops: Sequence[str]) -> Iterator[Former]:
        customer = sought.customer
        if customer is None:
            return
        named = cast(_event.c.changes, Text).contains(json.dumps(customer), autoescape=True)
        for row in self._events(shops, or_(_event.c.shopify_customer_id == customer, named)):
            yield _former(row, "customer", customer, row.customer, row.at)

    def _by_mirror(self, sought: Sought, shops: Sequence[str]) -> Iterator[Former]:
        if sought.customer is None:
            return
        owner = (_mapping.c.shopify_shop == _mirror.c.shopify_shop) & (_mapping.c.clerk_user_id == _mirror.c.backlink)
        query = (
            select(_mapping.c.clerk_user_id, _mapping.c.store, *_PRESENT)
            .join(_mapping, owner)
            .where(
                _mirror.c.shopify_shop.in_(list(shops)),
                _mirror.c.shopify_customer_id == sought.customer,
                _STAYS,
            )
        )
        for row in self._rows(query):
            yield _former(row, "customer", sought.customer, row.customer, None)

    def _events(self, shops: Sequence[str], named: Any) -> Sequence[Any]:
        """Return the newest of these events, newest first, each with what its user has now."""
        newest = select(func.coalesce(func.max(_event.c.id), 0) - self._read_max).scalar_subquery()
        owner = (_mapping.c.shopify_shop == _event.c.shopify_shop) & (
            _mapping.c.clerk_user_id == _event.c.clerk_user_id
        )
        query = (
            select(_event.c.clerk_user_id, _event.c.store, _event.c.at, _event.c.changes, *_PRESENT)
            .join(_mapping, owner)
            .where(
                _event.c.id > newest,
                _event.c.shopify_shop.in_(list(shops)),
                _STAYS,
                named,
            )
        )
        return self._rows(query.order_by(_event.c.id.desc()).limit(ROWS_MAX))


def _texts(change: dict[str, Any]) -> list[str]:
    return [value for value in (change["before"], change["after"]) if isinstance(value, str)]


def _former(row: Any, field: Literal["email", "customer"], value: str, now: str | None, at: datetime | None) -> Former:
    return Former(
        clerk_user_id=ClerkUserId(row.clerk_user_id),
        store=StoreName(row.store),
        field=field,
        value=value,
        now=now,
        last_written_at=at,
    )
