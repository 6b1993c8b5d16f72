"""A modelled Postgres: read committed, row locks and waits, over the file of SQLite that holds what is committed.

A transaction is no transaction of SQLite, which would keep all others out. It is the rows that it has written so far,
`written`. Each statement runs on what is committed now, with these rows over it, in a transaction of SQLite that is rolled
back before anything else happens; what it wrote is read from there. So each statement sees what others committed before
it began, and its own writes. A commit writes the rows into the file.

What a statement writes or locks, rows as well as values of unique indexes, is locked until its transaction ends. A
statement that meets a lock is undone, waits in virtual time, and begins again on what is committed then: on those of the
rows that it found at first which still match, and on no others, as in Postgres. Circles of waits, the limits of `bounds.py`
and lost connections end transactions.

The statements are those that the product makes for Postgres; `dialect.py` has SQLite run what is written for Postgres.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, Self

from sqlalchemy import Engine, event
from sqlalchemy.dialects.postgresql.base import PGCompiler
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from reconciler.state.database.bounds import BOUNDS_MS
from reconciler.state.database.engine import open_engine
from tests.simulation.dialect import greatest, least, timestamptz, translate
from tests.simulation.scheduler import Died, Scheduler
from tests.simulation.threads import Waiting
from tests.simulation.ways import NO_TURNS, Way

LOCK_S = BOUNDS_MS["lock_timeout"] / 1000
IDLE_S = BOUNDS_MS["idle_in_transaction_session_timeout"] / 1000
DEADLOCK, REFUSED = "state: deadlock", "state: row refused"
DEADLOCK_S = 1.0  # after so long, who waits looks for a circle
Mode = Literal["share", "exclusive"]
Key = tuple[Any, ...]
"""A row, a value of a unique index, or an advisory lock."""
_LOCKING = re.compile(r"(?:/\*)?\s*\bFOR (UPDATE|SHARE)\b( SKIP LOCKED)?\s*(?:\*/)?")
_WITH_WRITTEN = re.compile(
    r"WITH written AS\s*\((?P<first>INSERT .*)\)\s*(?P<then>INSERT .*)\s+FROM written(?P<returning> RETURNING .*)",
    re.DOTALL,
)
"""A row, and another one if the first was written: SQLite writes one row a statement."""
_FROM = re.compile(r"^SELECT .*?\bFROM ((?:main\.)?(\w+))", re.DOTALL)
_VERB = re.compile(r"\b(INSERT|UPDATE|DELETE)\b")


class ServerError(sqlite3.OperationalError):
    def __init__(self, message: str, sqlstate: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Refused(sqlite3.IntegrityError):
    sqlstate = "23505"


class LostConnection(sqlite3.OperationalError):
    sqlstate = None


@dataclass(frozen=True, slots=True)
class Shape:
    """A table: its key, its unique indexes, and whether its key is a number that each new row gets from the table."""

    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...]
    serial: bool

    def put(self, db: sqlite3.Cursor, key: Key, row: Key | None) -> None:
        where = " AND ".join(f'"{name}" = ?' for name in self.keys)
        db.execute(f'DELETE FROM "{self.name}" WHERE {where}', key)
        if row is not None:
            db.execute(f'INSERT INTO "{self.name}" VALUES ({", ".join("?" for _ in self.columns)})', row)

    def read(self, db: sqlite3.Cursor, key: Key) -> Key | None:
        where = " AND ".join(f'"{name}" = ?' for name in self.keys)
        found: Key | None = db.execute(f'SELECT * FROM "{self.name}" WHERE {where}', key).fetchone()
        return found

    def locked_by(self, row: Key | None) -> Iterator[Key]:
        """The values of unique indexes in this row."""
        for names in self.unique if row is not None else ():
            values = tuple(row[self.columns.index(name)] for name in names) if row else ()
            if None not in values:
                yield (self.name, names, *values)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement without its locking clause. `locks`: how it locks what it selects; `skips`: it passes over what is
    locked.
    """

    sql: str
    parameters: list[Any]
    many: bool
    locks: Mode | None
    skips: bool
    writes: bool
    inserts: bool

    @classmethod
    def read(cls, sql: str, parameters: list[Any], *, many: bool) -> Statement:
        locking = _LOCKING.search(sql)
        locks: Mode | None = None if locking is None else "share" if locking[1] == "SHARE" else "exclusive"
        plain = _LOCKING.sub("", sql)
        skips = bool(locking and locking[2])
        writes = locking is not None or bool(_VERB.search(plain)) or "pg_advisory" in plain
        inserts = plain.startswith(("INSERT", "WITH written"))
        return cls(plain, parameters, many, locks, skips, writes, inserts)


