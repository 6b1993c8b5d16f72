"""What a look at a whole shop costs where nothing has moved, and a look at 100 changes: CPU, memory, and how both grow.

    python -m tests.benchmarks.bench_scan [--rows N] [--backend sqlite|postgres] [--stores N]

The world (profiles, mappings, mirror) is made by SQL and is no part of what is measured. Each measurement runs in a process
of its own, so that its peak memory is its own; CPU is that of this process alone, and is compared with merely fetching the
same rows from the same tables with the driver. The shop is never asked: asking it ends the benchmark.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import psycopg

from reconciler.controller.mirror.refresh import MirrorContext
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.readers import Readers
from reconciler.controller.scan.incremental import incremental_resync
from reconciler.controller.scan.plan import plan_stores
from reconciler.controller.scan.resync import ResyncContext, ResyncResult
from reconciler.core.fields.desired import config_digest
from reconciler.core.fields.fingerprint import values_fp
from reconciler.core.model.ids import ShopDomain, StoreName
from reconciler.core.model.store import Store
from reconciler.state.database.engine import open_engine
from reconciler.state.repositories import Repositories
from reconciler.state.requests.queue import RequestTable
from reconciler.state.schema import upgrade
from reconciler.state.tables.rows import number_of
from reconciler.supabase.reading.profiles import TableProfiles
from tests import servers
from tests.benchmarks.alone import alone

CPU_MAX: Final = 3.0  # times the driver's own fetching
PEAK_MB_MAX: Final = 150
CHANGED: Final = 100
AT: Final = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
FETCH: Final = 4000
COLUMNS: Final = ("clerk_user_id", "email", "email_verified", "first_name", "last_name", "phone", "image_url", "locale",
                  "updated_at", "deleted_at", "metadata")  # fmt: skip
_SCHEMA: Final = {
    "sqlite": "create table customers (clerk_user_id text primary key, email text, email_verified boolean, first_name "
    "text, last_name text, phone text, image_url text, locale text, updated_at timestamp, deleted_at timestamp, metadata "
    "text)",
    "postgres": 'create table public.customers (clerk_user_id text collate "C" primary key, email text, email_verified '
    "boolean, first_name text, last_name text, phone text, image_url text, locale text, updated_at timestamptz, "
    "deleted_at timestamptz, metadata jsonb)",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A database with a world in it."""

    backend: str
    url: str
    rows: int
    stores: int

    @contextmanager
    def driver(self) -> Iterator[Any]:
        """A connection of the driver's own."""
        if self.backend == "sqlite":
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
                yield connection
        else:
            with psycopg.connect(self.url, prepare_threshold=None) as connection:
                yield connection

    def table(self, name: str) -> str:
        return f"reconciler_{name}" if self.backend == "sqlite" else f"reconciler.reconciler_{name}"

    def profiles(self) -> TableProfiles:
        return TableProfiles(
            self.url, "customers" if self.backend == "sqlite" else "public.customers", {c: c for c in COLUMNS}
        )


class _Clock:
    def now(self) -> datetime:
        return AT + timedelta(minutes=15)


class _Unasked:
    """A shop, in every role, that must not be asked."""

    def restore_rate(self) -> float:
        return 100.0

    def updates_since(self, _at: datetime) -> Iterator[list[Any]]:
        return iter(())

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"the shop was asked: {name}")


def store_of(number: int) -> Store:
    """One of the world's stores."""
    return Store(
        name=StoreName(f"s{number}"),
        shop=ShopDomain(f"s{number}.myshopify.com"),
        trust_email="always",
        tags=("app-user",),
    )


# --- the world ------------------------------------------------------------------------------------------------------


def build(place: Place) -> None:
    """Profiles, and for each store mappings and a mirror in which all are equal."""
    engine = open_engine(place.url)
    upgrade(engine)
    engine.dispose()
    with place.driver() as connection:
        connection.execute(_SCHEMA[place.backend])
        connection.commit()
        _insert(place, connection, "customers", COLUMNS, (_profile(place, n) for n in range(place.rows)))
    profiles = place.profiles()
    for number in range(place.stores):
        with place.driver() as connection:
            _insert(place, connection, place.table("mapping"), *_mappings(store_of(number), profiles))
            _insert(place, connection, place.table("mirror"), *_mirror(store_of(number), place.rows))
            _mark(place, connection, store_of(number))
    profiles.close()
    with place.driver() as connection:
        if place.backend == "postgres":
            connection.commit()
            connection.autocommit = True
            connection.execute("vacuum analyze")
        else:
            connection.execute("create index touched on customers (updated_at)")
            connection.execute("analyze")
            connection.commit()
    if place.backend == "postgres":
        with place.driver() as connection:
            connection.execute("create index touched on public.customers (updated_at)")
            connection.commit()


