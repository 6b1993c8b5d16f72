r"""ports.ProfileReader on any table or view of Postgres or SQLite. Reads, never writes.

The table only needs a key with the Clerk user id. An index on the key makes reads of single users fast; one on `updated_at`
makes resyncs fast. Without them, each reads the whole table. So does the check of each nudge for other users of the email
(2 ms for 1,000 rows), unless there is an index on
`lower(regexp_replace(translate(email::text, E'\u212A\u0130', 'ki'), E'[^\\x21-\\x7e]', '', 'g') collate "C")`.

Rows without a user (key null, blank or too long) are ignored; `check` returns their number. A user with several rows is
held; other users are not affected.

The table belongs to the app. Each statement runs in its own short transaction, with limits (limits.py), and ends before
its rows are returned: no cursor, transaction, lock or connection is held while the caller works or waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import MINYEAR, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from reconciler.core.fields import normalise
from reconciler.core.fields.people import Sought, phones_in
from reconciler.core.fields.readings import UnreadableError, moment
from reconciler.core.model.batches import batches
from reconciler.core.model.ids import USER_ID_MAX, ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.errors import SourceError
from reconciler.outbound.databases.away import wait_for
from reconciler.outbound.databases.logins import DB_LOGINS, DbLogins
from reconciler.outbound.outage import Outage
from reconciler.supabase.connection import (
    POOL_WAIT_S,
    begin_reading,
    is_lost,
    is_standby,
    open_source,
    translate_errors,
)
from reconciler.supabase.reading.chunks import Chunk, profiles_of
from reconciler.supabase.reading.page_size import PageSize
from reconciler.supabase.reading.pages import (
    KEYS,
    Build,
    Row,
    Walks,
    by_index,
    by_value,
    keys_in_order,
    pages,
    shared_keys,
)
from reconciler.supabase.reading.row_visibility import refuse_hidden
from reconciler.supabase.reading.rows import profile_of
from reconciler.supabase.reading.search import people_by_phone, people_named
from reconciler.supabase.reading.table import ProfileTable, find_table

ASK = 500  # users in one statement
ROWS = 1000  # the same where the server takes them as one parameter, and the rows are passed on as they are
TRIES = 3  # attempts of a read that loses its connection

T = TypeVar("T")
Asked = tuple[sa.Select[Any], Mapping[str, Any]]
"""A statement of the table, and the values of its parameters."""


class TableProfiles:
    """The profiles in `table` ("schema.table"; SQLite: the name), with `columns` from our names to theirs. Thread-safe."""

    def __init__(
        self,
        url: str,
        table: str,
        columns: Mapping[str, str],
        *,
        logins: DbLogins = DB_LOGINS,
        wait_s: float = POOL_WAIT_S,
        outage_s: float = 0.0,
    ) -> None:
        """`wait_s`: how long a read waits for a free connection at most; `outage_s`: for a Postgres that is away."""
        self._url = url
        self._engine = open_source(url, logins=logins, wait_s=wait_s)
        self._outage = Outage(outage_s)
        self._table_name = table
        self._columns = dict(columns)
        self._found: ProfileTable | None = None

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def check(self) -> tuple[str, ...]:
        def count_unnamed(connection: Connection, table: ProfileTable) -> int:
            query = sa.select(sa.func.count()).select_from(table.source).where(~table.has_user)
            return int(connection.execute(query).scalar_one())

        count = self._read(count_unnamed, fresh=True)
        if not count:
            return ()
        column = self._columns["clerk_user_id"]
        why = f"{column} is null, blank or longer than {USER_ID_MAX} characters"
        return (f"{count} rows of {self._table_name} have no user ({why}): they are ignored",)

    def count(self, *, at_most: int | None = None) -> int:
        def count_rows(connection: Connection, table: ProfileTable) -> int:
            rows = sa.select(sa.literal(1)).select_from(table.source).where(table.has_user).limit(at_most).subquery()
            return int(connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one())

        return self._read(count_rows)

    def scan(self, *, chunk: int = 1000, after: ClerkUserId | None = None) -> Iterator[list[Profile]]:
        chunks = self.scan_rows(chunk=chunk, after=after)
        return batches((profile for rows in chunks for profile in profiles_of(rows.table, rows.rows)), chunk)

    def scan_rows(self, *, chunk: int = 4000, after: ClerkUserId | None = None) -> Iterator[Chunk]:
        table = self._table()
        if all(walk.in_order for walk in table.walks):
            for found, rows in pages(self._ask, table, _rows, size=chunk, after=after):
                yield Chunk(found, rows)
            return
        keys, fitting = keys_in_order(self._ask, table, _keys, after=after), PageSize()
        while users := list(islice(keys, fitting.rows(chunk))):
            named = self._rows_of(users, chunk, fitting)
            if named.rows:
                yield named

    def rows_of(self, users: Collection[ClerkUserId]) -> Chunk:
        return self._rows_of(users, ROWS)

    def get(self, users: Collection[ClerkUserId]) -> dict[ClerkUserId, Profile]:
        if not users:
            return {}
        found = self._rows_of(users, ASK)
        return {profile.clerk_user_id: profile for profile in profiles_of(found.table, found.rows)}

    def changes_since(self, at: datetime, *, overlap_s: float, chunk: int = 1000) -> Iterator[list[Profile]]:
        since = at - timedelta(seconds=overlap_s)
        if "updated_at" not in self._columns or since.year == MINYEAR:
            yield from self.scan(chunk=chunk)
            return
        # Keys first: if a key has several rows, the unchanged ones must be read too.
        table = self._table()
        build, walks = self._touched(table, since)
        touched = keys_in_order(self._ask, table, build, walks=walks, keep=_keeper(table, since))
        for users in batches(touched, chunk):
            found = self._rows_of(users, chunk)
            if profiles := list(profiles_of(found.table, found.rows)):
                yield profiles

    def users_without_row(self, users: Collection[ClerkUserId]) -> frozenset[ClerkUserId]:
        there: set[str] = set()
        for part in _parts(users):
            _, rows = self._ask(partial(_keys_among, part=part))
            there.update(row[0] for row in rows)
        return frozenset(users) - there

    def sharing_email(self, emails: Collection[str] | None = None, *, enough: int | None = None) -> list[Profile]:
        if "email" not in self._columns:
            return []
        if emails is None:
            return self._sharing_any()
        wanted = {key for e in emails if (key := normalise.email_key(e)) is not None}
        claims = self._claims(wanted, enough) if wanted else {}
        return _sorted(profile for people in claims.values() for profile in people.values())

    def search(self, sought: Sought, countries: Collection[str | None], *, limit: int) -> list[Profile]:
        """Up to `limit` rows, not deleted, with these words in their name or one of these phones, in any spelling.

        `countries`: where phones without a country code are dialled. SourceError if the table is too large to be read in
        one statement's time.
        """
        named = self._search(partial(people_named, words=sought.name_words, limit=limit))
        dialled = self._search(partial(people_by_phone, phones=sought.phones, limit=limit))
        phoned = (one for one in dialled if not sought.phones.isdisjoint(phones_in(one.phone or "", countries)))
        return _sorted(one for one in (*named, *phoned) if not one.deleted)

    def _search(self, build: Callable[[ProfileTable], sa.Select[Any] | None]) -> list[Profile]:
        def ask(connection: Connection, table: ProfileTable) -> list[Profile]:
            query = build(table)
            rows = connection.execute(query).cursor.fetchall() if query is not None else []
            return [profile_of(row[0], table.values(row)) for row in rows]

        return self._read(ask)

    def _sharing_any(self) -> list[Profile]:
        """Compare all emails here: grouping them in one statement is slow on the server."""
        table = self._table()
        found = (
            [(key, row[0]) for row in rows if isinstance(row[0], str) and (key := _email_key(row[1])) is not None]
            for _, rows in pages(self._ask, table, _emails, size=KEYS)
        )
        claims: dict[str, dict[ClerkUserId, Profile]] = {}
        for users in batches(shared_keys(found), ASK):
            part = self._rows_of(users, ASK)
            _add_claims(claims, part.table, part.rows)
        return _sorted(profile for people in claims.values() if len(people) > 1 for profile in people.values())

    def _claims(self, wanted: set[str], enough: int | None) -> dict[str, dict[ClerkUserId, Profile]]:
        """The users who claim each of these emails: on Postgres by an index if there is one, otherwise page by page.

        `enough`: of a single email, so many users; all if the first rows lead to fewer.
        """
        table = self._table()
        claims: dict[str, dict[ClerkUserId, Profile]] = {}
        if enough is not None:
            (key,) = wanted
            first = self._first_claims(table, key, enough)
            if first is not None:
                return {key: first}
        if table.postgres:
            for part in _parts(table.rough_emails(wanted)):
                asked = partial(_rows_with_rough_email, part=part)
                _add_claims(claims, *self._ask(asked))
        else:
            for named in batches(self._users_with(table, wanted), ASK):
                part_of = self._rows_of(named, ASK)
                _add_claims(claims, part_of.table, part_of.rows)
        return {key: people for key, people in claims.items() if key in wanted}

    def _first_claims(self, table: ProfileTable, key: str, enough: int) -> dict[ClerkUserId, Profile] | None:
        """So many users with this email, or all; None where the first rows with it are of too few."""
        claims: dict[str, dict[ClerkUserId, Profile]] = {}
        if table.postgres:
            part = table.rough_emails({key})
            read = Chunk(*self._ask(partial(_first_with_rough_email, part=part, enough=enough)))
        else:
            read = self._rows_of(list(islice(self._users_with(table, {key}), enough)), ASK)
        rows = read.rows
        _add_claims(claims, read.table, rows)
        theirs = claims.get(key, {})
        return theirs if len(rows) < enough or len(theirs) >= enough else None

    def _users_with(self, table: ProfileTable, wanted: set[str]) -> Iterator[str]:
        """SQLite: the keys of rows with one of these emails, in key order."""
        for _, rows in pages(self._ask, table, _emails, size=KEYS):
            yield from (row[0] for row in rows if isinstance(row[0], str) and _email_key(row[1]) in wanted)

    def _touched(self, table: ProfileTable, since: datetime) -> tuple[Build, Walks]:
        """The statement and walks for the keys and times of rows that may have been touched since."""
        if table.postgres:
            return partial(_touched, since=since), by_index
        is_sorted = self._read(lambda connection, found: found.begins_with_years(connection))
        return (
            (partial(_recently_touched, since=since), by_value)
            if is_sorted
            else (partial(_touched, since=since), by_index)
        )

    def _rows_of(self, users: Collection[str], part_size: int, fitting: PageSize | None = None) -> Chunk:
        """The rows of exactly these users, in key order; one statement for each part, which is smaller for wide rows."""
        table, fitting = self._table(), fitting or PageSize()
        rows: list[Row] = []
        left = iter(sorted(set(users)))
        while part := list(islice(left, fitting.rows(part_size if table.postgres else ASK))):
            asked = frozenset(part)
            table, found = self._ask(partial(_rows_among, part=part))
            fitting.learn(found)
            rows += [row for row in found if row[0] in asked]
        return Chunk(table, rows)

    def _table(self) -> ProfileTable:
        """The table as it was last found."""
        if (found := self._found) is not None:
            return found
        return self._read(lambda _connection, table: table)

    def _ask(self, build: Callable[[ProfileTable], Any]) -> tuple[ProfileTable, list[Row]]:
        """Run this statement. Returns the table as it was then, and the rows as the driver's tuples."""

        def run(connection: Connection, table: ProfileTable) -> tuple[ProfileTable, list[Row]]:
            asked = build(table)
            statement, values = asked if isinstance(asked, tuple) else (asked, None)
            return table, list(connection.execute(statement, values).cursor.fetchall())

        return self._read(run)

    def _read(self, work: Callable[[Connection, ProfileTable], T], *, fresh: bool = False) -> T:
        """Run `work` in one transaction and return its result. As it only reads, a lost connection is retried."""
        left = TRIES
        while True:
            left -= 1
            try:
                with self.transaction(fresh=fresh) as (connection, table):
                    found = work(connection, table)
            except SourceError as error:
                if not (left > 0 and is_lost(error.__cause__)) and not wait_for(self._outage, error.__cause__):
                    raise
            else:
                self._outage.note_answer()
                return found

    @contextmanager
    def transaction(self, *, fresh: bool = False) -> Iterator[tuple[Connection, ProfileTable]]:
        """One short read-only transaction that sees all rows. Nothing else may be awaited in it.

        Hidden rows are checked last: the reads hold a lock by then, so the policies can't change.
        """
        try:
            with translate_errors(self._url), self._engine.connect() as connection:
                begin_reading(connection)
                lags = is_standby(connection)
                table = self._found
                if table is None or fresh:
                    table = find_table(connection, self._table_name, self._columns)
                if table.is_standby != lags:  # one URL may lead to several servers
                    table = replace(table, is_standby=lags)
                yield connection, table
                if table.schema is not None:
                    refuse_hidden(connection, table.schema, table.name)
                self._found = table
        except SourceError:
            self._found = None  # the table may have been altered: find it again next time
            raise


