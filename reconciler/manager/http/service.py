"""`ManagerService`: webhooks become requests, and probes and the console read the state.

Each call is short: one write to the queue, or one read of the state. None waits for a shop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Mapping as MappingOf
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry

from reconciler.clerk.users import parse_user
from reconciler.clerk.webhook import ClerkEvent
from reconciler.controller.acts import Acts
from reconciler.controller.profile_rows.writer import RowDone
from reconciler.controller.rollouts import Rollouts
from reconciler.core.decide.profile_rows.write import ClerkChange, shown_mapping
from reconciler.core.model.act import Act, Actor
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, StoreName
from reconciler.core.model.mapping import Mapping, Status
from reconciler.core.model.request import DELETED, Priority, Request
from reconciler.core.model.rollout import RolloutState
from reconciler.core.model.run import Run, RunKind
from reconciler.core.report.answer import Candidate, Former
from reconciler.core.report.changes import ChangesAsked, ChangesFound
from reconciler.core.report.documents import Document, plan_document
from reconciler.core.report.explain import Explained
from reconciler.core.report.parity import ParitySample
from reconciler.core.report.pending import Pending
from reconciler.core.report.rollout import RolloutReport
from reconciler.core.report.status import Replica, StatusRow
from reconciler.errors import PermanentError
from reconciler.manager.http.held_rows import merge_refused
from reconciler.manager.http.on_request import OnRequest
from reconciler.manager.http.status_rows import known_rows, status_rows_of, with_present_names
from reconciler.manager.metrics import Metrics
from reconciler.manager.profile_writer import ProfileWriter, wants_updated_at
from reconciler.manager.running_config import RunningConfig
from reconciler.manager.webhook_state import WebhookState
from reconciler.ports import Clock
from reconciler.server.recent_webhooks import SeenWebhooks
from reconciler.server.service import Approved
from reconciler.settings import StoreSettings
from reconciler.shopify.webhooks import ShopifyEvent
from reconciler.wiring.explanations import explain_user
from reconciler.wiring.people import find_former, find_unmapped, meaning_of
from reconciler.wiring.plans import apply_approved, approve_each, approve_withheld, plan_revert
from reconciler.wiring.probing import Probed
from reconciler.wiring.scans import plan_of

REDACT, SHOP_REDACT, UNINSTALLED = "customers/redact", "shop/redact", "app/uninstalled"
WAIT_S = 2.0  # for a document that is made on request, before the caller is asked to come again
EXPLAINED_FOR_S, PLANNED_FOR_S = 5.0, 300.0
PLAN_ROWS_MAX = 500
DELETE, CREATED = "customers/delete", "user.created"
_log = structlog.get_logger(__name__)


class ManagerService:
    """`server.service.Service` on the running config."""

    def __init__(
        self,
        running: RunningConfig,
        webhook_state: WebhookState,
        clock: Clock,
        metrics: Metrics,
        *,
        readiness: Callable[[], Sequence[str]],
        wake: Callable[[], None],
        probe_soon: Callable[[StoreName], None],
        probe: Callable[[StoreName], Probed],
        follow_acts: Callable[[], None],
        owner: str,
        config_problem: Callable[[], str | None],
        follow_rollout: Callable[[], None],
        rows: ProfileWriter | None = None,
    ) -> None:
        self._running, self._webhook_state, self._clock, self._metrics = running, webhook_state, clock, metrics
        self._readiness, self._wake, self._probe_soon, self._probe = readiness, wake, probe_soon, probe
        self._follow_acts, self._owner = follow_acts, owner
        self._config_problem = config_problem
        self._follow_rollout = follow_rollout
        self._approvals = OnRequest[Approved](clock, "approve", at_once=1)
        self._reverts = OnRequest[Document](clock, "revert", at_once=1)
        self._probed = OnRequest[str](clock, "probe", at_once=4)
        self._rows = rows
        self._seen = SeenWebhooks()
        self._explanations = OnRequest[Explained](clock, "explain", at_once=4)
        self._plans = OnRequest[Document](clock, "plan", at_once=1)  # a plan of a large shop reads it for minutes

    # --- webhooks --------------------------------------------------------------------------------------------------

    def accept_clerk_event(self, event: ClerkEvent) -> None:
        if event.user_id is None:
            return
        writer = self._rows
        if writer is None:
            self._nudge_for(event.user_id, deleted=event.deleted, wants=event.updated_at)
        elif not writer.store(change_of_event(event, self._clock.now())):  # an older event: the row stays
            self._nudge_for(event.user_id, deleted=event.deleted, wants=None)

    def _nudge_for(self, user: ClerkUserId, *, deleted: bool, wants: datetime | None) -> None:
        self.nudge_user(user, reason=DELETED if deleted else "clerk", wants_updated_at=None if deleted else wants)

    def row_written(self, done: RowDone) -> None:
        """Enqueue the user after their profile row was written, or could not be."""
        self._nudge_for(done.user, deleted=done.deleted, wants=wants_updated_at(done))

    def nudge_user(
        self,
        user: ClerkUserId,
        *,
        reason: str,
        wants_updated_at: datetime | None = None,
        stores: Collection[StoreName] | None = None,
    ) -> None:
        names = [s.name for s in self._running.stores()] if stores is None else list(stores)
        self._add((Request(name, user) for name in names), reason, wants_updated_at)

    def nudge_customer(self, store: StoreName, customer: CustomerId, *, reason: str) -> None:
        settings = self._running.store(store)
        if settings is None:
            return
        mappings = self._webhook_state.state.mappings
        mappings.touch(settings.shop, [customer], now=self._clock.now(), gone=reason == DELETE)
        owner = mappings.owners(settings.shop, [customer]).get(customer)
        if owner is not None:
            self._add([Request(store, owner)], reason, None)
        waiting = [user for user in mappings.waiting_for(settings.shop, customers=[customer]) if user != owner]
        if waiting:  # for an email or a phone that this customer may have released
            self._add([Request(store, user) for user in waiting], reason, None)

    def accept_shopify_event(self, store: StoreName, event: ShopifyEvent) -> None:
        settings = self._running.store(store)
        if settings is None:
            return
        if event.topic == REDACT:
            self._redact(settings, event)
        elif event.topic in {UNINSTALLED, SHOP_REDACT}:
            self._probe_soon(store)
        _log.info("shopify_event", store=store, topic=event.topic, data_request=event.data_request or None)

    def is_webhook_done(self, webhook_id: str) -> bool:
        return self._seen.seen(webhook_id)

    def note_webhook_done(self, webhook_id: str) -> None:
        self._seen.add(webhook_id)

    # --- probes, metrics, console ----------------------------------------------------------------------------------

    def readiness(self) -> Sequence[str]:
        return self._readiness()

    def config_problem(self) -> str | None:
        return self._config_problem()

    def end_session(self, session: str, *, until: datetime) -> None:
        self._webhook_state.state.sessions.end_session(session, until=until, now=self._clock.now())

    def is_session_ended(self, session: str) -> bool:
        return self._webhook_state.state.sessions.is_session_ended(session)

    def metrics(self) -> CollectorRegistry:
        return self._metrics.registry

    def status_rows(self, store: StoreName | None = None) -> Sequence[StatusRow]:
        stores = [each for each in self._running.stores() if store in {None, each.name}]
        with self._running.components() as components:
            return status_rows_of(components, stores)

    def find_people(
        self, text: str, *, store: StoreName | None, status: Status | None, reason: str | None, limit: int
    ) -> Sequence[Mapping]:
        sought = meaning_of(text, self._running.stores())
        stored: list[Status | None] = ["pending", "in_sync"] if status == "pending" else [status]
        found = [
            row
            for each in stored
            for row in self._webhook_state.console_reader.find_people(
                sought, shops=self._shops(store), status=each, reason=reason, limit=limit
            )
        ]
        known = [row for row in self._known(found) if status in {None, row.status}]
        stores = [s for s in self._running.stores() if store in {None, s.name}]
        refused, mappings = self._webhook_state.profile_writes.refusals(), self._webhook_state.state.mappings
        people = merge_refused(known, stores, refused.values(), mappings, text, status=status, reason=reason)[:limit]
        return list(with_present_names(people, stores))

    def find_unmapped(self, text: str, *, limit: int) -> Sequence[Candidate]:
        with self._running.components() as components:
            return find_unmapped(components, text, limit=limit)

    def find_former(self, text: str) -> Sequence[Former]:
        with self._running.components() as components:
            return find_former(components, text)

    def person(self, user: ClerkUserId) -> Sequence[Mapping]:
        rows = {
            row.shop: row
            for row in self._known(self._webhook_state.console_reader.person(user, shops=self._shops(None)))
        }
        refused = self._webhook_state.profile_writes.refusals([user]).get(user)
        stores = self._running.stores()
        if refused is None:
            return list(with_present_names(rows.values(), stores))
        concerned = [s for s in stores if s.shop in rows or refused.concerns(s)]
        found = (shown_mapping(s, refused, rows.get(s.shop)) for s in concerned)
        return sorted(with_present_names(found, stores), key=lambda row: row.store)

    def recent_events(
        self, *, user: ClerkUserId | None = None, store: StoreName | None = None, limit: int
    ) -> Sequence[Event]:
        asked = ChangesAsked(users=None if user is None else (user,), store=store)
        return self.changes(asked, limit=limit).events

    def changes(self, asked: ChangesAsked, *, limit: int) -> ChangesFound:
        return self._webhook_state.console_reader.find_changes(asked, shops=self._shops(asked.store), limit=limit)

    def replicas(self) -> Sequence[Replica]:
        return self._webhook_state.state.replicas.replicas(now=self._clock.now())

    def runs(
        self,
        *,
        store: StoreName | None = None,
        kinds: Collection[RunKind] = (),
        before: int | None = None,
        limit: int,
    ) -> Sequence[Run]:
        now = self._clock.now()
        return self._webhook_state.state.runs.runs(now=now, store=store, kinds=kinds, before=before, limit=limit)

    def find_run(self, number: int) -> Run | None:
        return self._webhook_state.state.runs.find_run(number, now=self._clock.now())

    def run_events(self, number: int, *, limit: int) -> Sequence[Event]:
        return self._webhook_state.console_reader.run_events(number, limit=limit)

    def acts(self, *, user: ClerkUserId | None = None, store: StoreName | None = None, limit: int) -> Sequence[Act]:
        return self._webhook_state.state.acts.acts(user=user, store=store, limit=limit)

    def find_acts(self, asked: ChangesAsked, *, limit: int) -> Sequence[Act]:
        return self._webhook_state.state.acts.find_acts(asked, limit=limit)

    def parity_lines(self, stores: Collection[StoreName], *, since: datetime) -> Sequence[ParitySample]:
        shops = [store.shop for store in self._running.stores() if store.name in stores]
        return self._webhook_state.state.parity.parity_lines(shops, since=since)

    def rollout(self, *, with_changes: bool = False) -> RolloutReport | None:
        with self._running.components() as components:
            rollouts = components.rollouts
            return rollouts.report(rollouts.read(), with_changes=with_changes) if rollouts is not None else None

    # --- made on request -------------------------------------------------------------------------------------------

    def explain(self, user: ClerkUserId) -> Explained | Pending:
        def make(_count: Callable[[int], None]) -> Explained:
            with self._running.components() as components:
                stores = self._running.stores()
                known = any(components.state.mappings.get(store.shop, [user]) for store in stores)
                if not known and not components.profile_writes.refusals([user]) and not components.profiles.get([user]):
                    return Explained(clerk_user_id=user, stores=())
                return explain_user(components, user, stores)

        return self._explanations.get(user, make, age_s=EXPLAINED_FOR_S, wait_s=WAIT_S)

    def plan(self, store: StoreName) -> Document | Pending:
        def make(count: Callable[[int], None]) -> Document:
            with self._running.components() as components:
                settings = self._running.store(store)
                planned = plan_of(
                    components, [settings] if settings else [], keeps_withheld=False, progress=lambda _name: count
                )
                return plan_document(planned.plan, rows_max=PLAN_ROWS_MAX)

        return self._plans.get(store, make, age_s=PLANNED_FOR_S, wait_s=WAIT_S)

    def revert(self, number: int) -> Document | Pending:
        def make(_count: Callable[[int], None]) -> Document:
            with self._running.components() as components:
                planned = plan_revert(components, self._stores_of_run(number), run_id=number)
                return plan_document(planned.plan, rows_max=PLAN_ROWS_MAX)

        return self._reverts.get(str(number), make, age_s=PLANNED_FOR_S, wait_s=WAIT_S)

    # --- what operators do -----------------------------------------------------------------------------------------

    def pause(self, store: StoreName, actor: Actor) -> bool:
        done = self._acts(actor).pause(self._store(store))
        self._follow_acts()
        return done

    def resume(self, store: StoreName, actor: Actor) -> bool:
        done = self._acts(actor).resume(self._store(store))
        self._follow_acts()
        return done

    def probe(self, store: StoreName, actor: Actor) -> str | Pending:
        def make(_count: Callable[[int], None]) -> str:
            self._acts(actor).note("probe", self._store(store).name)
            return self._probe(store).found

        return self._probed.take(store, make, wait_s=WAIT_S)

    def scan(self, store: StoreName, actor: Actor) -> None:
        self._acts(actor).nudge_all(self._store(store))
        self._follow_acts()

    def reconcile(self, user: ClerkUserId, actor: Actor) -> None:
        self._metrics.note_added(self._acts(actor).nudge(self._running.stores(), [user]))
        self._wake()

    def accept(
        self, store: StoreName, user: ClerkUserId, fields: Sequence[str], *, until: datetime, actor: Actor
    ) -> bool:
        done = self._acts(actor).accept(self._store(store), user, fields, until=until)
        self._wake()
        return done

    def heal(self, store: StoreName, user: ClerkUserId, actor: Actor) -> bool:
        done = self._acts(actor).heal(self._store(store), user)
        self._wake()
        return done

    def forget(self, user: ClerkUserId, store: StoreName | None, actor: Actor) -> bool:
        mappings = self._webhook_state.state.mappings
        chosen = [s for s in self._running.stores() if store in {None, s.name} and mappings.get(s.shop, [user])]
        self._acts(actor).forget(chosen, user)
        return bool(chosen)

    def continue_rollout(self, actor: Actor, *, seen: str | None) -> bool:
        return self._act_on_rollout(lambda rollouts: rollouts.resume(actor, seen=seen))

    def abort_rollout(self, actor: Actor) -> bool:
        return self._act_on_rollout(lambda rollouts: rollouts.abort(actor))

    def _act_on_rollout(self, act: Callable[[Rollouts[StoreSettings]], RolloutState | None]) -> bool:
        with self._running.components() as components:
            rollouts = components.rollouts
            done = rollouts is not None and act(rollouts) is not None
        if done:
            self._follow_rollout()
        return done

    def approve(self, digests: MappingOf[StoreName, str], actor: Actor) -> Approved | Pending:
        def make(count: Callable[[int], None]) -> Approved:
            with self._running.components() as components:
                stores = [self._store(name) for name in digests]
                planned, refused = approve_each(plan_of(components, stores, progress=lambda _name: count), digests)
                for part in planned.plan.stores:
                    self._acts(actor).note("approve", part.store, detail={"digest": digests[part.store]})
                    self._plans.forget(part.store)
                return Approved(self._run(apply_approved(components, planned, actor, self._owner)), refused)

        key = " ".join(f"{name} {digest}" for name, digest in sorted(digests.items()))
        return self._approvals.take(key, make, wait_s=WAIT_S)

    def undo(self, number: int, digest: str, actor: Actor) -> Run | Pending:
        def make(_count: Callable[[int], None]) -> Approved:
            with self._running.components() as components:
                stores = self._stores_of_run(number)
                planned = approve_withheld(plan_revert(components, stores, run_id=number), digest)
                only = stores[0].name if len(stores) == 1 else None
                self._acts(actor).note("undo", only, detail={"run": number, "digest": digest})
                for store in stores:
                    self._plans.forget(store.name)
                self._reverts.forget(str(number))
                return Approved(self._run(apply_approved(components, planned, actor, self._owner, kind="undo")))

        undone = self._approvals.take(f"undo {number} {digest}", make, wait_s=WAIT_S)
        return undone if isinstance(undone, Pending) else undone.run

    # --- parts ---------------------------------------------------------------------------------------------------

    def _known(self, rows: Iterable[Mapping]) -> list[Mapping]:
        with self._running.components() as components:
            return list(known_rows(components, rows, self._running.stores()))

    def _add(self, requests: Iterable[Request], reason: str, wants: datetime | None) -> None:
        added = self._webhook_state.queue.add(
            requests, self._clock.now(), priority=Priority.NUDGE, reason=reason, wants_updated_at=wants
        )
        self._metrics.note_added(added)
        self._wake()

    def _redact(self, store: StoreSettings, event: ShopifyEvent) -> None:
        """Erase what we keep of these customers, by law. Their users get no customer again.

        Customers that we wrote again before the request came stay in the shop: a webhook never deletes anything there.
        """
        now, since = self._clock.now(), event.triggered_at
        waiting = self._webhook_state.state.mappings.waiting_for(store.shop, customers=event.customers)
        for erased in self._webhook_state.erasure.redact(
            store.shop, event.customers, event.email, since=since, now=now
        ):
            _log.info("erased", store=store.name, user=erased.user)
            if erased.left is not None:
                hint = "the customer was written again before the redaction came: request its erasure in Shopify again"
                _log.warning("erasure_incomplete", store=store.name, user=erased.user, customer=erased.left, hint=hint)
        if waiting:
            self._add([Request(store.name, user) for user in waiting], event.topic, None)

    def _acts(self, actor: Actor) -> Acts:
        """Return the acts of this operator, on connections that do not wait long."""
        state = self._webhook_state.state
        return Acts(actor, state.acts, self._webhook_state.queue, state.mappings, self._clock)

    def _run(self, number: int) -> Run:
        """Return the run that was just recorded."""
        run = self.find_run(number)
        assert run is not None
        return run

    def _stores_of_run(self, number: int) -> list[StoreSettings]:
        """Return the stores of a run that are still in stores.yaml. PermanentError if there is no such run."""
        run = self.find_run(number)
        if run is None:
            raise PermanentError(f"there is no run {number} any more", hint="old runs are deleted")
        return [store for store in self._running.stores() if store.name in run.stores]

    def _store(self, name: StoreName) -> StoreSettings:
        store = self._running.store(name)
        if store is None:
            raise PermanentError(f"there is no store '{name}' any more", hint="the names are those of stores.yaml")
        return store

    def _shops(self, store: StoreName | None) -> list[str]:
        return [s.shop for s in self._running.stores() if store is None or s.name == store]


def change_of_event(event: ClerkEvent, now: datetime) -> ClerkChange:
    """Return the change of the user that an event reports."""
    assert event.user_id is not None
    if event.deleted:
        return ClerkChange(event.user_id, deleted_at=event.sent_at or now)
    profile = parse_user(event.user).profile() if event.user is not None else None
    return ClerkChange(event.user_id, event.updated_at, profile, created=event.type == CREATED)