@dataclass(slots=True)
class Tried:
    """What a statement did before it was undone. No result: a unique index `refused` it."""

    result: list[Any] | None
    keys: dict[Key, Mode] = field(default_factory=dict)
    """What it has to lock."""
    written: dict[tuple[str, Key], Key | None] = field(default_factory=dict)
    rows: frozenset[Key] = frozenset()
    """The rows that it has found."""
    refused: str = ""


@dataclass(eq=False, slots=True)
class Transaction:
    written: dict[tuple[str, Key], Key | None] = field(default_factory=dict)
    """By table and key: the rows as they are after it; None: deleted."""
    idle_since_s: float | None = None
    waits_for: frozenset[Transaction] = frozenset()
    ended: str = ""
    """Why the server has ended it."""


class Server:
    """What all connections share: who has locked what, and who waits."""

    def __init__(self, path: Path, scheduler: Scheduler) -> None:
        self.path, self.scheduler = path, scheduler
        self.locks: dict[Key, dict[Transaction, Mode]] = {}
        self.ends = Waiting(scheduler)
        self.open: list[Transaction] = []
        self.numbers: Counter[str] = Counter()
        """What each sequence gave last; a number is given once, whatever becomes of the transaction."""
        with sqlite3.connect(path) as db:
            self.shapes = {shape.name: shape for shape in _shapes(db)}
        self.translate = cache(partial(translate, keys={name: shape.keys for name, shape in self.shapes.items()}))

    def next_number(self, name: str) -> int:
        self.numbers[name] += 1
        return self.numbers[name]

    def blockers(self, mine: Transaction, keys: dict[Key, Mode]) -> frozenset[Transaction]:
        return frozenset(
            other
            for key, mode in keys.items()
            for other, held in self.locks.get(key, {}).items()
            if other is not mine and "exclusive" in {mode, held}
        )

    def lock(self, mine: Transaction, keys: dict[Key, Mode]) -> None:
        for key, mode in keys.items():
            held = self.locks.setdefault(key, {})
            if held.get(mine) != "exclusive":
                held[mine] = mode

    def end(self, transaction: Transaction, why: str = "") -> None:
        transaction.ended = why
        self.open.remove(transaction)
        for key in [key for key, held in self.locks.items() if transaction in held]:
            del self.locks[key][transaction]
            if not self.locks[key]:
                del self.locks[key]
        self.ends.wake()

    def end_idle(self, some: Iterable[Transaction]) -> None:
        """A transaction of a client that has been silent for too long ends."""
        for each in some:
            since_s = each.idle_since_s
            if since_s is not None and not each.ended and self.scheduler.now_s - since_s >= IDLE_S:
                self.end(each, "25P03")

    def is_circle(self, mine: Transaction, blockers: frozenset[Transaction]) -> bool:
        seen: set[Transaction] = set()
        wanted = list(blockers)
        while wanted:
            each = wanted.pop()
            if each is mine:
                return True
            if each not in seen:
                seen.add(each)
                wanted += each.waits_for
        return False


