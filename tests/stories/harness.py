"""A harness for stories: a few people, one simulated shop (a second one where a story asks for it), the command line.

No command that only looks may send a mutation: that is asserted at the simulator after every one of them, in all stories.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest

from reconciler.core.model.scalars import SCALARS
from reconciler.simulator.customers.records import SimCustomer
from reconciler.simulator.faults import FaultKind
from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import ALL_SCOPES, World
from tests.cli.harness import EU, US, CliHarness, Said
from tests.inprocess import Shown, shown
from tests.states import state_template

LOOKING = frozenset({"plan", "drift", "status", "explain", "doctor", "mappings"})
LINK = "clerk.user_id"
TRACE = "clerk.moved_to"
AVATAR = "clerk.avatar_url"
COLUMNS = ("clerk_user_id", *SCALARS, "email_verified", "image_url", "metadata", "updated_at", "deleted_at")
AMPLE = {"update": {"max": 50}, "relink": {"max": 50}, "merge": {"max": 50}, "release": {"max": 50}}
WRITES = (
    "customerSet",
    "metafieldsSet",
    "metafieldsDelete",
    "tagsAdd",
    "tagsRemove",
    "customerDelete",
    "customerMerge",
)


@dataclass(slots=True)
class StoryHarness(CliHarness):
    """Users are named by what comes after `user_`; each has a first name and a verified address (`mail`) by default."""

    # --- the profiles ---------------------------------------------------------------------------------------------

    def user(self, name: str, **columns: Any) -> str:
        """Write the user's row: what is not named stays as it was, or is as usual. Gives the user id."""
        user = f"user_{name}"
        given = {"email": mail(name), "email_verified": 1, "first_name": name.title()} | columns
        given.setdefault("updated_at", self.now())
        if self.rows(user):
            given = {**columns, "updated_at": given["updated_at"]}
            sets = ", ".join(f"{column} = ?" for column in given)
            self.sql(f"update customers set {sets} where clerk_user_id = ?", *given.values(), user)
        else:
            row = {"clerk_user_id": user, **given}
            self.sql(f"insert into customers ({', '.join(row)}) values ({marks(row)})", *row.values())
        return user

    def now(self) -> str:
        """This very moment, as a row says when it was changed."""
        return datetime.fromtimestamp(self.world.clock(), UTC).isoformat()

    def read(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.folder / "profiles.db")) as connection:
            return connection.execute(statement, values).fetchall()

    def gone(self, name: str) -> None:
        self.sql("delete from customers where clerk_user_id = ?", f"user_{name}")

    def rows(self, user: str) -> bool:
        return bool(self.read("select 1 from customers where clerk_user_id = ?", user))

    # --- the files ------------------------------------------------------------------------------------------------

    @property
    def store(self) -> dict[str, Any]:
        """The one shop's part of stores.yaml."""
        return self.stores[US]

    def second_shop(self) -> None:
        """From now on there is another shop, that wants everybody too."""
        self.stores[EU] = self.a_store(EU)

    def a_store(self, name: str) -> dict[str, Any]:
        return {
            "shop": f"{name}.myshopify.com",
            "admin_url": self.server.url(f"{name}.myshopify.com"),
            "auth": {"access_token": f"token-{name}"},
            "tags": ["app-user"],
            "guards": AMPLE,
        }

    def lose_the_state(self) -> None:
        for path in self.folder.glob("state.db*"):
            path.unlink()

    # --- the shop -------------------------------------------------------------------------------------------------

    def staff(self, action: str, *, shop: str = US, **details: Any) -> Any:
        return self.shop(shop).staff(action, **details)

    def everybody(self, shop: str = US) -> dict[str, Shown]:
        """All customers of a shop, whole, by id."""
        sim = self.shop(shop)
        with sim.lock:
            found: list[SimCustomer] = list(sim.shop.people)
            return {each.id: each for each in (shown(c, LINK) for c in found)}

    def theirs(self, name: str, shop: str = US) -> Shown:
        """The one customer who carries the user's back-link."""
        found = [c for c in self.everybody(shop).values() if c.backlink == f"user_{name}"]
        assert len(found) == 1, f"{name} has {len(found)} customers"
        return found[0]

    def at(self, email: str, shop: str = US) -> Shown:
        """The one customer with this address."""
        found = [c for c in self.everybody(shop).values() if (c.email or "").casefold() == email.casefold()]
        assert len(found) == 1, f"{email} has {len(found)} customers"
        return found[0]

    def calls(self, shop: str = US) -> Counter[str]:
        """How often each root field was executed."""
        return Counter(self.shop(shop).counts)

    # --- commands -------------------------------------------------------------------------------------------------

    @property
    def files(self) -> tuple[str, ...]:
        return ("--config", str(self.folder / "reconciler.yaml"), "--stores", str(self.folder / "stores.yaml"))

    def write_files(self) -> None:
        """Both settings files as they are now, for a process of its own."""
        assert CliHarness.__call__(self, "schema", "--help").code == 0

    def __call__(self, *words: str) -> Said:
        before = self.mutations
        said = CliHarness.__call__(self, *words)
        if words[0] in LOOKING and words[:2] != ("mappings", "import"):
            assert self.mutations == before, f"{words} only looks, and sent {self.mutations - before} mutations"
        return said

    def apply(self, *words: str, code: int = 0) -> Any:
        """Plan and apply; the results as JSON."""
        said = self("apply", "--yes", "--output", "json", *words)
        assert said.code == code, said.out + said.err
        return said.json

    def plan(self, *words: str, code: int = 0) -> Any:
        """The plan of the one shop."""
        said = self("plan", "--output", "json", *words)
        assert said.code == code, said.out + said.err
        return next(s for s in said.json["stores"] if s["store"] == US)

    def actions(self, *words: str) -> dict[str, str]:
        """What the plan would do, by user."""
        return {a["clerk_user_id"].removeprefix("user_"): a["kind"] for a in self.plan(*words)["actions"]}

    def held(self, *words: str) -> set[tuple[str, str]]:
        """Who is held, and why."""
        return reasons(self.plan(*words))

    def mappings(self) -> dict[str, dict[str, Any]]:
        said = self("mappings", "list", "--output", "json", "--store", US)
        return {row["clerk_user_id"].removeprefix("user_"): row for row in said.json}

    def mapped(self, shop: str) -> dict[str, str]:
        """The user of each customer by the state, read from its tables: a command takes longer."""
        url, domain = self.settings["state"]["url"], f"{shop}.myshopify.com"
        query = "select shopify_customer_id, clerk_user_id from {} where shopify_shop = '{}'"
        if url.startswith("postgresql"):
            with psycopg.connect(url) as server:
                rows = server.execute(query.format("reconciler.reconciler_mapping", domain).encode()).fetchall()
        else:
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
                rows = connection.execute(query.format("reconciler_mapping", domain)).fetchall()
        return {customer: user for customer, user in rows if customer is not None}

    # --- the end of every story -----------------------------------------------------------------------------------

    def settles(self, held: Collection[tuple[str, str]] = ()) -> None:
        """A second run does nothing: it has no action, no mutation is sent, and who is held is held still."""
        before = self.mutations
        results = self.apply()["stores"]
        for result in results:
            done = {name: result.get(name) for name in ("applied", "done_already", "failed", "holds", "error")}
            assert not any(done.values()), done
        assert self.mutations == before, "the second run did something"
        (ours,) = (result for result in results if result["store"] == US)
        assert bool(ours["held"]) == bool(held)
        if held:
            plan = self.plan()
            assert reasons(plan) == set(held), plan["holds"]
        for shop in self.stores:
            self.is_sound(shop)

    def is_sound(self, shop: str) -> None:
        """No user has two customers, and the mappings say the same as the back-links."""
        everybody = self.everybody(shop)
        links = Counter(c.backlink for c in everybody.values() if c.backlink)
        assert not [user for user, n in links.items() if n > 1]
        mapped = self.mapped(shop)
        for at, user in mapped.items():
            there = everybody.get(at)
            assert there is None or there.backlink in {None, user}


