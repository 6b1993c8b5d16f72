r"""ports.ProfileReader on any table or view of Postgres or SQLite: the first step of the walk. Reads, never writes.

What it asks of the table: a key that names the Clerk user, and nothing else. An index on the key makes looks at single users
fast; one on `updated_at` makes resyncs fast. Without them each is a pass over the table. So is the question of each nudge
who else has this e-mail (2 ms for 1,000 rows), unless there is an index on
`lower(regexp_replace(translate(email::text, U&'\212A\0130', 'ki'), '[^\x21-\x7e]', '', 'g') collate "C")`.

Rows that name no user (key null or blank) are no business of ours, `check` tells how many there are. A key on several rows
is that user's problem: she is held, the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from threading import BoundedSemaphore
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from reconciler.core import normalise
from reconciler.core.batches import batches
from reconciler.core.ids import ClerkUserId
from reconciler.core.profile import Profile
from reconciler.errors import SourceError
from reconciler.supabase.chunks import Chunk, profiles_of, whole_groups
from reconciler.supabase.connection import REFUSED_LOGIN, SCANS_AT_ONCE, open_source, translated
from reconciler.supabase.rows import UnreadableError, moment
from reconciler.supabase.sight import be_patient, refuse_hidden
from reconciler.supabase.table import ProfileTable, find_table

ASK = 500  # names in one question
LOGIN_PAUSE_S = 130.0  # Supabase's pooler locks an address out for two minutes, anew with each wrong password


class TableProfiles:
    """The profiles in `table` ("schema.table"; SQLite: the plain name), by `columns` (ours: theirs). Thread-safe.

    At most eight scans are under way at once; a ninth waits for one to end.
    """

    def __init__(
        self, url: str, table: str, columns: Mapping[str, str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._engine = open_source(url)
        self._table_name = table
        self._columns = dict(columns)
        self._monotonic = monotonic
        self._found: ProfileTable | None = None
        self._scans = BoundedSemaphore(SCANS_AT_ONCE)
        self._refused: tuple[float, SourceError] | None = None

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def check(self) -> tuple[str, ...]:
        with self._looking(anew=True) as (connection, table):
            unnamed = connection.execute(sa.select(sa.func.count()).select_from(table.source).where(~table.named))
            count = unnamed.scalar_one()
        if not count:
            return ()
        column = self._columns["clerk_user_id"]
        return (f"{count} rows of {self._table_name} name no user ({column} is null or blank): they are left out",)

    def count(self, *, at_most: int | None = None) -> int:
        with self._looking() as (connection, table):
            rows = sa.select(sa.literal(1)).select_from(table.source).where(table.named).limit(at_most).subquery()
            return int(connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())

    def scan(self, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Profile]]:
        with self._scans, self._looking(patient=True) as (connection, table):
            query = table.select().order_by(table.key)
            if after is not None:
                query = query.where(table.key > after)
            with _streamed(connection, query, chunk) as rows:
                yield from batches(profiles_of(table, rows), chunk)

    def scan_rows(self, *, chunk: int = 4000, after: ClerkUserId | None = None) -> Iterator[Chunk]:
        with self._scans, self._looking(patient=True) as (connection, table):
            query = table.select().order_by(table.order)
            if after is not None:
                query = query.where(table.order > after)
            with _drivers_cursor(connection, query) as cursor:
                for part in whole_groups(cursor, chunk):
                    yield Chunk(table, part)

    def rows_of(self, users: Collection[ClerkUserId]) -> Chunk:
        asked = frozenset(users)
        with self._looking() as (connection, table):
            rows: list[tuple[Any, ...]] = []
            for part in _parts(asked):
                query = table.select().where(table.among(part)).order_by(table.key)
                rows += [row for row in connection.execute(query).cursor.fetchall() if row[0] in asked]
        return Chunk(table, rows)

    def get(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Profile]:
        if not users:
            return {}
        with self._looking() as (connection, table):
            return {p.clerk_user_id: p for p in _named(connection, table, users)}

    def changed_since(self, at: datetime, *, overlap_s: float, chunk: int = 1000) -> Iterator[list[Profile]]:
        if "updated_at" not in self._columns:
            yield from self.scan(chunk=chunk)
            return
        since = at - timedelta(seconds=overlap_s)
        with self._scans, self._looking(patient=True) as (connection, table):
            # Keys first: of a key on several rows all must be seen, the unchanged ones too.
            touched = table.touched_since(since)
            with _streamed(connection, _touched(connection, table, since, touched), chunk) as rows:
                keys = (key for key, value in rows if touched is not None or _is_since(value, since))
                for part in batches((key for key, _ in groupby(keys)), chunk):
                    yield sorted(_named(connection, table, part), key=lambda profile: profile.clerk_user_id)

    def vanished(self, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        there: set[str] = set()
        with self._looking() as (connection, table):
            for part in _parts(users):
                found = connection.execute(sa.select(table.key).where(table.named, table.among(part)))
                there.update(row[0] for row in found.cursor.fetchall())
        return frozenset(users) - there

    def sharing_email(self, emails: Collection[str] | None = None) -> list[Profile]:
        if "email" not in self._columns:
            return []
        return self._sharing_any() if emails is None else self._sharing(emails)

    def _sharing_any(self) -> list[Profile]:
        with self._scans, self._looking(patient=True) as (connection, table):
            rough = table.rough_email()
            groups = sa.select(rough).where(table.named, rough != "").group_by(rough)
            shared = rough.in_(groups.having(sa.func.count() > 1).correlate(None))
            query = table.select().add_columns(rough).order_by(rough, table.key)
            with _streamed(connection, query.where(shared), ASK) as rows:
                return _shared(table, rows, None)

    def _sharing(self, emails: Collection[str]) -> list[Profile]:
        wanted = {key for e in emails if (key := normalise.email_key(e)) is not None}
        found: list[Profile] = []
        if not wanted:
            return found
        with self._looking() as (connection, table):
            rough = table.rough_email()
            query = table.select().add_columns(rough).order_by(rough, table.key)
            for part in _parts(table.rough_emails(wanted)):
                found += _shared(table, connection.execute(query.where(rough.in_(part))), wanted)
        return sorted(found, key=lambda profile: profile.clerk_user_id)

    @contextmanager
    def _looking(self, *, anew: bool = False, patient: bool = False) -> Iterator[tuple[Connection, ProfileTable]]:
        """One transaction that only reads, in which all rows can be seen."""
        self._refuse_again()
        try:
            with translated(self._url), self._engine.connect() as connection:
                table = self._found
                if table is None or anew:
                    table = find_table(connection, self._table_name, self._columns)
                if table.schema is not None:
                    if patient:
                        be_patient(connection)
                    refuse_hidden(connection, table.schema, table.name)
                self._found = table
                yield connection, table
        except SourceError as error:
            self._found = None  # the table may have been altered: look anew the next time
            if any(words in error.message for words in REFUSED_LOGIN):
                self._refused = (self._monotonic(), error)
            raise

    def _refuse_again(self) -> None:
        """Say again what the server said of our password, without asking it again so soon."""
        refused = self._refused
        if refused is None:
            return
        if self._monotonic() - refused[0] < LOGIN_PAUSE_S:
            raise SourceError(refused[1].message, hint=refused[1].hint)
        self._refused = None


def _streamed(connection: Connection, query: sa.Select[Any], chunk: int) -> AbstractContextManager[Any]:
    """Rows as they are read, through a cursor of the server's: memory does not grow with the table. Close it."""
    return connection.execute(query, execution_options={"yield_per": chunk})


