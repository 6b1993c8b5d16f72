"""Simulated shops and replicas of `run` beside them, in this process, over real HTTP, in a hurry.

Only the pauses are shortened; what runs is what `reconciler run` runs. Nothing sleeps: `until` waits for what should be.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text

from reconciler.controller.worker import Pauses
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping as Row
from reconciler.core.model.request import Request
from reconciler.manager.app import Manager
from reconciler.manager.intervals import Intervals
from reconciler.manager.reload import SettingsFiles
from reconciler.ports import Clock
from reconciler.settings import load
from reconciler.simulator.control import all_customers
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.webhooks.delivery import Deliverer, Weather, sign
from reconciler.simulator.world import ALL_SCOPES, SimShop, World
from reconciler.wiring import Components, open_components
from tests.clerk import sender
from tests.clock import WallClock
from tests.states import state_template

US, EU = "acme-us", "acme-eu"
APP_SECRET = "the-app-secret"
WAIT_S = 60.0
HELD_S = 300.0  # of a slow shop: until its faults are cleared
COLUMNS = (
    "clerk_user_id", "email", "email_verified", "first_name", "last_name", "phone", "locale", "updated_at", "deleted_at",
)  # fmt: skip
TABLE = (
    "create table customers (clerk_user_id text primary key, email text, email_verified integer, first_name text, "
    "last_name text, phone text, locale text, updated_at text, deleted_at text)"
)
WIDE = {kind: {"max": 10_000} for kind in ("create", "adopt", "update", "relink", "merge", "release")}
HURRY = Intervals(
    lease_s=2.0, poll_s=0.02, idle_poll_s=0.05, away_s=0.05, grace_s=8.0, slow_s=0.3, beat_s=0.1, stale_beats_s=2.0,
    clerk_away_s=0.05, scan_lease_s=3.0, again_first_s=0.1, again_last_s=0.4,
    rows_s=0.05, probe_every_s=0.05, probe_first_s=0.05, probe_last_s=0.4, files_s=0.05,
    acceptances_s=0.05, removal_settles_s=0.15,
    pauses=Pauses(
        early_first_s=0.05, early_last_s=0.2, waiting_first_s=0.3, waiting_next_s=0.3, away_s=0.05,
        permanent_first_s=0.5,
    ),
)  # fmt: skip


def until(condition: Callable[[], Any], what: str, *, within_s: float = WAIT_S) -> Any:
    """Wait until it is so, and give what it gave."""
    began = time.monotonic()
    while not (found := condition()):
        waited_s = time.monotonic() - began
        if waited_s > within_s:
            raise AssertionError(f"it never came to pass that {what}")
        time.sleep(
            min(max(0.01, waited_s / 20), 0.2)
        )  # who waits long asks less often: what it waits for needs the CPU
    return found


def now_text(**ahead: float) -> str:
    return (WallClock().now() + timedelta(**ahead)).isoformat()


@dataclass(slots=True)
class Running:
    """One replica of `run`."""

    manager: Manager
    components: Components
    client: httpx.Client
    harness: RunHarness
    began_at: datetime

    def clerk(self, kind: str = "user.updated", data: Any = None, *, message_id: str | None = None) -> int:
        """A webhook of Clerk's, signed by hand; gives the status."""
        return self.clerk_response(kind, data, message_id=message_id).status_code

    def clerk_response(self, kind: str, data: Any = None, *, message_id: str | None = None) -> httpx.Response:
        body = sender.event(kind, data)
        signed = sender.headers(body, message_id=message_id or self.harness.new_id(), at=WallClock().now())
        return self.client.post("/webhooks/clerk", content=body, headers=signed)

    def accepted(self, kind: str = "user.updated", data: Any = None, *, message_id: str | None = None) -> None:
        """The same as Clerk sends it: again, until it is accepted."""
        once = message_id or self.harness.new_id()
        until(lambda: self.clerk(kind, data, message_id=once) == 202, f"{kind} is accepted")

    def shopify(self, topic: str, payload: Any, *, store: str = US, named: str = "") -> httpx.Response:
        """A webhook of a shop's, signed by hand. `named`: the shop's name in it; no `store`: to the app's address."""
        body = json.dumps(payload).encode()
        headers = {
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": sign(body, APP_SECRET),
            "X-Shopify-Shop-Domain": named or f"{store}.myshopify.com",
        }
        return self.client.post(f"/webhooks/shopify/{store}".rstrip("/"), content=body, headers=headers)

    def shopify_accepted(self, topic: str, payload: Any, *, store: str = US, named: str = "") -> None:
        """The same as Shopify sends it: again, while the replica is too busy to store it in time."""

        def answer() -> httpx.Response | None:
            found = self.shopify(topic, payload, store=store, named=named)
            return None if found.status_code == httpx.codes.SERVICE_UNAVAILABLE else found

        assert until(answer, f"{topic} is answered").status_code == httpx.codes.ACCEPTED

    def nudge(self, *users: str, store: str = US) -> None:
        requests = [Request(StoreName(store), ClerkUserId(user)) for user in users]
        self.components.queue.add(requests, self.components.clock.now(), reason="nudge", explicit=True)

    def ready(self) -> list[str]:
        answer = self.client.get("/readyz")
        reasons: list[str] = answer.json()["reasons"]
        assert answer.status_code == (503 if reasons else 200)
        return reasons

    def metric(self, name: str, /, **labels: str) -> float:
        """The sum of a metric over all labels but these."""
        lines = self.client.get("/metrics").text.splitlines()
        asked = [f'{label}="{value}"' for label, value in labels.items()]
        found = [x for x in lines if x.startswith((name + "{", name + " ")) and all(words in x for words in asked)]
        return sum(float(x.rsplit(" ", 1)[1]) for x in found)

    def idle(self) -> bool:
        """Nothing is ready or in progress."""
        tally = self.components.queue.tally(self.components.clock.now())
        return not any(waiting.ready or waiting.in_flight for waiting in tally.values())

    def waiting(self) -> set[str]:
        """The users that were asked for, by anyone: a resync may have asked for more than the test did."""
        with self.components.connections.engine.connect() as connection:
            return set(connection.execute(text("SELECT clerk_user_id FROM reconciler_request")).scalars())

    def settled(self) -> None:
        until(self.idle, "the queue is worked off")

    def scanned_all(self) -> None:
        """The full scan at the start is over for every store, and what it found is done."""
        shops = [ShopDomain(f"{name}.myshopify.com") for name in self.harness.stores]

        def done() -> bool:
            schedule = self.manager.schedule  # another replica's scan may have ended while ours is still owed
            names = [StoreName(name) for name in self.harness.stores]
            if any(schedule.has_full_resync(name) or schedule.is_full_scan_owed(name) for name in names):
                return False
            marks = [self.components.state.scans.mark(shop, "full") for shop in shops]
            return all(mark is not None and (mark.finished_at or self.began_at) > self.began_at for mark in marks)

        until(done, "every store was scanned")
        self.settled()

    def mapping(self, user: str, store: str = US) -> Row | None:
        return self.components.state.mappings.get(ShopDomain(f"{store}.myshopify.com"), [ClerkUserId(user)]).get(
            ClerkUserId(user)
        )

    def status(self, user: str, store: str = US) -> str | None:
        row = self.mapping(user, store)
        return row.status if row else None

    def statuses(self, users: Iterable[str], store: str = US) -> set[str | None]:
        """Those that occur among these users, read in one statement; None for a user without a mapping."""
        asked = [ClerkUserId(user) for user in users]
        found = self.components.state.mappings.get(ShopDomain(f"{store}.myshopify.com"), asked)
        return {row.status if (row := found.get(user)) else None for user in asked}


