"""What each fault does to the world, and how it ends: one function a kind, which returns when the fault is over."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from reconciler.simulator.hostile import Hostile
from tests.chaos.app import App
from tests.chaos.cluster import Cluster, Replica
from tests.chaos.directory import Directory
from tests.chaos.people import Population
from tests.chaos.plan import Fault
from tests.clock import WallClock

ROOTS = (None, "customerSet", "customerUpdate", "customerByIdentifier", "customer", "tagsAdd", "metafieldsSet")
STATUSES = (401, 402, 403, 404, 423, 429, 500, 502, 503)
CLOCK_S = (-3600, -120, -20, 20, 120, 3600)
DISK_FULL = """
CREATE OR REPLACE FUNCTION reconciler.disk_full() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING errcode = 'disk_full'; END $$
"""
TABLES = ("reconciler_mapping", "reconciler_request", "reconciler_event")
BOMB_MB = 64
IN_TRANSACTION_S = 20.0


@dataclass(slots=True)
class World:
    """What faults need."""

    cluster: Cluster
    app: App
    population: Population
    stop: threading.Event
    done: dict[str, int] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    files: threading.Lock = field(default_factory=threading.Lock)
    directory: Directory = field(default_factory=Directory)

    def run(self, fault: Fault) -> None:
        FAULTS[fault.kind](self, fault)
        self.done[fault.kind] = self.done.get(fault.kind, 0) + 1

    def pause(self, seconds: float) -> None:
        self.stop.wait(seconds)

    def replica(self, fault: Fault, *, elder: bool) -> Replica:
        """One of the replicas; the elder only where it survives."""
        among = self.cluster.replicas if elder else self.cluster.replicas[1:]
        return among[int(fault.target) % len(among)]


# --- replicas ---------------------------------------------------------------------------------------------------------


def kill(world: World, fault: Fault) -> None:
    replica = world.replica(fault, elder=False)
    replica.kill()
    world.pause(fault.seconds)
    replica.start()


def freeze(world: World, fault: Fault) -> None:
    replica = world.replica(fault, elder=True)
    replica.freeze()
    world.pause(fault.seconds)
    replica.thaw()


def freeze_in_a_transaction(world: World, fault: Fault) -> None:
    """Stop it again and again until one of its connections is caught inside a transaction; then for the whole time."""
    replica = world.replica(fault, elder=True)
    end = time.monotonic() + IN_TRANSACTION_S
    while time.monotonic() < end and not world.stop.is_set():
        replica.freeze()
        with suppress(psycopg.Error):
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reconciler' AND state = 'idle in transaction' "
                "AND state_change < clock_timestamp() - interval '30 ms'"
            )
            if world.cluster.postgres.scalar(query):
                break
        replica.thaw()
        world.pause(0.02)
    world.pause(fault.seconds)
    replica.thaw()


def restart(world: World, fault: Fault) -> None:
    """A rolling restart by SIGTERM, which must end by itself."""
    replica = world.replica(fault, elder=False)
    before, answered = time.monotonic(), replica.answered
    code = replica.end()
    if code != 0 and answered:  # before that it has no handler yet, and nothing in progress
        world.trouble.append(f"{replica.name} ended with {code} {time.monotonic() - before:.0f} s after SIGTERM")
    world.pause(fault.seconds)
    replica.start()


def no_space(world: World, fault: Fault) -> None:
    """A replica can't make any file longer: its log, and whatever it puts into temporary files."""
    replica = world.replica(fault, elder=True)
    with replica.limited(0):
        world.pause(fault.seconds)


# --- the database -----------------------------------------------------------------------------------------------------


def crash(world: World, fault: Fault) -> None:
    postgres = world.cluster.postgres
    with postgres.lock:
        postgres.crash()
        world.pause(fault.seconds)
        postgres.start()


def backends_cut(world: World, fault: Fault) -> None:
    with suppress(psycopg.Error):
        world.cluster.postgres.cut()


def pooler_killed(world: World, fault: Fault) -> None:
    world.cluster.postgres.stop_pooler()
    world.pause(fault.seconds)
    world.cluster.postgres.start_pooler()


def network_cut(world: World, fault: Fault) -> None:
    world.cluster.cable.cut()
    world.pause(fault.seconds)
    world.cluster.cable.mend()


def disk_full(world: World, fault: Fault) -> None:
    """The state's tables take nothing, with the error code that a full disk gives."""
    made = [
        f"CREATE TRIGGER disk_full BEFORE INSERT OR UPDATE ON reconciler.{table} FOR EACH ROW "
        "EXECUTE FUNCTION reconciler.disk_full()"
        for table in TABLES
    ]
    _by_owner(world, DISK_FULL, *made)
    world.pause(fault.seconds)
    _by_owner(world, *(f"DROP TRIGGER IF EXISTS disk_full ON reconciler.{table}" for table in TABLES))


def _by_owner(world: World, *statements: str) -> None:
    """Each for itself, repeated until it is done, without waiting long for locks of others."""
    for statement in statements:
        while True:
            try:
                with world.cluster.postgres.connect() as connection:
                    connection.execute(b"SET lock_timeout = '500ms'")
                    connection.execute(statement.encode())
                    break
            except psycopg.errors.DuplicateObject:
                break
            except psycopg.OperationalError:  # locked by somebody, or the server is away
                time.sleep(0.1)


# --- the profiles table -----------------------------------------------------------------------------------------------