@contextmanager
def _drivers_cursor(connection: Connection, query: sa.Select[Any]) -> Iterator[Any]:
    """The driver's own cursor, on the server where there is one: plain tuples, none of them read before.

    Not the cursor under SQLAlchemy's streamed result: that one has taken the first row for itself.
    """
    if connection.dialect.name == "sqlite":
        with connection.execute(query) as rows:
            yield rows.cursor
        return
    compiled = query.compile(dialect=connection.dialect)
    driver = connection.connection.driver_connection
    assert driver is not None
    with driver.cursor(name="reconciler_rows") as cursor:
        cursor.execute(str(compiled), compiled.construct_params())
        yield cursor


def _touched(connection: Connection, table: ProfileTable, since: datetime, touched: Any) -> Any:
    """Keys and times in key order of the rows that may have been touched since, by `touched` where there is such a test."""
    query = sa.select(table.key.label("key"), table.read("updated_at")).where(table.named)
    if touched is not None:
        return query.where(touched).order_by(table.key)
    if table.postgres:
        return query.order_by(table.key)
    if table.begins_with_years(connection):
        return sa.union_all(*(query.where(late) for late in table.lately(since))).order_by("key")
    return query.where(table.perhaps_since(since)).order_by(table.key)


def _named(connection: Connection, table: ProfileTable, users: Collection[str]) -> Iterator[Profile]:
    asked = frozenset(users)
    for part in _parts(asked):
        rows = connection.execute(table.select().where(table.among(part)).order_by(table.key))
        yield from (p for p in profiles_of(table, rows) if p.clerk_user_id in asked)


def _shared(table: ProfileTable, rows: Iterable[Sequence[Any]], wanted: set[str] | None) -> list[Profile]:
    """Of rows sorted by rough e-mail those not deleted whose real e-mail is wanted, or (None) is another user's too.

    Each row counts by itself, also where a user's key stands on several: to claim an address it takes no more.
    """
    found: list[Profile] = []
    for _, group in groupby(rows, key=itemgetter(-1)):
        people: dict[str, dict[ClerkUserId, Profile]] = {}
        for profile in profiles_of(table, group):
            key = normalise.email_key(profile.email)
            if key is not None and not profile.deleted:
                people.setdefault(key, {})[profile.clerk_user_id] = profile
        for key, profiles in people.items():
            if key in wanted if wanted is not None else len(profiles) > 1:
                found.extend(profiles.values())
    return sorted(found, key=lambda profile: profile.clerk_user_id)


def _is_since(value: Any, since: datetime) -> bool:
    try:
        at = moment(value)
    except UnreadableError:
        return True
    return at is None or at >= since


def _parts(names: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(set(names))
    return (ordered[i : i + ASK] for i in range(0, len(ordered), ASK))
