"""What a nudge costs that finds nothing to do: the CPU of `run` beside that of one HTTP call and two SQL statements.

    python -m tests.benchmarks.bench_reconcile

`run` is a process of its own, with its ordinary pauses, and so is the reference: a program that asks the same shop for the
same customer by httpx, and the same database for the same profile and for its mapping by SQLAlchemy. CPU is what the kernel
counted for each of them, and the CPU of `run` while it has nothing to do is taken off. Nudges and calls of the reference
take turns in batches, so that a busy machine slows both down.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from sqlalchemy import create_engine, text

from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.request import Request
from reconciler.outbound.databases.url import rewritten
from reconciler.shopify.api.document import customers_by_ids
from reconciler.state.database.engine import open_engine
from reconciler.state.requests.queue import RequestTable
from tests import servers
from tests.clock import WallClock
from tests.manager.harness import COLUMNS, TABLE, US, RunHarness, run_harness, until
from tests.manager.processes import Process, begin

USERS: Final = 200
BATCHES: Final = 5
GOAL: Final = 3.0
"""Times the reference."""
PATH: Final = "/admin/api/2026-10/graphql.json"
ROOT: Final = Path(__file__).parents[2]
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


def measure(*, users: int = USERS, batches: int = BATCHES) -> dict[str, Any]:
    """The CPU of a nudge in milliseconds, that of the reference, and how many times that it is."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, run_harness(Path(folder)) as harness:
        figures["sqlite"] = _figures(harness, users, batches)
    with servers.postgres() as server, tempfile.TemporaryDirectory() as folder:
        url = server.url(server.create())
        with run_harness(Path(folder), state_url=url) as harness:
            harness.settings["profiles"] |= {"url": url, "table": "public.customers"}
            figures["postgres"] = _figures(harness, users, batches)
    return figures


def _figures(harness: RunHarness, users: int, batches: int) -> dict[str, Any]:
    fill(harness, [f"user_{n}" for n in range(users)])
    with ExitStack() as stack:
        run = stack.enter_context(running(harness))
        queue = RequestTable(stack.enter_context(closing_engine(harness.state_url)))
        until(lambda: harness.shop().mutations >= users and not queue.depth(), "all users have customers")
        reference = stack.enter_context(_reference(harness, users))
        nudge(queue, users)  # warm
        reference.run(users)
        nudges, calls = [], []
        for _ in range(batches):
            nudges.append(_nudged_ms(queue, run.popen.pid, users))
            calls.append(reference.run(users))
    mine, theirs = statistics.median(nudges), statistics.median(calls)
    return {"nudge_cpu_ms": round(mine, 2), "reference_cpu_ms": round(theirs, 2), "ratio": round(mine / theirs, 2)}


def fill(harness: RunHarness, users: list[str]) -> None:
    """Put these users into the profiles, in the database of the state where that is Postgres."""
    for user in users:
        harness.person(user, first_name="Ada")
    if harness.state_url.startswith("sqlite"):
        return
    with closing(psycopg.connect(harness.state_url, autocommit=True)) as connection:
        connection.execute(TABLE.replace("customers", "public.customers"))
        marks = ", ".join(["%s"] * len(COLUMNS))
        for user in users:
            row = {"clerk_user_id": user, "email": f"{user}@example.com", "email_verified": 1, "first_name": "Ada"}
            connection.execute(
                f"insert into public.customers values ({marks})",
                [row.get(column) for column in COLUMNS],
            )


@contextmanager
def running(harness: RunHarness) -> Iterator[Process]:
    """`reconciler run` as a process, with its ordinary pauses."""
    harness.write()
    config, stores = harness.paths
    words = ["--config", str(config), "--stores", str(stores), "run", "--port", "0"]
    with ExitStack() as stack:
        process = begin(words, stack)
        process.started()
        yield process


@contextmanager
def closing_engine(url: str) -> Iterator[Any]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


