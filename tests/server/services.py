"""A service for tests: keeps in memory what was recorded through it, and shows what it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from pydantic import JsonValue

from reconciler.clerk.webhook import ClerkEvent, ClerkWebhooks
from reconciler.core.model.act import Act, ActKind, Actor
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping, Status
from reconciler.core.model.rollout import PolicyDifference, RolloutSettings, WaveCounts
from reconciler.core.model.run import Run, RunKind
from reconciler.core.plan.plan import StorePlan, build_plan
from reconciler.core.plan.waves import WaveStore, begin
from reconciler.core.report.answer import Candidate, Former
from reconciler.core.report.changes import ChangesAsked, ChangesFound, EventPlace
from reconciler.core.report.documents import Document, plan_document
from reconciler.core.report.explain import Explained, ExplainedStore
from reconciler.core.report.parity import ParitySample
from reconciler.core.report.pending import Pending
from reconciler.core.report.rollout import RolloutReport, rollout_report
from reconciler.core.report.status import Replica, StatusRow
from reconciler.errors import PlanRefused, ReconcilerError, SourceError, UsageError
from reconciler.server.app import Options, make_app
from reconciler.server.recent_webhooks import SeenWebhooks
from reconciler.server.run import ServerThread
from reconciler.server.service import Approved
from reconciler.server.tokens import AccessToken, AccessTokens, Role
from reconciler.server.webhooks import Sources
from reconciler.shopify.webhooks import ShopifyEvent, ShopifyWebhooks
from tests.clerk.sender import INSTANCE, OLD_SECRET, SECRET

US, EU, MUTE = StoreName("acme-us"), StoreName("acme-eu"), StoreName("mute")
SHOP_US, SHOP_EU = ShopDomain("acme-us.myshopify.com"), ShopDomain("acme-eu.myshopify.com")
APP_SECRET, OLD_APP_SECRET = "app-secret-of-acme", "app-secret-of-last-year"
TOKEN, VIEWER, NUDGE = "a-token-for-the-console", "a-token-that-reads", "a-token-that-nudges"
SHOWN = "sha256:" + "a" * 64  # the digest of the plan that is pending
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Noon:
    """A clock that can be moved on."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at

    def reset(self) -> None:
        self.at = NOON

    def moved(self, **by: float) -> None:
        self.at += timedelta(**by)


def wall_clock() -> datetime:
    """The real time: the library that checks Svix's signatures reads no other."""
    return datetime.now(UTC)  # noqa: TID251  see above


@dataclass(frozen=True)
class Nudged:
    user: str
    reason: str
    stores: tuple[str, ...] | None