def reasons(plan: Any) -> set[tuple[str, str]]:
    """Who is held in one shop's plan, and why."""
    return {(h["clerk_user_id"].removeprefix("user_"), h["reason"]) for h in plan["holds"]}


def mail(name: str) -> str:
    return f"{name}@village.example.com"


def marks(values: Collection[Any]) -> str:
    return ", ".join("?" for _ in values)


def unlike(before: Shown, after: Shown) -> dict[str, tuple[Any, Any]]:
    """What differs between the same customer then and now, of everything the shop keeps."""
    return {
        name: (getattr(before, name), getattr(after, name))
        for name in Shown.__slots__
        if getattr(before, name) != getattr(after, name)
    }


@contextmanager
def story_harness(folder: Path, server: SimulatorServer, capsys: pytest.CaptureFixture[str]) -> Iterator[StoryHarness]:
    """Fresh shops on a server that runs already, the back-link's definition in them, and a state at the newest schema."""
    world = server.world
    for name in (US, EU):
        world.shops.pop(f"{name}.myshopify.com", None)
        open_shop(world, name)
    (folder / "state.db").write_bytes(state_template())
    story = StoryHarness(folder, world, server, capsys)
    story.settings = {
        "state": {"url": f"sqlite:///{folder / 'state.db'}"},
        "profiles": {
            "url": f"sqlite:///{folder / 'profiles.db'}",
            "table": "customers",
            "columns": {c: c for c in COLUMNS},
        },
    }
    story.stores[US] = story.a_store(US)
    story.sql(f"create table customers ({COLUMNS[0]} text primary key, {', '.join(COLUMNS[1:])})")
    yield story


def open_shop(world: World, name: str, *, ready: bool = True) -> None:
    sim = world.add_shop(
        f"{name}.myshopify.com", access_token=f"token-{name}", scopes=set(ALL_SCOPES), restore_rate=2000
    )
    sim.shop.change_habits(merge_s=0.0)
    if ready:
        definition = {"ownerType": "CUSTOMER", "namespace": "clerk", "key": "user_id", "type": "id", "name": "Clerk"}
        assert not sim.shop.metafield_definition_create(definition)["userErrors"]


def at_the_nth_write(story: StoryHarness, n: int, kind: FaultKind, do: Callable[[], None]) -> None:
    """At the n-th mutation from now on the shop acts the fault out, and `do` is done."""
    seen = count(1)

    def when(_variables: Any) -> bool:
        if next(seen) != n:
            return False
        do()
        return True

    for root in WRITES:
        story.shop().faults.add(kind, on=root, when=when, times=None)


@contextmanager
def locked_at(story: StoryHarness, n: int, kind: FaultKind) -> Iterator[None]:
    """Within, the answer to the n-th write is lost, before the work or after it, and then the shop answers nothing more.

    So whatever the run is in the middle of ends there, as if the process had died.
    """
    locked = Event()
    at_the_nth_write(story, n, kind, locked.set)
    story.shop().faults.add("status", status=423, when=lambda _variables: locked.is_set(), times=None)
    yield
    assert locked.is_set(), f"there were fewer than {n} writes"
    story.shop().faults.clear()
