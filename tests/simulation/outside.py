"""What is outside: the app and its table, Clerk, and the webhooks of the shops; each in tasks of the scheduler."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from reconciler.clerk.webhook import ClerkEvent
from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.errors import ReconcilerError
from reconciler.manager.http.service import ManagerService
from reconciler.shopify.webhooks import ShopifyEvent, ShopifyWebhooks
from reconciler.simulator.customers.records import SimEvent
from reconciler.simulator.webhooks.bodies import topic_header
from reconciler.simulator.webhooks.delivery import sign
from tests.chaos.app import metadata_of
from tests.chaos.people import SHOPS, User
from tests.chaos.shops import SECRET, Shops, domain
from tests.simulation.scheduler import Machine, Scheduler
from tests.simulation.threads import Waiting

COLUMNS = (
    "clerk_user_id", "email", "email_verified", "first_name", "last_name", "phone", "avatar_url", "metadata",
    "updated_at", "deleted_at",
)  # fmt: skip
TABLE = f"CREATE TABLE customers ({COLUMNS[0]} TEXT PRIMARY KEY, {', '.join(COLUMNS[1:])})"
LATE_S = 90.0
DROPPED, DOUBLED = 0.15, 0.15
ROW_DELETED = 0.5
"""Of the users that Clerk has deleted, the app deletes so many rows, and marks the others."""
INTAKE = "intake"
REDACT, RETRIES = "CUSTOMERS_REDACT", 1000
AT_ONCE = (
    5  # webhooks that one replica takes at the same time, also while it is frozen: a pool of connections is behind them
)

Anyone = Callable[[], tuple[Machine, ManagerService] | None]
"""A replica that takes webhooks now."""


class SimApp:
    """The app of `tests/chaos/app.py` on a table of SQLite. A write is confirmed when it returns."""

    def __init__(self, path: Path, scheduler: Scheduler) -> None:
        self._scheduler, self._waiting = scheduler, Waiting(scheduler)
        self.reloading = False
        """A fault has the table now: writes wait."""
        self.written: dict[str, list[tuple[float, dict[str, Any] | None]]] = {}
        """Each row as the app wrote it, and when; None: it was deleted. Reloads of the table are left out."""
        self.table = sqlite3.connect(path, isolation_level=None)
        self.table.execute("PRAGMA synchronous=OFF")
        self.table.execute("PRAGMA journal_mode=WAL")
        self.table.execute(TABLE)

    def close(self) -> None:
        self.table.close()

    def pause(self, seconds: float) -> None:
        self._scheduler.sleep(seconds)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._scheduler.now_s, UTC).isoformat()

    def _settled(self) -> None:
        while self.reloading:
            self._waiting.wait(None)

    def give_back(self) -> None:
        self.reloading = False
        self._waiting.wake()

    def rows_since(self, user_id: str, at: float) -> list[dict[str, Any] | None]:
        """The row as it was then, and as it became since."""
        rows = self.written.get(user_id, [])
        first = max((place for place, (written_at, _) in enumerate(rows) if written_at < at), default=-1)
        return [row for _, row in rows[max(first, 0) :]] if first >= 0 else [None, *(row for _, row in rows)]

    def _note(self, user_id: str) -> None:
        found = self.table.execute("SELECT * FROM customers WHERE clerk_user_id = ?", [user_id]).fetchone()
        row = dict(zip(COLUMNS, found, strict=True)) if found else None
        self.written.setdefault(user_id, []).append((self._scheduler.now_s, row))

    def _put(self, row: dict[str, Any], *, replace: bool = True) -> None:
        names = [name for name in COLUMNS if name in row]
        verb = "REPLACE" if replace else "INSERT OR IGNORE"
        marks = ", ".join("?" for _ in names)
        self.table.execute(
            f"{verb} INTO customers ({', '.join(names)}) VALUES ({marks})", [row[name] for name in names]
        )
        self._note(row["clerk_user_id"])

    def upsert(self, *users: User, pause_s: float = 0.0) -> None:
        self._settled()
        at = self._now()
        self.pause(pause_s)
        self._settled()
        self.table.execute("BEGIN")
        for user in users:
            row = {
                "clerk_user_id": user.id, "email": user.email, "email_verified": True, "first_name": user.first,
                "last_name": user.last, "phone": user.phone, "avatar_url": user.avatar, "metadata": metadata_of(user),
                "updated_at": at, "deleted_at": at if user.marked else None,
            }  # fmt: skip
            self._put(row)
        self.table.execute("COMMIT")

    def restore(self, user: User, row: dict[str, Any]) -> None:
        self._settled()
        self._put(row, replace=False)

    def row(self, user_id: str) -> dict[str, Any] | None:
        self._settled()
        found = self.table.execute("SELECT * FROM customers WHERE clerk_user_id = ?", [user_id]).fetchone()
        return dict(zip(COLUMNS, found, strict=True)) if found else None

    def has_name_of(self, user: User) -> bool:
        """Whether the user's last name is in the row already."""
        query = "SELECT first_name, last_name FROM customers WHERE clerk_user_id = ?"
        return not self.reloading and self.table.execute(query, [user.id]).fetchone() == (user.first, user.last)

    def delete(self, user: User) -> None:
        self._settled()
        self.table.execute("DELETE FROM customers WHERE clerk_user_id = ?", [user.id])
        self._note(user.id)

    def mark(self, user: User) -> None:
        self._settled()
        now = self._now()
        values = [now, now, user.id]
        self.table.execute("UPDATE customers SET deleted_at = ?, updated_at = ? WHERE clerk_user_id = ?", values)
        self._note(user.id)

    def bare(self, user: User) -> None:
        self._settled()
        self._put({"clerk_user_id": user.id, "updated_at": self._now()}, replace=False)

    def keeps(self, user: User, key: str, value: str) -> None:
        self._settled()
        row = self.row(user.id)
        if row is not None:
            metadata = json.dumps({**json.loads(row["metadata"] or "{}"), key: value})
            self.table.execute("UPDATE customers SET metadata = ? WHERE clerk_user_id = ?", [metadata, user.id])

    # --- what owners do to the table as a whole -------------------------------------------------------------------

    def reloaded(self, seconds: float, share: float) -> None:
        """A share of the rows, in the order of their keys, is away for a while, and comes back in three parts."""
        self.reloading = True
        rows = self.table.execute("SELECT * FROM customers ORDER BY clerk_user_id").fetchall()
        kept = rows[: round(len(rows) * (1 - share))]
        gone = rows[len(kept) :]
        self.table.executemany("DELETE FROM customers WHERE clerk_user_id = ?", [[row[0]] for row in gone])
        self.pause(seconds)
        marks = ", ".join("?" for _ in COLUMNS)
        for part in range(3):
            self.table.executemany(f"INSERT INTO customers VALUES ({marks})", gone[part::3])
            self.pause(seconds / 4)
        self.give_back()

    def away(self, seconds: float) -> None:
        """The table has another name for a while."""
        self.reloading = True
        self.table.execute("ALTER TABLE customers RENAME TO away")
        self.pause(seconds)
        self.table.execute("ALTER TABLE away RENAME TO customers")
        self.give_back()


