"""The measured inputs of the capacity model: bytes of a row, and CPU of a reconcile, a claim, a webhook and a scan.

    python -m tests.benchmarks.bench_capacity

CPU is what the kernel counted: for a process of `run`, and beside it for the whole Postgres server. Bytes are those of
tables with 20,000 users, indexes included, divided by the rows. `tests/benchmarks/capacity.py` calculates with them.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import psycopg
from sqlalchemy import insert, text

from reconciler.controller.mirror.refresh import MirrorContext
from reconciler.controller.mirror.refresh import fill as fill_mirror
from reconciler.core.model.action import Change
from reconciler.core.model.batches import batches
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.request import Request
from reconciler.ports import BulkState
from reconciler.shopify.api.client import ShopClient
from reconciler.shopify.listing import ShopCustomerLists
from reconciler.state.database.engine import open_engine, reading, writing
from reconciler.state.requests.queue import RequestTable
from reconciler.state.schema import ensure_schema
from reconciler.state.tables.mappings import EventRow
from reconciler.state.tables.rows import event_row
from tests import servers
from tests.benchmarks import bench_scan
from tests.benchmarks.bench_reconcile import closing_engine, cpu_s, fill, nudge, running
from tests.clock import WallClock
from tests.manager.harness import run_harness, until
from tests.state_store import StateStore

ROWS: Final = 20_000
STORES: Final = (1, 60, 1000)
USERS: Final = 80
CLAIMS: Final = 60
TABLES: Final = ("mapping", "mirror", "event", "request")


def measure(rows: int = ROWS) -> dict[str, Any]:
    """All inputs."""
    with servers.postgres() as server:
        place = bench_scan.Place("postgres", _fresh(server), rows, 1)
        figures: dict[str, Any] = {"postgres_bytes": _bytes(place), "night": _night(server, place)}
        figures["reconcile"] = _reconcile(server)
        figures["claim"] = {stores: _claim(server, stores) for stores in STORES}
    with tempfile.TemporaryDirectory() as folder:
        place = bench_scan.Place("sqlite", f"sqlite:///{Path(folder) / 'world.db'}", rows, 1)
        figures["sqlite_bytes"] = _bytes(place)
    return figures


def _fresh(server: servers.Server) -> str:
    return server.url(server.create())


def server_cpu_s(server: servers.Server) -> float:
    """The CPU seconds of a Postgres server: its own, those of its processes, and those of processes that have ended."""
    parent = server.process.pid
    children = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if int(path.read_text().rpartition(")")[2].split()[1]) == parent
    ]
    return cpu_s(parent, ended=True) + sum(cpu_s(child) for child in children)


# --- bytes ------------------------------------------------------------------------------------------------------------


def _bytes(place: bench_scan.Place) -> dict[str, int]:
    """Bytes of a row of each table, with its share of the indexes."""
    bench_scan.build(place)
    engine = open_engine(place.url)
    at = WallClock().now()
    events = (
        Event(
            at=at + timedelta(seconds=n),
            store=StoreName("s0"),
            shop=ShopDomain("s0.myshopify.com"),
            clerk_user_id=ClerkUserId(f"user_{n:08d}"),
            customer_id=CustomerId(f"gid://shopify/Customer/{7_000_000_000_000 + n}"),
            kind="update",
            changes=(Change(field="first_name", before=f"Ada{n}", after=f"Grace{n}", why="profile changed"),),
        )
        for n in range(place.rows)
    )
    for part in batches(events, 1000):
        with writing(engine) as connection:
            connection.execute(insert(EventRow.__table__), [event_row(event) for event in part])
    users = (ClerkUserId(f"user_{n:08d}") for n in range(place.rows))
    RequestTable(engine).add_all(StoreName("s0"), users, at, interval_s=900)
    with reading(engine) as connection:
        if place.backend == "postgres":
            sizes = {
                name: connection.execute(text(f"select pg_total_relation_size('{place.table(name)}')")).scalar_one()
                for name in TABLES
            }
        else:
            query = text(
                "select sum(pgsize) from dbstat where name in (select name from sqlite_master where tbl_name = :name)"
            )
            sizes = {name: connection.execute(query, {"name": place.table(name)}).scalar_one() for name in TABLES}
    engine.dispose()
    return {name: round(size / place.rows) for name, size in sizes.items()}


# --- CPU --------------------------------------------------------------------------------------------------------------


def _reconcile(server: servers.Server) -> dict[str, float]:
    """CPU milliseconds of a reconcile, of `run` and of Postgres: with nothing to do, with one write, of an unknown user."""
    url = _fresh(server)
    with (
        tempfile.TemporaryDirectory() as folder,
        run_harness(Path(folder), state_url=url) as harness,
        ExitStack() as stack,
    ):
        harness.settings["profiles"] |= {"url": url, "table": "public.customers"}
        fill(harness, [f"user_{n}" for n in range(USERS)])
        run = stack.enter_context(running(harness))
        queue = RequestTable(stack.enter_context(closing_engine(url)))
        until(lambda: harness.shop().mutations >= USERS and not queue.depth(), "all users have customers")
        nudge(queue, USERS)

        def rename() -> None:
            with closing(psycopg.connect(url, autocommit=True)) as connection:
                connection.execute("update public.customers set first_name = first_name || 'a'")
            nudge(queue, USERS)

        def spent(work: Callable[[], None]) -> tuple[float, float]:
            before = cpu_s(run.popen.pid), server_cpu_s(server)
            work()
            after = cpu_s(run.popen.pid), server_cpu_s(server)
            return (after[0] - before[0]) / USERS * 1000, (after[1] - before[1]) / USERS * 1000

        named = {
            "nothing": spent(lambda: nudge(queue, USERS)),
            "stranger": spent(lambda: nudge(queue, USERS, of="stranger")),
            "write": spent(rename),
        }
    return {
        f"{name}_{who}_ms": round(pair[at], 2)
        for name, pair in named.items()
        for at, who in enumerate(("run", "postgres"))
    }


class _BulkQuery:
    """ports.BulkReader over a query that has ended, of all customers of a store as they were."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def start(self) -> str:
        return "gid://shopify/BulkOperation/1"

    def cancel(self, operation: str) -> None:
        """It has ended."""

    def state(self, operation: str) -> BulkState:
        now = WallClock().now()
        return BulkState(operation, "completed", self._rows, readable=True, created_at=now, completed_at=now)

    def lines(self, operation: str, *, skip: int = 0, batch: int = 1000) -> Iterator[list[bytes]]:
        yield from batches((_line(n) for n in range(skip, self._rows)), batch)