@dataclass(slots=True)
class RunHarness:
    """Shops, people and files. Change `stores`, then `write` for a running replica to see it."""

    folder: Path
    world: World
    server: SimulatorServer
    state_url: str
    settings: dict[str, Any] = field(default_factory=dict)
    stores: dict[str, dict[str, Any]] = field(default_factory=dict)
    rollout: dict[str, Any] = field(default_factory=dict)
    ids: int = 0

    @property
    def paths(self) -> tuple[Path, Path]:
        return self.folder / "reconciler.yaml", self.folder / "stores.yaml"

    def new_id(self) -> str:
        self.ids += 1
        return f"msg_{self.ids}"

    def shop(self, name: str = US) -> SimShop:
        return self.world.shops[f"{name}.myshopify.com"]

    def write(self) -> None:
        """Both files, each replaced in one go, as careful editors and Kubernetes do."""
        stores = [{"name": name, **settings} for name, settings in self.stores.items()]
        rollout = {"rollout": self.rollout} if self.rollout else {}
        for path, content in zip(
            self.paths, ({"version": 1, **self.settings}, {"version": 1, **rollout, "stores": stores}), strict=True
        ):
            self.write_raw(path, json.dumps(content))

    def write_raw(self, path: Path, text: str) -> None:
        if path.exists() and path.read_text() == text:
            return
        new = path.with_suffix(".new")
        new.write_text(text)
        new.rename(path)

    def sql(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.folder / "profiles.db", timeout=60)) as connection, connection:
            connection.execute(statement, values)

    def person(self, user: str, **columns: Any) -> None:
        """The user's row, made or changed."""
        with closing(sqlite3.connect(self.folder / "profiles.db", timeout=60)) as connection, connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute("select * from customers where clerk_user_id = ?", (user,)).fetchone()
            old = dict(found) if found else {"email": f"{user}@example.com", "email_verified": 1, "locale": "en-US"}
            row = {**old, "updated_at": now_text(), **columns, "clerk_user_id": user}
            marks = ", ".join("?" for _ in COLUMNS)
            connection.execute(f"replace into customers values ({marks})", [row.get(c) for c in COLUMNS])

    def gone(self, user: str) -> None:
        self.sql("delete from customers where clerk_user_id = ?", user)

    def customers(self, name: str = US) -> dict[str, dict[str, Any]]:
        """The customers of a shop by email, as they are."""
        return {c["email"]: c for c in all_customers(self.shop(name))}

    def emails(self, name: str = US) -> list[str]:
        return sorted(str(email) for email in self.customers(name))

    def mutations(self) -> int:
        return sum(sim.mutations for sim in self.world.shops.values())

    def end_state(self, name: str = US) -> list[tuple[Any, ...]]:
        """What a shop holds, without what differs from run to run."""
        return sorted(
            (c["email"] or "", c["firstName"] or "", c["lastName"] or "", tuple(sorted(c["tags"])))
            for c in all_customers(self.shop(name))
        )

    def deliverer(self, running: Running, *topics: str, name: str = US, weather: Weather | None = None) -> Deliverer:
        """Subscribed to these topics, and ready to send what the shop tells."""
        sim = self.shop(name)
        for topic in topics:
            uri = f"https://hooks.example.com/webhooks/shopify/{name}"
            with sim.lock:
                made = sim.shop.webhook_subscription_create(topic, {"uri": uri})
            assert not made["userErrors"]
        routes = {"https://hooks.example.com": running.manager.url}
        return Deliverer(sim.shop, secret=APP_SECRET, routes=routes, weather=weather)

    @contextmanager
    def replica(self, clock: Clock | None = None, **intervals: Any) -> Iterator[Running]:
        """`run`, in threads of this process, until the end of the context. `clock` in place of the wall's."""
        self.write()
        loaded = load(*self.paths, {})
        pauses = replace(HURRY.pauses, **intervals.pop("pauses", {}))
        warnings: list[str] = []
        with ExitStack() as stack:
            components = stack.enter_context(open_components(loaded, warn=warnings.append, clock=clock))
            manager = Manager(
                components, SettingsFiles(self.paths, lambda: load(*self.paths, {})), port=0,
                intervals=replace(HURRY, pauses=pauses, **intervals),
            )  # fmt: skip
            stack.callback(manager.close)
            began_at = WallClock().now()
            manager.start()
            waiting = threading.Thread(target=manager.wait)
            waiting.start()
            stack.callback(waiting.join, WAIT_S)
            stack.callback(manager.stop)
            client = stack.enter_context(httpx.Client(base_url=manager.url, timeout=WAIT_S))
            yield Running(manager, components, client, self, began_at)


