"""`RolloutTable`: rollouts, and the policy that each store has until its wave."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    case,
    delete,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union,
    update,
)
from sqlmodel import Field

from reconciler.core.model.act import Act
from reconciler.core.model.action import KINDS
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.json import adapter_of, json_of
from reconciler.core.model.request import Priority
from reconciler.core.model.rollout import (
    ATTEMPTS,
    FAILURES,
    NOT_BY_POLICY,
    SOON,
    WITHHELD,
    KeptPolicy,
    Rollout,
    RolloutState,
    WaveCounts,
)
from reconciler.ports.rollouts import SeenBy, WaveFacts
from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.queries import Database
from reconciler.state.operations.acts import insert_act
from reconciler.state.tables.mappings import EventRow, MappingRow, Row, json_column, time_column
from reconciler.state.tables.requests import RequestRow

KEPT = 50  # rollouts


class RolloutRow(Row, table=True):
    """One rollout. `version` grows with each transition, each of which names the one before it."""

    __tablename__ = "reconciler_rollout"
    id: int | None = Field(default=None, primary_key=True)
    version: int
    body: dict[str, Any] = Field(sa_column=json_column())
    __table_args__ = ({"schema": SCHEMA},)


class PolicyRow(Row, table=True):
    """The policy of one store. NULL: it was never synced; empty: its policy is not known."""

    __tablename__ = "reconciler_policy"
    shopify_shop: str = Field(primary_key=True)
    policy: dict[str, Any] | None = Field(default=None, sa_column=json_column(nullable=True))
    since: datetime = Field(sa_column=time_column(nullable=False))
    synced_at: datetime | None = Field(default=None, sa_column=time_column())
    __table_args__ = ({"schema": SCHEMA},)


_rollout: Table = RolloutRow.__table__
_policy: Table = PolicyRow.__table__
_mapping: Table = MappingRow.__table__
_event: Table = EventRow.__table__
_request: Table = RequestRow.__table__
_newest = select(_rollout).order_by(_rollout.c.id.desc()).limit(1)


class RolloutTable(Database):
    """`ports.rollouts.RolloutRepository` on SQLite or Postgres."""

    def rollout_state(self) -> RolloutState:
        found = [_rollout_of(row) for row in self._rows(_newest)]
        policies = {ShopDomain(row.shopify_shop): _policy_of(row) for row in self._rows(select(_policy))}
        return RolloutState(found[0] if found else None, policies)

    def put_rollout(
        self, after: Rollout, before: Rollout | None, policies: Sequence[KeptPolicy], act: Act | None = None
    ) -> bool:
        known = (before.id, before.version) if before is not None else None
        row = {"id": after.id, "version": after.version, "body": json_of(after, exclude={"id", "version"})}
        with writing(self._engine) as connection:
            newest = connection.execute(_newest.with_for_update()).first()
            if (None if newest is None else (newest.id, newest.version)) != known:
                return False
            if before is not None and before.id == after.id:
                connection.execute(update(_rollout).where(_rollout.c.id == after.id).values(row))
            elif not self._insert_new(connection, _rollout, row):
                return False
            connection.execute(delete(_rollout).where(_rollout.c.id <= after.id - KEPT))
            self._keep(connection, policies)
            if act is not None:
                insert_act(connection, act)
            return True

    def keep_policies(self, policies: Sequence[KeptPolicy]) -> None:
        with writing(self._engine) as connection:
            self._keep(connection, policies)

    def forget_policies(self, shops: Collection[ShopDomain]) -> None:
        with writing(self._engine) as connection:
            connection.execute(delete(_policy).where(_policy.c.shopify_shop.in_(list(shops))))

    def note_synced(self, shops: Collection[ShopDomain], at: datetime) -> None:
        with writing(self._engine) as connection:
            theirs = _policy.c.shopify_shop.in_(list(shops))
            connection.execute(update(_policy).where(theirs).values(synced_at=at))

    def seen_by(self, shop: ShopDomain, config_digests: Collection[str]) -> SeenBy:
        here = select(literal(1)).where(_mapping.c.shopify_shop == shop).limit(1)
        if self._rows(here.where(_mapping.c.config_digest.in_(list(config_digests)))):
            return "this policy"
        return "another policy" if self._rows(here) else "none"

    def wave_facts(
        self, store: StoreName, shop: ShopDomain, *, since: datetime, passed_at: datetime | None, now: datetime
    ) -> WaveFacts:
        rows = and_(_mapping.c.shopify_shop == shop, _mapping.c.reason.is_not(None))
        fresh = _mapping.c.reason_since >= since
        reason = _mapping.c.reason
        is_held = and_(_mapping.c.status == "held", reason.not_in([*FAILURES, *WITHHELD, *NOT_BY_POLICY]))
        events = and_(_event.c.shopify_shop == shop, _event.c.at >= since, _event.c.kind.in_(KINDS))
        stuck = and_(_request.c.attempts >= ATTEMPTS, _request.c.due_at > now + SOON)
        touched = union(
            select(_event.c.clerk_user_id).where(events),
            select(_mapping.c.clerk_user_id).where(rows, fresh, or_(reason.in_(FAILURES), is_held)),
            select(_request.c.clerk_user_id).where(_request.c.store == store, stuck),
        ).subquery()
        changed = select(func.count(_event.c.clerk_user_id.distinct())).where(events)
        failed = union(
            select(_mapping.c.clerk_user_id).where(rows, fresh, reason.in_(FAILURES)),
            select(_request.c.clerk_user_id).where(_request.c.store == store, stuck),
        ).subquery()
        held = select(func.count()).select_from(_mapping).where(rows, fresh, is_held)
        by_guard = case((reason == "GuardExceeded", _mapping.c.message), else_=null()).label("guard")
        withheld = select(reason, by_guard, func.count()).where(rows, reason.in_(WITHHELD), _mapping.c.status == "held")
        # The scan left what it found in the queue as it was.
        is_old = _request.c.due_at <= passed_at if passed_at is not None else false()
        is_due = and_(_request.c.attempts == 0, _request.c.due_at <= now)
        is_new = and_(is_due, or_(_request.c.priority == Priority.RESYNC, is_old))
        is_tried = and_(_request.c.attempts > 0, not_(stuck))
        untried = select(_sum(or_(is_new, is_tried))).where(_request.c.store == store)
        numbers = select(
            select(func.count()).select_from(touched).scalar_subquery(),
            changed.scalar_subquery(),
            select(func.count()).select_from(failed).scalar_subquery(),
            held.scalar_subquery(),
            untried.scalar_subquery(),
        )
        found = self._rows(numbers)[0]
        by_reason: Counter[str] = Counter()
        messages: Counter[str] = Counter()
        for name, message, count in self._rows(withheld.group_by(reason, "guard")):
            by_reason[name] += count
            messages[message or ""] += count if message else 0
        return WaveFacts(
            WaveCounts(touched=found[0], changed=found[1], failed=found[2], held=found[3]),
            withheld=dict(by_reason),
            guard=max(sorted(messages), key=messages.__getitem__, default=""),
            untried=found[4] or 0,
        )

    def _keep(self, connection: Connection, policies: Sequence[KeptPolicy]) -> None:
        rows = [
            {
                "shopify_shop": each.shop,
                "policy": dict(each.policy) if each.policy is not None else None,
                "since": each.since,
                "synced_at": each.synced_at,
            }
            for each in policies
        ]
        if rows:
            self._upsert(connection, _policy, rows)


def _sum(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _rollout_of(row: Any) -> Rollout:
    return adapter_of(Rollout).validate_python({**row.body, "id": row.id, "version": row.version})


def _policy_of(row: Any) -> KeptPolicy:
    return KeptPolicy(shop=ShopDomain(row.shopify_shop), policy=row.policy, since=row.since, synced_at=row.synced_at)