def emptied(world: World, fault: Fault) -> None:
    with world.app.alone():
        world.app.emptied(fault.seconds, world.population)


def column_away(world: World, fault: Fault) -> None:
    with world.app.alone():
        world.app.column_away(fault.seconds)


def table_away(world: World, fault: Fault) -> None:
    with world.app.alone():
        world.app.away(fault.seconds)


# --- the shops --------------------------------------------------------------------------------------------------------


def shop_fault(world: World, fault: Fault) -> None:
    """One of the simulator's own faults, in all calls or in those with one root field."""
    chance = random.Random(fault.dice)
    sim = world.cluster.shops.sim(fault.target)
    details: dict[str, object] = {"on": chance.choice(ROOTS), "times": None}
    if fault.kind == "slow":
        details["seconds"] = fault.seconds
    if fault.kind == "status":
        details["status"] = chance.choice(STATUSES)
    sim.faults.add(fault.kind, **details)  # type: ignore[arg-type]  # one of the simulator's names, by plan.py
    world.pause(fault.seconds)
    sim.faults.clear()


def frozen_shop(world: World, fault: Fault) -> None:
    sim = world.cluster.shops.sim(fault.target)
    sim.status = random.Random(fault.dice).choice((402, 403, 404, 423))
    world.pause(fault.seconds)
    sim.status = None


def busy_neighbour(world: World, fault: Fault) -> None:
    """Another app spends nearly all of the same bucket."""
    sim = world.cluster.shops.sim(fault.target)
    sim.bucket.neighbour(980)
    world.pause(fault.seconds)
    sim.bucket.neighbour(0)


def spoilt(world: World, fault: Fault) -> None:
    """Each reply of this shop is spoilt in one of the simulator's ways; what the shop does is as before."""
    sim = world.cluster.shops.sim(fault.target)
    sim.hostile = Hostile(fault.kind, fault.dice, megabytes=BOMB_MB)  # type: ignore[arg-type]  # by plan.py
    world.pause(fault.seconds)
    sim.hostile = None


# --- Clerk ------------------------------------------------------------------------------------------------------------


def clerk_trouble(world: World, fault: Fault) -> None:
    """Clerk's API answers each question with an error."""
    world.directory.trouble = 429 if fault.kind == "clerk busy" else 503
    world.pause(fault.seconds)
    world.directory.trouble = None


# --- files and clocks -------------------------------------------------------------------------------------------------


def half_written(world: World, fault: Fault) -> None:
    """stores.yaml is written in place and slowly: for a while its last lines are not there. It asks for another tag."""
    with world.files:
        whole = world.cluster.stores_text(world.population.wave + 1)
        lines = whole.splitlines(keepends=True)
        stores = lines.index("stores:\n")
        cut = random.Random(fault.dice).choice((len(lines) - 1, stores + (len(lines) - stores + 1) // 2, stores - 1))
        with world.cluster.stores.open("w") as file:
            file.write("".join(lines[:cut]))
            file.flush()
            world.pause(fault.seconds)
            file.write("".join(lines[cut:]))
        _asked(world)


def broken(world: World, fault: Fault) -> None:
    """stores.yaml is no YAML for a while."""
    with world.files:
        _replace(world.cluster.stores, "version: 1\nstores: [}\n")
        world.pause(fault.seconds)
        _replace(world.cluster.stores, world.cluster.stores_text(world.population.wave))


def swapped_file(world: World, fault: Fault) -> None:
    """A careful editor replaces the file in one go, with another tag."""
    with world.files:
        _replace(world.cluster.stores, world.cluster.stores_text(world.population.wave + 1))
        _asked(world)


def _asked(world: World) -> None:
    """stores.yaml asks for the next tag now."""
    world.population.wave += 1
    world.cluster.files_at = WallClock().now()


def clock_moved(world: World, fault: Fault) -> None:
    world.cluster.clock.write_text(str(random.Random(fault.dice).choice(CLOCK_S)))
    world.pause(fault.seconds)
    world.cluster.clock.write_text("0")


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


FAULTS: Mapping[str, Callable[[World, Fault], None]] = {
    "kill": kill,
    "freeze": freeze,
    "freeze in a transaction": freeze_in_a_transaction,
    "restart": restart,
    "no space": no_space,
    "crash": crash,
    "backends cut": backends_cut,
    "pooler killed": pooler_killed,
    "network cut": network_cut,
    "disk full": disk_full,
    "locked": lambda world, fault: world.app.locked(fault.seconds),
    "reloaded": lambda world, fault: world.app.reloaded(fault.seconds),
    "swapped": lambda world, fault: world.app.swapped(fault.seconds),
    "altered": lambda world, fault: world.app.altered(fault.seconds),
    "column away": column_away,
    "table away": table_away,
    "emptied": emptied,
    **dict.fromkeys(
        (
            "lost_before", "lost_after", "slow", "status", "throttled", "html", "truncated", "missing_scope",
            "internal_error", "internal_error_after", "null_payload",
        ),
        shop_fault,
    ),
    "frozen shop": frozen_shop,
    "busy neighbour": busy_neighbour,
    **dict.fromkeys(
        ("bomb", "endless", "drip", "headers", "packed", "nan", "numbers", "deep", "twice", "urls"), spoilt
    ),
    "clerk away": clerk_trouble,
    "clerk busy": clerk_trouble,
    "half-written": half_written,
    "broken": broken,
    "swapped file": swapped_file,
    "clock moved": clock_moved,
}  # fmt: skip
