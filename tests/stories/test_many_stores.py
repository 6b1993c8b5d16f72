"""Many stores on one table, two rows each: each command ends, and so does `run` as a process, on both databases.

More stores than there are threads, connections or slots of any kind, so that a thread that holds one of a kind and waits
for a second one of it waits for ever. There are eight of most kinds: twelve stores in `make test`, sixty in `make explore`.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from reconciler.cli.main import run
from reconciler.outbound.databases.url import rewritten
from reconciler.simulator.control import all_customers
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import ALL_SCOPES, World
from tests import servers
from tests.clerk import sender
from tests.manager.harness import until
from tests.manager.processes import Process, begin

SOME, MANY = 12, 60
EACH = 2
ENDS_WITHIN_S = 300.0  # on a machine that is busy with other things; what hangs does so for ever
pytestmark = pytest.mark.timeout(900)


@dataclass(slots=True)
class Agency:
    """Shops, each with the two users of its own locale."""

    folder: Path
    names: list[str]
    world: World
    profiles: sa.Engine
    capsys: pytest.CaptureFixture[str]

    @property
    def files(self) -> list[str]:
        return ["--config", str(self.folder / "reconciler.yaml"), "--stores", str(self.folder / "stores.yaml")]

    def __call__(self, *words: str, code: int = 0) -> Any:
        """Run one command to its end; what it said as JSON, if it was asked to."""
        self.capsys.readouterr()
        ended = run([*self.files, *words])
        out, err = self.capsys.readouterr()
        assert ended == code, out[-2000:] + err[-2000:]
        return json.loads(out) if "json" in words else out

    def sql(self, statement: str, **values: Any) -> None:
        with self.profiles.begin() as connection:
            connection.execute(sa.text(statement), values)

    @property
    def rows(self) -> int:
        return EACH * len(self.names)

    def first_names(self) -> set[str]:
        """The first names of all customers in all shops."""
        return {c["firstName"] for sim in self.world.shops.values() for c in all_customers(sim)}

    def customers(self) -> int:
        return sum(len(list(all_customers(sim))) for sim in self.world.shops.values())


def databases(*, quick: str) -> list[Any]:
    """Twelve stores on one kind of database in `make test`; sixty on both in `make explore`."""
    more = [pytest.param((kind, MANY), marks=pytest.mark.explore) for kind in ("sqlite", "postgres")]
    return [(quick, SOME), *more]


@pytest.fixture
def agency(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Agency]:
    kind, stores_wanted = request.param
    names = [f"shop-{number:02}" for number in range(stores_wanted)]
    state, profiles, table = f"sqlite:///{tmp_path / 'state.db'}", f"sqlite:///{tmp_path / 'profiles.db'}", "customers"
    if kind == "postgres":
        server: servers.Server = request.getfixturevalue("postgres")
        database: Callable[..., str] = request.getfixturevalue("postgres_database")
        state, profiles, table = server.url(database(migrated=True)), server.url(database()), "public.customers"
    world = World()
    for name in names:
        domain = f"{name}.myshopify.com"
        options: dict[str, Any] = {"restore_rate": 10_000, "bucket_size": 200_000, "scopes": set(ALL_SCOPES)}
        world.add_shop(domain, access_token=f"token-{name}", **options)
    engine = sa.create_engine(rewritten(profiles))
    with ExitStack() as stack:
        simulator = stack.enter_context(SimulatorServer(world))
        stack.callback(engine.dispose)
        found = Agency(tmp_path, names, world, engine, capsys)
        columns = ("clerk_user_id", "email", "email_verified", "first_name", "locale", "updated_at")
        settings = {
            "version": 1,
            "state": {"url": state},
            "profiles": {"url": profiles, "table": table, "columns": {c: c for c in columns}},
            "clerk": {"webhook_secrets": [sender.SECRET], "instance_id": sender.INSTANCE},
        }
        stores = [
            {
                "name": name,
                "shop": f"{name}.myshopify.com",
                "admin_url": simulator.url(f"{name}.myshopify.com"),
                "auth": {"access_token": f"token-{name}"},
                "webhook_secret": "secret",
                "where": {"locale": name},
                "tags": ["app-user"],
                "guards": {kind: {"max": 1000} for kind in ("create", "update")},
            }
            for name in names
        ]
        (tmp_path / "reconciler.yaml").write_text(json.dumps(settings))
        (tmp_path / "stores.yaml").write_text(json.dumps({"version": 1, "stores": stores}))
        found.sql(
            "create table customers (clerk_user_id text primary key, email text, email_verified boolean, "
            "first_name text, locale text, updated_at timestamp default current_timestamp)"
        )
        for number in range(found.rows):
            found.sql(
                "insert into customers (clerk_user_id, email, email_verified, first_name, locale) "
                "values (:user, :email, true, 'Ada', :locale)",
                user=f"user_{number:04}", email=f"u{number}@example.com", locale=names[number % len(names)],
            )  # fmt: skip
        yield found


@pytest.mark.parametrize("agency", databases(quick="postgres"), indirect=True)
@pytest.mark.slow
def test_every_command_ends_with_many_stores(agency: Agency) -> None:
    agency("bootstrap", "--yes")
    assert agency("plan", "--output", "json")["summary"]["create"] == agency.rows
    assert agency("drift", "--output", "json", code=2)
    agency("apply", "--yes", "--bulk", "never")
    assert agency.customers() == agency.rows
    summary = agency("plan", "--output", "json")["summary"]
    assert (summary["in_sync"], summary["create"], summary["update"], summary["hold"]) == (agency.rows, 0, 0, 0)
    agency.sql("update customers set first_name = 'Grace'")
    agency("apply", "--yes", "--bulk", "never")
    assert agency.first_names() == {"Grace"}
    found = agency("status", "--output", "json")
    assert [store["in_sync"] for store in found["stores"]] == [EACH] * len(agency.names)
    assert f"{len(agency.names)} stores" in agency("doctor")


@pytest.mark.parametrize("agency", databases(quick="sqlite"), indirect=True)
def test_run_reconciles_many_stores_and_ends(agency: Agency) -> None:
    agency("bootstrap", "--yes")
    with ExitStack() as stack:
        process: Process = begin([*agency.files, "run", "--port", "0"], stack)
        process.started()
        until(lambda: agency.customers() == agency.rows, "everybody is in a shop", within_s=ENDS_WITHIN_S)
        process.signal(signal.SIGTERM)
        assert process.ended() == 0
    agency("plan", "--detailed-exitcode")
