"""A harness for the command line: two simulated shops over real HTTP, a table of people, and both settings files."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from reconciler.simulator.control import all_customers
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import ALL_SCOPES, SimShop, World
from tests.program import program

US, EU = "acme-us", "acme-eu"
COLUMNS = ("clerk_user_id", "email", "email_verified", "first_name", "last_name", "phone", "locale", "deleted_at")
PEOPLE: tuple[Mapping[str, Any], ...] = (
    {"clerk_user_id": "user_ada", "email": "ada@example.com", "first_name": "Ada", "locale": "en-US"},
    {"clerk_user_id": "user_bob", "email": "bob@example.com", "first_name": "Bob", "locale": "en-US"},
    {"clerk_user_id": "user_cleo", "email": None, "first_name": "Cleo", "locale": "en-US"},
    {"clerk_user_id": "user_dora", "email": "dora@example.com", "first_name": "Dora", "locale": "de-DE"},
)


@dataclass(slots=True)
class Said:
    """What one command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class CliHarness:
    """Change `settings`, `stores` and `rollout` before a command; each command reads the files again."""

    folder: Path
    world: World
    server: SimulatorServer
    capsys: pytest.CaptureFixture[str]
    settings: dict[str, Any] = field(default_factory=dict)
    stores: dict[str, dict[str, Any]] = field(default_factory=dict)
    rollout: dict[str, Any] = field(default_factory=dict)
    outage_s: float = 0.6
    """So long a command waits for a shop that fails: one more attempt, where the product makes several."""

    def shop(self, name: str = US) -> SimShop:
        return self.world.shops[f"{name}.myshopify.com"]

    def __call__(self, *words: str) -> Said:
        """Run one command line."""
        config, stores = self.folder / "reconciler.yaml", self.folder / "stores.yaml"
        config.write_text(json.dumps({"version": 1, **self.settings}))
        listed = [{"name": n, **s} for n, s in self.stores.items()]
        more = {"rollout": self.rollout} if self.rollout else {}
        stores.write_text(json.dumps({"version": 1, **more, "stores": listed}))
        return self.type(["--config", str(config), "--stores", str(stores), *words])

    def type(self, words: Sequence[str]) -> Said:
        """Run exactly these words, with the files as the command before left them."""
        self.capsys.readouterr()
        code = run(list(words), group=program(outage_s=self.outage_s))
        out, err = self.capsys.readouterr()
        return Said(code, out, err)

    def sql(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.folder / "profiles.db")) as connection, connection:
            connection.execute(statement, values)

    def add(self, person: Mapping[str, Any]) -> None:
        row = {"email_verified": 1, **person}
        marks = ", ".join("?" for _ in COLUMNS)
        self.sql(f"insert into customers values ({marks})", *(row.get(c) for c in COLUMNS))

    def customers(self, name: str = US) -> dict[str, dict[str, Any]]:
        """The customers of a shop by email, as they are."""
        return {c["email"]: c for c in all_customers(self.shop(name))}

    @property
    def mutations(self) -> int:
        return sum(sim.mutations for sim in self.world.shops.values())


@contextmanager
def cli_harness(folder: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[CliHarness]:
    world = World()
    for name in (US, EU):
        world.add_shop(f"{name}.myshopify.com", access_token=f"token-{name}", scopes=set(ALL_SCOPES))
    with SimulatorServer(world) as server:
        cli = CliHarness(folder, world, server, capsys)
        cli.settings = {
            "state": {"url": f"sqlite:///{folder / 'state.db'}"},
            "profiles": {
                "url": f"sqlite:///{folder / 'profiles.db'}",
                "table": "customers",
                "columns": {c: c for c in COLUMNS},
            },
        }
        for name, locale in ((US, "en-US"), (EU, "de-DE")):
            cli.stores[name] = {
                "shop": f"{name}.myshopify.com",
                "admin_url": server.url(f"{name}.myshopify.com"),
                "auth": {"access_token": f"token-{name}"},
                "where": {"locale": locale},
                "tags": ["app-user"],
            }
        cli.sql("create table customers (clerk_user_id text primary key, " + ", ".join(COLUMNS[1:]) + ")")
        for person in PEOPLE:
            cli.add(person)
        yield cli
