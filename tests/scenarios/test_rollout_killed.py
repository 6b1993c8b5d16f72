"""The processes of a rollout in waves are killed, in each of its phases and at any moment, and others continue it."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import servers
from tests.manager.harness import EU, HELD_S, US, RunHarness, run_harness, until
from tests.manager.processes import Process, begin, replicas
from tests.scenarios.test_outages import is_frozen

TRANSITION = "UPDATE reconciler.reconciler_rollout"
WRITES = ("tagsAdd", "customerSet")
SOAK_S = 3.0


@dataclass(slots=True)
class Fleet:
    """Processes that share two shops in two waves, and a Postgres that says how far they are."""

    harness: RunHarness
    start: Callable[..., Process]
    stack: ExitStack
    server: servers.Server
    database: str

    def command(self, *words: str) -> Process:
        files = ["--config", str(self.harness.paths[0]), "--stores", str(self.harness.paths[1])]
        return begin([*files, *words], self.stack)

    def at(self) -> tuple[int, str, int]:
        """The newest rollout, its phase and its wave."""
        query = "SELECT id, body->>'phase', (body->>'wave')::int FROM reconciler.reconciler_rollout ORDER BY id DESC LIMIT 1"
        rows = psycopg.rows.tuple_row
        with self.server.connect(self.database) as connection, connection.cursor(row_factory=rows) as cursor:
            found = cursor.execute(query).fetchall()
        return found[0] if found else (0, "none", 0)

    def time(self, name: str) -> datetime:
        """A time of the newest rollout."""
        query = "SELECT body->>%s FROM reconciler.reconciler_rollout ORDER BY id DESC LIMIT 1"
        rows = psycopg.rows.scalar_row
        with self.server.connect(self.database) as connection, connection.cursor(row_factory=rows) as cursor:
            found = cursor.execute(query, [name]).fetchall()
        return datetime.fromisoformat(found[0])

    def reaches(self, phase: str, wave: int) -> None:
        until(lambda: self.at()[1:] == (phase, wave), f"wave {wave} is {phase}")

    def begins(self, number: int) -> None:
        until(lambda: self.at()[0] == number, f"rollout {number} has begun")

    def edit(self, tag: str, **rollout: Any) -> None:
        for store in self.harness.stores.values():
            store["tags"] = [tag]
        self.harness.rollout = rollout
        self.harness.write()

    def tags(self, shop: str) -> set[str]:
        return {tag for customer in self.harness.customers(shop).values() for tag in customer["tags"]}

    def frozen(self, process: Process) -> None:
        """Killed where it froze: inside the transaction."""
        until(lambda: is_frozen(process), "it is in the middle of the transaction")
        kill(process)

    def killed_while_it_writes(self, process: Process, shop: str) -> None:
        faults = self.harness.shop(shop).faults
        held = [faults.add("slow", on=root, seconds=HELD_S, times=None) for root in WRITES]
        until(lambda: any(each.hits for each in held), "a write is on its way")
        kill(process)
        faults.clear()


def kill(process: Process) -> None:
    process.signal(signal.SIGKILL)
    process.ended()


@pytest.fixture
def fleet(tmp_path: Path, postgres: servers.Server, postgres_database: Callable[..., str]) -> Iterator[Fleet]:
    """Two shops in sync, with four users."""
    database = postgres_database(migrated=True)
    with ExitStack() as stack:
        harness = stack.enter_context(run_harness(tmp_path, US, EU, state_url=postgres.url(database)))
        harness.stores[US]["wave"], harness.stores[EU]["wave"] = 1, 2
        for n in range(4):
            harness.person(f"user_{n}")
        found = Fleet(harness, stack.enter_context(replicas(harness)), stack, postgres, database)
        found.edit("app-user", soak_s=0, pause="auto")
        yield found


def test_a_rollout_continues_wherever_its_processes_are_killed(fleet: Fleet) -> None:
    first = fleet.start()
    fleet.reaches("finished", 2)
    fleet.edit("vip", soak_s=0)
    fleet.killed_while_it_writes(first, US)
    assert fleet.at() == (2, "rolling", 1)
    fleet.frozen(fleet.start(freeze_after=TRANSITION))
    assert fleet.at() == (2, "rolling", 1), "a judgement that was not recorded is made again"
    last = fleet.start()
    fleet.reaches("waiting", 1)
    kill(last)
    assert (fleet.tags(US), fleet.tags(EU)) == ({"vip"}, {"app-user"})
    assert fleet.command("rollout", "continue", "--yes").ended() == 0
    fleet.killed_while_it_writes(fleet.start(), EU)
    fleet.start()
    beside = fleet.command("apply", "--yes")
    fleet.reaches("finished", 2)
    assert beside.ended() in {0, 1}  # 1: the replica was first
    assert fleet.at() == (2, "finished", 2), "none of them has begun another one"
    assert (fleet.tags(US), fleet.tags(EU)) == ({"vip"}, {"vip"})


def test_a_soak_outlasts_the_process_that_began_it(fleet: Fleet) -> None:
    first = fleet.start()
    fleet.reaches("finished", 2)
    fleet.edit("vip", soak_s=SOAK_S, pause="auto")
    fleet.reaches("soaking", 1)
    kill(first)
    ends_at = fleet.time("soak_until")
    assert (fleet.at(), fleet.tags(EU)) == ((2, "soaking", 1), {"app-user"})
    fleet.start()
    fleet.reaches("finished", 2)
    assert fleet.time("opened_at") >= ends_at
    assert fleet.tags(EU) == {"vip"}


@pytest.mark.explore
@pytest.mark.parametrize("seed", range(3))
def test_explore_a_rollout_ends_well_after_kills_at_any_moment(fleet: Fleet, seed: int) -> None:
    chance = random.Random(seed)
    running = [fleet.start()]
    fleet.reaches("finished", 2)
    for number, tag in enumerate(("vip", "gold", "silver"), 2):
        running = running or [fleet.start()]
        running[0].started()  # it loads the edit: a start waits while a dead replica with other files seems to run
        before = fleet.tags(EU)
        fleet.edit(tag, soak_s=chance.choice([0, 1]), pause="auto")
        fleet.begins(number)
        while (at := fleet.at()) != (number, "finished", 2):
            assert at == (number, at[1], 2) or fleet.tags(EU) == before, "the other shop waits for its wave"
            time.sleep(chance.uniform(0.0, 1.5))
            if running and chance.random() < 0.6:
                kill(running.pop(chance.randrange(len(running))))
            if len(running) < chance.choice([1, 2]):
                running.append(fleet.start())
            if chance.random() < 0.2:
                assert fleet.command("apply", "--yes").ended() in {0, 1}  # 1: the rollout has moved since its plan
        assert (fleet.tags(US), fleet.tags(EU)) == ({tag}, {tag})