def nudge(queue: RequestTable, users: int, *, of: str = "user") -> None:
    """Nudge so many users, and wait until the queue is empty."""
    requests = [Request(StoreName(US), ClerkUserId(f"{of}_{n}")) for n in range(users)]
    queue.add(requests, WallClock().now(), reason="nudge")
    until(lambda: not queue.depth(), "the queue is worked off")


def _nudged_ms(queue: RequestTable, pid: int, users: int) -> float:
    """CPU milliseconds of `run` for each of these nudges."""
    before, began = cpu_s(pid), WallClock().now()
    nudge(queue, users)
    spent_s, lasted = cpu_s(pid) - before, WallClock().now() - began
    before, began = cpu_s(pid), WallClock().now()
    until(lambda: WallClock().now() - began >= min(lasted, timedelta(seconds=1)), "a while has passed")
    idle_share = (cpu_s(pid) - before) / (WallClock().now() - began).total_seconds()
    return max(0.0, spent_s - idle_share * lasted.total_seconds()) / users * 1000


def cpu_s(pid: int, *, ended: bool = False) -> float:
    """The CPU seconds that the kernel counted for this process; `ended`: and for its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11 : 15 if ended else 13]) * _TICK_S


@contextmanager
def plain_shop(harness: RunHarness) -> Iterator[Callable[[], float]]:
    """A plain client of the shop: each call reads one customer, and gives the seconds until the answer."""
    asked, token = customers_by_ids((("clerk", "user_id"),)).text, {"X-Shopify-Access-Token": f"token-{US}"}
    url, ids = harness.server.url(f"{US}.myshopify.com"), [next(iter(harness.customers().values()))["id"]]
    with httpx.Client(base_url=url, headers=token) as client:

        def call() -> float:
            began = time.perf_counter()
            client.post(PATH, json={"query": asked, "variables": {"ids": ids}}).raise_for_status()
            return time.perf_counter() - began

        yield call


# --- the reference ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference:
    """The program below, which waits for a number of calls and answers with the CPU milliseconds of each."""

    process: Any

    def run(self, count: int) -> float:
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextmanager
def _reference(harness: RunHarness, users: int) -> Iterator[Reference]:
    given = {
        "shop": harness.server.url(f"{US}.myshopify.com"),
        "token": f"token-{US}",
        "profiles": harness.settings["profiles"]["url"],
        "state": harness.state_url,
        "customers": [customer["id"] for customer in harness.customers().values()],
        "users": users,
    }
    command = [sys.executable, "-m", "tests.benchmarks.bench_reconcile", "--reference", json.dumps(given)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Reference(process)
        assert process.stdin is not None
        process.stdin.close()


def _serve(given: dict[str, Any]) -> None:
    """The reference: for each number on stdin, so many calls with two statements each."""
    asked = customers_by_ids((("clerk", "user_id"),)).text
    profiles, state = (create_engine(rewritten(given[name])) for name in ("profiles", "state"))
    in_state = "" if given["state"].startswith("sqlite") else "reconciler."
    row = text("select * from customers where clerk_user_id = :user")
    mapping = text(f"select * from {in_state}reconciler_mapping where clerk_user_id = :user")
    with httpx.Client(base_url=given["shop"], headers={"X-Shopify-Access-Token": given["token"]}) as client:
        for line in sys.stdin:
            began = time.process_time()
            for n in range(int(line)):
                answer = client.post(PATH, json={"query": asked, "variables": {"ids": [given["customers"][n]]}})
                assert answer.json()["data"]["nodes"]
                for engine, statement in ((profiles, row), (state, mapping)):
                    with engine.connect() as connection:
                        assert len(connection.execute(statement, {"user": f"user_{n}"}).all()) == 1
            sys.stdout.write(f"{(time.process_time() - began) / int(line) * 1000}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--reference"]:
        _serve(json.loads(sys.argv[2]))
    else:
        print(json.dumps(measure(), indent=2))  # noqa: T201  its output
