"""Tables as people have them in Supabase: their types, their rights, and the ways they hide rows."""

from __future__ import annotations

import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from reconciler.core.fields.people import sought
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.errors import ConfigError, PermanentError, SourceBusy, SourceError, TemporaryError
from reconciler.outbound.databases.logins import DbLogins
from reconciler.supabase.limits import SILENT
from reconciler.supabase.reading.profiles import TableProfiles
from tests import servers

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ID = {"clerk_user_id": "clerk_user_id"}
EMAIL = {**ID, "email": "email"}


class Source:
    """One database, its owner's connection, and readers as other roles."""

    def __init__(self, server: servers.Server, name: str, port: int) -> None:
        self.server, self.name, self.port = server, name, port
        self.owner = server.connect(name)
        self.opened: list[TableProfiles] = []

    def run(self, script: str, *values: Any) -> None:
        self.owner.execute(script.encode(), values or None)

    def reader(
        self,
        columns: dict[str, str],
        table: str = "public.customers",
        user: str = "postgres",
        port: int | None = None,
    ) -> TableProfiles:
        """Through the pooler, unless a port is named."""
        url = self.server.url(self.name, user=user, port=port or self.port)
        self.opened.append(TableProfiles(url, table, columns))
        return self.opened[-1]


@pytest.fixture
def source(postgres: servers.Server, pooler: int, postgres_database: Callable[..., str]) -> Iterator[Source]:
    source = Source(postgres, postgres_database(), pooler)
    for role in ("reader", "owner"):
        exists = source.owner.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        if exists is None:
            source.run(f"CREATE ROLE {role} LOGIN")
    yield source
    for reader in source.opened:
        reader.close()
    source.owner.close()


def only(reader: TableProfiles) -> Profile:
    ((found,),) = reader.scan()
    return found


def expect_refused(reader: TableProfiles) -> SourceError:
    with pytest.raises(SourceError) as caught:
        reader.check()
    return caught.value


SIMPLE = """
CREATE TABLE customers (clerk_user_id text PRIMARY KEY, email text);
INSERT INTO customers VALUES ('user_1', 'ada@example.com'), ('user_2', 'grace@example.com');
GRANT SELECT ON customers TO reader;
"""


