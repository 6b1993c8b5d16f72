"""The queue of requests: one row a request, with the guarantees of a Kubernetes workqueue.

A request is in the queue once, and two workers never reconcile it at the same time, even in several processes. A nudge
during a reconcile causes one more reconcile. A nudge ends a backoff. Postgres serves many processes, SQLite one.

A lease says who reconciles a request; its fencing token says which claim that is. A holder that was frozen beyond its
lease loses it when another claims the request: `fence` refuses its late writes inside their own transaction. `now` is
an argument. Replicas that share a database take it from `database.clock`, so that leases have the same length for all.
If clocks differ all the same, a lease may end early and a reconcile run twice, but the writes of the first are fenced.
Rows move through Core statements: a claim of a hundred requests is one round trip.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Mapping as MappingOf
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine

from reconciler.core.model.backoff import delay_s, fraction_of
from reconciler.core.model.batches import batches
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.request import (
    HEAD_START_S,
    Claim,
    Outcome,
    Priority,
    Request,
    Waiting,
    rank_at,
    resync_rank_at,
)
from reconciler.errors import LeaseLost
from reconciler.state.database.engine import autocommitting, is_sqlite, reading, repeatable, writing
from reconciler.state.database.holder import is_gone, new_holder
from reconciler.state.database.queries import read_rows
from reconciler.state.requests.statements import statements

CHUNK = 500  # requests added in one transaction, so that a nudge waits about 10 ms at most behind a resync
_NEVER = timedelta(days=36_500)
LEASE_MAX = timedelta(hours=1)  # longer than any lease that a holder sets


def new_owner() -> str:
    """Return a unique identity for this process."""
    return new_holder()


def fence(connection: Connection, claim: Claim) -> None:
    """Raise LeaseLost unless the claim still holds. Call it first inside the transaction of a write.

    No process can take the request over until that transaction ends: the write comes before a takeover or not at all.
    """
    sql = statements(sqlite=connection.dialect.name == "sqlite")
    if connection.execute(sql.hold, _mine(claim)).first() is None:
        raise LeaseLost(
            f"another replica has taken over {claim.clerk_user_id} in {claim.store}; this late write is dropped"
        )


def check_claim(engine: Engine, claim: Claim, shop: ShopDomain) -> None:
    """Raise LeaseLost unless the claim holds now, or if its user was erased in this shop."""
    user, query = claim.clerk_user_id, statements(sqlite=is_sqlite(engine)).mine
    found = read_rows(engine, query, _mine(claim) | {"shop": shop})
    if not found:
        raise LeaseLost(f"another replica has taken over {user} in {claim.store}")
    if found[0].status == "erased":
        raise LeaseLost(f"{user} was erased in {claim.store} during the reconcile")


class RequestTable:
    """`ports.RequestQueue` on SQLite or Postgres. Thread-safe; each call is durable when it returns.

    On SQLite a machine that loses its power may forget claims and what was done: those requests are reconciled again.
    """

    def __init__(self, engine: Engine) -> None:
        self._sqlite = is_sqlite(engine)
        self._sql = statements(sqlite=self._sqlite)
        self._engine = autocommitting(engine)  # each call is one statement, or several independent ones
        self._repeatable = repeatable(self._engine)
        self._claiming = Lock()  # two threads of one owner would each count the other's capacity

    def add(
        self,
        requests: Iterable[Request],
        now: datetime,
        *,
        priority: Priority = Priority.NUDGE,
        reason: str,
        due_at: datetime | None = None,
        wants_updated_at: datetime | None = None,
        explicit: bool = False,
    ) -> int:
        due = due_at or now
        ranked = ((request, rank_at(priority, due)) for request in requests)
        values = {
            "due_at": due,
            "delayed_at": due if due > now else None,
            "priority": int(priority),
            "explicit": int(explicit),
            "wants": wants_updated_at,
            "reason": reason,
        }
        return sum(self._add(part, now, values) for part in batches(ranked, CHUNK))

    def add_all(
        self,
        store: StoreName,
        users: Iterable[ClerkUserId],
        now: datetime,
        *,
        interval_s: float,
        reason: str = "resync",
    ) -> int:
        named = (Request(store, user) for user in users)
        ranked = ((request, resync_rank_at(request, now, interval_s)) for request in named)
        values = {
            "due_at": now,
            "delayed_at": None,
            "priority": int(Priority.RESYNC),
            "explicit": 0,
            "wants": None,
            "reason": reason,
        }
        return sum(self._add(part, now, values) for part in batches(ranked, CHUNK))

    def claim(
        self, owner: str, now: datetime, *, limit: int, lease_s: float, stores: MappingOf[StoreName, int]
    ) -> list[Claim]:
        if limit < 1 or not stores:
            return []
        values = {
            "owner": owner,
            "now": now,
            "until": now + timedelta(seconds=lease_s),
            "lease_max": now + LEASE_MAX,
            "limit": limit,
            "ask": 2 * limit,  # skip rows that another replica is claiming now
            "stores": json.dumps(sorted(stores.items())),
            "nudge_horizon": now,
            "retry_horizon": now + timedelta(seconds=HEAD_START_S[Priority.RETRY]),
            "resync_horizon": now + _NEVER,
        }
        with self._claiming:
            rows = self._claim_in_steps(values) if self._sqlite else self._claim_in_one_statement(values)
        return [_claim_of(row, owner) for row in rows]

    def _claim_in_one_statement(self, values: MappingOf[str, Any]) -> Sequence[Any]:
        with writing(self._engine) as connection:
            rows = connection.execute(self._sql.take, values).all()
        return sorted(rows, key=lambda row: (row.turn, row.store, row.clerk_user_id))

    def _claim_in_steps(self, values: MappingOf[str, Any]) -> Sequence[Any]:
        """On SQLite, read first, so that an idle queue writes nothing and blocks no writer."""
        with reading(self._engine) as connection:
            picked = [tuple(row) for row in connection.execute(self._sql.picked, values)]
        if not picked:
            return []
        with writing(self._repeatable) as connection:
            number = connection.execute(self._sql.next_number).scalar()
            if number is None:
                number = connection.execute(self._sql.first_number).scalar_one()
            keys = {"fencing": number, "picked": json.dumps(picked)}
            rows = connection.execute(self._sql.take, {**values, **keys}).all()
        place = {key: n for n, key in enumerate(picked)}
        return sorted(rows, key=lambda row: place[row.store, row.clerk_user_id])

    def done(self, claims: Collection[Claim], now: datetime) -> tuple[Outcome, ...]:
        found: dict[tuple[str, str, int], Outcome] = {}
        if claims:
            values = {"claims": _claims_json(claims)}
            with writing(self._repeatable) as connection:
                gone = connection.execute(self._sql.gone, values).all()
                found |= {tuple(row): "done" for row in gone}
                if len(gone) < len(claims):  # a second statement: a nudge may have come since the first began
                    again = connection.execute(self._sql.again, values | {"now": now}).all()
                    found |= {tuple(row): "again" for row in again}
        return tuple(found.get(_name_of(claim), "lost") for claim in claims)

    def retry(self, claim: Claim, now: datetime, *, delay_s: float, reason: str) -> bool:
        return self._put_off(claim, now + timedelta(seconds=delay_s), reason, failed=True)

    def postpone(self, claim: Claim, due_at: datetime, *, reason: str) -> bool:
        return self._put_off(claim, due_at, reason, failed=False)

    def release(self, claims: Collection[Claim]) -> None:
        self._execute(self._sql.hand_back, {"claims": _claims_json(claims)})

    def take_back(self, now: datetime, *, alone: bool = False) -> int:
        """Release all requests held by processes that have provably ended; return how many.

        `alone`: no other process uses the state. Each counts as a failed reconcile, as when a lease expires: immediately the
        first time, then with growing delays. So a request that kills its process does not do so at full speed.
        """
        gone = {owner: alone or is_gone(owner) for (owner,) in self._rows(self._sql.owners, {})}
        rows = (
            [row for row in self._rows(self._sql.in_progress, {}) if gone.get(row.owner)] if any(gone.values()) else []
        )
        for row in rows:
            pause_s = delay_s(row.attempts, fraction_of(row.store, row.clerk_user_id)) if row.attempts else 0.0
            due_at = now + timedelta(seconds=pause_s)
            values = {
                "due_at": due_at,
                "rank_at": rank_at(Priority.RETRY, due_at),
                "reason": row.reason,
                "failed": True,
            }
            mine = {"user": row.clerk_user_id, "store": row.store, "fencing": row.fencing}
            self._execute(self._sql.put_off, mine | values)
        return len(rows)

    def renew(self, claims: Collection[Claim], now: datetime, *, lease_s: float) -> tuple[Claim, ...]:
        values = {"claims": _claims_json(claims), "until": now + timedelta(seconds=lease_s)}
        with writing(self._engine) as connection:
            kept = {tuple(row) for row in connection.execute(self._sql.renew, values)}
        return tuple(claim for claim in claims if _name_of(claim) not in kept)

    def depth(self, store: StoreName | None = None) -> int:
        if store is None:
            return int(self._rows(self._sql.depth, {})[0][0])
        return int(self._rows(self._sql.depth_of, {"store": store})[0][0])

    def oldest_ages_s(self, now: datetime, stores: Collection[StoreName]) -> dict[StoreName, float]:
        ages_s = dict.fromkeys(stores, 0.0)
        for store, due_at in self._rows(self._sql.oldest, {"names": json.dumps(sorted(stores))}):
            if due_at is not None:
                ages_s[store] = max(ages_s[store], (now - due_at).total_seconds())
        return ages_s

    def tally(self, now: datetime) -> dict[StoreName, Waiting]:
        return {
            StoreName(row.store): Waiting(
                ready=row.total - row.in_flight - row.delayed,
                delayed=row.delayed,
                in_flight=row.in_flight,
                failing=row.failing,
            )
            for row in self._rows(self._sql.tally, {"now": now})
        }

    def forget(self, store: StoreName) -> int:
        return self._execute(self._sql.forget, {"store": store})

    def _add(self, part: Sequence[tuple[Request, datetime]], now: datetime, values: MappingOf[str, Any]) -> int:
        unique = {request.clerk_user_id + "\0" + request.store: (request, rank) for request, rank in part}
        rows = [[*request, self._sql.stamp(rank)] for _, (request, rank) in sorted(unique.items())]
        return self._execute(self._sql.add, {**values, "now": now, "requests": json.dumps(rows)})

    def _put_off(self, claim: Claim, due_at: datetime, reason: str, *, failed: bool) -> bool:
        rank = rank_at(Priority.RETRY, due_at)
        values = {"due_at": due_at, "rank_at": rank, "reason": reason, "failed": failed}
        return self._execute(self._sql.put_off, _mine(claim) | values) == 1

    def _execute(self, statement: Any, values: MappingOf[str, Any]) -> int:
        with writing(self._engine) as connection:
            return int(connection.execute(statement, values).rowcount)

    def _rows(self, query: Any, values: MappingOf[str, Any]) -> Sequence[Any]:
        return read_rows(self._engine, query, values)


def _mine(claim: Claim) -> dict[str, Any]:
    return {"user": claim.clerk_user_id, "store": claim.store, "fencing": claim.fencing}


def _claims_json(claims: Collection[Claim]) -> str:
    ordered = sorted(claims, key=lambda claim: (claim.clerk_user_id, claim.store))
    return json.dumps([[claim.store, claim.clerk_user_id, claim.fencing, claim.generation] for claim in ordered])


def _name_of(claim: Claim) -> tuple[str, str, int]:
    return claim.store, claim.clerk_user_id, claim.fencing


def _request_of(row: Any) -> Request:
    return Request(StoreName(row[0]), ClerkUserId(row[1]))


def _claim_of(row: Any, owner: str) -> Claim:
    return Claim(
        request=_request_of(row),
        owner=owner,
        fencing=row.fencing,
        priority=Priority(row.priority),
        generation=row.generation,
        attempts=row.attempts,
        reason=row.reason,
        due_at=row.due_at,
        wants_updated_at=row.wants_updated_at,
        explicit=row.explicit,
    )
