"""What ports.ProfileReader promises, on SQLite, on Postgres and behind a transaction pooler."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from reconciler.core.fields.normalise import email_key
from reconciler.core.fields.people import sought
from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.errors import SourceError
from reconciler.ports import ProfileReader, RowReader
from reconciler.supabase.reading.profiles import TableProfiles
from tests.conftest import Database

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
COLUMNS = {
    "clerk_user_id": "clerk_id",
    "email": "Email",
    "email_verified": "verified",
    "first_name": "first",
    "last_name": "last",
    "full_name": "display name",
    "phone": "phone",
    "updated_at": "updated",
    "deleted_at": "deleted",
    "metadata": "meta",
}
SQLITE = """CREATE TABLE people (clerk_id TEXT, "Email" TEXT, verified, first TEXT, last TEXT, "display name" TEXT,
            phone TEXT, updated, deleted, meta TEXT)"""
POSTGRES = """CREATE TABLE people (clerk_id text, "Email" text, verified boolean, first text, last text, "display name" text,
              phone text, updated timestamptz, deleted timestamp, meta jsonb)"""
Rows = Sequence[dict[str, Any]]


class People:
    """The table of one test, written past the product."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.sqlite = database.backend == "sqlite"
        self.run(SQLITE if self.sqlite else POSTGRES)

    def run(self, statement: str, rows: Sequence[tuple[Any, ...]] = ((),)) -> None:
        if self.sqlite:
            with closing(sqlite3.connect(self.database.url.removeprefix("sqlite:///"))) as connection, connection:
                connection.executemany(statement.replace("%s", "?"), rows)
            return
        with psycopg.connect(self.database.direct) as server, server.cursor() as cursor:
            if rows == ((),):
                cursor.execute(statement.encode())
            else:
                cursor.executemany(statement.encode(), rows)

    def alone(self, statement: str) -> None:
        """Run what needs the table for itself, as an app does that waits for no longer than a second."""
        if self.sqlite:
            with (
                closing(sqlite3.connect(self.database.url.removeprefix("sqlite:///"), timeout=1)) as connection,
                connection,
            ):
                connection.execute(statement)
            return
        with psycopg.connect(self.database.direct) as server:
            server.execute("SET lock_timeout = '1s'")
            server.execute(statement.encode())

    def add(self, *rows: dict[str, Any]) -> None:
        for row in rows:
            names = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join(["%s"] * len(row))
            self.run(f"INSERT INTO people ({names}) VALUES ({marks})", [tuple(_plain(v) for v in row.values())])

    def add_many(self, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        marks = ", ".join(["%s"] * len(rows[0]))
        self.run(f"INSERT INTO people ({columns}) VALUES ({marks})", rows)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


@pytest.fixture
def people(database: Database) -> People:
    return People(database)


Open = Callable[..., TableProfiles]


@pytest.fixture
def opened(people: People) -> Iterator[Open]:
    """Opens readers of the table, and closes them after the test."""
    made: list[TableProfiles] = []

    def make(columns: dict[str, str] | None = None, table: str = "people") -> TableProfiles:
        made.append(TableProfiles(people.database.url, table, columns or COLUMNS))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


@pytest.fixture
def profiles(opened: Open) -> ProfileReader:
    return opened()


def users(chunks: Iterator[list[Profile]]) -> list[str]:
    return [str(p.clerk_user_id) for chunk in chunks for p in chunk]


def test_a_row_becomes_a_profile(people: People, profiles: ProfileReader) -> None:
    people.add(
        {
            "clerk_id": "user_1",
            "Email": " Ada@Example.com ",
            "verified": True,
            "first": "Ada",
            "last": None,
            "display name": "Someone Else",
            "phone": "+4520123456",
            "updated": AT,
            "meta": '{"brand": "acme", "a": {"b": [1, 2.5, null]}}',
        }
    )
    found = profiles.get([ClerkUserId("user_1")])[ClerkUserId("user_1")]
    assert found.problems == ()
    assert (found.email, found.email_verified, found.first_name, found.last_name) == (
        " Ada@Example.com ", True, "Ada", None,
    )  # fmt: skip
    assert found.updated_at == AT
    assert found.updated_at is not None
    assert found.updated_at.utcoffset() == timedelta(0)
    assert (found.deleted, found.deleted_at) == (False, None)
    assert found.value_at("metadata.a.b") == [1, 2.5, None]
    assert found.mapped == set(COLUMNS) - {"clerk_user_id", "full_name"}
    assert not found.knows("image_url")


def test_a_full_name_is_split_where_first_and_last_are_both_blank(people: People, profiles: ProfileReader) -> None:
    people.add(
        {"clerk_id": "user_1", "first": " ", "last": None, "display name": "  Ada  King of Lovelace "},
        {"clerk_id": "user_2", "first": None, "last": "King", "display name": "Ada Lovelace"},
        {"clerk_id": "user_3", "first": None, "last": None, "display name": "Ada"},
        {"clerk_id": "user_4", "first": "", "last": "", "display name": None},
    )
    names = [(p.first_name, p.last_name) for chunk in profiles.scan() for p in chunk]
    assert names == [("Ada", "King of Lovelace"), (None, "King"), ("Ada", None), (None, None)]


def test_a_table_of_one_column_is_enough(people: People, opened: Open) -> None:
    people.add({"clerk_id": "user_1", "Email": "a@example.com"})
    reader = opened({"clerk_user_id": "clerk_id"})
    assert reader.check() == ()
    (found,) = next(reader.scan())
    assert (found.mapped, found.email, found.deleted, found.problems) == (frozenset(), None, False, ())
    assert reader.sharing_email(None) == reader.sharing_email({"a@example.com"}) == []
    assert users(reader.changes_since(AT, overlap_s=0)) == ["user_1"]


def test_rows_come_in_code_point_order_in_chunks_and_each_once(people: People, profiles: ProfileReader) -> None:
    seed = 20261125
    print(f"seed {seed}")  # noqa: T201  shown where the test fails
    rng = random.Random(seed)
    alphabet = "aAbBzZ0_-~é\u00df\u4e2d\U0001f600"
    keys = {"user_" + "".join(rng.choices(alphabet, k=rng.randint(1, 6))) for _ in range(500)}
    people.add_many("clerk_id", [(key,) for key in sorted(keys, key=lambda _: rng.random())])
    chunks = list(profiles.scan(chunk=64))
    assert [len(chunk) for chunk in chunks[:-1]] == [64] * (len(chunks) - 1)
    found = users(iter(chunks))
    assert found == sorted(keys)
    middle = found[len(found) // 2]
    assert users(profiles.scan(after=ClerkUserId(middle))) == [k for k in found if k > middle]
    assert set(profiles.get([ClerkUserId(k) for k in found])) == keys
    assert profiles.count() == len(keys)


@pytest.mark.parametrize("chunk", [1, 3, 4000])
def test_raw_rows_are_the_same_people_from_the_first_to_the_last(
    people: People, profiles: ProfileReader, chunk: int
) -> None:
    keys = [f"user_{n:03}" for n in range(11)]
    people.add_many('clerk_id, "Email"', [(key, f"{key}@example.com") for key in keys])
    assert isinstance(profiles, RowReader)
    everybody = [p for part in profiles.scan() for p in part]
    assert [p for part in profiles.scan_rows(chunk=chunk) for p, _ in part.profiles()] == everybody
    later = [p for part in profiles.scan_rows(chunk=chunk, after=ClerkUserId(keys[4])) for p, _ in part.profiles()]
    assert [p.clerk_user_id for p in later] == keys[5:]


def test_rows_that_stay_come_once_whatever_happens_between_two_chunks(people: People, profiles: ProfileReader) -> None:
    people.add_many("clerk_id", [(f"user_{i:04}",) for i in range(300)])
    scan = profiles.scan(chunk=10)
    seen = users(iter([next(scan)]))
    people.run("DELETE FROM people WHERE clerk_id BETWEEN 'user_0003' AND 'user_0005' OR clerk_id >= 'user_0290'")
    people.run("UPDATE people SET phone = '+4520123456'")  # each row is in another place of the table now
    people.add({"clerk_id": "user_0001x"})
    seen += users(scan)
    assert seen == sorted(set(seen))
    stayed = {f"user_{i:04}" for i in range(290)} - {"user_0003", "user_0004", "user_0005"}
    assert stayed <= set(seen)
    assert set(seen) <= {f"user_{i:04}" for i in range(290)}
    assert profiles.count() == 288


def test_a_key_on_very_many_rows_is_one_problem_at_any_chunk_size(people: People, profiles: ProfileReader) -> None:
    rows = [("user_1",), *[("user_2",)] * 41, ("user_3",), *[("user_4",)] * 3]
    people.add_many("clerk_id", rows)
    for chunk in (1, 2, 5, 40, 41, 42, 1000):
        found = [p for part in profiles.scan(chunk=chunk) for p in part]
        assert [p.clerk_user_id for p in found] == ["user_1", "user_2", "user_3", "user_4"]
        assert {problem.message for problem in found[1].problems} == {"41 rows have this key: only one may"}


def test_between_two_chunks_nothing_is_held_on_the_table(people: People, profiles: ProfileReader) -> None:
    people.add_many('clerk_id, "Email", updated', [(f"user_{i:03}", f"{i}@example.com", _plain(AT)) for i in range(50)])
    assert isinstance(profiles, RowReader)
    scan, rows, changed = (
        profiles.scan(chunk=5),
        profiles.scan_rows(chunk=5),
        profiles.changes_since(AT, overlap_s=1, chunk=5),
    )
    assert [next(scan)[0].clerk_user_id, next(changed)[0].clerk_user_id] == ["user_000", "user_000"]
    next(rows)
    people.alone("ALTER TABLE people ADD COLUMN more text")
    people.alone("UPDATE people SET phone = NULL")
    assert len(users(scan)) + 5 == len(users(changed)) + 5 == 50
    assert len(list(rows)) == 9


def test_a_scan_that_is_left_half_way_releases_its_connection(people: People, profiles: ProfileReader) -> None:
    people.add_many("clerk_id", [(f"user_{i:04}",) for i in range(50)])
    for _ in range(30):
        scan = profiles.scan(chunk=10)
        next(scan)
        scan.close()  # type: ignore[attr-defined]
    assert profiles.count() == 50


def test_a_key_on_two_rows_holds_that_user_and_no_one_else(people: People, profiles: ProfileReader) -> None:
    people.add(
        {"clerk_id": "user_1", "Email": "one@example.com"},
        {"clerk_id": "user_2", "Email": "two@example.com", "updated": AT},
        {"clerk_id": "user_2", "Email": "too@example.com", "updated": AT - timedelta(days=9)},
        {"clerk_id": "user_3", "Email": "three@example.com"},
    )
    scanned = {p.clerk_user_id: p for chunk in profiles.scan(chunk=2) for p in chunk}
    assert list(scanned) == ["user_1", "user_2", "user_3"]
    twice = scanned[ClerkUserId("user_2")]
    assert {p.message for p in twice.problems} == {"2 rows have this key: only one may"}
    assert not twice.knows("email")
    assert not twice.knows("deleted_at")
    assert scanned[ClerkUserId("user_1")].problems == scanned[ClerkUserId("user_3")].problems == ()
    assert profiles.get([ClerkUserId("user_2")]) == {"user_2": twice}
    changed = [p for chunk in profiles.changes_since(AT, overlap_s=60) for p in chunk]
    assert twice in changed
    claimants = profiles.sharing_email({"two@example.com", "three@example.com"})
    assert [p.clerk_user_id for p in claimants] == ["user_2", "user_3"]


def test_rows_that_name_no_user_are_left_out_and_reported(people: People, profiles: ProfileReader) -> None:
    people.add(
        {"clerk_id": None, "Email": "guest@example.com"},
        {"clerk_id": " \t", "Email": "guest@example.com"},
        {"clerk_id": "", "Email": "ada@example.com"},
        {"clerk_id": "user_1", "Email": "ada@example.com"},
        {"clerk_id": "u" * 256, "Email": "ada@example.com"},
    )
    why = "clerk_id is null, blank or longer than 255 characters"
    assert profiles.check() == (f"4 rows of people have no user ({why}): they are ignored",)
    assert users(profiles.scan()) == ["user_1"]
    assert profiles.count() == 1
    assert profiles.get([ClerkUserId("u" * 256)]) == {}
    assert profiles.sharing_email(None) == []


def test_a_key_with_blanks_around_it_is_held_not_guessed(people: People, profiles: ProfileReader) -> None:
    people.add({"clerk_id": "user_1 ", "Email": "ada@example.com"})
    (found,) = next(profiles.scan())
    assert (found.clerk_user_id, found.knows("email")) == ("user_1 ", False)


def test_only_rows_of_exactly_these_users_are_given(people: People, profiles: ProfileReader) -> None:
    people.add({"clerk_id": "user_a"}, {"clerk_id": "USER_A"}, {"clerk_id": "user_b"})
    assert set(profiles.get([ClerkUserId("user_a"), ClerkUserId("user_c")])) == {"user_a"}
    assert profiles.get([]) == {}
    assert profiles.users_without_row([ClerkUserId(u) for u in ("user_a", "User_A", "user_c")]) == {"User_A", "user_c"}


def test_thousands_of_users_may_be_asked_for_in_one_call(people: People, profiles: ProfileReader) -> None:
    names = [f"user_{i:04}" for i in range(1203)]
    people.add_many("clerk_id", [(name,) for name in names[::2]])
    asked = [ClerkUserId(name) for name in names]
    assert sorted(profiles.get(asked)) == names[::2]
    assert sorted(profiles.users_without_row(asked)) == names[1::2]


def test_who_shares_an_email_is_found_as_shopify_would_find_them(people: People, profiles: ProfileReader) -> None:
    people.add(
        {"clerk_id": "user_1", "Email": "Ada@Example.com"},
        {"clerk_id": "user_2", "Email": "  ada@example.COM "},
        {"clerk_id": "user_3", "Email": "jos\u00c9@example.com"},
        {"clerk_id": "user_4", "Email": "Jos\u00e9@example.com"},
        {"clerk_id": "user_5", "Email": "jose@example.com"},
        {"clerk_id": "user_6", "Email": "\u212aelvin@example.com"},
        {"clerk_id": "user_7", "Email": "kelvin@example.com"},
        {"clerk_id": "user_8", "Email": "gone@example.com", "deleted": AT},
        {"clerk_id": "user_9", "Email": "gone@example.com"},
        {"clerk_id": "user_b", "Email": ""},
        {"clerk_id": "user_c", "Email": ""},
        {"clerk_id": "user_d", "Email": None},
        {"clerk_id": "user_e", "Email": "ada+news@example.com"},
    )
    shared = profiles.sharing_email(None)
    assert [p.clerk_user_id for p in shared] == ["user_1", "user_2", "user_3", "user_4", "user_6", "user_7"]
    asked = {"ada@example.com", "jos\u00e9@example.com", "gone@example.com", "absent@example.com"}
    some = profiles.sharing_email(asked)
    assert [p.clerk_user_id for p in some] == ["user_1", "user_2", "user_3", "user_4", "user_9"]
    assert profiles.sharing_email(set()) == []


def test_of_many_with_one_email_the_first_may_be_enough(people: People, profiles: ProfileReader) -> None:
    ada = {"ada@example.com"}
    rows = [(f"user_{n}", "ada@example.com") for n in range(9)]
    people.add_many('clerk_id, "Email"', rows)
    assert [p.clerk_user_id for p in profiles.sharing_email(ada, enough=3)] == ["user_0", "user_1", "user_2"]
    assert len(profiles.sharing_email(ada, enough=9)) == len(profiles.sharing_email(ada, enough=99)) == len(rows)
    assert profiles.sharing_email({"absent@example.com"}, enough=3) == []
    people.add({"clerk_id": "user_!", "Email": "ada@example.com", "deleted": AT})
    assert len(profiles.sharing_email(ada, enough=3)) == len(rows), "of the first, not all count: so all are read"


def test_sharing_is_the_same_as_comparing_everybody_with_everybody(people: People, profiles: ProfileReader) -> None:
    seed = 4711
    print(f"seed {seed}")  # noqa: T201  shown where the test fails
    rng = random.Random(seed)
    letters = "aA\u00e4\u00c4kK\u212a\u0130i. \u00df\u0131"
    emails = ["".join(rng.choices(letters, k=2)).strip() + "@x.de" for _ in range(300)]
    people.add_many('clerk_id, "Email"', [(f"user_{i:03}", email) for i, email in enumerate(emails)])
    readable = {f"user_{i:03}": email_key(e) for i, e in enumerate(emails) if " " not in e}
    keys = list(readable.values())
    expected = sorted(user for user, key in readable.items() if keys.count(key) > 1)
    assert [p.clerk_user_id for p in profiles.sharing_email(None)] == expected
    asked = {k for k in keys[:40] if k is not None}
    assert [p.clerk_user_id for p in profiles.sharing_email(asked)] == sorted(
        u for u, k in readable.items() if k in asked
    )


def test_changes_are_given_from_the_watermark_less_the_overlap(people: People, profiles: ProfileReader) -> None:
    people.add(
        {"clerk_id": "user_1", "updated": AT - timedelta(hours=2)},
        {"clerk_id": "user_2", "updated": AT - timedelta(seconds=60)},
        {"clerk_id": "user_3", "updated": AT + timedelta(hours=2)},
        {"clerk_id": "user_4", "updated": None},
    )
    assert users(profiles.changes_since(AT, overlap_s=60)) == ["user_2", "user_3", "user_4"]
    assert users(profiles.changes_since(AT, overlap_s=59)) == ["user_3", "user_4"]
    kathmandu = AT.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert users(profiles.changes_since(kathmandu, overlap_s=60, chunk=1)) == ["user_2", "user_3", "user_4"]


def test_a_view_serves_as_well_as_a_table(people: People, opened: Open) -> None:
    people.add({"clerk_id": "user_1", "Email": "a@example.com"}, {"clerk_id": "user_2", "Email": "b@example.com"})
    people.run("""CREATE VIEW customers AS SELECT clerk_id, "Email" FROM people WHERE clerk_id <> 'user_2'""")
    reader = opened({"clerk_user_id": "clerk_id", "email": "Email"}, "public.customers")
    assert reader.check() == ()
    assert users(reader.scan()) == ["user_1"]
    assert set(reader.get([ClerkUserId("user_1"), ClerkUserId("user_2")])) == {"user_1"}


def test_an_empty_table_is_empty(profiles: ProfileReader) -> None:
    assert profiles.check() == ()
    assert list(profiles.scan()) == []
    assert profiles.count() == 0
    assert profiles.sharing_email(None) == []


def test_a_missing_table_is_named_with_the_nearest(people: People, opened: Open) -> None:
    with pytest.raises(SourceError, match=r"there is no table or view .*peopel") as caught:
        opened(table="peopel").check()
    assert "people" in caught.value.hint


def test_missing_columns_are_named_with_the_nearest(people: People, opened: Open) -> None:
    with pytest.raises(SourceError) as caught:
        opened({"clerk_user_id": "clerk_id", "email": "email", "phone": "telephone"}).check()
    assert "email: email (the nearest is " in caught.value.message
    assert "phone: telephone (the nearest is phone)" in caught.value.message
    assert "profiles.columns" in caught.value.hint


def test_a_column_dropped_while_running_is_an_error_not_a_value(people: People, profiles: ProfileReader) -> None:
    people.add({"clerk_id": "user_1", "phone": "+4520123456"})
    assert profiles.count() == 1
    people.run("ALTER TABLE people DROP COLUMN phone")
    with pytest.raises(SourceError, match="phone"):
        list(profiles.scan())
    with pytest.raises(SourceError, match="lacks a column that is mapped: phone"):
        list(profiles.scan())


def test_nothing_can_be_written_through_the_reader(people: People, opened: Open) -> None:
    reader = opened()
    people.add({"clerk_id": "user_1"})
    with pytest.raises(SourceError, match=r"read-?only"), reader.transaction() as (connection, _):
        connection.exec_driver_sql("DELETE FROM people")
    assert reader.count() == 1


def test_a_user_without_a_name_in_utf_8_order_is_found_beside_their_neighbours(
    people: People, profiles: ProfileReader
) -> None:
    people.add_many("clerk_id", [("user_Z",), ("user_a",), ("user_\u00e9",), ("user_\uffee",), ("user_\U00010000",)])
    found = users(profiles.scan(chunk=2))
    assert all(one < other for one, other in pairwise(found))
    assert len(found) == 5


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("grace", ["user_a", "user_b"]),
        ("HOPPER grace", ["user_a"]),
        ("øystein", ["user_c"]),
        ("ødegård", ["user_c"]),
        ("Mary", ["user_b"]),
        ("4155550100", ["user_a"]),
        ("+1 415-555-0100", ["user_a"]),
        ("+44 415 555 0100", []),
        ("%%", []),
        ("gone", []),
    ],
)
def test_people_are_searched_by_words_of_a_name_and_by_phone(
    people: People, opened: Open, text: str, found: list[str]
) -> None:
    people.add(
        {"clerk_id": "user_a", "first": "Grace", "last": "Hopper", "phone": "(415) 555-0100"},
        {"clerk_id": "user_b", "display name": "Mary Grace", "phone": "415 555 0101"},
        {"clerk_id": "user_c", "first": "Øystein", "last": "ØDEGÅRD"},
        {"clerk_id": "user_d", "first": "Gone", "deleted": AT},
    )
    meant = sought(text, ["US"])
    assert meant is not None
    assert [str(one.clerk_user_id) for one in opened().search(meant, ["US"], limit=9)] == found


def test_a_table_without_names_and_phones_is_searched_in_vain(people: People, opened: Open) -> None:
    people.add({"clerk_id": "user_a", "first": "Grace"})
    for text in ("grace", "+14155550100"):
        meant = sought(text, [])
        assert meant is not None
        assert opened({"clerk_user_id": "clerk_id"}).search(meant, [], limit=9) == []
