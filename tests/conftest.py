"""Databases for every test that wants one: a server a worker, a database a test; and the same environment for all."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import freezegun
import pytest
from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.util import LRUCache

from reconciler.state.database.engine import open_engine
from reconciler.state.schema import upgrade
from tests import activity, servers
from tests.cost import pytest_runtest_setup, pytest_runtest_teardown, pytest_unconfigure  # noqa: F401  hooks
from tests.hypothesis_profiles import pytest_configure, pytest_terminal_summary  # noqa: F401  hooks
from tests.matrices import pytest_collection_modifyitems  # noqa: F401  a hook
from tests.states import state_template

COMPILED: LRUCache[Any, Any] = LRUCache(1000)
DIALECTS: dict[bool, Dialect] = {}
BACKENDS = ("sqlite", "postgres", "pooler")
MIGRATED = "migrated"
OF_THE_SHELL = (
    "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy",
)  # fmt: skip
for name in OF_THE_SHELL:  # how wide a developer's terminal is, and which proxy they use, is no test's business
    os.environ.pop(name, None)  # noqa: TID251  before any test reads it
# All is on loopback. Reading the certificates that this machine trusts costs each command 20 milliseconds.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("unused_ca.pem"))  # noqa: TID251  of processes that a test starts, too
# Servers of earlier tests are still there. A loop that took the time of a frozen clock would sleep until that time comes.
freezegun.configure(extend_ignore_list=["asyncio"])
gc.set_threshold(200_000, 20, 20)  # while tests are collected, nothing is garbage: a seventh of the time that takes


@event.listens_for(Engine, "engine_connect")
def share_compiled(connection: Connection) -> None:
    """Compile a statement once for all engines on SQLite: each command opens its own, and this is a fifth of its CPU.

    The cache is one of compiled statements by dialect, so the connections need the same one, too. The dialect of a state
    names the schema of its tables otherwise, so it is not that of the profiles. A dialect of the modelled Postgres
    (tests/simulation/postgres.py) stays with its engine.
    """
    if connection.dialect.name == "sqlite" and connection.dialect.statement_compiler is SQLiteCompiler:
        names_main = "schema_for_object" in vars(connection.dialect.identifier_preparer)
        connection.dialect = DIALECTS.setdefault(names_main, connection.dialect)
        connection.execution_options(compiled_cache=COMPILED)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: looking through it again and again is an eighth of the time tests take."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Server]:
    """A Postgres of this worker's own, with a database to copy: a state at the newest schema."""
    with servers.postgres() as server:
        server.create(name=MIGRATED)
        engine = open_engine(server.url(MIGRATED))
        upgrade(engine)
        engine.dispose()
        with activity.watched(server):
            yield server


@pytest.fixture(autouse=True)
def table_is_left_to_the_app() -> Iterator[None]:
    """Fails a test during which a transaction of ours stayed on a table of the app's Postgres."""
    activity.taken()
    yield
    if staying := activity.taken():
        pytest.fail("transactions stayed on the profiles:\n" + "\n".join(staying), pytrace=False)


@pytest.fixture(scope="session")
def pooler(postgres: servers.Server) -> Iterator[int]:
    """The port of a PgBouncer in transaction mode before it."""
    with servers.pgbouncer(postgres) as port:
        yield port


@dataclass(frozen=True, slots=True)
class Database:
    """One test's database: its kind, the URL that the product is given, and one that is never pooled."""

    backend: str
    url: str
    direct: str


@pytest.fixture
def postgres_database(postgres: servers.Server) -> Iterator[Callable[..., str]]:
    """Makes databases of the worker's Postgres that are gone after the test; gives their names."""
    made: list[str] = []

    def make(*, migrated: bool = False) -> str:
        made.append(postgres.create(template=MIGRATED if migrated else "template1"))
        return made[-1]

    yield make
    for name in made:
        postgres.drop(name)


def _database(request: pytest.FixtureRequest, tmp_path: Path, *, migrated: bool) -> Database:
    backend: str = request.param
    if backend == "sqlite":
        file = tmp_path / "database.db"
        url = f"sqlite:///{file}"
        if migrated:
            file.write_bytes(state_template())
        return Database(backend, url, url)
    server: servers.Server = request.getfixturevalue("postgres")
    name = request.getfixturevalue("postgres_database")(migrated=migrated)
    port = request.getfixturevalue("pooler") if backend == "pooler" else None
    return Database(backend, server.url(name, port=port), server.url(name))


@pytest.fixture(params=BACKENDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database: SQLite, Postgres, and Postgres through a transaction pooler."""
    return _database(request, tmp_path, migrated=False)


@pytest.fixture(params=BACKENDS)
def state_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """The same three, with the state's schema in it."""
    return _database(request, tmp_path, migrated=True)


@pytest.fixture
def engine(state_database: Database) -> Iterator[Engine]:
    """Of that database."""
    made = open_engine(state_database.url)
    yield made
    made.dispose()
