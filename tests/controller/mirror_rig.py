"""The rig with bulk files, and with its profiles also in a real SQLite table: for scans by fingerprints and mirrors."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.controller.mirror.reader import MirrorReader
from reconciler.controller.mirror.refresh import MirrorContext
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.readers import Readers
from reconciler.controller.scan.plan import scan_store
from reconciler.controller.scan.stream import Moved
from reconciler.core.model.ids import CustomerId
from reconciler.core.plan.gather import ScanResult
from reconciler.core.plan.plan import build_plan
from reconciler.shopify.bulk.reader import ShopBulkReader
from reconciler.shopify.listing import LISTED_MAX, ShopCustomerLists
from reconciler.supabase.reading.profiles import TableProfiles
from tests.controller.bulk_rig import NAME, BulkRig, populate, user_of

COLUMNS = ("clerk_user_id", "email", "email_verified", "first_name", "last_name", "phone", "image_url", "updated_at",
           "deleted_at", "metadata")  # fmt: skip


class MirrorRig(BulkRig):
    """`table` is the profiles as the product reads them; `pour` brings it up to date with `rows`."""

    def __init__(self, folder: Path, **policy: Any) -> None:
        super().__init__(folder, by_bulk=False, **policy)
        self.path = folder / "profiles.db"
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute(f"create table customers ({', '.join(COLUMNS)})")
        self.table = TableProfiles(f"sqlite:///{self.path}", "customers", {c: c for c in COLUMNS})
        self.stop_after: int | None = None

    def close(self) -> None:
        self.table.close()
        super().close()

    def pour(self, *also: tuple[Any, ...]) -> None:
        """Write all rows again, and these beside them."""
        rows = [tuple(_as_sql(getattr(row, column)) for column in COLUMNS) for row in self.profiles.rows.values()]
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("delete from customers")
            marks = ", ".join("?" * len(COLUMNS))
            connection.executemany(f"insert into customers values ({marks})", [*rows, *also])

    def settle(self, people: int) -> None:
        """So many people, in the table and in the shop."""
        populate(self, people)
        self.pour()
        self.cycle()

    def mirror(
        self, progress: Callable[[Any], None] = lambda _step: None, *, listed_max: int = LISTED_MAX
    ) -> MirrorContext:
        one = self.stores[NAME]
        client = self.clients[one.shop]
        return MirrorContext(
            store=one,
            mirror=self.state,
            bulk=ShopBulkReader(client, one),
            lists=ShopCustomerLists(client, one, listed_max=listed_max),
            customers=self.customers(one),
            clock=self.clock,
            wait=self._waits,
            progress=progress,
        )

    def _waits(self, seconds: float) -> bool:
        self.clock.sleep(seconds)
        if self.stop_after is not None:
            self.stop_after -= 1
        return self.stop_after is None or self.stop_after >= 0

    def readers_of(self, *, fast: bool) -> Readers:
        one = self.stores[NAME]
        customers = self.customers(one)
        readers = Readers(self.table, customers, self.state)
        return (
            replace(readers, pairs=self.state, by_mirror=MirrorReader(one, self.state, customers)) if fast else readers
        )

    def scan(
        self, *, fast: bool, guards: bool = True, moved: Moved | None = None, decide_all: bool = False
    ) -> ScanResult:
        """A scan of the table as it is: by fingerprints and mirror, or live. `decide_all`: no user is passed over."""
        ask = ObserveOptions(now=self.clock.now(), explicit=False, guards=guards, keep_all=decide_all)
        return scan_store(self.stores[NAME], self.readers_of(fast=fast), ask, moved=moved)

    def calls(self) -> int:
        return len(self.acme.calls)


def customer(rig: MirrorRig, number: int) -> CustomerId:
    """The customer that this user's mapping names."""
    found = rig.mapping(NAME, user_of(number))
    assert found is not None
    assert found.customer_id is not None
    return found.customer_id


def digest(rig: MirrorRig, scan_result: ScanResult) -> str:
    return build_plan([scan_result.plan], created_at=rig.clock.now()).digest


def learned(scan_result: ScanResult) -> dict[str, Any]:
    """What the rows would say, without when they were observed."""
    return {row.clerk_user_id: row for row in scan_result.rows}


def _as_sql(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