@dataclass
class MemoryService:
    """server.service.Service in memory. `fails` is raised by each method that would write. `rows_max`: of each plan."""

    rows_max: int = 9

    clerk_events: list[ClerkEvent] = field(default_factory=list)
    nudges: list[Nudged] = field(default_factory=list)
    customers: list[tuple[str, str, str]] = field(default_factory=list)
    shop_events: list[tuple[str, ShopifyEvent]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    rows: list[StatusRow] = field(default_factory=list)
    mappings: list[Mapping] = field(default_factory=list)
    unmapped: list[Candidate] = field(default_factory=list)
    former: list[Former] = field(default_factory=list)
    unread: SourceError | None = None
    events: list[Event] = field(default_factory=list)
    all_runs: list[Run] = field(default_factory=list)
    all_acts: list[Act] = field(default_factory=list)
    samples: list[ParitySample] = field(default_factory=list)
    pending: Pending | None = None
    explained: dict[str, Explained] = field(default_factory=dict)
    plans: dict[str, StorePlan] = field(default_factory=dict)
    waves: RolloutReport | None = None
    problem: str | None = None
    ended: dict[str, datetime] = field(default_factory=dict)
    fails: ReconcilerError | None = None
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    seen: SeenWebhooks = field(default_factory=SeenWebhooks)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def untouched(self) -> bool:
        return not (self.clerk_events or self.nudges or self.customers or self.shop_events)

    def empty(self) -> None:
        """As new, but for the counters."""
        for kept in (self.clerk_events, self.nudges, self.customers, self.shop_events, self.reasons):
            kept.clear()
        self.pending = None
        for known in (self.explained, self.plans):
            known.clear()
        for shown in (self.rows, self.mappings, self.events, self.all_runs, self.all_acts, self.samples):
            shown.clear()
        self.unmapped.clear()
        self.former.clear()
        self.unread = None
        self.fails = self.problem = self.waves = None
        self.seen = SeenWebhooks()

    def _write(self, write: Callable[[], None]) -> None:
        if self.fails is not None:
            raise self.fails
        with self.lock:
            write()

    def accept_clerk_event(self, event: ClerkEvent) -> None:
        self._write(lambda: self.clerk_events.append(event))

    def nudge_user(
        self,
        user: ClerkUserId,
        *,
        reason: str,
        wants_updated_at: datetime | None = None,
        stores: Collection[StoreName] | None = None,
    ) -> None:
        self._write(lambda: self.nudges.append(Nudged(user, reason, tuple(stores) if stores is not None else None)))

    def nudge_customer(self, store: StoreName, customer: CustomerId, *, reason: str) -> None:
        self._write(lambda: self.customers.append((store, customer, reason)))

    def accept_shopify_event(self, store: StoreName, event: ShopifyEvent) -> None:
        self._write(lambda: self.shop_events.append((store, event)))

    def config_problem(self) -> str | None:
        return self.problem

    def end_session(self, session: str, *, until: datetime) -> None:
        self._write(lambda: self.ended.update({session: until}))

    def is_session_ended(self, session: str) -> bool:
        return session in self.ended

    def is_webhook_done(self, webhook_id: str) -> bool:
        return self.seen.seen(webhook_id)

    def note_webhook_done(self, webhook_id: str) -> None:
        self.seen.add(webhook_id)

    def readiness(self) -> Sequence[str]:
        if self.fails is not None:
            raise self.fails
        return self.reasons

    def metrics(self) -> CollectorRegistry:
        return self.registry

    def status_rows(self, store: StoreName | None = None) -> Sequence[StatusRow]:
        if self.fails is not None:
            raise self.fails
        return [row for row in self.rows if store in {None, row.store}]

    def find_people(
        self, text: str, *, store: StoreName | None, status: Status | None, reason: str | None, limit: int
    ) -> Sequence[Mapping]:
        return [
            row
            for row in sorted(self.mappings, key=lambda row: row.clerk_user_id)
            if (row.clerk_user_id.startswith(text) or (row.email or "").startswith(text))
            and store in {None, row.store}
            and status in {None, row.status}
            and reason in {None, row.reason}
        ][:limit]

    def find_unmapped(self, text: str, *, limit: int) -> Sequence[Candidate]:
        if self.unread is not None:
            raise self.unread
        return [one for one in self.unmapped if text in (one.name or "")][:limit]

    def find_former(self, text: str) -> Sequence[Former]:
        return [one for one in self.former if one.value == text]

    def person(self, user: ClerkUserId) -> Sequence[Mapping]:
        return [row for row in self.mappings if row.clerk_user_id == user]

    def recent_events(
        self, *, user: ClerkUserId | None = None, store: StoreName | None = None, limit: int
    ) -> Sequence[Event]:
        fitting = [e for e in self.events if user in {None, e.clerk_user_id} and store in {None, e.store}]
        return sorted(fitting, key=lambda e: e.at, reverse=True)[:limit]

    def changes(self, asked: ChangesAsked, *, limit: int) -> ChangesFound:
        found = [
            EventPlace(event.at, number)
            for number, event in enumerate(self.events)
            if (asked.users is None or event.clerk_user_id in asked.users)
            and asked.store in {None, event.store}
            and asked.kind in {None, event.kind}
            and (asked.field is None or asked.field in {change.field for change in event.changes})
            and (asked.since is None or event.at >= asked.since)
            and (asked.until is None or event.at < asked.until)
            and (asked.before is None or EventPlace(event.at, number) < asked.before)
        ]
        found.sort(reverse=True)
        before = found[limit - 1] if len(found) > limit else None
        return ChangesFound(tuple(self.events[place.id] for place in found[:limit]), before)

    def find_acts(self, asked: ChangesAsked, *, limit: int) -> Sequence[Act]:
        user = asked.users[0] if asked.users else None
        return [
            act for act in self.acts(user=user, store=asked.store, limit=limit) if asked.actor in {None, act.actor.name}
        ]

    def replicas(self) -> Sequence[Replica]:
        return [Replica(owner="one", config_digest="d", since=NOON, seen_at=NOON)]

    def explain(self, user: ClerkUserId) -> Explained | Pending:
        self._write(lambda: None)
        if user in self.explained:
            return self.pending or self.explained[user]
        rows = self.person(user)
        parts = [ExplainedStore(store=row.store, shop=row.shop, status=row.status, reason=row.reason) for row in rows]
        return self.pending or Explained(clerk_user_id=user, stores=tuple(parts))

    def plan(self, store: StoreName) -> Document | Pending:
        return self.pending or plan_document(
            build_plan([self.plans.get(store, StorePlan(store=store, shop=SHOP_US))], created_at=NOON),
            rows_max=self.rows_max,
        )

    def revert(self, number: int) -> Document | Pending:
        plans = [replace(plan, store=StoreName(store)) for store, plan in self.plans.items()]
        return self.pending or plan_document(build_plan(plans, created_at=NOON), rows_max=9)

    def undo(self, number: int, digest: str, actor: Actor) -> Run | Pending:
        if digest != SHOWN:
            raise PlanRefused(f"the approved digest is {digest}, but the plan is now {SHOWN}", hint="review it")
        self._act(actor, "undo")
        return self.pending or self.all_runs[0]

    def runs(
        self,
        *,
        store: StoreName | None = None,
        kinds: Collection[RunKind] = (),
        before: int | None = None,
        limit: int,
    ) -> Sequence[Run]:
        newest = sorted(self.all_runs, key=lambda run: -run.id)
        return [
            run
            for run in newest
            if (store is None or store in run.stores)
            and (not kinds or run.kind in kinds)
            and (before is None or run.id < before)
        ][:limit]

    def find_run(self, number: int) -> Run | None:
        return next((run for run in self.all_runs if run.id == number), None)

    def run_events(self, number: int, *, limit: int) -> Sequence[Event]:
        return [event for event in self.events if event.run_id == number][:limit]

    def acts(self, *, user: ClerkUserId | None = None, store: StoreName | None = None, limit: int) -> Sequence[Act]:
        return [act for act in self.all_acts if user in {None, act.user} and store in {None, act.store}][:limit]

    def parity_lines(self, stores: Collection[StoreName], *, since: datetime) -> Sequence[ParitySample]:
        shops = {SHOP_US if store == US else SHOP_EU for store in stores}
        return [one for one in self.samples if one.shop in shops and one.at >= since]

    def _act(
        self, actor: Actor, kind: ActKind, store: StoreName | None = None, user: ClerkUserId | None = None
    ) -> None:
        self._write(lambda: self.all_acts.append(Act(NOON, actor, kind, store, user)))

    def pause(self, store: StoreName, actor: Actor) -> bool:
        self._act(actor, "pause", store)
        return True

    def resume(self, store: StoreName, actor: Actor) -> bool:
        return False

    def probe(self, store: StoreName, actor: Actor) -> str | Pending:
        self._act(actor, "probe", store)
        return self.pending or "the shop grants access: Acme"

    def scan(self, store: StoreName, actor: Actor) -> None:
        self._act(actor, "nudge", store)

    def reconcile(self, user: ClerkUserId, actor: Actor) -> None:
        self.nudge_user(user, reason="nudge")
        self._act(actor, "nudge", user=user)

    def accept(
        self, store: StoreName, user: ClerkUserId, fields: Sequence[str], *, until: datetime, actor: Actor
    ) -> bool:
        if until <= NOON:
            raise UsageError(f"{until:%Y-%m-%d} is over", hint="a later day")
        detail: dict[str, JsonValue] = {"fields": list(fields), "until": until.isoformat()}
        self._write(lambda: self.all_acts.append(Act(NOON, actor, "accept", store, user, detail)))
        return bool(self.person(user))

    def heal(self, store: StoreName, user: ClerkUserId, actor: Actor) -> bool:
        self._act(actor, "heal", store, user)
        return bool(self.person(user))

    def forget(self, user: ClerkUserId, store: StoreName | None, actor: Actor) -> bool:
        self._act(actor, "forget", store, user)
        return bool(self.person(user))

    def rollout(self, *, with_changes: bool = False) -> RolloutReport | None:
        return self.waves

    def continue_rollout(self, actor: Actor, *, seen: str | None) -> bool:
        if seen is not None and self.waves is not None and seen != self.waves.step:
            raise PlanRefused("the rollout has moved on", hint="see reconciler rollout status, and repeat")
        self._act(actor, "continue")
        return self.waves is not None

    def abort_rollout(self, actor: Actor) -> bool:
        return False

    def approve(self, digests: MappingOf[StoreName, str], actor: Actor) -> Approved | Pending:
        said = {
            name: f"the approved digest is {digest}, but the plan is now {SHOWN}" for name, digest in digests.items()
        }
        refused = {name: why for name, why in said.items() if digests[name] != SHOWN}
        if refused == said:
            raise PlanRefused("; ".join(refused.values()), hint="review it")
        for store in sorted(digests.keys() - refused.keys()):
            self._act(actor, "approve", store)
        return self.pending or Approved(self.all_runs[0], refused)


def stopped_rollout() -> RolloutReport:
    """A rollout that stopped after the first of two waves."""
    shops = (SHOP_US, SHOP_EU)
    stores = [
        WaveStore(name=name, shop=shop, wave=wave, target="new", kept="new" if wave == 1 else "old")
        for wave, (name, shop) in enumerate(zip((US, EU), shops, strict=True), start=1)
    ]
    begun = begin(None, [replace(s, kept="old") for s in stores], actor=Actor("ada", "command"), now=NOON)
    assert begun is not None
    message = "wave 1 exceeds failed_percent 0.5: 3 of 100 touched users failed (3.0 %)"
    counts = {1: WaveCounts(touched=100, changed=97, failed=3)}
    stopped = replace(begun, phase="stopped", message=message, waves=counts)
    emails: list[JsonValue] = [f"somebody-with-a-long-name-{n}@example.com" for n in range(30)]
    changes = (
        PolicyDifference(
            key="metafields.loyalty.a_rather_long_key.from", before="metadata.tier", after="metadata.plan"
        ),
        PolicyDifference(key="tags", before=["club", "app-user"], after=["app-user", "vip"]),
        PolicyDifference(key="where.email", before=None, after=emails),
    )
    return rollout_report(stopped, stores, {}, RolloutSettings(), {SHOP_EU: changes})


def sources() -> Sources:
    return Sources(
        clerk=ClerkWebhooks([SECRET, OLD_SECRET], instance_id=INSTANCE),
        shops={
            US: ShopifyWebhooks(SHOP_US, [APP_SECRET, OLD_APP_SECRET], others=[SHOP_EU]),
            EU: ShopifyWebhooks(SHOP_EU, [APP_SECRET], others=[SHOP_US]),
            MUTE: None,
        },
        table="public.customers",
        key_column="clerk_user_id",
    )


def tokens(console: str = TOKEN) -> AccessTokens:
    """The console's token, and one of each other role, unless it is empty."""
    own: tuple[tuple[str, Role, str], ...] = (
        ("console", "operator", console),
        ("reads", "viewer", VIEWER),
        ("nudges", "nudge", NUDGE),
    )
    return AccessTokens(AccessToken(name, role, text.encode()) for name, role, text in own if console)


def options(**changes: Any) -> Options:
    chosen = tokens(changes.pop("console_token", TOKEN))
    return replace(Options(sources=sources(), clock=Noon(), tokens=chosen, wrong_token_s=0), **changes)


@contextmanager
def serving(service: MemoryService, chosen: Options | None = None, **server: Any) -> Iterator[httpx.Client]:
    """A client of a real server with this service."""
    with (
        ServerThread(make_app(service, chosen or options()), "127.0.0.1", 0, **server) as running,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        yield client
