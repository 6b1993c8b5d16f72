"""Changed rows of SQLite: by the index on `updated_at` where its texts can be trusted to sort, and always the same ones."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from reconciler.supabase.reading.profiles import TableProfiles

AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SEED = 20261125
COLUMNS = {"clerk_user_id": "clerk_user_id", "updated_at": "updated_at"}


def reader_of(path: Path, values: Sequence[Any], *, kind: str = "", index: bool = True) -> TableProfiles:
    """A table with these times in it, one a row."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"create table customers (clerk_user_id text primary key, updated_at {kind})")
        connection.executemany(
            "insert into customers values (?, ?)", ((f"user_{n:05}", value) for n, value in enumerate(values))
        )
        if index:
            connection.execute("create index touched on customers (updated_at)")
        connection.commit()
    return TableProfiles(f"sqlite:///{path}", "customers", COLUMNS)


def changed(reader: TableProfiles, at: datetime = AT) -> list[str]:
    return [p.clerk_user_id for chunk in reader.changes_since(at, overlap_s=60) for p in chunk]


def times(odd: random.Random, count: int) -> list[Any]:
    """Times around the watermark in every spelling that sorts."""
    found: list[Any] = []
    for _ in range(count):
        at = AT + timedelta(seconds=odd.choice([-9e8, -2e5, -61, -60, -59, 0, 1, 7200]) + odd.random())
        zone = timedelta(minutes=odd.choice([-720, -210, 0, 345, 840]))
        seconds = at.timestamp()
        spelt = (
            at.isoformat(), at.isoformat(sep=" ")[:19], (at + zone).strftime("%Y-%m-%dT%H:%M:%S"), at.date().isoformat(),
            int(seconds), seconds, int(seconds * 1000), int(seconds * 1_000_000), None, "", b"\xff",
        )  # fmt: skip
        found.append(odd.choice(spelt))
    return found


@pytest.mark.parametrize("kind", ["", "text", "timestamp", "integer"])
def test_the_index_gives_the_rows_that_a_scan_gives(tmp_path: Path, kind: str) -> None:
    print(f"seed {SEED}")  # noqa: T201  shown where it fails
    odd = random.Random(SEED)
    values = times(odd, 600)
    by_index = reader_of(tmp_path / "index.db", values, kind=kind)
    by_scan = reader_of(tmp_path / "scan.db", values, kind=kind, index=False)
    for at in (AT, AT - timedelta(days=3), AT + timedelta(days=400), datetime.min.replace(tzinfo=UTC) + timedelta(60)):
        assert changed(by_index, at) == changed(by_scan, at)
    assert 0 < len(changed(by_index)) < len(values)


@pytest.mark.parametrize("odd", ["24.11.2026", "1732438800", " ", "Nov 24 2020", "!"])
def test_where_one_text_does_not_sort_all_are_read(tmp_path: Path, odd: str) -> None:
    values = ["2001-01-01 00:00:00", odd, "2026-11-24 09:00:00", "1999-05-05"]
    reader = reader_of(tmp_path / "odd.db", values)
    by_scan = reader_of(tmp_path / "scan.db", values, index=False)
    assert changed(reader) == changed(by_scan)
    assert "user_00002" in changed(reader)


def test_what_has_not_changed_is_not_read(tmp_path: Path) -> None:
    years = [f"{2000 + n % 26}-01-01 00:00:00" for n in range(20_000)]
    reader = reader_of(tmp_path / "many.db", [*years, "2026-11-24 09:00:00"], kind="timestamp")
    steps = [0]
    with reader.transaction() as (connection, _):
        engine = connection.engine

    def count() -> int:
        steps[0] += 1
        return 0

    @event.listens_for(engine, "checkout")
    def watch(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.set_progress_handler(count, 100)  # each hundred steps of SQLite's machine

    assert changed(reader) == ["user_20000"]
    assert steps[0] < 100  # a scan of 20,000 rows takes more than a thousand
