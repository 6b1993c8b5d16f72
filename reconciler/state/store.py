"""The state behind its port: one short transaction a call, durable when it returns.

Scans use Core rows instead of objects: a SQLModel object costs five times a row (measured 2026-11).
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping as MappingOf, Sequence
from datetime import datetime
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Connection, Engine, Table, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from reconciler.core import normalise
from reconciler.core.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.mapping import Mapping
from reconciler.errors import ConfigError
from reconciler.ports import Event, StoreFacts
from reconciler.state.engine import is_sqlite, translated
from reconciler.state.tables import AppliedPlanRow, EventRow, MappingRow, StoreRow, TokenRow

ASK = 500  # names in one IN list

_mapping: Table = MappingRow.__table__  # type: ignore[attr-defined]
_event: Table = EventRow.__table__  # type: ignore[attr-defined]
_store: Table = StoreRow.__table__  # type: ignore[attr-defined]
_plan: Table = AppliedPlanRow.__table__  # type: ignore[attr-defined]
_token: Table = TokenRow.__table__  # type: ignore[attr-defined]


class StateStore:
    """ports.State on SQLite or Postgres. Thread-safe: each call takes a connection of its own."""

    def __init__(self, engine: Engine, *, secret_key: str | None = None) -> None:
        self._engine = engine
        self._secret_key = secret_key

    def get(self, shop: ShopDomain, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Mapping]:
        found: dict[ClerkUserId, Mapping] = {}
        for part in _parts(users):
            query = select(_mapping).where(_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id.in_(part))
            for row in self._rows(query):
                mapping = _mapping_of(row)
                found[mapping.clerk_user_id] = mapping
        return found

    def owners(self, shop: ShopDomain, customers: Collection[CustomerId]) -> dict[CustomerId, ClerkUserId]:
        found: dict[CustomerId, ClerkUserId] = {}
        column = _mapping.c.shopify_customer_id
        for part in _parts(customers):
            query = select(column, _mapping.c.clerk_user_id).where(_mapping.c.shopify_shop == shop, column.in_(part))
            found |= {CustomerId(customer): ClerkUserId(user) for customer, user in self._rows(query)}
        return found

    def by_emails(self, shop: ShopDomain, emails: Collection[str]) -> dict[str, tuple[ClerkUserId, ...]]:
        found: defaultdict[str, list[ClerkUserId]] = defaultdict(list)
        for part in _parts(emails):
            query = select(_mapping.c.email_key, _mapping.c.clerk_user_id).where(
                _mapping.c.shopify_shop == shop,
                _mapping.c.email_key.in_(part),
                _mapping.c.shopify_customer_id.is_not(None),
            )
            for email, user in self._rows(query):
                found[email].append(ClerkUserId(user))
        return {email: tuple(sorted(users)) for email, users in found.items()}

    def scan(self, shop: ShopDomain, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Mapping]]:
        while True:
            query = select(_mapping).where(_mapping.c.shopify_shop == shop)
            if after is not None:
                query = query.where(_mapping.c.clerk_user_id > after)
            rows = [_mapping_of(row) for row in self._rows(query.order_by(_mapping.c.clerk_user_id).limit(chunk))]
            if rows:
                yield rows
            if len(rows) < chunk:
                return
            after = rows[-1].clerk_user_id

    def count(self, shop: ShopDomain) -> int:
        query = (
            select(func.count())
            .select_from(_mapping)
            .where(
                _mapping.c.shopify_shop == shop,
                _mapping.c.shopify_customer_id.is_not(None),
                _mapping.c.status.not_in(["released", "erased"]),
            )
        )
        return int(self._rows(query)[0][0])

    def tally(self, shop: ShopDomain) -> dict[tuple[str, str | None], int]:
        columns = (_mapping.c.status, _mapping.c.reason)
        query = select(*columns, func.count()).where(_mapping.c.shopify_shop == shop).group_by(*columns)
        return {(status, reason): count for status, reason, count in self._rows(query)}

    def facts(self, shop: ShopDomain) -> StoreFacts | None:
        rows = self._rows(select(_store).where(_store.c.shopify_shop == shop))
        return _facts_of(rows[0]) if rows else None

    def events(
        self,
        *,
        user: ClerkUserId | None = None,
        shop: ShopDomain | None = None,
        since: datetime | None = None,
        plan_digest: str | None = None,
        limit: int = 1000,
    ) -> list[Event]:
        query = select(_event).order_by(_event.c.at, _event.c.id).limit(limit)
        if user is not None:
            query = query.where(_event.c.clerk_user_id == user)
        if shop is not None:
            query = query.where(_event.c.shopify_shop == shop)
        if since is not None:
            query = query.where(_event.c.at >= since)
        if plan_digest is not None:
            query = query.where(_event.c.plan_digest == plan_digest)
        return [_event_of(row) for row in self._rows(query)]

    def put(self, mapping: Mapping, *events: Event) -> None:
        with translated(), self._engine.begin() as connection:
            self._upsert(connection, _mapping, [_mapping_row(mapping)])
            if events:
                connection.execute(_event.insert(), [_event_row(event) for event in events])

    def put_many(self, mappings: Sequence[Mapping]) -> None:
        if not mappings:
            return
        with translated(), self._engine.begin() as connection:
            self._upsert(connection, _mapping, [_mapping_row(mapping) for mapping in mappings])

    def forget(self, shop: ShopDomain, user: ClerkUserId) -> None:
        with translated(), self._engine.begin() as connection:
            connection.execute(
                delete(_mapping).where(_mapping.c.shopify_shop == shop, _mapping.c.clerk_user_id == user)
            )

    def put_facts(self, facts: StoreFacts) -> None:
        row = {
            "shopify_shop": facts.shop,
            "store": facts.store,
            "profiles": facts.profiles,
            "last_sweep_at": facts.last_sweep_at,
            "suspended_at": facts.suspended_at,
            "suspended_reason": facts.suspended_reason,
        }
        with translated(), self._engine.begin() as connection:
            self._upsert(connection, _store, [row])

    def mark_applied(self, digest: str, at: datetime) -> bool:
        """Remember that this sealed plan is being applied; False if it was before."""
        insert = sqlite.insert if is_sqlite(self._engine) else postgresql.insert
        statement = insert(_plan).values(digest=digest, applied_at=at).on_conflict_do_nothing()
        with translated(), self._engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    def load_tokens(self, shop: ShopDomain) -> str | None:
        """The shop's rotated token pair as it was stored, or None. ConfigError without the right key."""
        rows = self._rows(select(_token.c.sealed).where(_token.c.shopify_shop == shop))
        if not rows:
            return None
        try:
            return self._fernet().decrypt(rows[0][0].encode()).decode()
        except InvalidToken as error:
            raise ConfigError(
                f"the stored tokens of {shop} were sealed with another key", hint="set RECONCILER_SECRET_KEY as it was"
            ) from error

    def store_tokens(self, shop: ShopDomain, tokens: str, at: datetime) -> None:
        """Keep a rotated token pair, encrypted."""
        row = {"shopify_shop": shop, "sealed": self._fernet().encrypt(tokens.encode()).decode(), "stored_at": at}
        with translated(), self._engine.begin() as connection:
            self._upsert(connection, _token, [row])

    def _fernet(self) -> Fernet:
        if not self._secret_key:
            raise ConfigError(
                "rotating tokens must be kept, and there is no key to encrypt them", hint="set RECONCILER_SECRET_KEY"
            )
        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(self._secret_key.encode()).digest()))

    def _rows(self, query: Any) -> Sequence[Any]:
        with translated(), self._engine.connect() as connection:
            return connection.execute(query).all()

    def _upsert(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        insert = sqlite.insert if is_sqlite(self._engine) else postgresql.insert
        statement = insert(table)
        keys = [column.name for column in table.primary_key]
        values = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), rows)