class _Lists(ShopCustomerLists):
    """Reads lines, and asks the shop nothing."""

    def count(self) -> int | None:
        return None


def _line(number: int) -> bytes:
    """A customer as a bulk query returns it."""
    return json.dumps(
        {
            "id": f"gid://shopify/Customer/{7_000_000_000_000 + number}",
            "updatedAt": "2026-11-01T09:00:00Z",
            "tags": ["app-user"],
            "canDelete": True,
            "defaultEmailAddress": {"emailAddress": f"person{number}@example.com"},
            "firstName": f"Ada{number}",
            "lastName": "Lovelace",
            "defaultPhoneNumber": None,
            "locale": "en",
            "note": None,
            "m0": {"value": f"user_{number:08d}", "type": "id", "compareDigest": "0" * 64},
        }
    ).encode()


def _night(server: servers.Server, place: bench_scan.Place) -> dict[str, float]:
    """CPU microseconds of a full scan for each user, and of a bulk query into a mirror that knows the customers already."""
    store, unasked = bench_scan.store_of(0), cast("Any", None)
    client = cast("ShopClient", SimpleNamespace(shop=store.shop))
    with closing_engine(place.url) as engine:
        lists, query = _Lists(client, store), _BulkQuery(place.rows)
        mirror = MirrorContext(
            store, StateStore(engine), query, lists, unasked, WallClock(), wait=lambda _seconds: True
        )
        making_s = time.process_time()
        assert sum(len(part) for part in query.lines("")) == place.rows
        making_s = time.process_time() - making_s

        def spent(work: Callable[[], object]) -> tuple[float, float]:
            before = time.process_time(), server_cpu_s(server)
            work()
            return time.process_time() - before[0], server_cpu_s(server) - before[1]

        scan_s = spent(lambda: bench_scan.scan_result(place))
        fill_mirror(mirror)  # customers that it did not know
        began = _log_bytes(place)
        mirror_s = spent(lambda: fill_mirror(mirror))
        log = _log_bytes(place) - began
    each = 1e6 / place.rows
    return {
        "scan_run_us": round(scan_s[0] * each, 1),
        "scan_postgres_us": round(scan_s[1] * each, 1),
        "mirror_run_us": round((mirror_s[0] - making_s) * each, 1),
        "mirror_postgres_us": round(mirror_s[1] * each, 1),
        "mirror_log_bytes": round(log / place.rows),
    }


def _log_bytes(place: bench_scan.Place) -> int:
    """How much the server has written to its log so far."""
    with closing(psycopg.connect(place.url, autocommit=True)) as connection:
        row = connection.execute("select pg_current_wal_lsn() - '0/0'").fetchone()
    assert row is not None
    return int(row[0])


def _claim(server: servers.Server, stores: int) -> dict[str, float]:
    """CPU milliseconds of a claim that finds one request, by the number of stores: of the caller, and of Postgres."""
    url = _fresh(server)
    engine = open_engine(url)
    ensure_schema(engine)
    queue, caps = RequestTable(engine), {StoreName(f"store-{n}"): 4 for n in range(stores)}
    now = WallClock().now()
    queue.add(
        (Request(store, ClerkUserId(f"user_{n}")) for store in caps for n in range(max(2, 120 // stores))),
        now,
        reason="bench",
    )
    queue.claim("warm", now, limit=1, lease_s=30, stores=caps)
    before = time.process_time(), server_cpu_s(server)
    for _ in range(CLAIMS):
        assert len(queue.claim("bench", now, limit=1, lease_s=30, stores=dict.fromkeys(caps, CLAIMS))) == 1
    spent = time.process_time() - before[0], server_cpu_s(server) - before[1]
    engine.dispose()
    return {"caller_ms": round(spent[0] / CLAIMS * 1000, 2), "postgres_ms": round(spent[1] / CLAIMS * 1000, 2)}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))  # noqa: T201  its output