class PostgresCursor(sqlite3.Cursor):
    """Keeps all rows of the result: the statement's own transaction is over when they are read."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._kept: deque[Any] = deque()

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        if isinstance(self.connection, PostgresConnection):
            self._kept = deque(self.connection.run(self, sql, [parameters], many=False))
            return self
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Self:
        assert isinstance(self.connection, PostgresConnection)
        self._kept = deque(self.connection.run(self, sql, list(parameters), many=True))
        return self

    def plainly(self, sql: str, parameters: list[Any], *, many: bool) -> list[Any]:
        if many:
            super().executemany(sql, parameters)
            return []
        if found := _WITH_WRITTEN.fullmatch(sql):
            first = found["first"].count("?")
            super().execute(found["first"], parameters[0][:first])
            if not list(super().fetchall()):
                return []
            sql, parameters = f"{found['then']} FROM (SELECT 1){found['returning']}", [parameters[0][first:]]
        super().execute(sql, parameters[0])
        return list(super().fetchall())

    def fetchone(self) -> Any:
        return self._kept.popleft() if self._kept else None

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        return [self._kept.popleft() for _ in range(min(size or 1, len(self._kept)))]

    def fetchall(self) -> list[Any]:
        found, self._kept = list(self._kept), deque()
        return found

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if not self._kept:
            raise StopIteration
        return self._kept.popleft()


class PostgresConnection(sqlite3.Connection):
    """One connection of a replica. Without `way`, it is one of SQLite."""

    way: Way | None = None
    server: Server
    mine: Transaction | None = None
    """None: each statement is a transaction of its own."""
    _acting: Transaction
    """The transaction of the statement that runs."""
    _asked: dict[Key, Mode]
    """What the statement that runs has asked to lock by itself."""
    _kept: dict[Key, Any]

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(PostgresCursor)

    def prepare(self, way: Way, server: Server) -> None:
        """From now on, as Postgres: note which rows are touched."""
        db = self._db()
        db.execute("CREATE TEMP TABLE touched (name, a, b, c)")
        for shape in server.shapes.values():
            marks = {
                row: ", ".join([f'{row}."{name}"' for name in shape.keys] + ["NULL"] * (3 - len(shape.keys)))
                for row in ("old", "new")
            }
            for verb, rows in (("INSERT", ("new",)), ("UPDATE", ("old", "new")), ("DELETE", ("old",))):
                body = " ".join(f"INSERT INTO touched VALUES ('{shape.name}', {marks[row]});" for row in rows)
                db.execute(
                    f'CREATE TEMP TRIGGER "{shape.name} {verb}" AFTER {verb} ON main."{shape.name}" BEGIN {body} END'
                )
        self.create_function("hashtextextended", 2, lambda text, seed: f"{seed} {text}")
        self.create_function("pg_advisory_xact_lock", 1, self._lock_advisory)
        self.create_function("lock_row", -1, self._lock_row)
        self.create_function("share_row", -1, self._share_row)
        self.create_function("keep", 3, self._keep)
        self.create_function("kept", 2, lambda *key: self._kept[key])
        self.create_function("nextval", 1, server.next_number)
        for function in (greatest, least, timestamptz):
            self.create_function(function.__name__, -1, function)
        self._asked, self._kept = {}, {}
        self.way, self.server = way, server

    def _lock_advisory(self, key: str) -> str:
        self._asked["advisory", key] = "exclusive"
        return ""

    def _lock_row(self, skips: int, name: str, *key: Any) -> bool:
        """Lock a row that a statement has found; False where it is to be passed over, as another has locked it."""
        if skips and any(each is not self._acting for each in self.server.locks.get((name, key), {})):
            return False
        self._asked[name, key] = "exclusive"
        return True

    def _share_row(self, name: str, *key: Any) -> bool:
        self._asked[name, key] = "share"
        return True

    def _keep(self, user: str, store: str, value: Any) -> Any:
        self._kept[user, store] = value
        return value

    def _db(self) -> sqlite3.Cursor:
        return super().cursor(sqlite3.Cursor)

    # --- statements -------------------------------------------------------------------------------------------------

    def run(self, cursor: PostgresCursor, sql: str, parameters: list[Any], *, many: bool) -> list[Any]:
        way = self.way
        if sql.startswith("BEGIN"):
            self._begin()
            return []
        if way is None or sql.startswith("PRAGMA") or way.scheduler.current is None:
            return cursor.plainly(sql, parameters, many=many)
        statement = Statement.read(self.server.translate(sql), parameters, many=many)
        self._before(way, _name(sql))
        try:
            if not statement.writes and (self.mine is None or not self.mine.written):
                found = cursor.plainly(statement.sql, parameters, many=many)
            else:
                found = self._run_locking(way, cursor, statement)
        except Died:
            self._drop()
            raise
        if self.mine is None:  # the answer is that of a whole transaction
            way.point("answer")
            if (statement.writes and way.luck.inject(way.luck.state, "state: reply lost")) or way.is_cut():
                raise LostConnection("the connection was lost, and with it the answer")
        else:
            self.mine.idle_since_s = way.scheduler.now_s
        return found

    def _begin(self) -> None:
        if self.way is not None and self.way.scheduler.current is not None:
            self.mine = Transaction(idle_since_s=self.way.scheduler.now_s)
            self.server.open.append(self.mine)

    def _before(self, way: Way, what: str) -> None:
        """Others continue; and what may end the connection meanwhile."""
        way.point(what)
        self.server.end_idle([*self.server.open])  # also those that a statement with SKIP LOCKED passes over
        if self.mine is not None and self.mine.ended:
            raise ServerError("the transaction was idle for too long", self.mine.ended)
        if way.is_cut() or way.luck.inject(way.luck.state, "state: request lost"):
            self.mine = None  # the server does not know yet, and ends it when it has been idle for too long
            raise LostConnection("the connection was lost")
        if self.mine is not None:
            self.mine.idle_since_s = None

    def _run_locking(self, way: Way, cursor: PostgresCursor, statement: Statement) -> list[Any]:
        mine = self.mine or Transaction()
        until_s = way.scheduler.now_s + LOCK_S
        found: frozenset[Key] | None = None
        while True:
            tried = self._try_again(cursor, statement, mine, found)
            if found is None and tried.result is not None and not statement.inserts:
                found = frozenset(tried.rows)
            blockers = self.server.blockers(mine, tried.keys)
            if tried.result is not None and not blockers:
                break
            if tried.result is None:
                blockers = self._would_free(cursor, statement, mine)
                if not blockers:
                    way.luck.injected[REFUSED] += 1
                    raise Refused(tried.refused)
            self._wait(way, mine, blockers, until_s)
        if self.mine is None:
            self._store(tried.written)
        else:
            self.server.lock(mine, tried.keys)
            mine.written |= tried.written
        return tried.result

    def _would_free(self, cursor: PostgresCursor, statement: Statement, mine: Transaction) -> frozenset[Transaction]:
        """The transactions of which a commit would free the value that refused this statement."""
        others = [each for each in self.server.open if each is not mine]
        return frozenset(each for each in others if self._try(cursor, statement, mine, after=each).result is not None)

    def _try_again(
        self, cursor: PostgresCursor, statement: Statement, mine: Transaction, found: frozenset[Key] | None
    ) -> Tried:
        """Run the statement, and undo it; on no rows but those that were `found` before it waited."""
        tried = self._try(cursor, statement, mine)
        others = tried.rows - found if found is not None else frozenset()
        return self._try(cursor, statement, mine, without=others) if others else tried

    def _try(
        self,
        cursor: PostgresCursor,
        statement: Statement,
        mine: Transaction,
        *,
        without: frozenset[Key] = frozenset(),
        after: Transaction | None = None,
    ) -> Tried:
        """`without`: these rows. `after`: as if this transaction had been committed."""
        db, shapes = self._db(), self.server.shapes
        self._acting, self._asked, self._kept = mine, {}, {}
        db.execute("BEGIN IMMEDIATE")
        try:
            for (name, key), row in ((after.written if after else {}) | mine.written).items():
                shapes[name].put(db, key, row)
            self._show_numbers(db, mine)
            if statement.skips:
                self._hide_locked(db, mine)
            for name, key in without:
                shapes[name].put(db, key, None)
            db.execute("DELETE FROM temp.touched")
            selected = self._selected(db, statement) if statement.locks else []
            try:
                found = cursor.plainly(statement.sql, statement.parameters, many=statement.many)
            except sqlite3.IntegrityError as error:
                return Tried(None, refused=str(error))
            touched = list(dict.fromkeys(db.execute("SELECT name, a, b, c FROM temp.touched")))
            rows = [(shapes[name], tuple(values[: len(shapes[name].keys)])) for name, *values in touched]
            written = {(shape.name, key): shape.read(db, key) for shape, key in rows}
        finally:
            db.execute("ROLLBACK")
        keys: dict[Key, Mode] = dict.fromkeys(selected, statement.locks or "share")
        for shape, key in rows:
            before = mine.written.get((shape.name, key)) or shape.read(db, key)
            keys[shape.name, key] = "exclusive"
            keys |= dict.fromkeys((*shape.locked_by(before), *shape.locked_by(written[shape.name, key])), "exclusive")
        named = frozenset([*selected, *((shape.name, key) for shape, key in rows)])
        return Tried(found, keys | self._asked, written, named)

    def _show_numbers(self, db: sqlite3.Cursor, mine: Transaction) -> None:
        """Rows with a number that others have taken: a new row gets another one, as from a sequence."""
        for other in self.server.open:
            for (name, key), row in other.written.items() if other is not mine else ():
                shape = self.server.shapes[name]
                if shape.serial and row is not None and shape.read(db, key) is None:
                    shape.put(db, key, row)

    def _hide_locked(self, db: sqlite3.Cursor, mine: Transaction) -> None:
        for name, *rest in [key for key, held in self.server.locks.items() if any(each is not mine for each in held)]:
            if len(rest) == 1 and name in self.server.shapes:
                self.server.shapes[name].put(db, rest[0], None)

    def _selected(self, db: sqlite3.Cursor, statement: Statement) -> list[Key]:
        """The rows that a SELECT reads, by their keys."""
        found = _FROM.match(statement.sql)
        assert found is not None, statement.sql
        shape = self.server.shapes[found[2]]
        keys = f"SELECT {', '.join(shape.keys)} FROM {found[1]}{statement.sql[found.end() :]}"
        return [(shape.name, tuple(row)) for row in db.execute(keys, statement.parameters[0])]

    def _wait(self, way: Way, mine: Transaction, blockers: frozenset[Transaction], until_s: float) -> None:
        server, scheduler = self.server, way.scheduler
        way.luck.injected["state: waited for a lock"] += 1
        scheduler.note("waits for a lock")
        mine.waits_for = blockers
        try:
            idle_s = [each.idle_since_s + IDLE_S for each in blockers if each.idle_since_s is not None]
            left_s = max(0.0, min([until_s, *idle_s]) - scheduler.now_s)
            woken = server.ends.wait(min(left_s, DEADLOCK_S))
            if not woken and server.is_circle(mine, blockers):
                way.luck.injected[DEADLOCK] += 1
                raise ServerError("deadlock detected", "40P01")
            if not woken and left_s > DEADLOCK_S:
                server.ends.wait(left_s - DEADLOCK_S)
        finally:
            mine.waits_for = frozenset()
        server.end_idle(blockers)
        if scheduler.now_s >= until_s:
            way.luck.injected["state: lock timeout"] += 1
            raise ServerError("canceling statement due to lock timeout", "55P03")

    def _store(self, written: dict[tuple[str, Key], Key | None]) -> None:
        if not written:
            return
        db = self._db()
        db.execute("BEGIN IMMEDIATE")
        for (name, key), row in written.items():
            self.server.shapes[name].put(db, key, row)
        db.execute("COMMIT")

    # --- ends -------------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        if self.mine is None or self.way is None:
            super().commit()
            return
        way = self.way
        self._before(way, "commit")
        mine, self.mine = self.mine, None
        self._store(mine.written)
        self.server.end(mine)
        way.point("committed")
        if (mine.written and way.luck.inject(way.luck.state, "state: reply lost")) or way.is_cut():
            raise LostConnection("the connection was lost, and with it the answer to a commit")

    def rollback(self) -> None:
        self._drop()
        super().rollback()

    def _drop(self) -> None:
        mine, self.mine = self.mine, None
        if mine is not None and mine in self.server.open:
            self.server.end(mine)


class PostgresCompiler(SQLiteCompiler):
    """SQLite's, with the locks that a SELECT asks for."""

    def for_update_clause(self, select: Any, **options: Any) -> str:
        postgres: Any = PGCompiler
        return f" /*{postgres.for_update_clause(self, select, **options)} */"


