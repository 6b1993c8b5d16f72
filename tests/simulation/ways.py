"""The ways out of a replica: to the state, the profiles and the shops. Each call on them is a scheduling point.

What goes wrong on a way is drawn from the seed: a reply that is lost after the effect, a request that is lost before it, a
way that is cut for a while.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx
from sqlalchemy import Engine, event

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.errors import SourceBusy
from reconciler.simulator.world import World
from reconciler.state.database.engine import TURN, open_engine
from reconciler.state.processes.clock import DatabaseClock
from reconciler.supabase.reading.chunks import Chunk
from reconciler.supabase.reading.profiles import TableProfiles
from tests.inprocess import InProcess, Storage
from tests.simulation.scheduler import Machine, Scheduler

CUT_S = 60.0
PAGE = 7  # rows of the profiles that one read gives: a scan is several reads
NO_TURNS = {TURN: None}  # of an engine: all tasks share one thread, and one that waits for a lock stops them all


@dataclass(slots=True)
class Luck:
    """How often a call loses its request or its reply; none when the storm is over."""

    scheduler: Scheduler
    state: float = 0.001
    shop: float = 0.01
    profiles: float = 0.002
    injected: Counter[str] = field(default_factory=Counter)
    slow_shops: dict[str, float] = field(default_factory=dict)
    """Seconds that each call takes, by the domain of the shop."""

    def inject(self, chance: float, what: str) -> bool:
        """Draw whether this call fails now, and count it if so."""
        struck = self.scheduler.current is not None and self.scheduler.dice.random() < chance
        if struck:
            self.injected[what] += 1
            self.scheduler.note(what)
        return struck

    def calm(self) -> None:
        self.state = self.shop = self.profiles = 0.0
        self.scheduler.slow = 0.0


@dataclass(slots=True)
class Way:
    """From one machine to one of the others."""

    scheduler: Scheduler
    luck: Luck
    machine: Machine
    to: str

    def is_cut(self) -> bool:
        return self.machine.cut_until.get(self.to, 0.0) > self.scheduler.now_s

    def point(self, what: str) -> None:
        self.scheduler.point(f"{self.to} {what}")


# --- the state --------------------------------------------------------------------------------------------------------


class StateCursor(sqlite3.Cursor):
    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        connection = self.connection
        if isinstance(connection, StateConnection) and not connection.in_transaction and not sql.startswith("PRAGMA"):
            connection.before_transaction(sql)
        return super().execute(sql, parameters)


class StateConnection(sqlite3.Connection):
    """Others go on before a read or a transaction, and after a transaction has ended.

    Never inside one: they would wait for its lock.
    """

    way: Way | None = None
    _is_open = _writes = False

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(StateCursor)

    def before_transaction(self, sql: str) -> None:
        if self.way is None:
            return
        self.way.point("begin")
        if self.way.is_cut():
            raise sqlite3.OperationalError("the network is cut")
        if self.way.luck.inject(self.way.luck.state, "state: request lost"):
            raise sqlite3.OperationalError("the connection was lost")
        self._writes, self._is_open = sql == "BEGIN IMMEDIATE", True

    def commit(self) -> None:
        super().commit()
        if self.way is None or not self._is_open:
            return
        self._is_open = False
        self.way.point("done")
        if self._writes and (self.way.luck.inject(self.way.luck.state, "state: reply lost") or self.way.is_cut()):
            raise sqlite3.OperationalError("the connection was lost, and with it the answer to a commit")

    def rollback(self) -> None:
        super().rollback()
        self._is_open = False


def open_state(path: Path, way: Way) -> Engine:
    """The state as one machine sees it. Without syncs: here machines die, and no disks."""
    engine = open_engine(f"sqlite:///{path}").execution_options(**NO_TURNS)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> sqlite3.Connection:
        return sqlite3.connect(*arguments, **options, factory=StateConnection)

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")
        connection.way = way

    return engine


class StateClock(DatabaseClock):
    """The database's time. Where the state is of one machine alone, that is its own clock, which may jump (`moved_s`)."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.moved_s = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._scheduler.now_s + self.moved_s, UTC)


# --- the profiles -----------------------------------------------------------------------------------------------------


class SimProfiles(TableProfiles):
    """The table of the app, read in small pages; others go on before and after each read."""

    def __init__(self, path: Path, columns: dict[str, str], way: Way) -> None:
        super().__init__(f"sqlite:///{path}", "customers", columns)
        self._way = way

    def _before_read(self, what: str) -> None:
        self._way.point(what)
        if self._way.is_cut() or self._way.luck.inject(self._way.luck.profiles, "profiles: no answer"):
            raise SourceBusy("the profiles do not answer")

    def count(self, *, at_most: int | None = None) -> int:
        self._before_read("count")
        return super().count(at_most=at_most)

    def scan_rows(self, *, chunk: int = PAGE, after: ClerkUserId | None = None) -> Iterator[Chunk]:
        self._before_read("scan")
        for found in super().scan_rows(chunk=min(chunk, PAGE), after=after):
            yield found
            self._before_read("next")

    def rows_of(self, users: Collection[ClerkUserId]) -> Chunk:
        self._before_read("rows")
        return super().rows_of(users)

    def get(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Profile]:
        self._before_read("get")
        found = super().get(users)
        self._way.point("got")
        return found

    def changes_since(self, at: datetime, *, overlap_s: float, chunk: int = PAGE) -> Iterator[list[Profile]]:
        self._before_read("changes")
        for found in super().changes_since(at, overlap_s=overlap_s, chunk=min(chunk, PAGE)):
            yield found
            self._before_read("next")

    def users_without_row(self, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        self._before_read("missing")
        found = super().users_without_row(users)
        self._way.point("got")
        return found

    def sharing_email(self, emails: Collection[str] | None = None, *, enough: int | None = None) -> list[Profile]:
        self._before_read("sharing")
        return super().sharing_email(emails, enough=enough)


# --- the shops --------------------------------------------------------------------------------------------------------


class Network(InProcess):
    """The calls of one machine to the shops."""

    def __init__(self, world: World, way: Way) -> None:
        super().__init__(world)
        self._way, self._storage = way, Storage(world)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        luck, way, is_file = self._way.luck, self._way, not request.url.path.startswith("/admin/")
        way.point("file" if is_file else "call")
        task = way.scheduler.current
        if way.machine.at_work and task is not None and task.kind == "worker-":
            what, way.machine.at_work = way.machine.at_work, ""
            luck.injected[f"{what} at work"] += 1
            if what == "ends":
                way.scheduler.kill(way.machine)
            way.machine.cut_until["state"] = way.scheduler.now_s + CUT_S
        if luck.inject(luck.shop, "shop: request lost"):
            raise httpx.ReadError("the request was lost", request=request)
        way.scheduler.sleep(luck.slow_shops.get(request.url.host, 0.0))
        shop = self._world.shops[request.url.host].shop
        by_bulk = shop.bulk_is_running()
        response = self._storage.handle_request(request) if is_file else super().handle_request(request)
        if by_bulk:  # each call lets operations run for a while
            self.seen((), {})
        way.point("reply")
        if luck.inject(luck.shop, "shop: reply lost"):
            raise httpx.ReadError("the reply was lost", request=request)
        return response