@dataclass(slots=True)
class SimClerk:
    """Clerk tells the app, which writes the row, and the product, in any order: late, doubled, again until it is taken."""

    scheduler: Scheduler
    machine: Machine
    app: SimApp
    anyone: Anyone
    waiting: int = 0
    numbers: int = 0

    def tell(self, kind: str, user: User) -> None:
        dice, self.numbers = self.scheduler.dice, self.numbers + 1
        updated_at = datetime.fromtimestamp(user.updated_ms / 1000, UTC)
        event = ClerkEvent(
            id=f"msg_{self.numbers}", type=kind, user_id=ClerkUserId(user.id), updated_at=updated_at,
            deleted=kind == "user.deleted",
        )  # fmt: skip

        def write() -> None:
            self.scheduler.sleep(dice.choice((0.0, 0.5, LATE_S * dice.random())))
            if kind != "user.deleted":
                self.app.upsert(user)
            else:  # apps do either
                self.app.delete(user) if dice.random() < ROW_DELETED else self.app.mark(user)
            self.waiting -= 1

        def send() -> None:
            self.scheduler.sleep(LATE_S * dice.random() if dice.random() < DROPPED else dice.random())
            pause_s = 1.0
            while not self._deliver(event):
                self.scheduler.sleep(pause_s)
                pause_s = min(pause_s * 2, 300.0)
            self.waiting -= 1

        for call in (write, send, *((send,) if dice.random() < DOUBLED else ())):
            self.waiting += 1
            self.scheduler.spawn(self.machine, f"clerk {self.numbers}", call)

    def _deliver(self, event: ClerkEvent) -> bool:
        return deliver(self.scheduler, self.anyone, f"clerk {event.id}", lambda s: s.accept_clerk_event(event))


