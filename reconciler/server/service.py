"""Door: all that the HTTP half asks of the rest of the house, in the core's words.

Each call is short and durable when it returns: a webhook is answered only after its request is written down, and nothing
here waits for a shop. What a webhook says is never believed, it only says where to look: Shopify signs the body alone, so
that topic and id of a signed body may be anybody's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry

from reconciler.clerk.webhook import ClerkEvent
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, StoreName
from reconciler.core.model.mapping import Mapping, Status
from reconciler.core.report.status import StatusRow
from reconciler.shopify.webhooks import ShopifyEvent


class Intake(Protocol):
    """What comes in. StateError or TemporaryError: not written down, and the sender is asked to send it again."""

    def clerk_event(self, event: ClerkEvent) -> None:
        """A user.* event: write the profile row if that is asked for, and queue the user in all stores."""

    def nudge_user(
        self,
        user: ClerkUserId,
        *,
        reason: str,
        wants_updated_at: datetime | None = None,
        stores: Collection[StoreName] | None = None,
    ) -> None:
        """Queue the user in these stores, or in all. `wants_updated_at`: a row older than this is looked at again soon."""

    def nudge_customer(self, store: StoreName, customer: CustomerId, *, reason: str) -> None:
        """Queue a look at this customer of the shop: the mirror, and whoever she belongs to."""

    def shopify_event(self, store: StoreName, event: ShopifyEvent) -> None:
        """What Shopify says of a whole shop or asks by law: app/uninstalled, customers/redact, shop/redact and so on.

        Not proof: confirm by a look at the shop before anything that can't be taken back.
        """

    def seen_webhook(self, webhook_id: str) -> bool:
        """Whether `webhook_done` was called with this id, as far as is remembered."""

    def webhook_done(self, webhook_id: str) -> None:
        """Remember the id; called after its request is written down, so that a crash in between loses nothing."""


class Gauges(Protocol):
    """What machines read."""

    def readiness(self) -> Sequence[str]:
        """Why this process is not ready, a line each; empty: the state and the queue answer, and something advances."""

    def metrics(self) -> CollectorRegistry: ...


class Sessions(Protocol):
    """Sessions of the console that were ended before their time, for all replicas. Errors: StateError."""

    def end_session(self, session: str, *, until: datetime) -> None:
        """End the session; it is remembered until `until`, when its cookie runs out by itself."""

    def is_session_ended(self, session: str) -> bool: ...


class ConsoleReader(Protocol):
    """What the console shows. Reads the state only."""

    def config_problem(self) -> str | None:
        """Why the files on disk are not what this replica runs; None where they are."""

    def status_rows(self) -> Sequence[StatusRow]: ...

    def find_people(
        self, text: str, *, store: StoreName | None, status: Status | None, reason: str | None, limit: int
    ) -> Sequence[Mapping]:
        """Rows whose user id, e-mail or customer id is (or begins with) `text`; all where it is empty. Sorted by user."""

    def person(self, user: ClerkUserId) -> Sequence[Mapping]:
        """The user's rows, one a store."""

    def recent_events(
        self, *, user: ClerkUserId | None = None, store: StoreName | None = None, limit: int
    ) -> Sequence[Event]:
        """Newest first."""


class Service(Intake, Gauges, Sessions, ConsoleReader, Protocol):
    """The whole door."""
