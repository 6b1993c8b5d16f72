"""Days of `run` in virtual time: nothing grows, whatever the clock does. Every turn is the controller's own, none sleeps."""

from __future__ import annotations

import logging
import random
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from reconciler.core.model.ids import StoreName
from reconciler.manager.app import Manager
from reconciler.manager.reload import SettingsFiles
from reconciler.manager.schedule.parity import ParitySampler
from reconciler.settings import load
from reconciler.wiring import Components, open_components
from tests.manager.harness import US, RunHarness, run_harness

pytestmark = pytest.mark.slow

START = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)  # clocks are set back in Europe on the 25th, in the US on 1 November
SEED = 20261020
PEOPLE = 25
CHANGES_S = 900.0


class Turned:
    """A clock that only moves when a test moves it."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at


@dataclass(slots=True)
class Days:
    """One replica without threads: turns and claims are taken here, one after the other."""

    harness: RunHarness
    manager: Manager
    components: Components
    clock: Turned
    chance: random.Random
    worked: int = 0

    def work(self) -> None:
        """What the workers would do now."""
        dispatcher = self.manager.dispatcher
        caps = self.manager.running.caps()
        while claims := self.components.queue.claim(
            self.manager.owner, self.clock.at, limit=8, lease_s=30, stores=caps
        ):
            for claim in claims:
                dispatcher.work(claim)
                self.worked += 1

    def quarter(self) -> None:
        """Fifteen minutes: a few people change, a few edits are made, an incremental scan is made."""
        self.clock.at += timedelta(seconds=CHANGES_S)
        if self.chance.random() < 0.1:
            user = f"user_{self.chance.randrange(PEOPLE)}"
            name = self.chance.choice(["Ada", "Bob", "Cleo", "Dora"])
            self.harness.person(user, first_name=name, updated_at=self.clock.at.isoformat())
        if self.chance.random() < 0.05:
            customer = self.chance.choice(sorted(self.harness.customers().values(), key=lambda c: c["id"]))
            self.harness.shop().staff("edit", id=customer["id"], note="a word by staff")
        self.manager.schedule.scan_changes(StoreName(US))
        self.work()

    def day(self) -> None:
        for _ in range(96):
            self.quarter()
        self.manager.schedule.scan_full(StoreName(US), self.clock.at - timedelta(seconds=300), whole=False)
        ParitySampler(self.manager.running, self.clock).sample()
        self.manager.schedule.housekeeping()
        self.work()


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Days]:
    with ExitStack() as stack:
        harness = stack.enter_context(run_harness(tmp_path))
        for n in range(PEOPLE):
            harness.person(f"user_{n}", first_name="Ada", updated_at=START.isoformat())
        harness.write()
        clock = Turned()
        opened = open_components(load(*harness.paths, {}), warn=lambda _message: None, clock=clock)
        components = stack.enter_context(opened)
        manager = Manager(components, SettingsFiles(harness.paths, lambda: load(*harness.paths, {})), port=0)
        stack.callback(manager.running.close)
        stack.callback(manager.http_server.stop)
        manager.schedule.scan_full(StoreName(US), START, whole=False)
        found = Days(harness, manager, components, clock, random.Random(SEED))
        found.work()
        assert len(harness.emails()) == PEOPLE
        yield found


def size(folder: Path) -> int:
    """Of all files, once what SQLite keeps beside them is written back. A transaction that we left open would prevent it."""
    for path in folder.rglob("*.db"):
        with closing(sqlite3.connect(path)) as connection:
            (blocked, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert not blocked, path.name
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_days(days: Days, count: int, tmp_path: Path) -> None:
    """So many days after one that fills what is filled once; nothing may grow any more but what is kept for so long."""
    print(f"seed {SEED}")  # noqa: T201  shown where it fails
    with structlog.testing.capture_logs() as logs:
        days.day()
        first, files, memory = len(logs), size(tmp_path), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(count):
            days.day()
            assert days.components.queue.depth() == 0
    later = (len(logs) - first) / count
    assert later < 1.5 * first
    assert size(tmp_path) - files < 64_000 * count  # events are kept for half a year: some hundred bytes each
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 48 * 1024
    assert {entry["log_level"] for entry in logs} <= {"info"}
    shop = days.manager.running.stores()[0].shop
    statuses = days.components.state.mappings.tallies([shop])[shop].rows
    assert statuses == {("in_sync", None): PEOPLE}
    mutations = days.harness.mutations()
    days.manager.schedule.scan_full(StoreName(US), days.clock.at, whole=True)
    days.work()
    assert days.harness.mutations() == mutations


def test_two_days_leave_nothing_behind(days: Days, tmp_path: Path) -> None:
    check_days(days, 1, tmp_path)


@pytest.mark.explore
@pytest.mark.timeout(900)
def test_thirty_days_leave_nothing_behind(days: Days, tmp_path: Path) -> None:
    check_days(days, 30, tmp_path)


@pytest.mark.parametrize("jumps", [[-86_400.0, 86_400.0], [7_200.0, -7_200.0, -7_200.0], [31_536_000.0, -31_536_000.0]])
def test_a_clock_that_is_set_back_and_forth_loses_nothing_and_does_nothing_twice(
    days: Days, jumps: list[float]
) -> None:
    logging.getLogger("reconciler")
    for number, jump in enumerate(jumps):
        days.clock.at += timedelta(seconds=jump)
        days.harness.person("user_0", first_name=f"N{number}", updated_at=days.clock.at.isoformat())
        before = days.harness.mutations()
        for _ in range(8):
            days.manager.schedule.scan_changes(StoreName(US))
            days.work()
            days.clock.at += timedelta(seconds=CHANGES_S)
        days.manager.schedule.scan_full(StoreName(US), days.clock.at, whole=True)
        days.work()
        assert days.harness.customers()["user_0@example.com"]["firstName"] == f"N{number}"
        assert days.harness.mutations() == before + 1
