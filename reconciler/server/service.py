"""`Service`: what the HTTP server needs from the manager, in terms of the core.

Each call is short and durable when it returns: a webhook is answered only after its request is stored, and no call waits
for a shop. A webhook's content is never trusted; it only names what to reconcile. Shopify signs the body alone, so topic
and id of a signed webhook may be forged.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import field
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry

from reconciler.clerk.webhook import ClerkEvent
from reconciler.core.model.act import Act, Actor
from reconciler.core.model.event import Event
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import ClerkUserId, CustomerId, StoreName
from reconciler.core.model.mapping import Mapping, Status
from reconciler.core.model.run import Run, RunKind
from reconciler.core.report.answer import Candidate, Former
from reconciler.core.report.changes import ChangesAsked, ChangesFound
from reconciler.core.report.documents import Document
from reconciler.core.report.explain import Explained
from reconciler.core.report.parity import ParitySample
from reconciler.core.report.pending import Pending
from reconciler.core.report.rollout import RolloutReport
from reconciler.core.report.status import Replica, StatusRow
from reconciler.shopify.webhooks import ShopifyEvent


@frozen
class Approved:
    """The run of an approval, and why the plans of other stores were not applied."""

    run: Run
    refused: MappingOf[StoreName, str] = field(default_factory=dict)


class Intake(Protocol):
    """Incoming events. StateError or TemporaryError: nothing is stored, and the sender is asked to send again."""

    def accept_clerk_event(self, event: ClerkEvent) -> None:
        """Store a user.* event: write the profile row if that is configured, and enqueue the user in all stores."""

    def nudge_user(
        self,
        user: ClerkUserId,
        *,
        reason: str,
        wants_updated_at: datetime | None = None,
        stores: Collection[StoreName] | None = None,
    ) -> None:
        """Enqueue the user in these stores, or in all. `wants_updated_at`: with an older row, reconcile again soon."""

    def nudge_customer(self, store: StoreName, customer: CustomerId, *, reason: str) -> None:
        """Enqueue the user of this customer of the shop, and mark the customer as changed in the mirror."""

    def accept_shopify_event(self, store: StoreName, event: ShopifyEvent) -> None:
        """Handle events of a whole shop and legal requests: app/uninstalled, customers/redact, shop/redact and so on.

        An event is no proof: confirm it with the shop before anything that can't be reverted.
        """

    def is_webhook_done(self, webhook_id: str) -> bool:
        """Return whether `note_webhook_done` was called with this id, as far as is remembered."""

    def note_webhook_done(self, webhook_id: str) -> None:
        """Remember the id; called after its request is stored, so that a crash in between loses nothing."""


class Gauges(Protocol):
    """What probes and metrics read."""

    def readiness(self) -> Sequence[str]:
        """Return why this process is not ready, one line each; empty if the state answers and work advances."""

    def metrics(self) -> CollectorRegistry: ...


class Sessions(Protocol):
    """Console sessions that were ended before they expired, for all replicas. Errors: StateError."""

    def end_session(self, session: str, *, until: datetime) -> None:
        """End the session. It is remembered until `until`, when its cookie expires."""

    def is_session_ended(self, session: str) -> bool: ...


class ConsoleReader(Protocol):
    """What the console and the API show. All but explanations and plans only read the state. Errors: ReconcilerError."""

    def config_problem(self) -> str | None:
        """Return why the files on disk are not what this replica runs; None if they are."""

    def status_rows(self, store: StoreName | None = None) -> Sequence[StatusRow]: ...

    def find_people(
        self, text: str, *, store: StoreName | None, status: Status | None, reason: str | None, limit: int
    ) -> Sequence[Mapping]:
        """Return mappings by user id, email (or their beginning), a part of the name, phone, or customer (number, gid,
        admin URL); all if `text` is empty. Sorted by user.
        """

    def find_unmapped(self, text: str, *, limit: int) -> Sequence[Candidate]:
        """Return people in the profiles table that the state does not know: no store has wanted them yet."""

    def find_former(self, text: str) -> Sequence[Former]:
        """Return who had this email or this customer, by what the state keeps; empty for anything else."""

    def person(self, user: ClerkUserId) -> Sequence[Mapping]:
        """Return the user's mappings, one a store."""

    def recent_events(
        self, *, user: ClerkUserId | None = None, store: StoreName | None = None, limit: int
    ) -> Sequence[Event]:
        """Return events, newest first."""

    def changes(self, asked: ChangesAsked, *, limit: int) -> ChangesFound:
        """Return one page of the events that are sought."""

    def find_acts(self, asked: ChangesAsked, *, limit: int) -> Sequence[Act]:
        """Return the newest acts that are sought, newest first; of a kind of act, if `kind` is one."""

    def replicas(self) -> Sequence[Replica]:
        """Return the running replicas."""

    def explain(self, user: ClerkUserId) -> Explained | Pending:
        """Return the explanation of this user in all stores, which observes the shops; without stores: unknown."""

    def plan(self, store: StoreName) -> Document | Pending:
        """Return the store's pending plan as a document, with a bounded number of rows."""

    def revert(self, number: int) -> Document | Pending:
        """Return the plan that reverts what a run wrote, with a bounded number of rows."""

    def runs(
        self,
        *,
        store: StoreName | None = None,
        kinds: Collection[RunKind] = (),
        before: int | None = None,
        limit: int,
    ) -> Sequence[Run]:
        """Return runs, newest first: of these kinds, or of any; begun before the run with the id `before`."""

    def find_run(self, number: int) -> Run | None: ...

    def run_events(self, number: int, *, limit: int) -> Sequence[Event]:
        """Return the first events that a run wrote."""

    def acts(self, *, user: ClerkUserId | None = None, store: StoreName | None = None, limit: int) -> Sequence[Act]:
        """Return what operators did, newest first."""

    def rollout(self, *, with_changes: bool = False) -> RolloutReport | None:
        """Return the newest rollout and its waves; None where all stores are in one wave.

        `with_changes`: also how the policies of later waves differ from those of stores.yaml.
        """

    def parity_lines(self, stores: Collection[StoreName], *, since: datetime) -> Sequence[ParitySample]:
        """Return samples of the parity of these stores, oldest first."""


