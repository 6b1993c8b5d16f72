"""How much memory a plan takes, and applying it, when a shop is synced for the first time: must not grow with the users.

    python -m tests.benchmarks.bench_plan_memory [--rows 100000]

Each piece of work runs in a process of its own, so that its peak is its own, with our tables on SQLite (what is written
one by one is not kept) and a shop in the process that is empty, remembers no one and refuses nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event

from reconciler.cli.commands.sync.plan import save, show
from reconciler.cli.context import Context
from reconciler.cli.files import plan_file as planfile
from reconciler.controller.apply.plan import apply_plan
from reconciler.controller.bulk.context import BulkContext
from reconciler.controller.context import StoreContext
from reconciler.controller.observe import ObserveOptions
from reconciler.controller.readers import Readers
from reconciler.controller.scan.plan import Planned, plan_stores
from reconciler.core.model.event import Event
from reconciler.core.model.ids import ClerkUserId, CustomerId, ShopDomain, StoreName
from reconciler.core.model.mapping import Mapping
from reconciler.core.model.store import Store
from reconciler.core.model.write import Create, Write
from reconciler.core.plan.gather import ScanResult, with_withheld
from reconciler.ports import Answer, BulkAnswer, BulkState, MappingWriter, StoreFacts, Upload
from reconciler.settings import environment
from reconciler.state.database.engine import open_engine
from reconciler.state.schema import upgrade
from reconciler.supabase.reading.profiles import TableProfiles
from tests.benchmarks.alone import alone
from tests.clock import WallClock
from tests.core.people import store
from tests.state_store import StateStore

ROWS_MAX: Final = 1_000_000
PEAK_MB_MAX: Final = 150
GROWTH_MAX: Final = 1.2
NAME: Final = StoreName("acme")
COLUMNS: Final = ("clerk_user_id", "email", "email_verified", "first_name", "last_name", "image_url")


class _EmptyShop:
    """A shop in every role that we need of it: no one is found there, and every write is done immediately."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._lines: dict[str, int] = {}

    def restore_rate(self) -> float:
        return 100.0

    def send(self, write: Write) -> Answer:
        return Answer(self._made() if isinstance(write, Create) else None)

    def _made(self) -> CustomerId:
        return CustomerId(f"gid://shopify/Customer/{next(self._numbers)}")

    def upload(self, _rides_in: str, lines: Iterable[Write]) -> Upload:
        path = f"file {next(self._numbers)}"
        self._lines[path] = sum(1 for _ in lines)
        return Upload(path, "", self._lines[path])

    def run(self, _rides_in: str, path: str, _mark: str) -> str:
        return path

    def operation_state(self, operation: str) -> BulkState:
        return BulkState(operation, "completed", self._lines[operation], readable=True)

    def answers(self, operation: str, rides_in: str) -> Iterator[list[BulkAnswer]]:
        for begin in range(0, self._lines[operation], 500):
            lines = range(begin, min(begin + 500, self._lines[operation]))
            made = [self._made() if rides_in == "customers" else None for _ in lines]
            yield [BulkAnswer(line, customer) for line, customer in zip(lines, made, strict=True)]

    def __getattr__(self, name: str) -> Callable[..., dict[Any, Any]]:
        if name not in {"by_ids", "by_backlinks", "by_emails", "by_phones"}:
            raise AttributeError(name)
        return lambda *_asked, **_how: {}


class _Forgetful(MappingWriter):
    """A state that writes nothing down: one by one each user costs two transactions, which is not what is measured."""

    def put(self, mapping: Mapping, *events: Event) -> tuple[ClerkUserId, ...]:
        return ()

    def put_many(self, mappings: Sequence[Mapping], *events: Event) -> tuple[ClerkUserId, ...]:
        return ()

    def put_unchanged(
        self, decided: Sequence[tuple[Mapping | None, Mapping]], *events: Event
    ) -> tuple[ClerkUserId, ...]:
        return ()

    def forget(self, shop: ShopDomain, user: ClerkUserId) -> None:
        """Nothing is kept."""

    def put_facts(self, facts: StoreFacts) -> None:
        """Nothing is kept."""