def deliver(scheduler: Scheduler, anyone: Anyone, name: str, accept: Callable[[ManagerService], object]) -> bool:
    """Send a webhook to a replica; return whether it was accepted within two seconds. It may be accepted later as well."""
    found = anyone()
    if found is None:
        return False
    machine, service = found
    if sum(task.machine is machine and task.name.startswith(INTAKE) for task in scheduler.tasks) >= AT_ONCE:
        return False
    taken: list[bool] = []

    def take() -> None:
        try:
            accept(service)
        except ReconcilerError:
            return
        taken.append(True)

    scheduler.spawn(machine, f"{INTAKE} {name}", take)
    for _ in range(8):
        scheduler.sleep(0.25)
        if taken:
            break
    return bool(taken)


@dataclass(slots=True)
class ShopHooks:
    """What the shops tell: some of it is lost, doubled, late or out of order."""

    scheduler: Scheduler
    machine: Machine
    shops: Shops
    anyone: Anyone
    every_s: float
    redacted: Callable[[str, ShopifyEvent], None] = lambda _shop, _event: None
    """Called when the webhook of a redaction was accepted."""
    numbers: int = 0

    def run(self) -> None:
        dice = self.scheduler.dice
        while True:
            self.scheduler.sleep(self.every_s * (0.5 + dice.random()))
            for shop in SHOPS:
                outbox = self.shops.sim(shop).shop.outbox
                while outbox:
                    event = outbox.popleft()
                    if dice.random() < DROPPED and event.topic != REDACT:
                        continue
                    for _ in range(2 if dice.random() < DOUBLED else 1):
                        self._send(shop, event)

    def _send(self, shop: str, told: SimEvent) -> None:
        dice, self.numbers = self.scheduler.dice, self.numbers + 1
        name, body = f"hook {self.numbers}", json.dumps(told.payload).encode()
        headers = {
            "x-shopify-topic": topic_header(told.topic), "x-shopify-hmac-sha256": sign(body, SECRET),
            "x-shopify-shop-domain": domain(shop),
            "x-shopify-triggered-at": datetime.fromtimestamp(told.at, UTC).isoformat(),
        }  # fmt: skip
        read = ShopifyWebhooks(ShopDomain(domain(shop)), [SECRET]).read(headers, body)

        def accept(service: ManagerService) -> None:
            if told.topic == REDACT:
                service.accept_shopify_event(StoreName(shop), read)
                self.redacted(shop, read)
                return
            for customer in read.customers:
                service.nudge_customer(StoreName(shop), customer, reason=read.topic)

        def send() -> None:
            self.scheduler.sleep(LATE_S * dice.random() if dice.random() < DROPPED else dice.random())
            for pause_s in chain((10, 60, 300), repeat(300, 0 if told.topic != REDACT else RETRIES)):
                if deliver(self.scheduler, self.anyone, name, accept):
                    return
                self.scheduler.sleep(pause_s)

        self.scheduler.spawn(self.machine, name, send)