def _parts(names: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(set(names))
    return (ordered[i : i + ASK] for i in range(0, len(ordered), ASK))


def _mapping_row(mapping: Mapping) -> dict[str, Any]:
    row = mapping.model_dump(mode="python", exclude={"shop", "customer_id", "applied", "refused"})
    row |= {
        "shopify_shop": mapping.shop,
        "shopify_customer_id": mapping.customer_id,
        "email_key": normalise.email_key(mapping.email),
        "applied": {field: value.model_dump() for field, value in mapping.applied.items()},
        "refused": {field: value.model_dump() for field, value in mapping.refused.items()},
    }
    return row


def _mapping_of(row: Any) -> Mapping:
    values: MappingOf[str, Any] = row._mapping  # noqa: SLF001  SQLAlchemy's documented name
    return Mapping(
        clerk_user_id=ClerkUserId(values["clerk_user_id"]),
        store=StoreName(values["store"]),
        shop=ShopDomain(values["shopify_shop"]),
        customer_id=values["shopify_customer_id"],
        **{
            name: values[name]
            for name in (
                "email", "status", "reason", "message", "first_seen_at", "last_seen_at", "left_at", "generation",
                "applied", "refused", "profile_digest", "config_digest",
            )
        },
    )  # fmt: skip


def _event_row(event: Event) -> dict[str, Any]:
    return {
        "at": event.at,
        "store": event.store,
        "shopify_shop": event.shop,
        "clerk_user_id": event.clerk_user_id,
        "shopify_customer_id": event.customer_id,
        "kind": event.kind,
        "changes": [dict(change) for change in event.changes],
        "plan_digest": event.plan_digest,
        "message": event.message,
    }


def _event_of(row: Any) -> Event:
    return Event(
        at=row.at,
        store=StoreName(row.store),
        shop=ShopDomain(row.shopify_shop),
        clerk_user_id=ClerkUserId(row.clerk_user_id),
        customer_id=CustomerId(row.shopify_customer_id) if row.shopify_customer_id else None,
        kind=row.kind,
        changes=tuple(row.changes),
        plan_digest=row.plan_digest,
        message=row.message,
    )


def _facts_of(row: Any) -> StoreFacts:
    return StoreFacts(
        store=StoreName(row.store),
        shop=ShopDomain(row.shopify_shop),
        profiles=row.profiles,
        last_sweep_at=row.last_sweep_at,
        suspended_at=row.suspended_at,
        suspended_reason=row.suspended_reason,
    )