class _Place:
    """The world in a folder, and what the commands do in it."""

    def __init__(self, folder: Path, guards: int) -> None:
        self.folder = folder
        engine = open_engine(f"sqlite:///{folder}/state.db")
        event.listen(engine, "connect", _unsafe)
        self.state = StateStore(engine)
        shop: Any = _EmptyShop()
        self.shop = shop
        profiles = TableProfiles(f"sqlite:///{folder}/profiles.db", "customers", {c: c for c in COLUMNS})
        self.readers = Readers(profiles, shop, self.state)
        self.store: Store = store(
            guards={"create": {"max": guards}},
            tags=["app-user"],
            metafields={"clerk.avatar": {"from": "image_url", "type": "url"}},
        )

    def planned(self, *, only_shown: bool = False) -> Planned:
        ask = ObserveOptions(now=WallClock().now(), keeps_withheld=not only_shown)
        found = plan_stores({NAME: (self.store, self.readers)}, ask)
        assert found.plan.stores[0].error is None, found.plan.stores[0].error
        return found

    def loaded(self) -> ScanResult:
        saved, _ = planfile.load(
            self.folder / "the.plan", key=environment().get("RECONCILER_PLAN_KEY"), program=version("customer-parity")
        )
        return ScanResult(saved.plan.stores[0], whole=False)

    def apply(self, scan_result: ScanResult, *, bulk: bool, fresh: bool) -> int:
        context = StoreContext(
            self.store, self.readers, self.shop, _Forgetful(), WallClock(), warn=_warn, plan_digest="sha256:0"
        )
        if bulk:
            context = replace(
                context,
                state=self.state,
                bulk=BulkContext(self.shop, self.state, self.state, sleep=_never, always=True),
            )
        results = [0, 0]
        for outcome in apply_plan(scan_result, context, fresh=fresh):
            results[outcome.result == "applied"] += 1
        assert results[0] == 0, results
        return results[1]


def _unsafe(connection: Any, _record: Any) -> None:
    """Nothing here must outlive a power cut, and waiting for the disk is not what is measured."""
    connection.execute("pragma synchronous = off")


def _warn(said: str) -> None:
    sys.stderr.write(said + "\n")


def _never(_seconds: float) -> None:
    """The shop is never waited for."""


def _shown(place: _Place, output: str) -> int:
    planned = place.planned(only_shown=True)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        show(Context(), planned, output)
    return planned.plan.summary.actions


def _saved(place: _Place) -> int:
    planned = place.planned(only_shown=True)
    save(planned, place.folder / "the.plan", narrowed=False)
    return planned.plan.summary.actions


WORK: Final[dict[str, Callable[[_Place], int]]] = {
    "plan": lambda place: _shown(place, "text"),
    "plan --output json": lambda place: _shown(place, "json"),
    "plan --out": _saved,
    "apply --approve": lambda place: place.apply(with_withheld(place.planned().scans[NAME]), bulk=False, fresh=True),
    "apply FILE": lambda place: place.apply(place.loaded(), bulk=False, fresh=False),
    "apply --bulk always": lambda place: place.apply(place.planned().scans[NAME], bulk=True, fresh=True),
}
"""Each in a world where no one is in the shop yet; `--approve`: the guards withhold all of it first."""


def _ready(folder: Path, work: str) -> Callable[[], int]:
    return partial(WORK[work], _Place(folder, 1000 if work == "apply --approve" else ROWS_MAX))


def build(folder: Path, rows: int) -> None:
    """So many profiles, and no state."""
    with closing(sqlite3.connect(folder / "profiles.db")) as connection, connection:
        connection.execute(f"create table customers ({', '.join(COLUMNS)}, primary key (clerk_user_id))")
        people = (
            (f"user_{n:08}", f"p{n}@example.com", 1, f"Ada{n}", "Lovelace", f"https://img.example.com/{n}.png")
            for n in range(rows)
        )
        connection.executemany("insert into customers values (?, ?, ?, ?, ?, ?)", people)


def _emptied(folder: Path) -> None:
    for old in folder.glob("state.db*"):
        old.unlink()
    engine = open_engine(f"sqlite:///{folder}/state.db")
    upgrade(engine)
    engine.dispose()


def measure(rows: int = 20_000) -> dict[str, Any]:
    """Each piece of work with so many users, and with a tenth of them."""
    rows = min(rows, ROWS_MAX)
    found: dict[str, Any] = {"rows": rows}
    for size in (rows // 10, rows):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            build(folder, size)
            for work in WORK:
                found.setdefault(work, []).append(timed(folder, work, size))
    for work in WORK:
        small, large = found[work]
        found[work] = {**large, "tenth": small, "growth": round(large["peak_mb"] / small["peak_mb"], 2)}
    return found


def timed(folder: Path, work: str, size: int) -> dict[str, Any]:
    """One measurement, in a process of its own, with an empty state."""
    _emptied(folder)
    found = alone(_ready, folder, work)
    if found["count"] != size:
        raise RuntimeError(f"{work}: {found['count']} of {size} users")
    return {"users": found["count"], "peak_mb": found["peak_mb"], "cpu_s": found["cpu_s"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    given = parser.parse_args()
    print(json.dumps(measure(given.rows), indent=2))  # noqa: T201  its output


if __name__ == "__main__":
    main()