# --- statements -------------------------------------------------------------------------------------------------------


def _rows(table: ProfileTable, condition: ColumnElement[bool], by: ColumnElement[Any]) -> sa.Select[Any]:
    return table.select().where(condition).order_by(by)


def _keys(table: ProfileTable, condition: ColumnElement[bool], by: ColumnElement[Any] | None) -> sa.Select[Any]:
    return sa.select(table.key).where(table.has_user, condition).order_by(by)


def _keys_among(table: ProfileTable, *, part: Sequence[str]) -> Asked:
    return table.keys_among, {"users": table.fitting(part)}


def _rows_among(table: ProfileTable, *, part: Sequence[str]) -> Asked:
    return table.rows_among, {"users": table.fitting(part)}


def _emails(table: ProfileTable, condition: ColumnElement[bool], by: ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(table.key, table.read("email")).where(table.has_user, condition).order_by(by)


def _rows_with_rough_email(table: ProfileTable, *, part: Sequence[str]) -> Asked:
    return table.rows_with_rough_email, {"emails": part}


def _first_with_rough_email(table: ProfileTable, *, part: Sequence[str], enough: int) -> Asked:
    return table.first_with_rough_email, {"emails": part, "enough": enough}


def _touched(
    table: ProfileTable, condition: ColumnElement[bool], by: ColumnElement[Any], *, since: datetime
) -> sa.Select[Any]:
    """Keys of the rows touched since; if the database can't compare the times, keys and times of all candidates."""
    touched = table.is_touched_since(since) if table.postgres else None
    if touched is not None:
        return _keys(table, sa.and_(condition, touched), by)
    query = sa.select(table.key, table.raw("updated_at")).where(table.has_user, condition).order_by(by)
    return query if table.postgres else query.where(table.perhaps_since(since))


def _recently_touched(
    table: ProfileTable, condition: ColumnElement[bool], _by: ColumnElement[Any], *, since: datetime
) -> sa.CompoundSelect[Any]:
    """The same for SQLite with its index on the times, range by range."""
    query = sa.select(table.key.label("key"), table.raw("updated_at")).where(table.has_user, condition)
    return sa.union_all(*(query.where(recent) for recent in table.recent_ranges(since))).order_by("key")


# --- rows -------------------------------------------------------------------------------------------------------------


def _keeper(table: ProfileTable, since: datetime) -> Callable[[Row], bool]:
    """A filter for the rows that were touched; accepts all if the database has compared the times."""
    if table.postgres and table.is_touched_since(since) is not None:
        return lambda _row: True
    return lambda row: _is_since(row[1], since)


def _add_claims(claims: dict[str, dict[ClerkUserId, Profile]], table: ProfileTable, rows: Iterable[Row]) -> None:
    """Add the users who claim each email, without deleted ones.

    Every row counts, also if a user has several.
    """
    for row in rows:
        profile = profile_of(row[0], table.values(row))
        key = normalise.email_key(profile.email)
        if key is not None and not profile.deleted:
            claims.setdefault(key, {})[profile.clerk_user_id] = profile


def _sorted(profiles: Iterable[Profile]) -> list[Profile]:
    found = {profile.clerk_user_id: profile for profile in profiles}
    return [found[user] for user in sorted(found)]


def _email_key(value: Any) -> str | None:
    return normalise.email_key(value) if isinstance(value, str) else None


def _is_since(value: Any, since: datetime) -> bool:
    try:
        at = moment(value)
    except UnreadableError:
        return True
    return at is None or at >= since


def _parts(names: Collection[str], size: int = ASK) -> Iterator[list[str]]:
    return batches(sorted(set(names)), size)