def open_modelled(server: Server, way: Way) -> Engine:
    """The modelled Postgres as one machine sees it."""
    engine = open_engine(f"sqlite:///{server.path}").execution_options(**NO_TURNS)
    engine.dialect.statement_compiler = PostgresCompiler
    engine.dialect.name = "postgresql"

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> sqlite3.Connection:
        return sqlite3.connect(*arguments, **options, factory=PostgresConnection)

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")
        connection.prepare(way, server)

    @event.listens_for(engine, "handle_error")
    def note_loss(context: Any) -> None:
        lost = isinstance(context.original_exception, LostConnection)
        ended = getattr(context.original_exception, "sqlstate", None) == "25P03"
        context.is_disconnect = context.is_disconnect or lost or ended

    return engine


def _name(sql: str) -> str:
    words = sql.split()
    table = next((word for word in words if word.startswith(("reconciler_", "main.reconciler_"))), "")
    return f"{words[0].lower()} {table.removeprefix('main.').partition('.')[0].rstrip(',(')}"


def _shapes(db: sqlite3.Connection) -> Iterator[Shape]:
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'reconciler%'"):
        info = db.execute(f"PRAGMA table_info({name})").fetchall()
        keys = tuple(row[1] for row in sorted((row for row in info if row[5]), key=lambda row: row[5]))
        unique = []
        for _, index, is_unique, origin, is_partial in db.execute(f"PRAGMA index_list({name})").fetchall():
            if is_unique and origin != "pk" and not is_partial:
                unique.append(tuple(row[2] for row in db.execute(f"PRAGMA index_info({index})")))
        serial = len(keys) == 1 and next(row[2] for row in info if row[1] == keys[0]) == "INTEGER"
        yield Shape(name, tuple(row[1] for row in info), keys, tuple(unique), serial)