def _insert(
    place: Place, connection: Any, table: str, columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]
) -> None:
    if place.backend == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.executemany(f"insert into {table} ({', '.join(columns)}) values ({marks})", rows)
    else:
        with connection.cursor() as cursor, cursor.copy(f"copy {table} ({', '.join(columns)}) from stdin") as copy:
            for row in rows:
                copy.write_row(row)
    connection.commit()


def _user(number: int) -> str:
    return f"user_{number:08d}"


def _profile(place: Place, n: int) -> tuple[Any, ...]:
    at = f"2026-{1 + n % 10:02}-{1 + n % 28:02} {n % 24:02}:{n % 59:02}:{n % 53:02}"
    at += "" if place.backend == "sqlite" else "+00"
    return (_user(n), f"person{n}@example.com", True, f"Ada{n}", "Lovelace", None, f"https://img.example.com/{n}.png",
            "en-US", at, None, f'{{"brand": "acme", "number": {n}}}')  # fmt: skip


def _mappings(store: Store, profiles: TableProfiles) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    columns = ("shopify_shop", "clerk_user_id", "store", "shopify_customer_id", "email", "email_key", "status",
               "first_seen_at", "last_seen_at", "generation", "applied", "refused", "profile_digest", "config_digest",
               "profile_fp", "config_fp", "observed_fp", "equal_fp")  # fmt: skip
    applied = json.dumps(
        {f: {"value": "x" * 20, "ours": True, "config": "0" * 16} for f in ("email", "first_name", "last_name", "tags")}
    )
    config, seen = number_of(config_digest(store)), "2026-11-01 09:00:00.000000"

    def rows() -> Iterator[tuple[Any, ...]]:
        number = 0
        for chunk in profiles.scan_rows():
            for user, fp in chunk.fingerprints().items():
                mail = f"person{number}@example.com"
                yield (store.shop, user, store.name, _customer(number), mail, mail, "in_sync", seen, seen, 1, applied,
                       "{}", "", "", fp, config, _observed(number), fp)  # fmt: skip
                number += 1

    return columns, rows()


def _mirror(store: Store, count: int) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    columns = ("shopify_shop", "shopify_customer_id", "email_key", "backlink", "observed", "observed_fp", "seen_at",
               "moved_at", "updated_at", "source", "gone")  # fmt: skip
    seen = "2026-11-01 09:00:00.000000"

    def rows() -> Iterator[tuple[Any, ...]]:
        for n in range(count):
            mail = f"person{n}@example.com"
            values = f'{{"email":"{mail}","first_name":"Ada{n}","last_name":"Lovelace","tags":["app-user"]}}'
            yield (store.shop, _customer(n), mail, _user(n), values, _observed(n), seen, seen, seen, "bulk", False)

    return columns, rows()


def _customer(number: int) -> str:
    """In another order than the users', as in life."""
    return f"gid://shopify/Customer/{7_000_000_000_000 + number * 7_919 % 1_000_003 * 1000 + number // 1_000_003}"


def _observed(number: int) -> int:
    scalars = (f"person{number}@example.com", f"Ada{number}", "Lovelace", None, "en-US", None)
    return values_fp(scalars, ["app-user"], _user(number), [])


def _mark(place: Place, connection: Any, store: Store) -> None:
    at = "2026-11-24 08:00:00.000000"
    table, mark = place.table("mirror_mark"), "?" if place.backend == "sqlite" else "%s"
    connection.execute(
        f"insert into {table} (shopify_shop, lines, complete_at, listed_at) values ({mark}, 0, {mark}, {mark})",
        (store.shop, at, at),
    )
    connection.commit()


# --- what is measured -----------------------------------------------------------------------------------------------


def fetched(place: Place) -> int:
    """The same rows, fetched by the driver and thrown away."""
    count = 0
    queries = [f"select {', '.join(COLUMNS)} from customers order by clerk_user_id"]
    for number in range(place.stores):
        shop = store_of(number).shop
        queries.append(
            "select clerk_user_id, status, shopify_customer_id, profile_fp, config_fp, observed_fp from "
            f"{place.table('mapping')} where shopify_shop = '{shop}' order by clerk_user_id"
        )
        queries.append(
            f"select shopify_customer_id, observed_fp from {place.table('mirror')} where shopify_shop = '{shop}'"
        )
    with place.driver() as connection:
        for query in queries:
            cursor = connection.cursor() if place.backend == "sqlite" else connection.cursor(name="fetch")
            cursor.execute(query)
            while rows := cursor.fetchmany(FETCH):
                count += len(rows)
            cursor.close()
    return count


