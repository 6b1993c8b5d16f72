"""The modelled Postgres does what a real one does: the same steps of two or three sessions have the same results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Select, Table, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from reconciler.state.database.engine import begin_writing, open_engine
from reconciler.state.processes.leases import LeaseRow
from reconciler.state.put_row import OF_EVENT, put_statement
from reconciler.state.requests.statements import statements
from reconciler.state.tables.mappings import EventRow, MappingRow
from reconciler.state.tables.requests import RequestRow
from tests import servers
from tests.simulation.postgres import Server, open_modelled
from tests.simulation.scheduler import START, Machine, Scheduler
from tests.simulation.threads import SimQueue
from tests.simulation.ways import Luck, Way
from tests.states import state_template

AT = datetime(2026, 11, 18, tzinfo=UTC)
STEP_S, POLL_S = 0.25, 0.05
WAITS = "SELECT wait_event_type IS NOT DISTINCT FROM 'Lock' FROM pg_stat_activity WHERE pid = %s"
lease: Table = LeaseRow.__table__
mapping: Table = MappingRow.__table__
event: Table = EventRow.__table__


def make(name: str) -> Any:
    return insert(lease).values(name=name, owner="", fence=1, until=AT)


def user(name: str, customer: str | None) -> Any:
    values = {"shopify_shop": "s", "clerk_user_id": name, "store": "s", "shopify_customer_id": customer}
    empty: dict[str, Any] = {"applied": {}, "refused": {}, "generation": 0, "profile_digest": "", "config_digest": ""}
    return insert(mapping).values(status="in_sync", **values, **empty)


def happened(name: str) -> Any:
    values = {"store": "s", "shopify_shop": "s", "clerk_user_id": name, "kind": "create", "changes": []}
    return insert(event).values(at=AT, plan_digest="", message="", **values).returning(event.c.id > 0)


def get(name: str = "1") -> Any:
    return select(lease.c.owner, lease.c.fence).where(lease.c.name == name).order_by(lease.c.name)


def add(name: str = "1") -> Any:
    return update(lease).where(lease.c.name == name).values(fence=lease.c.fence + 1)


def take(owner: str) -> Any:
    return update(lease).where(lease.c.name == "1", lease.c.owner == "").values(owner=owner)


def owned(name: str, owner: str) -> Any:
    return update(lease).where(lease.c.name == name).values(owner=owner)


def moved(name: str, customer: str | None) -> Any:
    return update(mapping).where(mapping.c.clerk_user_id == name).values(shopify_customer_id=customer)


def advisory() -> Any:
    return select(func.pg_advisory_xact_lock(func.hashtextextended("shop", 1)))


# --- the queue's statements, as they are in postgres.sql ----------------------------------------------------------------

QUEUE = statements(sqlite=False)
SHOP = "acme"


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def ask(*users: str, priority: int = 0, due_s: float = 0.0, rank_s: float | None = None, now_s: float = 0.0) -> Any:
    rank = QUEUE.stamp(after(due_s if rank_s is None else rank_s))
    return QUEUE.add.bindparams(
        requests=json.dumps([[SHOP, user, rank] for user in users]), priority=priority, due_at=after(due_s),
        delayed_at=after(due_s) if due_s > now_s else None, explicit=0, wants=None, reason="webhook", now=after(now_s),
    )  # fmt: skip


def claim(owner: str, *, limit: int = 5, cap: int = 5, now_s: float = 1.0, lease_s: float = 30.0) -> Any:
    return QUEUE.take.bindparams(
        owner=owner, now=after(now_s), until=after(now_s + lease_s), lease_max=after(now_s + 3600), limit=limit,
        ask=2 * limit, stores=json.dumps([[SHOP, cap]]), nudge_horizon=after(now_s), retry_horizon=after(now_s + 60),
        resync_horizon=after(now_s + 10**9),
    )  # fmt: skip


def claims(*some: tuple[str, int]) -> dict[str, str]:
    return {"claims": json.dumps([[SHOP, user, number, 1] for user, number in some])}


def hold(user: str, number: int) -> Any:
    return QUEUE.hold.bindparams(user=user, store=SHOP, fencing=number)


def gone(*some: tuple[str, int]) -> Any:
    return QUEUE.gone.bindparams(**claims(*some))


def put_off(user: str, number: int, due_s: float) -> Any:
    return QUEUE.put_off.bindparams(
        user=user,
        store=SHOP,
        fencing=number,
        failed=True,
        reason="later",
        due_at=after(due_s),
        rank_at=after(due_s - 60),
    )


def put(name: str, customer: str, number: int) -> Any:
    """A row and its event under a claim, as `put_row` writes them: the statement and its values."""
    row: dict[str, Any] = {
        "shopify_shop": "s",
        "clerk_user_id": name,
        "store": "s",
        "shopify_customer_id": customer,
        "status": "pending",
    }
    row |= {"applied": {}, "refused": {}, "generation": 1, "profile_digest": "", "config_digest": ""}
    told: dict[str, Any] = {
        "at": AT,
        "store": "s",
        "shopify_shop": "s",
        "clerk_user_id": name,
        "kind": "update",
        "changes": [],
    }
    told |= {"plan_digest": "", "message": ""}
    statement = put_statement(False, tuple(row), True, lambda _: mapping.c.status == "erased", tuple(told))  # noqa: FBT003
    claimed = {"claim_user": name, "claim_store": SHOP, "claim_fencing": number}
    return statement, {**row, **claimed, **{OF_EVENT + key: value for key, value in told.items()}}


ROWS = select(mapping.c.clerk_user_id, mapping.c.status, mapping.c.shopify_customer_id).order_by(
    mapping.c.clerk_user_id
)
EVENTS = select(func.count()).select_from(event)
REQUESTS = select(RequestRow.__table__).order_by("clerk_user_id")
FREE = select(lease.c.name).where(lease.c.owner == "").order_by(lease.c.name)
COMMIT, ROLLBACK = "commit", "rollback"
Steps = tuple[tuple[str, Any], ...]
BEFORE = (make("1"), make("2"), user("ada", "7"), user("bob", None))
SCENARIOS: dict[str, Steps] = {
    "a statement sees what others committed before it began, and its own writes": (
        ("a", add()), ("a", get()), ("b", get()), ("a", COMMIT), ("b", get()), ("b", COMMIT),
    ),
    "an update waits for another of the same row, and begins on the new one": (
        ("a", add()), ("b", add()), ("a", COMMIT), ("b", get()), ("b", COMMIT), ("c", get()), ("c", COMMIT),
    ),
    "an update that waited for one that was undone begins on the old row": (
        ("a", add()), ("b", add()), ("a", ROLLBACK), ("b", COMMIT), ("c", get()), ("c", COMMIT),
    ),
    "a condition is checked again after a wait": (
        ("a", take("a")), ("b", take("b")), ("a", COMMIT), ("b", COMMIT), ("c", get()), ("c", COMMIT),
    ),
    "rows of different keys do not wait for each other": (
        ("a", add("1")), ("b", add("2")), ("b", COMMIT), ("a", COMMIT), ("c", get("2")), ("c", COMMIT),
    ),
    "an insert waits for another of the same key, and is refused": (
        ("a", make("3")), ("b", make("3")), ("a", COMMIT), ("b", COMMIT),
    ),
    "an insert waits for another of the same key that is undone": (
        ("a", make("3")), ("b", make("3")), ("a", ROLLBACK), ("b", COMMIT), ("c", get("3")), ("c", COMMIT),
    ),
    "a deleted row is there for others until the commit, and an update waits for it": (
        ("a", delete(lease).where(lease.c.name == "1")), ("b", get()), ("b", add()), ("a", COMMIT), ("b", COMMIT),
    ),
    "a value of a unique index is free when the one who had it has committed": (
        ("a", moved("ada", None)), ("b", moved("bob", "7")), ("a", COMMIT), ("b", COMMIT),
        ("c", select(mapping.c.shopify_customer_id).order_by(mapping.c.clerk_user_id)), ("c", COMMIT),
    ),
    "a value of a unique index stays taken where that is undone": (
        ("a", moved("ada", None)), ("b", moved("bob", "7")), ("a", ROLLBACK), ("b", COMMIT),
    ),
    "two that lock the same row for an update wait": (
        ("a", get().with_for_update()), ("b", get().with_for_update()), ("a", add()), ("a", COMMIT), ("b", COMMIT),
    ),
    "two may lock the same row against changes, and an update waits for both": (
        ("a", get().with_for_update(read=True)), ("b", get().with_for_update(read=True)), ("c", add()), ("a", COMMIT),
        ("b", COMMIT), ("c", COMMIT),
    ),
    "locked rows are skipped where that is asked for": (
        ("a", add("1")), ("b", FREE.with_for_update(skip_locked=True)), ("a", COMMIT), ("b", COMMIT),
    ),
    "of a circle, the one who waited first is ended": (
        ("a", add("1")), ("b", add("2")), ("a", add("2")), ("b", add("1")), ("b", COMMIT), ("c", get("1")), ("c", COMMIT),
    ),
    "an advisory lock is held until the end": (
        ("a", advisory()), ("b", advisory()), ("a", COMMIT), ("b", COMMIT),
    ),
    "a row that begins to match while another is awaited is not found": (
        ("a", owned("2", "x")), ("a", COMMIT), ("a", add("1")), ("a", owned("2", "")), ("b", FREE.with_for_update()),
        ("a", COMMIT), ("b", FREE), ("b", COMMIT),
    ),
    "a row that begins to match while another is awaited is not changed": (
        ("a", owned("2", "x")), ("a", COMMIT), ("a", add("1")), ("a", owned("2", "")),
        ("b", update(lease).where(lease.c.owner == "").values(fence=7)), ("a", COMMIT), ("b", get("2")), ("b", COMMIT),
    ),
    "a row that ceases to match while it is awaited is not found": (
        ("a", owned("1", "x")), ("b", FREE.with_for_update()), ("a", COMMIT), ("b", COMMIT),
    ),
    "who has a value now is not found by those who waited for the one who had it": (
        ("a", moved("ada", None)), ("a", moved("bob", "7")),
        ("b", select(mapping.c.clerk_user_id).where(mapping.c.shopify_customer_id == "7").with_for_update()),
        ("a", COMMIT), ("b", select(mapping.c.clerk_user_id).where(mapping.c.shopify_customer_id == "7")), ("b", COMMIT),
    ),
    "rows with a number from the table do not wait for each other": (
        ("a", happened("ada")), ("b", happened("bob")), ("b", COMMIT), ("a", COMMIT),
        ("c", select(func.count(func.distinct(event.c.id)))), ("c", COMMIT),
    ),
    "two claims at the same time take different requests": (
        ("a", ask("ada", "bob")), ("a", COMMIT), ("a", claim("x", limit=1)), ("b", claim("y", limit=1)),
        ("c", claim("z")), ("a", COMMIT), ("b", COMMIT), ("c", REQUESTS), ("c", COMMIT),
    ),
    "a claim passes over a request while its holder writes, and an undone claim leaves it": (
        ("a", ask("ada", "bob")), ("a", COMMIT), ("a", claim("x", limit=1)), ("a", COMMIT), ("a", hold("ada", 1)),
        ("b", claim("y", now_s=40)), ("b", ROLLBACK), ("a", COMMIT), ("b", claim("y", now_s=40)), ("b", COMMIT),
    ),
    "claims count against the limit of their owner also while they are locked": (
        ("a", ask("ada", "bob")), ("a", COMMIT), ("a", claim("x", cap=1)), ("a", COMMIT), ("a", hold("ada", 1)),
        ("b", claim("x", cap=1)), ("b", claim("x", cap=2)), ("b", COMMIT), ("a", COMMIT),
    ),
    "what is done waits for a write of its holder": (
        ("a", ask("ada", "bob")), ("a", claim("x")), ("a", COMMIT), ("a", hold("bob", 2)),
        ("b", gone(("ada", 1), ("bob", 2))), ("c", REQUESTS), ("a", COMMIT), ("b", COMMIT), ("c", REQUESTS), ("c", COMMIT),
    ),
    "an add waits for a claim, and is kept for another turn": (
        ("a", ask("ada")), ("a", COMMIT), ("a", claim("x")), ("b", ask("ada", now_s=2, due_s=2)), ("a", COMMIT),
        ("b", COMMIT), ("c", gone(("ada", 1))), ("c", QUEUE.again.bindparams(**claims(("ada", 1)), now=after(3))),
        ("c", REQUESTS), ("c", COMMIT),
    ),
    "an add that changes nothing waits as well": (
        ("a", ask("ada")), ("a", claim("x")), ("a", COMMIT), ("a", hold("ada", 1)),
        ("b", ask("ada", priority=2, rank_s=60)), ("a", COMMIT), ("b", COMMIT), ("c", REQUESTS), ("c", COMMIT),
    ),
    "a late holder is fenced": (
        ("a", ask("ada")), ("a", COMMIT), ("a", claim("x")), ("a", COMMIT), ("b", claim("y", now_s=40)),
        ("a", hold("ada", 1)), ("b", COMMIT), ("a", COMMIT), ("a", hold("ada", 1)), ("a", hold("ada", 2)), ("a", COMMIT),
    ),
    "a row is written under a claim that holds, and with the customer that it had": (
        ("a", ask("ada")), ("a", claim("x")), ("a", COMMIT), ("a", put("ada", "8", 1)), ("a", COMMIT),
        ("a", put("ada", "7", 1)), ("b", claim("y", now_s=40)), ("b", COMMIT), ("c", gone(("ada", 1))), ("a", COMMIT),
        ("c", COMMIT), ("d", put("ada", "7", 1)), ("d", ROWS), ("d", EVENTS), ("d", COMMIT),
    ),
    "a row waits for a takeover, and is not written after it": (
        ("a", ask("ada")), ("a", COMMIT), ("a", claim("x")), ("a", COMMIT), ("b", claim("y", now_s=40)),
        ("a", put("ada", "7", 1)), ("b", COMMIT), ("a", COMMIT), ("a", put("ada", "7", 1)), ("a", put("ada", "7", 2)),
        ("a", ROWS), ("a", EVENTS), ("a", COMMIT),
    ),
    "retries and resyncs come in the order of their turns": (
        ("a", ask("ada", "bob", "cyd")), ("a", claim("x")), ("a", put_off("ada", 1, 50)), ("a", put_off("bob", 2, 45)),
        ("a", ask("dee", priority=2, rank_s=-9)), ("a", ask("cyd", due_s=70, now_s=5)), ("a", ask("ada", due_s=90, now_s=5)),
        ("a", REQUESTS), ("a", claim("y", now_s=60, limit=2)), ("a", claim("y", now_s=60, limit=3)), ("a", REQUESTS),
        ("a", QUEUE.renew.bindparams(**claims(("dee", 6), ("cyd", 9)), until=after(99))),
        ("a", QUEUE.hand_back.bindparams(**claims(("dee", 6)))), ("a", REQUESTS), ("a", QUEUE.in_progress),
        ("a", QUEUE.owners),
        ("a", QUEUE.oldest.bindparams(names=json.dumps([SHOP]))), ("a", QUEUE.tally.bindparams(now=after(60))),
        ("a", QUEUE.depth), ("a", QUEUE.depth_of.bindparams(store=SHOP)),
        ("a", QUEUE.doubts.bindparams(stores=json.dumps([[SHOP, "s"]]), names_max=9)),
        ("a", QUEUE.mine.bindparams(shop="s", user="cyd", store=SHOP, fencing=3)),
        ("a", QUEUE.forget.bindparams(store=SHOP)), ("a", REQUESTS), ("a", COMMIT),
    ),
}  # fmt: skip


class Session:
    """One connection, which does one step after the other. `told`: what came of each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self.told: list[str] = []

    def open(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._connection.begin()
            begin_writing(self._connection)
        return self._connection

    def do(self, step: Any) -> None:
        connection = self.open()
        try:
            self.told.append(self._said(connection, step))
        except DBAPIError as error:
            self.told.append(f"{getattr(error.orig, 'sqlstate', None)}")
            connection.close()
            self._connection = None

    def _said(self, connection: Connection, step: Any) -> str:
        if step in (COMMIT, ROLLBACK):
            connection.commit() if step == COMMIT else connection.rollback()
            connection.close()
            self._connection = None
            return str(step)
        statement, *values = step if isinstance(step, tuple) else (step,)
        found = connection.execute(statement, *values)
        if found.returns_rows:
            rows = [tuple(row) for row in found]
            return str(rows if isinstance(step, Select) else sorted(rows, key=str))
        if str(step).startswith("WITH"):
            return "done"  # SQLite does not count what these write, and no one asks
        return "inserted" if getattr(step, "is_insert", False) else f"{found.rowcount} rows"


@dataclass(slots=True)
class Told:
    """What came of each step of each session, and which steps took longer than others."""

    results: dict[str, list[str]]
    waited: list[str]


def on_model(steps: Steps, folder: Path) -> Told:
    path = folder / "state.db"
    path.write_bytes(state_template())
    scheduler, machine = Scheduler(1), Machine("clients")
    scheduler.slow = 0.0
    luck = Luck(scheduler, state=0.0, shop=0.0, profiles=0.0)
    engine = open_modelled(Server(path, scheduler), Way(scheduler, luck, machine, "state"))
    sessions = {name: Session(engine) for name, _ in steps}
    queues = {name: SimQueue(scheduler) for name in sessions}
    waited = []

    def work(name: str) -> None:
        while (step := queues[name].get()) is not None:
            sessions[name].do(step)

    def direct() -> None:
        asked: Counter[str] = Counter()
        for number, (name, step) in enumerate(steps):
            queues[name].put(step)
            asked[name] += 1
            scheduler.sleep(STEP_S)
            if len(sessions[name].told) < asked[name]:
                waited.append(f"{number} {name}")

    for name in sessions:
        scheduler.spawn(machine, name, lambda name=name: work(name))  # type: ignore[misc]
    scheduler.spawn(Machine("director"), "director", direct)
    scheduler.run(START + 60.0)
    scheduler.end()
    engine.dispose()
    return Told({name: session.told for name, session in sessions.items()}, waited)


def on_postgres(steps: Steps, url: str) -> Told:
    engine = open_engine(url)
    sessions = {name: Session(engine) for name, _ in steps}
    threads = {name: ThreadPoolExecutor(1) for name in sessions}
    opened = {name: threads[name].submit(session.open) for name, session in sessions.items()}
    pids = {
        name: one.result(30).exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for name, one in opened.items()
    }

    def is_waiting(name: str) -> bool:
        with engine.connect() as connection:
            return bool(connection.exec_driver_sql(WAITS, (pids[name],)).scalar_one())

    futures: list[Future[None]] = []
    waited = []
    for number, (name, step) in enumerate(steps):
        futures.append(threads[name].submit(sessions[name].do, step))
        while not wait([futures[-1]], POLL_S).done:
            if is_waiting(name):
                waited.append(f"{number} {name}")
                break
    for future in futures:
        future.result(30)
    for thread in threads.values():
        thread.shutdown()
    engine.dispose()
    return Told({name: session.told for name, session in sessions.items()}, waited)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_modelled_postgres_does_what_a_real_one_does(
    name: str, tmp_path: Path, postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    steps = tuple(("first", step) for step in BEFORE) + (("first", COMMIT),) + SCENARIOS[name]
    modelled = on_model(steps, tmp_path)
    assert modelled == on_postgres(steps, postgres.url(postgres_database(migrated=True)))