@contextmanager
def run_harness(folder: Path, *names: str, state_url: str = "", **shop: Any) -> Iterator[RunHarness]:
    if not state_url:
        (folder / "state.db").write_bytes(state_template())
    world = World()
    for name in names or (US,):
        options: dict[str, Any] = {"restore_rate": 10_000, "bucket_size": 200_000, "scopes": set(ALL_SCOPES)}
        world.add_shop(f"{name}.myshopify.com", access_token=f"token-{name}", **{**options, **shop})
    with SimulatorServer(world) as server:
        harness = RunHarness(folder, world, server, state_url or f"sqlite:///{folder / 'state.db'}")
        harness.settings = {
            "state": {"url": harness.state_url},
            "profiles": {
                "url": f"sqlite:///{folder / 'profiles.db'}",
                "table": "customers",
                "columns": {c: c for c in COLUMNS},
            },
            "clerk": {"webhook_secrets": [sender.SECRET], "instance_id": sender.INSTANCE},
            # On a leap day only: whenever else a test runs, no scan is made that it did not ask for.
            "controller": {
                "workers": 4,
                "resync_s": 3600,
                "full_resync_cron": "0 3 29 2 *",
                "absence_grace_s": 0.2,
            },
        }
        for name in names or (US,):
            harness.stores[name] = store_of(harness, name)
            define(harness, name)
        harness.sql(
            "pragma journal_mode=wal"
        )  # else a replica that is frozen while it reads keeps the app from writing
        harness.sql(TABLE)
        yield harness


def store_of(harness: RunHarness, name: str, **more: Any) -> dict[str, Any]:
    return {
        "shop": f"{name}.myshopify.com",
        "admin_url": harness.server.url(f"{name}.myshopify.com"),
        "auth": {"access_token": f"token-{name}"},
        "webhook_secret": APP_SECRET,
        "tags": ["app-user"],
        "guards": WIDE,
        **more,
    }


def define(harness: RunHarness, name: str) -> None:
    """What `bootstrap` makes in a shop."""
    sim = harness.shop(name)
    definition = {
        "ownerType": "CUSTOMER", "namespace": "clerk", "key": "user_id", "name": "Clerk user", "type": "id",
        "pin": True,
    }  # fmt: skip
    with sim.lock:
        made = sim.shop.metafield_definition_create(definition)
    assert not made["userErrors"], made


def user_event(user: str, *, updated_at: datetime | None = None, **changes: Any) -> dict[str, Any]:
    """Clerk's user object for this user."""
    at = updated_at or WallClock().now()
    return sender.user(user, updated_at=int(at.astimezone(UTC).timestamp() * 1000), **changes)


def deleted_event(user: str) -> Mapping[str, Any]:
    return {"id": user, "object": "user", "deleted": True}
