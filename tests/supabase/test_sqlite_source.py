"""SQLite tables hold anything in any column, and lie in files that may be missing or somebody's own."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reconciler.core.model.ids import ClerkUserId
from reconciler.core.model.profile import Profile
from reconciler.errors import SourceError
from reconciler.state.database.engine import open_engine
from reconciler.state.schema import ensure_schema
from reconciler.supabase.reading.profiles import TableProfiles
from tests.servers import Account

COLUMNS = {"clerk_user_id": "clerk_user_id", "email": "email", "phone": "phone", "updated_at": "updated_at"}
TABLE = "CREATE TABLE customers (clerk_user_id TEXT, email, phone, updated_at)"
Open = Callable[[Path], TableProfiles]


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens readers, and closes them after the test."""
    made: list[TableProfiles] = []

    def make(path: Path) -> TableProfiles:
        made.append(TableProfiles(f"sqlite:///{path}", "customers", COLUMNS))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


@contextmanager
def of_another_user() -> Iterator[Path]:
    """A folder that this process may enter and not write, while the context lasts."""
    account = Account.without_rights()
    with account.folder() as folder:
        path = folder / "profiles.db"
        run(path, "PRAGMA journal_mode=WAL", "CREATE TABLE customers (clerk_user_id TEXT, email, phone, updated_at)")
        path.chmod(0o644)
        folder.chmod(0o555)
        if account.uid is not None:
            os.seteuid(account.uid)
        try:
            yield path
        finally:
            if account.uid is not None:
                os.seteuid(0)
            folder.chmod(0o755)


def test_a_wal_file_in_a_folder_that_can_not_be_written_says_so(opened: Open) -> None:
    with of_another_user() as path, pytest.raises(SourceError) as caught:
        opened(path).check()
    assert "write access to its folder" in caught.value.hint


def everybody(reader: TableProfiles) -> dict[str, Profile]:
    return {str(p.clerk_user_id): p for chunk in reader.scan(chunk=2) for p in chunk}


def test_a_missing_file_is_reported_and_not_made(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "profiles.db"
    with pytest.raises(SourceError, match=r"there is no file .*profiles\.db") as caught:
        opened(path).check()
    assert "relative to the working directory" in caught.value.hint
    assert not path.exists()


def test_a_file_that_is_replaced_is_read_as_it_is_now(tmp_path: Path, opened: Open) -> None:
    """As an export does it: written beside the file, and renamed over it."""
    path, fresh = tmp_path / "profiles.db", tmp_path / "fresh.db"
    run(path, TABLE, "INSERT INTO customers VALUES ('user_1', 'old@example.com', NULL, NULL)")
    reader = opened(path)
    assert reader.count() == 1
    scan = reader.scan(chunk=1)
    next(scan)
    for n in (2, 3):
        insert = f"INSERT INTO customers VALUES ('user_{n}', 'new@example.com', NULL, NULL)"
        run(fresh, TABLE, "INSERT INTO customers VALUES ('user_1', 'new@example.com', NULL, NULL)", insert)
        fresh.rename(path)
        assert reader.count() == 2
        assert reader.get([ClerkUserId("user_1")])[ClerkUserId("user_1")].email == "new@example.com"
        assert reader.users_without_row([ClerkUserId("user_2"), ClerkUserId("user_3")]) == {f"user_{5 - n}"}
    path.unlink()
    with pytest.raises(SourceError, match="no file"):
        reader.count()


def test_a_path_with_odd_characters_is_the_path_it_says(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "a b & c # 1" / "pröfiles.db"
    path.parent.mkdir()
    run(path, TABLE, "INSERT INTO customers (clerk_user_id) VALUES ('user_1')")
    assert list(everybody(opened(path))) == ["user_1"]


def test_a_file_that_is_something_else_is_reported(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "profiles.db"
    path.write_text("clerk_user_id;email\nuser_1;ada@example.com\n" * 100)
    with pytest.raises(SourceError, match="not a database"):
        opened(path).check()


def test_bytes_and_numbers_in_text_columns_hold_one_user_each(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "profiles.db"
    run(
        path,
        TABLE,
        "INSERT INTO customers VALUES ('user_1', CAST(x'ff6164' AS TEXT), '+4520123456', 1795424400)",
        "INSERT INTO customers VALUES ('user_2', x'616461', 4520123456, '2026-11-23T09:00:00Z')",
        "INSERT INTO customers VALUES ('user_3', 7, 7.5, 'soon')",
        "INSERT INTO customers VALUES ('user_4', 'ada@example.com', NULL, NULL)",
        "INSERT INTO customers VALUES (CAST(x'7573ff' AS TEXT), 'grace@example.com', NULL, NULL)",
    )
    found = everybody(opened(path))
    problems = {user: {p.field for p in profile.problems} for user, profile in found.items()}
    assert problems == {
        "user_1": {"email"},
        "user_2": {"email", "phone"},
        "user_3": {"email", "phone", "updated_at"},
        "user_4": set(),
        "us\ufffd": {"clerk_user_id", "deleted_at", "email", "phone", "updated_at"},
    }
    assert found["user_1"].updated_at == found["user_2"].updated_at
    assert [p.clerk_user_id for p in opened(path).sharing_email({"ada@example.com"})] == ["user_4"]


@pytest.mark.parametrize("type_", ["TEXT", "VARCHAR(40) COLLATE NOCASE", "", "INTEGER"])
def test_the_key_may_be_of_any_type(tmp_path: Path, opened: Open, type_: str) -> None:
    path = tmp_path / "profiles.db"
    run(path, f"CREATE TABLE customers (clerk_user_id {type_}, email, phone, updated_at)")
    run(path, "INSERT INTO customers (clerk_user_id) VALUES (7), (12), ('user_a')")
    reader = opened(path)
    assert list(everybody(reader)) == ["12", "7", "user_a"]
    asked = [ClerkUserId(u) for u in ("7", "12", "user_a", "USER_A", "8")]
    assert set(reader.get(asked)) == {"7", "12", "user_a"}
    assert reader.users_without_row(asked) == {"USER_A", "8"}


def test_profiles_and_state_may_share_a_file(tmp_path: Path, opened: Open) -> None:
    path = tmp_path / "shared.db"
    run(path, TABLE, "INSERT INTO customers (clerk_user_id) VALUES ('user_1')")
    engine = open_engine(f"sqlite:///{path}")
    ensure_schema(engine)
    reader = opened(path)
    scan = reader.scan(chunk=1)
    assert len(next(scan)) == 1
    ensure_schema(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO reconciler_applied_plan VALUES ('a', '2026-11-23 09:00:00.000000')")
    assert list(scan) == []
    engine.dispose()
    assert list(everybody(opened(path))) == ["user_1"]


def test_a_schema_that_sqlite_does_not_have_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "profiles.db"
    run(path, TABLE)
    reader = TableProfiles(f"sqlite:///{path}", "crm.customers", COLUMNS)
    with pytest.raises(SourceError, match="SQLite has no schema 'crm'") as caught:
        reader.check()
    reader.close()
    assert caught.value.hint == "profiles.table: customers"