def scan_result(place: Place) -> int:
    """A plan of every store, with nothing to do."""
    profiles, (engine, state) = place.profiles(), _state(place)
    unasked: Any = _Unasked()
    stores = {
        store.name: (store, Readers(profiles, unasked, state.mappings, pairs=state.mappings))
        for store in map(store_of, range(place.stores))
    }
    plan = plan_stores(stores, ObserveOptions(now=AT)).plan
    assert all(part.error is None for part in plan.stores), plan.stores
    assert (plan.summary.in_sync, plan.summary.actions, plan.summary.hold) == (place.rows * place.stores, 0, 0)
    profiles.close()
    engine.dispose()
    return plan.summary.in_sync


def changed(place: Place) -> Callable[[], int]:
    """A look at what changed in one store by a process that has found changes before: 100 rows moved since the last."""
    profiles, (engine, state) = place.profiles(), _state(place)

    def look() -> int:
        found = _scan_of_changes(place, profiles, state, engine)
        assert found.looked_at == found.queued == CHANGED
        return found.looked_at

    for number, at in enumerate((AT, AT + timedelta(minutes=10))):
        mark = state.scans.begin(store_of(0).shop, "changes", now=at)
        state.scans.finish(store_of(0).shop, "changes", now=at, watermark=at, cursor=mark.cursor)
        _touch(place, number, at + timedelta(minutes=1))
        if number == 0:
            look()
    return look


def _touch(place: Place, first: int, at: datetime) -> None:
    step, mark = max(2, place.rows // CHANGED), "?" if place.backend == "sqlite" else "%s"
    when = f"{at:%Y-%m-%d %H:%M:%S}" + ("" if place.backend == "sqlite" else "+00")
    with place.driver() as connection:
        for n in range(first, step * CHANGED, step):
            connection.execute(
                f"update customers set first_name = 'Changed', updated_at = {mark} where clerk_user_id = {mark}",
                (when, _user(n)),
            )
        connection.commit()


def _scan_of_changes(place: Place, profiles: TableProfiles, state: Repositories, engine: Any) -> ResyncResult:
    store, unasked = store_of(0), _Unasked()
    shop: Any = unasked
    mirror = MirrorContext(store, state.mappings, shop, shop, shop, _Clock(), wait=lambda _seconds: True)
    context = ResyncContext(
        store=store,
        readers=Readers(profiles, shop, state.mappings),
        state=state.mappings,
        book=state.scans,
        queue=RequestTable(engine),
        clock=_Clock(),
        go_on=lambda: True,
        interval_s=900.0,
        mirror=mirror,
        reread_policy=lambda: None,
    )
    return incremental_resync(context)


def _state(place: Place) -> tuple[Any, Repositories]:
    engine = open_engine(place.url)
    return engine, Repositories(engine)


WORK: Final[dict[str, Callable[[Place], Callable[[], int]]]] = {
    "fetch": lambda place: partial(fetched, place),
    "scan": lambda place: partial(scan_result, place),
    "changes": changed,
}  # what readies each is not measured


def timed(name: str, place: Place) -> dict[str, Any]:
    """One measurement, in a new process."""
    return alone(_ready, name, place)


def _ready(name: str, place: Place) -> Callable[[], int]:
    return WORK[name](place)


def measure(rows: int = 100_000, backend: str = "sqlite", stores: int = 1) -> dict[str, Any]:
    """All of it at this size: each with CPU and wall seconds and peak memory, and what they come to."""
    with open_place(rows, backend, stores) as place:
        build(place)
        fetch = timed("fetch", place)
        scan = timed("scan", place)
        changes = timed("changes", place)
    return {
        "backend": backend,
        "rows": rows,
        "stores": stores,
        "fetch": fetch,
        "scan": scan,
        "changes": changes,
        "cpu_ratio": round(scan["cpu_s"] / fetch["cpu_s"], 2),
        "changes_share": round(changes["cpu_s"] / scan["cpu_s"], 4),
        "goals": {"cpu_ratio": CPU_MAX, "peak_mb": PEAK_MB_MAX, "changes_share": 0.01},
    }


@contextmanager
def open_place(rows: int, backend: str, stores: int) -> Iterator[Place]:
    """An empty database for so many profiles and stores."""
    if backend == "sqlite":
        with tempfile.TemporaryDirectory(prefix="bench-scan-") as folder:
            yield Place(backend, f"sqlite:///{Path(folder) / 'world.db'}", rows, stores)
    else:
        with servers.postgres() as server:
            yield Place(backend, server.url(server.create()), rows, stores)


def main() -> int:
    """Measure and print; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_scan", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--backend", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--stores", type=int, default=1)
    wanted = parser.parse_args()
    found = measure(wanted.rows, wanted.backend, wanted.stores)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return int(found["cpu_ratio"] > CPU_MAX or found["scan"]["peak_mb"] > PEAK_MB_MAX)


if __name__ == "__main__":
    raise SystemExit(main())