def test_rls_without_a_policy_is_refused_with_the_policy_that_helps(source: Source) -> None:
    source.run(SIMPLE + "ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
    error = expect_refused(source.reader(EMAIL, user="reader"))
    assert "row level security on public.customers hides rows from the role reader" in error.message
    assert error.hint == "create policy reconciler_reads on public.customers for select to reader using (true);"
    source.run(error.hint)
    assert source.reader(EMAIL, user="reader").count() == 2


def test_rls_that_is_switched_on_while_running_releases_no_one(source: Source) -> None:
    source.run(SIMPLE)
    reader = source.reader(EMAIL, user="reader")
    assert reader.check() == ()
    source.run("ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
    users = [ClerkUserId("user_1")]
    readings: list[Callable[[], object]] = [
        reader.count,
        lambda: reader.get(users),
        lambda: reader.users_without_row(users),
        lambda: list(reader.scan()),
        lambda: list(reader.changes_since(AT, overlap_s=1)),
        lambda: reader.sharing_email(None),
    ]
    for reading in readings:
        with pytest.raises(SourceError, match="row level security"):
            reading()


EVERYTHING = "CREATE POLICY p ON customers USING (true);"


@pytest.mark.parametrize(
    ("policy", "sees_all"),
    [
        ("CREATE POLICY p ON customers FOR SELECT TO reader USING (true)", True),
        ("CREATE POLICY p ON customers USING (true)", True),
        ("CREATE POLICY p ON customers FOR SELECT TO owner USING (true)", False),
        ("CREATE POLICY p ON customers FOR INSERT TO reader WITH CHECK (true)", False),
        ("CREATE POLICY p ON customers FOR SELECT TO reader USING (clerk_user_id = 'user_1')", False),
        (EVERYTHING + "CREATE POLICY q ON customers AS RESTRICTIVE USING (email IS NOT NULL)", False),
        (EVERYTHING + "CREATE POLICY q ON customers AS RESTRICTIVE TO owner USING (email IS NOT NULL)", True),
    ],
)
def test_a_policy_helps_only_where_it_shows_all_rows_to_this_role(source: Source, policy: str, sees_all: bool) -> None:  # noqa: FBT001
    source.run(SIMPLE + "ALTER TABLE customers ENABLE ROW LEVEL SECURITY;" + policy)
    reader = source.reader(EMAIL, user="reader")
    if sees_all:
        assert reader.check() == ()
        assert reader.count() == 2
    else:
        assert "hides rows" in expect_refused(reader).message


def test_the_owner_sees_the_table_unless_rls_is_forced_on_the_owner(source: Source) -> None:
    source.run(SIMPLE + "ALTER TABLE customers OWNER TO owner; ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
    assert source.reader(EMAIL, user="owner").count() == 2
    source.run("ALTER TABLE customers FORCE ROW LEVEL SECURITY")
    assert "the role owner" in expect_refused(source.reader(EMAIL, user="owner")).message


def test_rls_hides_rows_through_views_as_well(source: Source) -> None:
    source.run(
        SIMPLE
        + "ALTER TABLE customers ENABLE ROW LEVEL SECURITY;"
        + "CREATE VIEW as_reader WITH (security_invoker = true) AS SELECT * FROM customers;"
        + "CREATE VIEW as_superuser AS SELECT * FROM as_reader;"
        + "GRANT SELECT ON as_reader, as_superuser TO reader;"
    )
    error = expect_refused(source.reader(EMAIL, "public.as_reader", user="reader"))
    assert "row level security on public.customers" in error.message
    error = expect_refused(source.reader(EMAIL, "public.as_superuser", user="reader"))
    assert "hides rows from the role reader" in error.message
    source.run("ALTER VIEW as_reader SET (security_invoker = false)")
    assert source.reader(EMAIL, "public.as_superuser", user="reader").count() == 2
    source.run("ALTER VIEW as_reader OWNER TO owner; GRANT SELECT ON customers TO owner")
    error = expect_refused(source.reader(EMAIL, "public.as_superuser", user="reader"))
    assert "hides rows from the role owner" in error.message


def test_a_role_without_the_right_to_read_is_shown_which(source: Source) -> None:
    source.run(SIMPLE + "CREATE SCHEMA app; CREATE TABLE app.people AS SELECT * FROM customers")
    error = expect_refused(source.reader(EMAIL, "app.people", user="reader"))
    assert error.message == "the role reader may not read clerk_user_id, email of app.people"
    source.run(error.hint)
    assert source.reader(EMAIL, "app.people", user="reader").count() == 2
    source.run("REVOKE SELECT ON customers FROM reader; GRANT SELECT (clerk_user_id) ON customers TO reader")
    assert source.reader(ID, user="reader").count() == 2
    assert "may not read email of public.customers" in expect_refused(source.reader(EMAIL, user="reader")).message


def test_a_table_of_another_case_or_schema_is_pointed_at(source: Source) -> None:
    source.run('CREATE TABLE "Customers" (clerk_user_id text)')
    error = expect_refused(source.reader(ID))
    assert error.message == "there is no table or view public.customers"
    assert "public.Customers" in error.hint
    assert source.reader(ID, "Customers").count() == 0


def test_names_that_need_quotes_are_quoted(source: Source) -> None:
    source.run("""CREATE TABLE "select" ("user""s: %s id" text); INSERT INTO "select" VALUES ('user_1')""")
    reader = source.reader({"clerk_user_id": 'user"s: %s id'}, "public.select")
    assert reader.check() == ()
    assert only(reader).clerk_user_id == "user_1"
    assert set(reader.get([ClerkUserId("user_1")])) == {"user_1"}


KEY_TYPES = {
    "uuid": ("uuid", "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"),
    "citext": ("public.citext", "user_A", "user_B"),
    "varchar": ("varchar(40)", "user_a", "user_b"),
    "char": ("char(40)", "user_a", "user_b"),
    "bigint": ("bigint", "7", "8"),
    "domain": ("key", "user_a", "user_b"),
    "ICU": ('text COLLATE "und-x-icu"', "user_a", "user_b"),
}


@pytest.mark.parametrize("type_", KEY_TYPES)
def test_the_key_may_be_of_any_type(source: Source, type_: str) -> None:
    name, here, gone = KEY_TYPES[type_]
    source.run("CREATE DOMAIN key AS text CHECK (value <> '')")
    if type_ == "citext":
        _needs(source, "citext")
    source.run(f"CREATE TABLE customers (clerk_user_id {name} UNIQUE)")
    source.run(f"INSERT INTO customers VALUES ('{here}')")
    reader = source.reader(ID)
    assert reader.check() == ()
    assert only(reader).clerk_user_id == here
    asked = [ClerkUserId(here), ClerkUserId(gone), ClerkUserId("none")]
    assert set(reader.get(asked)) == {here}
    assert reader.users_without_row(asked) == {gone, "none"}


def _needs(source: Source, extension: str) -> None:
    try:
        source.run(f"CREATE EXTENSION {extension}")
    except psycopg.errors.FeatureNotSupported:
        servers.absent(f"the extension {extension}", "postgresql (its contrib modules)")


def test_a_citext_key_is_distinguished_by_case(source: Source) -> None:
    _needs(source, "citext")
    source.run("CREATE TABLE customers (clerk_user_id citext, email citext)")
    source.run("INSERT INTO customers VALUES ('user_a', 'Ada@Example.com'), ('user_b', 'ada@example.com')")
    reader = source.reader(EMAIL)
    assert set(reader.get([ClerkUserId("USER_A")])) == set()
    assert reader.users_without_row([ClerkUserId("USER_A")]) == {"USER_A"}
    assert {p.email for p in reader.sharing_email(None)} == {"Ada@Example.com", "ada@example.com"}


def test_reads_of_single_users_and_addresses_use_an_index(source: Source) -> None:
    source.run(
        "CREATE TABLE customers (clerk_user_id varchar(60) PRIMARY KEY, email text);"
        "INSERT INTO customers SELECT 'user_' || i, 'p' || i || '@example.com' FROM generate_series(1, 20000) i;"
        "CREATE INDEX by_address ON customers (lower(regexp_replace(translate(email::text, U&'\\212A\\0130', 'ki'),"
        " '[^\\x21-\\x7e]', '', 'g') COLLATE \"C\")); ANALYZE customers"
    )
    reader = source.reader(EMAIL)
    assert set(reader.get([ClerkUserId("user_77")])) == {"user_77"}
    assert [p.clerk_user_id for p in reader.sharing_email({"P77@example.com"})] == ["user_77"]
    with reader.transaction() as (connection, table):
        for asked in (
            table.rows_among.params(users=["user_77"]),
            table.rows_with_rough_email.params(emails=["p77@example.com"]),
        ):
            query = asked.compile(connection, compile_kwargs={"literal_binds": True})
            plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {query}").scalars())
            assert "Index Cond" in plan
            assert "Seq Scan" not in plan


def test_all_types_that_columns_have_are_read_or_are_problems(source: Source) -> None:
    source.run("""
        CREATE DOMAIN address AS text;
        CREATE TYPE language AS ENUM ('en', 'da');
        CREATE TABLE customers (clerk_user_id text, email address, email_verified timestamptz, phone integer,
            first_name bytea, last_name text[], locale language, note uuid, updated_at date, deleted_at timestamp,
            metadata json);
        INSERT INTO customers VALUES ('user_1', 'ada@example.com', 'infinity', 4520123, '\\xff', '{a,b}', 'da',
            '00000000-0000-4000-8000-00000000000a', '2026-11-23', '-infinity', '{"a": [1]}')
    """)
    found = only(
        source.reader(
            {f: f for f in Profile.model_fields if f not in {"mapped", "deleted", "problems", "image_url", "may_lag"}}
        )
    )
    assert {p.field for p in found.problems} == {"email_verified", "phone", "first_name", "last_name", "deleted_at"}
    assert (found.email, found.locale, found.note) == ("ada@example.com", "da", "00000000-0000-4000-8000-00000000000a")
    assert found.updated_at == AT.replace(hour=0)
    assert found.value_at("metadata.a") == [1]
    assert found.deleted is False


@pytest.mark.parametrize(
    ("type_", "value", "at"),
    [
        ("timestamptz", "2026-11-23 14:45:00.123456+05:45", AT.replace(microsecond=123456)),
        ("timestamp", "2026-11-23 09:00:00", AT),
        ("date", "2026-11-23", AT.replace(hour=0)),
        ("bigint", "1795424400000", AT),
        ("numeric", "1795424400.0", AT),
        ("double precision", "1795424400", AT),
        ("text", "2026-11-23T09:00:00Z", AT),
    ],
)
@pytest.mark.parametrize("style", ["ISO, MDY", "German"])
def test_times_are_utc_whatever_the_server_is_set_to(
    source: Source, type_: str, value: str, at: datetime, style: str
) -> None:
    source.run(
        f"ALTER DATABASE {source.name} SET datestyle = '{style}'; ALTER DATABASE {source.name} SET timezone = 'Asia/Tokyo'"
    )
    source.run(f"CREATE TABLE customers (clerk_user_id text, updated_at {type_}, deleted_at {type_})")
    source.run(f"INSERT INTO customers VALUES ('user_1', '{value}', '{value}'), ('user_2', NULL, NULL)")
    reader = source.reader({**ID, "updated_at": "updated_at", "deleted_at": "deleted_at"})
    there = {str(p.clerk_user_id): p for chunk in reader.scan() for p in chunk}
    assert there["user_1"].updated_at == there["user_1"].deleted_at == at
    assert there["user_1"].deleted
    assert not there["user_2"].deleted
    since = [p.clerk_user_id for chunk in reader.changes_since(at, overlap_s=0) for p in chunk]
    assert since == ["user_1", "user_2"]
    later = at + timedelta(days=1, seconds=1)
    assert [p.clerk_user_id for chunk in reader.changes_since(later, overlap_s=0.5) for p in chunk] == ["user_2"]


def test_json_that_python_would_choke_on_holds_one_user(source: Source) -> None:
    source.run("CREATE TABLE customers (clerk_user_id text, metadata jsonb)")
    source.run("INSERT INTO customers VALUES ('user_1', (repeat('[', 3000) || repeat(']', 3000))::jsonb)")
    source.run("""INSERT INTO customers VALUES ('user_2', '{"a": 1e400}'), ('user_3', '{"a": 1}'), ('user_4', '[1]')""")
    reader = source.reader({**ID, "metadata": "metadata"})
    known = {p.clerk_user_id: p.knows("metadata") for chunk in reader.scan() for p in chunk}
    assert known == {"user_1": False, "user_2": True, "user_3": True, "user_4": False}


def test_an_error_in_the_middle_of_a_scan_is_never_a_shorter_scan(source: Source) -> None:
    source.run(
        "CREATE TABLE people AS SELECT i, 'user_' || lpad(i::text, 5, '0') AS clerk_user_id FROM generate_series(1, 3000) i"
    )
    source.run("CREATE VIEW customers AS SELECT clerk_user_id, (1 / (i - 2500))::text AS email FROM people")
    with pytest.raises(SourceError, match="division by zero"):
        for _ in source.reader(EMAIL).scan(chunk=100):
            pass
    scan = source.reader(ID).scan(chunk=100)
    assert len(next(scan)) == 100
    source.run(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert sum(len(chunk) for chunk in scan) == 2900  # by a new connection
    scan = source.reader(ID).scan(chunk=100)
    next(scan)
    source.run("DROP TABLE people CASCADE")
    with pytest.raises(SourceError, match=r"can't be read"):
        list(scan)


def test_what_a_view_fails_to_compute_is_reported_without_the_value(source: Source) -> None:
    """One row of which a view makes no time: no row can be read, and nothing of that row may be shown."""
    source.run("CREATE TABLE people (clerk_user_id text PRIMARY KEY, email text)")
    source.run("INSERT INTO people VALUES ('user_1', 'ada \"A\" lovelace@example.com'), ('user_2', NULL)")
    for made in ("email::timestamptz", "email::bigint", "email::jsonb", "(email || 'x')::uuid"):
        source.run(f"CREATE OR REPLACE VIEW customers AS SELECT clerk_user_id, ({made})::text AS email FROM people")
        with pytest.raises(SourceError) as caught:
            list(source.reader(EMAIL).scan())
        assert "lovelace" not in caught.value.message + caught.value.hint
        assert "a view" in caught.value.hint


LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


def limits_of(reader: TableProfiles) -> list[str]:
    """As the server has them in a transaction of ours."""
    with reader.transaction() as (connection, _):
        found = [connection.exec_driver_sql(f"SELECT current_setting('{name}')").scalar_one() for name in LIMITS]
    return [str(value) for value in found]


def test_each_transaction_has_limits_and_the_servers_own_stay_where_they_are_smaller(source: Source) -> None:
    source.run(SIMPLE)
    for port in (source.port, source.server.port):
        assert limits_of(source.reader(EMAIL, port=port)) == ["3s", "4s", "1s"]
    source.run("".join(f"ALTER DATABASE {source.name} SET {name} = '2min';" for name in LIMITS))
    assert limits_of(source.reader(EMAIL, port=source.server.port)) == ["3s", "4s", "1s"]
    source.run("".join(f"ALTER DATABASE {source.name} SET {name} = '750ms';" for name in LIMITS))
    assert limits_of(source.reader(EMAIL, port=source.server.port)) == ["750ms"] * 3


SETTINGS = {
    "standard_conforming_strings": "off", "escape_string_warning": "on", "backslash_quote": "off", "search_path": "''",
    "datestyle": "'German, MDY'", "intervalstyle": "sql_standard", "timezone": "'Pacific/Chatham'", "bytea_output": "escape",
    "extra_float_digits": "-15", "quote_all_identifiers": "on", "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on", "default_transaction_deferrable": "on", "row_security": "off",
    "client_min_messages": "debug5", "client_encoding": "latin1", "jit_above_cost": "0", "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan", "statement_timeout": "'1h'", "lock_timeout": "'1h'",
    "idle_in_transaction_session_timeout": "'1h'",
}  # fmt: skip


ROWS = r"""
CREATE TABLE customers (id text PRIMARY KEY, email text, first_name text, updated_at float8, deleted_at timestamptz,
                        phone text, metadata jsonb);
GRANT SELECT ON customers TO reader;
INSERT INTO customers VALUES
('user_1', 'KIM@example.com', E'Zoë \\', 1795424400.25, NULL, '+1 (202) 555-0100', '{"a": 0.1}'),
('user_2', 'kim@example.com', E'O''Hara', 1795424401.5, '2026-11-30 09:00+00', NULL, NULL),
('user_3', E'\u212Aim@example.com', NULL, 1795424402, NULL, NULL, NULL)
"""


def test_the_settings_of_a_role_change_nothing_that_is_read(source: Source) -> None:
    source.run(ROWS)
    fields = ("email", "first_name", "updated_at", "deleted_at", "phone", "metadata")
    columns = {"clerk_user_id": "id", **{field: field for field in fields}}

    def read() -> list[list[Profile]]:
        reader = source.reader(columns, user="reader", port=source.server.port)
        (since,) = [p.updated_at for p in reader.get([ClerkUserId("user_2")]).values()]
        assert since is not None
        by_name, by_phone = sought("zoë", ["US"]), sought("202 555 0100", ["US"])
        assert by_name is not None
        assert by_phone is not None
        return [
            [profile for profiles in reader.scan() for profile in profiles],
            [profile for profiles in reader.changes_since(since, overlap_s=0) for profile in profiles],
            reader.sharing_email(None),
            reader.sharing_email({"Kim@example.com"}),
            reader.search(by_name, ["US"], limit=9),
            reader.search(by_phone, ["US"], limit=9),
        ]

    before = read()
    assert [len(found) for found in before] == [3, 2, 2, 2, 1, 1]
    for name, value in SETTINGS.items():
        source.run(f"ALTER ROLE reader IN DATABASE {source.name} SET {name} = {value}")
    assert read() == before


@pytest.fixture
def lockers(source: Source) -> Iterator[psycopg.Connection]:
    """Another client of the same database, in a transaction."""
    with psycopg.connect(source.server.url(source.name)) as other:
        yield other


def busy(reading: Callable[[], object]) -> SourceBusy:
    with pytest.raises(SourceBusy) as caught:
        reading()
    return caught.value


def test_a_locked_table_is_reported_within_seconds_and_read_when_it_is_free(
    source: Source, lockers: psycopg.Connection
) -> None:
    source.run(SIMPLE + f"ALTER DATABASE {source.name} SET lock_timeout = '300ms'")
    reader = source.reader(EMAIL, port=source.server.port)
    assert reader.check() == ()
    scan = reader.scan(chunk=1)
    next(scan)
    lockers.execute("ALTER TABLE customers ADD COLUMN more text")
    began = time.monotonic()
    for reading in (reader.count, reader.check, lambda: reader.get([ClerkUserId("user_1")]), lambda: list(scan)):
        error = busy(reading)
        assert "another transaction has locked the table" in error.message
        assert "pg_blocking_pids" in error.hint
        assert isinstance(error, TemporaryError)
    assert time.monotonic() - began < 10
    lockers.commit()
    assert len(list(reader.scan())) == 1


def test_a_view_that_never_ends_is_reported_within_seconds(source: Source) -> None:
    source.run(SIMPLE + "CREATE VIEW endless AS SELECT clerk_user_id, email, pg_sleep(60)::text AS zzz FROM customers")
    source.run(f"ALTER DATABASE {source.name} SET statement_timeout = '400ms'")
    reader = source.reader({**EMAIL, "note": "zzz"}, "public.endless", port=source.server.port)
    error = busy(lambda: list(reader.scan()))
    assert "statement_timeout" in error.message
    assert "index" in error.hint


def test_a_transaction_of_a_process_that_was_stopped_ends_by_itself(source: Source) -> None:
    source.run(SIMPLE)
    reader = source.reader(EMAIL, port=source.server.port)

    def stopped() -> None:
        with reader.transaction() as (connection, table):
            connection.execute(table.select())
            source.owner.execute("SELECT pg_sleep(1.5)")
            connection.execute(table.select())

    assert "idle" in busy(stopped).message
    assert reader.count() == 2


def test_a_read_that_waited_for_a_truncate_sees_what_came_after_it(source: Source, lockers: psycopg.Connection) -> None:
    source.run(SIMPLE)
    reader = source.reader(EMAIL, port=source.server.port)
    assert reader.check() == ()
    users = [ClerkUserId("user_1"), ClerkUserId("user_2")]
    readings: list[Callable[[], object]] = [
        reader.count, lambda: len(next(reader.scan())), lambda: len(reader.get(users)),
        lambda: 2 - len(reader.users_without_row(users)),
    ]  # fmt: skip
    for reading in readings:
        lockers.execute("TRUNCATE customers")
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(reading)
            while not _waiting_for_a_lock(source):
                assert not found.done()
            lockers.execute("INSERT INTO customers VALUES ('user_1', 'ada@example.com'), ('user_2', NULL)")
            lockers.commit()
            assert found.result() == 2


def _waiting_for_a_lock(source: Source) -> bool:
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return source.owner.execute(query).fetchone() is not None


def test_rls_that_is_switched_on_between_two_chunks_shortens_no_scan(source: Source) -> None:
    source.run(SIMPLE)
    scan = source.reader(EMAIL, user="reader").scan(chunk=1)
    assert len(next(scan)) == 1
    source.run("ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
    with pytest.raises(SourceError, match="row level security"):
        list(scan)


ORDERS = {
    "C": 'text COLLATE "C"', "default": "text", "ICU": 'text COLLATE "und-x-icu"', "blind": "text COLLATE blind",
    "varchar": "varchar(40)", "char": "char(9)", "name": "name", "bigint": "bigint", "smallint": "smallint",
    "numeric": "numeric", "uuid": "uuid", "citext": "public.citext", "domain": "key",
}  # fmt: skip


@pytest.mark.parametrize("index", ["PRIMARY KEY", ""])
@pytest.mark.parametrize("type_", ORDERS)
def test_pages_are_in_code_point_order_whatever_the_type_and_collation(source: Source, type_: str, index: str) -> None:
    if type_ == "citext":
        _needs(source, "citext")
    source.run(
        "CREATE DOMAIN key AS text CHECK (value <> '');"
        "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    )
    words = [
        "a",
        "B",
        "b",
        "Z",
        "z",
        "_",
        "-",
        "0",
        "9",
        "10",
        "é",
        "ä",
        "aa",
        "a-b",
        "ab",
        "a_b",
        "\u4e2d",
        "Ab",
        "AB",
    ]
    if type_ in {"citext", "blind"} and index:
        words = [w for w in words if w not in {"B", "Z", "Ab", "AB"}]
    if type_ in {"bigint", "numeric", "smallint"}:
        words = [str(n) for n in (-12, -3, 0, 1, 2, 9, 10, 11, 99, 100, 101, 1000, 32767)]
    if type_ == "uuid":
        words = [str(UUID(int=n * 7**42 % 2**128)) for n in range(1, 20)]
    source.run(f"CREATE TABLE customers (clerk_user_id {ORDERS[type_]} {index}, email text)")
    for word in words:
        source.run("INSERT INTO customers VALUES (%s, %s)", word, "same@example.com")
    reader = source.reader(EMAIL)
    for chunk in (1, 1000):  # each page begins behind another word, and all on one page
        found = [str(p.clerk_user_id) for part in reader.scan(chunk=chunk) for p in part]
        assert found == sorted(words)
    after = ClerkUserId(sorted(words)[4])
    for start in (after, ClerkUserId("5"), ClerkUserId("")):
        part = [str(p.clerk_user_id) for part in reader.scan(chunk=2, after=start) for p in part]
        assert part == [word for word in sorted(words) if word > start]
    assert [p.clerk_user_id for p in reader.sharing_email(None)] == sorted(words)
    asked = [ClerkUserId(word) for word in (*words, "99999999999999999999999", "-0", "007", "\u0661", "no")]
    assert sorted(reader.get(asked)) == sorted(words)
    assert reader.users_without_row(asked) == set(asked) - set(words)


def test_pages_of_a_column_that_is_sorted_otherwise_are_found_by_its_index(source: Source) -> None:
    source.run(
        'CREATE TABLE customers (clerk_user_id text COLLATE "und-x-icu" PRIMARY KEY, email text);'
        "INSERT INTO customers SELECT 'user_' || i, NULL FROM generate_series(1, 50000) i; ANALYZE customers"
    )
    reader = source.reader(EMAIL)
    with reader.transaction() as (connection, table):
        (walk,) = table.walks
        query = table.select().where(walk.behind("user_77")).order_by(walk.by).limit(100)
        words = query.compile(connection, compile_kwargs={"literal_binds": True})
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {words}").scalars())
    assert "Index Cond" in plan
    assert "Sort" not in plan


def test_a_setting_of_ours_does_not_leak_to_the_next_client_of_the_pooler(source: Source) -> None:
    source.run(SIMPLE)
    for _ in range(3):
        assert len(list(source.reader(EMAIL).scan(chunk=1))) == 2
    with psycopg.connect(source.server.url(source.name, port=source.port), prepare_threshold=None) as other:
        for name, value in (
            ("transaction_read_only", "off"),
            ("transaction_isolation", "read committed"),
            ("lock_timeout", "0"),
        ):
            row = other.execute("SELECT current_setting(%s)", [name]).fetchone()
            assert row == (value,)
        other.execute("INSERT INTO customers VALUES ('user_3', NULL)")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(source: Source) -> None:
    source.run("CREATE TABLE customers (clerk_user_id text, email text)")
    source.run("INSERT INTO customers SELECT 'user_' || i, repeat('x', 2000) FROM generate_series(1, 20000) i")
    reader = source.reader(EMAIL)
    assert len(next(reader.scan(chunk=100))) == 100  # what is loaded only once
    tracemalloc.start()
    try:
        assert sum(len(chunk) for chunk in reader.scan(chunk=100)) == 20000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000  # the table has 40 million bytes; garbage is collected late here


@pytest.mark.parametrize("collation", ["C", "en-x-icu"])  # read in the order of the index, and by key
def test_memory_does_not_grow_with_the_width_of_rows(source: Source, collation: str) -> None:
    source.run(f'CREATE TABLE customers (clerk_user_id text COLLATE "{collation}" PRIMARY KEY, email text)')
    source.run("INSERT INTO customers SELECT 'user_' || i, repeat('x', 50000) FROM generate_series(1, 1500) i")
    reader = source.reader(EMAIL)
    reader.count()  # what is loaded only once
    tracemalloc.start()
    try:
        assert sum(len(chunk.rows) for chunk in reader.scan_rows()) == 1500
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60_000_000  # the table has 75 million bytes, and the first page a third of them


@pytest.mark.slow
def test_any_number_of_scans_may_be_under_way_and_hold_nothing(source: Source) -> None:
    source.run(SIMPLE)
    direct = source.reader(EMAIL, port=source.server.port)
    scans = [direct.scan(chunk=1) for _ in range(60)]
    assert [len(next(scan)) for scan in scans] == [1] * 60
    assert set(direct.get([ClerkUserId("user_2")])) == {"user_2"}
    assert [p.clerk_user_id for p in direct.sharing_email({"ada@example.com"})] == ["user_1"]
    assert direct.users_without_row([ClerkUserId("user_3")]) == {"user_3"}
    assert [len(list(scan)) for scan in scans] == [1] * 60


def test_a_wrong_password_is_sent_once_and_not_again_and_again(postgres: servers.Server, source: Source) -> None:
    source.run(SIMPLE)
    exists = source.owner.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [servers.WITH_PASSWORD]).fetchone()
    if exists is None:
        source.run(f"CREATE ROLE {servers.WITH_PASSWORD} LOGIN PASSWORD 'right'")
    source.run(f"GRANT SELECT ON customers TO {servers.WITH_PASSWORD}")
    now = [1000.0]
    url = f"postgresql://{servers.WITH_PASSWORD}:wr%40ng@127.0.0.1:{postgres.port}/{source.name}"
    reader = TableProfiles(url, "public.customers", EMAIL, logins=DbLogins(lambda: now[0]))
    source.opened.append(reader)

    def tries() -> int:
        return (postgres.folder / "postgres.log").read_text().count("FATAL:  password authentication failed")

    before = tries()
    for _ in range(5):
        error = expect_refused(reader)
        assert "password authentication failed" in error.message
        assert "profiles.url" in error.hint
        assert "wr" not in error.message.replace("password", "")
    assert tries() - before == 1
    source.run(f"ALTER ROLE {servers.WITH_PASSWORD} PASSWORD 'wr@ng'")
    now[0] += 131
    assert reader.check() == ()
    assert reader.count() == 2


def test_a_server_that_is_away_is_a_source_error_without_the_password() -> None:
    reader = TableProfiles(f"postgresql://reader:geheim@127.0.0.1:{servers.free_port()}/postgres", "customers", EMAIL)
    error = expect_refused(reader)
    assert "geheim" not in error.message + error.hint
    assert "127.0.0.1" in error.message


@pytest.mark.parametrize("servers_named", ["127.0.0.1:{port},127.0.0.1:{away}", "127.0.0.1:{away},127.0.0.1:{port}"])
def test_a_url_may_name_several_servers_as_libpq_has_it(source: Source, servers_named: str) -> None:
    source.run(SIMPLE)
    named = servers_named.format(port=source.server.port, away=servers.free_port())
    url = f"postgresql://postgres@{named}/{source.name}?target_session_attrs=read-write"
    reader = TableProfiles(url, "public.customers", EMAIL)
    assert reader.count() == 2
    reader.close()


def test_a_url_may_name_a_socket_and_no_host(source: Source) -> None:
    url = f"postgresql:///{source.name}?host=/var/run/nowhere"
    error = expect_refused(TableProfiles(url, "public.customers", EMAIL))
    assert "/var/run/nowhere" in error.message


def test_a_network_that_swallows_everything_ends_a_read_in_seconds(source: Source) -> None:
    """Without these the system waits for two hours for an answer, and for a quarter of an hour for a receipt."""
    source.run(SIMPLE)
    reader = source.reader(EMAIL)
    with reader.transaction() as (connection, _):
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        found = {option.keyword.decode(): option.val for option in driver.pgconn.info}
    wanted = {name: str(seconds).encode() for name, seconds in SILENT.items()}
    assert {name: found[name] for name in wanted} == wanted


def test_a_url_that_is_no_database_is_a_config_error() -> None:
    with pytest.raises(ConfigError):
        TableProfiles("mysql://localhost/x", "customers", EMAIL)


def test_a_read_with_a_connection_that_breaks_off_is_made_again(source: Source, lockers: psycopg.Connection) -> None:
    source.run(SIMPLE)
    reader = source.reader(EMAIL, port=source.server.port)
    assert reader.check() == ()
    lockers.execute("LOCK TABLE customers")
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(reader.count)
        while not _waiting_for_a_lock(source):
            assert not found.done()
        lockers.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        lockers.commit()
        assert found.result() == 2


def test_an_encoding_that_the_role_sets_hides_no_character(source: Source) -> None:
    source.run("CREATE TABLE customers (clerk_user_id text PRIMARY KEY, email text)")
    source.run("INSERT INTO customers VALUES ('user_1', '🐝@example.com')")
    source.run("GRANT SELECT ON customers TO reader")
    source.run(f"ALTER ROLE reader IN DATABASE \"{source.name}\" SET client_encoding = 'LATIN1'")
    for port in (source.server.port, source.port):
        profiles = source.reader(EMAIL, user="reader", port=port)
        assert [each.email for page in profiles.scan() for each in page] == ["🐝@example.com"]


def test_emails_that_do_not_fit_into_memory_nor_on_the_disk_are_an_error_with_a_way_out(source: Source) -> None:
    source.run("CREATE TABLE customers (clerk_user_id text PRIMARY KEY, email text)")
    source.run("INSERT INTO customers SELECT 'user_' || i, repeat('x', 200) || i FROM generate_series(1, 20000) i")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(PermanentError, match="a temporary file can't be written") as told:
            source.reader(EMAIL).sharing_email()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "TMPDIR" in told.value.hint


def test_a_read_that_a_standby_cancels_is_repeated_later(source: Source) -> None:
    source.run(
        "CREATE FUNCTION replayed() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '40001'; END $$;"
        "CREATE VIEW customers AS SELECT 'user_1' AS clerk_user_id WHERE replayed()"
    )
    with pytest.raises(SourceBusy, match="the standby cancelled the read"):
        source.reader(ID).count()
