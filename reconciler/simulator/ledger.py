"""The base class of a simulated shop: its customers, clock, numbers and events.

The parts of a shop (customers, metafields, merges, subscriptions …) are subclasses; `shop.py` combines them. Callers ensure
that one call runs at a time (`SimShop.lock`).
"""

import copy
import json
import random
import uuid
import zlib
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from graphql import GraphQLError

from reconciler.simulator.bulk.files import Depot
from reconciler.simulator.bulk.records import BulkFault, Operation, Staged
from reconciler.simulator.customers.index import CustomerIndex
from reconciler.simulator.customers.normalisation import Habits
from reconciler.simulator.customers.records import SimCustomer, SimDefinition, SimEvent, SimMerge, SimSubscription
from reconciler.simulator.graphql.documents import Json

JOB_S: Final = 30.0
OUTBOX_MAX: Final = 20_000
FIRST_NUMBER: Final = 700_000_000_000_000_000
"""Above 2^53, as an id read as a float would lose digits."""
SHOP_OFFSET_S: Final = -5 * 3600
CURRENCIES: Final = {"US": "USD", "GB": "GBP", "CA": "CAD", "CH": "CHF", "AU": "AUD", "JP": "JPY", "SE": "SEK"}


def gid(kind: str, number: int) -> str:
    return f"gid://shopify/{kind}/{number}"


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def offset_iso(at: float) -> str:
    """The time as in webhooks: with the shop's offset."""
    zone = timezone(timedelta(seconds=SHOP_OFFSET_S))
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")


def user_error(path: tuple[str, ...] | None, message: str, code: str | None = None, **more: Any) -> Json:
    return {"field": None if path is None else list(path), "message": message, "code": code, **more}


def top_level(message: str, code: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": code})


class Ledger:
    """The data of one shop. `clock` returns seconds since the epoch; `seed` makes random choices repeatable."""

    def __init__(
        self,
        domain: str,
        *,
        clock: Callable[[], float],
        seed: int = 0,
        country: str = "US",
        locale: str = "en",
        habits: Habits | None = None,
        search_lag_s: float = 1.0,
    ) -> None:
        self.domain = domain
        self.clock = clock
        self.random = random.Random(f"{domain} {seed}")  # noqa: S311 - repeatable on purpose
        self.country = country
        self.primary_locale = locale
        self.habits = habits or Habits()
        self.search_lag_s = search_lag_s
        self.scopes: set[str] = set()
        self.unapproved_fields: set[str] = set()
        self.app_id = 10_000_000 + zlib.crc32(domain.encode()) % 1_000_000
        self.people = CustomerIndex(self.habits)
        self.definitions: dict[tuple[str, str, str], SimDefinition] = {}
        self.subscriptions: dict[int, SimSubscription] = {}
        self.merges: dict[str, SimMerge] = {}
        self.merging: dict[int, SimMerge] = {}
        """The merges in progress, by either customer's number."""
        self.known_tags: dict[str, str] = {}
        self.webhook_secret: str | None = None
        """The app's client secret, which signs its webhooks. If set, events are kept even without subscriptions."""
        self.outbox: deque[SimEvent] = deque(maxlen=OUTBOX_MAX)
        self.history: deque[tuple[float, int, SimCustomer | None]] = deque()
        """Customers before a change (None: not existing), until the search index contains the change."""
        self.staged: dict[str, Staged] = {}
        """Staged uploads by key."""
        self.operations: dict[int, Operation] = {}
        self.bulk_faults: deque[BulkFault] = deque()
        self.settling = False
        self.jobs: dict[str, float] = {}
        """The end of each job, except merges."""
        self.depot = Depot()
        self.base_url: Callable[[], str] = lambda: f"https://{domain}"
        """The shop's base URL: scheme, host and port."""
        self._last_number = FIRST_NUMBER + zlib.crc32(domain.encode()) % 1_000_000 * 1_000_000_000

    @property
    def currency(self) -> str:
        return CURRENCIES.get(self.country, "EUR")

    def now(self) -> float:
        return self.clock()

    def next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def number_of(self, identifier: str, kind: str) -> int:
        """The number in a gid of this kind. A top-level error for anything else."""
        head, _, tail = str(identifier).rpartition("/")
        if head != f"gid://shopify/{kind}" or not tail.isdigit():
            raise top_level(f"Invalid id: {identifier}", "RESOURCE_NOT_FOUND")
        return int(tail)

    def find(self, identifier: str) -> SimCustomer | None:
        """The customer with this gid."""
        return self.people.by_number.get(self.number_of(identifier, "Customer"))

    def namespace(self, given: str | None) -> str:
        """The stored namespace: `$app` and an empty one are the app's own."""
        own = f"app--{self.app_id}"
        if given is None or given == "$app":
            return own
        return f"{own}--{given[5:]}" if given.startswith("$app:") else given

    def remember(self, number: int, before: SimCustomer | None) -> None:
        """Call before a change: search keeps the old values until it has caught up."""
        now = self.clock()
        while self.history and self.history[0][0] <= now - self.search_lag_s:
            self.history.popleft()
        if self.search_lag_s <= 0:
            return
        old = None if before is None else copy.copy(before)
        if old is not None and old.rare is not None:
            old.rare = copy.copy(old.rare)
        self.history.append((now, number, old))

    def settle(self) -> None:
        """Finish everything that is due by the clock. Called before each call."""

    def change_habits(self, **values: Any) -> None:
        """Change switches of `Habits`, and rebuild indexes if necessary. ValueError for an unknown name."""
        for name, value in values.items():
            if name not in Habits.__slots__:
                raise ValueError(f"unknown habit {name}; known are {', '.join(Habits.__slots__)}")
            setattr(self.habits, name, frozenset(value) if name == "refused_domains" else value)
        self.people.reindex()

    # --- events ---------------------------------------------------------------------------------------------------

    def new_job_id(self) -> str:
        return f"gid://shopify/Job/{uuid.UUID(int=self.random.getrandbits(128), version=4)}"

    def new_job(self) -> Json:
        """A job that takes JOB_S."""
        identifier = self.new_job_id()
        self.jobs[identifier] = self.now() + JOB_S
        return self.job(identifier) or {}

    def job(self, id: str) -> Json | None:  # noqa: A002 - Shopify's name
        until = self.jobs.get(id)
        return None if until is None else {"__typename": "Job", "id": id, "done": self.now() >= until}

    def tell(self, topic: str, payload: Callable[[], Json]) -> None:
        """Put an event in the outbox, if there may be a receiver."""
        if self.webhook_secret is None and not self.subscriptions:
            return
        frozen = json.loads(json.dumps(payload()))
        self.outbox.append(SimEvent(self.next_number(), topic, self.clock(), frozen))
