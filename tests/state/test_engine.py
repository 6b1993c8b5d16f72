"""Opening the state where it can't be opened, and SQLite under several threads and processes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import event

from reconciler.core.model.ids import ClerkUserId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.errors import ConfigError, StateError
from reconciler.state.database.engine import open_engine, reading, repeatable, writing
from reconciler.state.schema import ensure_schema
from tests import servers
from tests.state_store import StateStore

SHOP = ShopDomain("acme.myshopify.com")


def mapping(name: str) -> Mapping:
    return Mapping(clerk_user_id=ClerkUserId(name), store=StoreName("acme"), shop=SHOP)


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a/b/state.db")
    ensure_schema(engine)
    engine.dispose()
    assert (tmp_path / "a" / "b" / "state.db").is_file()


def test_a_folder_that_can_not_be_made_is_reported() -> None:
    with pytest.raises(StateError, match=r"the folder of sqlite:////proc/nowhere/state.db can't be made") as caught:
        open_engine("sqlite:////proc/nowhere/state.db")
    assert "state.url" in caught.value.hint


def test_a_folder_in_which_nothing_may_be_written_is_reported() -> None:
    engine = open_engine("sqlite:////proc/state.db")
    with pytest.raises(StateError, match="unable to open database file") as caught:
        ensure_schema(engine)
    engine.dispose()
    assert "the right to write the file and its folder" in caught.value.hint


@contextmanager
def without_rights() -> Iterator[None]:
    """To root nothing is read-only, so be somebody else for a moment."""
    account = servers.Account.without_rights()
    if account.uid is None:
        yield
        return
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_file_is_reported() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        engine = open_engine(f"sqlite:///{path}")
        ensure_schema(engine)
        engine.dispose()
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        again = open_engine(f"sqlite:///{path}", wait_s=3600.0)  # no one is waited for
        with without_rights(), pytest.raises(StateError, match="readonly database") as caught:
            StateStore(again).put(mapping("user_1"))
        again.dispose()
        Path(folder).chmod(0o755)
    assert "the right to write the file and its folder" in caught.value.hint


def test_a_file_that_is_something_else_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_text("this is no database, but it is long enough to be looked at as one\n" * 20)
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(StateError, match="not a database") as caught:
        ensure_schema(engine)
    engine.dispose()
    assert "something else" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true", "sqlite:///file:x?mode=memory&uri=true"],
)
def test_a_state_that_would_die_with_the_process_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_engine(url)


def test_a_server_that_is_away_is_reported_without_the_password() -> None:
    engine = open_engine(f"postgresql://runner:geheim@127.0.0.1:{servers.free_port()}/postgres")
    with pytest.raises(StateError, match="can't be used") as caught:
        ensure_schema(engine)
    assert "geheim" not in caught.value.message + caught.value.hint
    assert caught.value.hint == "check state.url and the server"


def test_a_disk_that_is_full_is_reported_and_nothing_of_the_write_is_there(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/state.db")
    ensure_schema(engine)
    with engine.connect() as connection:  # the only one: it is used again
        pages = connection.exec_driver_sql("pragma page_count").scalar_one()
        connection.exec_driver_sql(f"pragma max_page_count = {pages}")
    state = StateStore(engine)
    with pytest.raises(StateError, match="disk is full") as caught:
        state.put_many([mapping(f"user_{n:05}") for n in range(5000)])
    assert caught.value.hint == "free some space on the disk of the state"
    assert state.count(SHOP) == 0
    engine.dispose()


def test_a_state_without_a_schema_points_at_the_command_that_makes_it(
    postgres: servers.Server, postgres_database: Callable[..., str], tmp_path: Path
) -> None:
    for url in (f"sqlite:///{tmp_path}/empty.db", postgres.url(postgres_database())):
        engine = open_engine(url)
        with pytest.raises(StateError) as caught:
            StateStore(engine).count(SHOP)
        engine.dispose()
        assert caught.value.hint == "reconciler db upgrade"


def test_sqlite_keeps_what_it_was_given_and_readers_do_not_wait_for_writers(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/state.db")
    ensure_schema(engine)
    state = StateStore(engine)
    with reading(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    with writing(engine) as connection:
        connection.exec_driver_sql("INSERT INTO reconciler_applied_plan VALUES ('a', '2026-11-23 09:00:00.000000')")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(state.count, SHOP).result(60) == 0
    engine.dispose()


def test_only_what_may_be_done_twice_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    def levels(level: str) -> list[int]:
        engine = open_engine(f"sqlite:///{tmp_path}/{level}.db")
        event.listen(engine, "connect", lambda driver, _record: driver.execute(f"PRAGMA synchronous={level}").close())
        found = []
        for kind in (engine, repeatable(engine), repeatable(engine), engine):
            with writing(kind) as connection:
                found.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
        engine.dispose()
        return found

    assert levels("FULL") == [2, 1, 1, 2]
    assert levels("OFF") == [0, 0, 0, 0]


def test_a_writer_waits_for_another_and_then_writes(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/state.db")
    ensure_schema(engine)
    state = StateStore(engine)
    begun = Event()

    def put() -> tuple[ClerkUserId, ...]:
        begun.set()
        return state.put(mapping("user_1"))

    with ThreadPoolExecutor(1) as pool:
        with writing(engine):
            later = pool.submit(put)
            assert begun.wait(60)
            assert not later.done()
        assert later.result(60) == ()
    engine.dispose()


def test_a_file_that_another_process_holds_is_locked_for_each_thread(tmp_path: Path) -> None:
    """Also for those that wait behind a thread which waits for the file itself."""
    file = tmp_path / "state.db"
    patient, prompt = open_engine(f"sqlite:///{file}"), open_engine(f"sqlite:///{file}", wait_s=0.05)
    ensure_schema(patient)
    with closing(sqlite3.connect(file, isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        waiting = pool.submit(StateStore(patient).put, mapping("user_1"))
        for _ in range(5):
            with pytest.raises(StateError, match="database is locked") as caught:
                StateStore(prompt).put(mapping("user_2"))
            assert "another process holds the file" in caught.value.hint
        other.execute("ROLLBACK")
        assert waiting.result(60) == ()
    patient.dispose()
    prompt.dispose()


def test_a_process_waits_for_another_that_is_just_making_the_file(tmp_path: Path) -> None:
    """SQLite waits for a lock, but not where it turns a new file to WAL: two simultaneous commands on a new machine."""
    url = f"sqlite:///{tmp_path}/state.db"
    engine = open_engine(url)
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        made = pool.submit(ensure_schema, engine)
        assert not wait([made], 0.2).done
        other.execute("COMMIT")
        made.result(60)
    engine.dispose()


def test_who_may_not_wait_long_learns_who_writes_meanwhile(tmp_path: Path) -> None:
    patient, prompt = (open_engine(f"sqlite:///{tmp_path}/state.db", wait_s=s) for s in (30.0, 0.05))
    ensure_schema(patient)
    with writing(patient):
        with pytest.raises(StateError, match="other threads of this process") as refused:
            StateStore(prompt).put(mapping("user_1"))
        assert "Postgres" not in refused.value.hint
        assert StateStore(prompt).count(SHOP) == 0  # reading needs no lock
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="locked") as refused:
            StateStore(prompt).put(mapping("user_1"))
        assert "another process" in refused.value.hint
    StateStore(prompt).put(mapping("user_1"))
    for engine in (patient, prompt):
        engine.dispose()


@pytest.mark.slow
def test_a_second_process_may_write_as_well(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    engine = open_engine(url)
    ensure_schema(engine)
    script = """
import sys
from reconciler.core.model.mapping import Mapping
from reconciler.state.database.engine import open_engine
from tests.state_store import StateStore
state = StateStore(open_engine(sys.argv[1]))
for n in range(15):
    state.put(Mapping(clerk_user_id=f"user_b{n}", store="acme", shop="acme.myshopify.com"))
"""
    other = subprocess.Popen([sys.executable, "-c", script, url])
    state = StateStore(engine)
    turn = 0
    while other.poll() is None or turn < 15:
        state.put(mapping(f"user_a{turn % 15}"))
        turn += 1
    assert other.returncode == 0
    assert state.tallies([SHOP])[SHOP].rows == {("pending", None): 30}
    engine.dispose()


def test_the_state_may_share_a_file_with_other_tables(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE customers (clerk_user_id TEXT)")
    engine = open_engine(f"sqlite:///{path}")
    ensure_schema(engine)
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    strangers = {name for name in names if not name.startswith(("reconciler_", "sqlite_"))}
    assert strangers == {"customers"}