class Operations(Protocol):
    """What operators do. Each act is recorded with its actor. Errors: ReconcilerError."""

    def pause(self, store: StoreName, actor: Actor) -> bool:
        """Pause the store in the state; False if it is paused there already."""

    def resume(self, store: StoreName, actor: Actor) -> bool:
        """End the store's pause in the state; False if there is none."""

    def probe(self, store: StoreName, actor: Actor) -> str | Pending:
        """Call the shop, resume the store if it grants access, and return what was found. Pending: the call takes long."""

    def scan(self, store: StoreName, actor: Actor) -> None:
        """Start a full resync of the store soon."""

    def reconcile(self, user: ClerkUserId, actor: Actor) -> None:
        """Reconcile the user now in all stores; a value that a shop refused is tried once more."""

    def accept(
        self, store: StoreName, user: ClerkUserId, fields: Sequence[str], *, until: datetime, actor: Actor
    ) -> bool:
        """Leave these fields as they were edited in Shopify until then; False if the user has no mapping there."""

    def heal(self, store: StoreName, user: ClerkUserId, actor: Actor) -> bool:
        """End that now, so that drift is healed again; False if the user has no acceptance there."""

    def forget(self, user: ClerkUserId, store: StoreName | None, actor: Actor) -> bool:
        """Forget the user's mapping in this store or in all; False if there is none."""

    def continue_rollout(self, actor: Actor, *, seen: str | None) -> bool:
        """Open the next wave of the rollout; False if there is none to continue."""

    def abort_rollout(self, actor: Actor) -> bool:
        """End the rollout; False if none is under way."""

    def approve(self, digests: MappingOf[StoreName, str], actor: Actor) -> Approved | Pending:
        """Apply the plans of these stores with what guards withhold, as one run: of each store that still has its digest.

        PlanRefused if no store has it. Pending: it is being planned or applied; the run is listed when it begins.
        """

    def undo(self, number: int, digest: str, actor: Actor) -> Run | Pending:
        """Revert what a run wrote, with what guards withhold, if the plan still has this digest; else PlanRefused.

        Pending: as `approve`.
        """


class Service(Intake, Gauges, Sessions, ConsoleReader, Operations, Protocol):
    """All that the HTTP server needs."""
