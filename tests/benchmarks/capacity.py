"""The capacity model: what stores, customers and changes need of processes, of a Postgres and of the shops.

Pure arithmetic on named inputs. `Costs` are measured (`bench_capacity`, `bench_webhooks`); all else is assumed. The tables
of docs/scaling.md are made from this module, and `capacity_run.py` checks it by a run in virtual time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from reconciler.state.tidy import EVENTS_KEPT

GB: Final = 1e9
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """CPU of `run` (one core at most a process) and of Postgres, measured on one machine; bytes of a row with indexes."""

    webhook_run_ms: float = 1.5
    nothing_run_ms: float = 4.4
    nothing_postgres_ms: float = 4.2
    write_run_ms: float = 15.8
    write_postgres_ms: float = 8.7
    stranger_run_ms: float = 2.1
    stranger_postgres_ms: float = 3.8
    claim_postgres_us_a_store: float = 7.5
    scan_run_us: float = 7.6
    scan_postgres_us: float = 5.0
    mirror_run_us: float = 42.0
    mirror_postgres_us: float = 29.0
    mirror_log_bytes: int = 1106
    mapping_bytes: int = 1191
    mirror_bytes: int = 686
    event_bytes: int = 346
    request_bytes: int = 214


MEANINGS: Final = {
    "webhook_run_ms": "a webhook verified, stored and answered: CPU of `run` (`bench_webhooks`)",
    "nothing_run_ms": "a reconcile with nothing to do: CPU of `run`",
    "nothing_postgres_ms": "the same: CPU of Postgres, profiles and state on one server",
    "write_run_ms": "a reconcile with one write: CPU of `run`",
    "write_postgres_ms": "the same: CPU of Postgres",
    "stranger_run_ms": "a reconcile of a user that the store does not want: CPU of `run`",
    "stranger_postgres_ms": "the same: CPU of Postgres",
    "claim_postgres_us_a_store": "what each store of a state adds to a claim: CPU of Postgres",
    "scan_run_us": "a full scan with nothing to do: CPU of `run` for each user",
    "scan_postgres_us": "the same: CPU of Postgres",
    "mirror_run_us": "the mirror brought up to date by a bulk query: CPU of `run` for each customer",
    "mirror_postgres_us": "the same: CPU of Postgres",
    "mirror_log_bytes": "the same: write-ahead log, as the time at which a customer was seen is written",
    "mapping_bytes": "a mapping",
    "mirror_bytes": "a customer in the mirror",
    "event_bytes": "an event of one changed field",
    "request_bytes": "a request in the queue",
}
SQLITE_BYTES: Final = {"mapping_bytes": 1160, "mirror_bytes": 648, "event_bytes": 320, "request_bytes": 170}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """Shopify's side: the smallest plan's rate, and how long a call takes."""

    points_a_s: float = 100.0
    read_points: float = 4.0
    write_points: float = 10.0
    answer_s: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What is there: processes of `run` with so many workers, and one Postgres. Shares leave some for bursts."""

    processes: int = 1
    workers: int = 32
    run_share: float = 0.7
    postgres_cores: int = 8
    postgres_share: float = 0.6
    connections_a_process: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What has to be done. `asked`: the stores that a Clerk webhook enqueues, all of its state; one of them wants the user.

    `echoes`: webhooks of the shop for each write, where they are subscribed.
    """

    stores: int
    customers: int = 1_000_000
    changed_a_day: float = 0.01
    peak: float = 3.0
    asked: int = 1
    echoes: int = 1
    events_kept_days: int = EVENTS_KEPT.days

    @property
    def changes_a_s(self) -> float:
        """Users that change, at the peak."""
        return self.stores * self.customers * self.changed_a_day / DAY_S * self.peak

    @property
    def requests_a_s(self) -> float:
        """Requests at the peak: in the store that wants the user, in others that do not, and for echoes."""
        return self.changes_a_s * (self.asked + self.echoes)

    @property
    def webhooks_an_hour(self) -> float:
        """Of Clerk and of the shops, at the peak."""
        return self.changes_a_s * (1 + self.echoes) * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a load takes. Cores and workers are those that are busy at the peak."""

    run_cores: float
    postgres_cores: float
    workers_busy: float
    shop_share: float
    state_gb: float
    night_run_hours: float
    night_postgres_hours: float
    night_log_gb: float


def needs(load: Load, costs: Costs = Costs(), shop: Shop = Shop()) -> Needs:
    """What this load takes at its peak, and in bytes and at night."""
    changes, elsewhere = load.changes_a_s, load.changes_a_s * (load.asked - 1)
    echoes = changes * load.echoes
    claim_ms = costs.claim_postgres_us_a_store * load.stores / 1000
    run_ms = (
        changes * costs.write_run_ms
        + echoes * costs.nothing_run_ms
        + elsewhere * costs.stranger_run_ms
        + (changes + echoes) * costs.webhook_run_ms
    )
    postgres_ms = (
        changes * costs.write_postgres_ms
        + echoes * costs.nothing_postgres_ms
        + elsewhere * costs.stranger_postgres_ms
        + load.requests_a_s * claim_ms
    )
    calls = 2 * changes + echoes
    points = changes * (shop.read_points + shop.write_points) + echoes * shop.read_points
    customers = load.stores * load.customers
    events = customers * load.changed_a_day * load.events_kept_days
    state = customers * (costs.mapping_bytes + costs.mirror_bytes) + events * costs.event_bytes
    return Needs(
        run_cores=run_ms / 1000,
        postgres_cores=postgres_ms / 1000,
        workers_busy=calls * shop.answer_s + run_ms / 1000,
        shop_share=points / load.stores / shop.points_a_s,
        state_gb=state / GB,
        night_run_hours=customers * (costs.scan_run_us + costs.mirror_run_us) / 1e6 / 3600,
        night_postgres_hours=customers * (costs.scan_postgres_us + costs.mirror_postgres_us) / 1e6 / 3600,
        night_log_gb=customers * costs.mirror_log_bytes / GB,
    )


def processes(load: Load, costs: Costs = Costs(), shop: Shop = Shop(), machines: Machines = Machines()) -> int:
    """How many processes of `run` the load takes, by CPU and by workers, whichever is more."""
    found = needs(load, costs, shop)
    by_cpu = found.run_cores / machines.run_share
    by_workers = found.workers_busy / (machines.workers * machines.run_share)
    return max(1, ceil(max(by_cpu, by_workers)))


def postgres_servers(load: Load, costs: Costs = Costs(), machines: Machines = Machines()) -> int:
    """How many Postgres servers of this size the load takes, if its stores are split over as many states."""
    count = 1
    while True:
        part = replace(load, stores=ceil(load.stores / count))
        if needs(part, costs).postgres_cores <= machines.postgres_cores * machines.postgres_share:
            return count
        count += 1


def ceilings(load: Load, costs: Costs, shop: Shop, machines: Machines) -> dict[str, float]:
    """Requests a second at which each part is busy all the time, with the mix of this load. The least comes first."""
    found, rate = needs(load, costs, shop), load.requests_a_s
    return {
        "workers": rate * machines.processes * machines.workers / found.workers_busy,
        "CPU of `run`": rate * machines.processes / found.run_cores,
        "Postgres": rate * machines.postgres_cores / found.postgres_cores,
        "the shops' points": rate / found.shop_share,
    }


# --- the tables of docs/scaling.md -----------------------------------------------------------------------------------

CASES: Final = {
    "60 stores of 100,000": Load(stores=60, customers=100_000, asked=60),
    "60 stores of a million": Load(stores=60, asked=60),
    "1,000 stores of a million, in one state": Load(stores=1000, asked=1000),
    "the same, in 100 states of 10 stores": Load(stores=10, asked=10),
    "the same, in 20 states of 50 stores": Load(stores=50, asked=50),
    "these, where each change names its store": Load(stores=50),
}
"""Loads; those of several states are the load of one of them."""


HEADS: Final = (
    "load",
    "webhooks an hour",
    "requests; writes a second",
    "processes",
    "cores of Postgres",
    "connections",
    "state",
    "CPU of the nightly scans: `run`; Postgres",
    "log of a night",
    "first limit",
)


def costs_table() -> str:
    """The measured inputs."""
    costs = Costs()
    rows = ["| input | Postgres | SQLite | what it is |", "|---|---|---|---|"]
    for name, meaning in MEANINGS.items():
        unit = "µs" if "_us" in name else "ms" if name.endswith("_ms") else "bytes"
        sqlite = f"{SQLITE_BYTES[name]:,} bytes" if name in SQLITE_BYTES else ""
        rows.append(f"| `{name}` | {getattr(costs, name):,g} {unit} | {sqlite} | {meaning} |")
    return "\n".join(rows)


def ceilings_table() -> str:
    """What one process of `run` and one Postgres carry, if every request is of one kind and the shops are no limit."""
    costs, shop, machines = Costs(), Shop(), Machines()
    kinds = {
        "with nothing to do": (costs.nothing_run_ms, costs.nothing_postgres_ms, 1),
        "with one write": (costs.write_run_ms, costs.write_postgres_ms, 2),
        "of a user that the store does not want": (costs.stranger_run_ms, costs.stranger_postgres_ms, 0),
    }
    rows = ["| requests a second | a process, by CPU | a process, by workers | a Postgres |", "|---|---|---|---|"]
    for kind, (run_ms, postgres_ms, calls) in kinds.items():
        by_cpu = machines.run_share * 1000 / run_ms
        by_workers = machines.run_share * machines.workers / (calls * shop.answer_s + run_ms / 1000)
        of_postgres = machines.postgres_share * machines.postgres_cores * 1000 / postgres_ms
        told = f"{by_workers:,.0f}" if calls else "no call, no limit"
        rows.append(f"| {kind} | {by_cpu:,.0f} | {told} | {of_postgres:,.0f} |")
    return "\n".join(rows)


def cases_table() -> str:
    """What each load takes."""
    costs, shop, machines = Costs(), Shop(), Machines()
    rows = [
        f"| {' | '.join(HEADS)} |",
        "|---" * len(HEADS) + "|",
    ]
    for name, load in CASES.items():
        found, count = needs(load, costs, shop), processes(load, costs, shop, machines)
        cores = found.postgres_cores / machines.postgres_share
        one_server = replace(machines, processes=count)
        limits = ceilings(load, costs, shop, one_server)
        first = min(limits, key=lambda part: limits[part])
        cells = [
            name,
            f"{load.webhooks_an_hour:,.0f}",
            f"{load.requests_a_s:,.0f}; {load.changes_a_s:,.1f}",
            f"{count:,}",
            f"{cores:,.1f}",
            f"{count * machines.connections_a_process:,}",
            f"{found.state_gb:,.0f} GB",
            f"{found.night_run_hours:,.1f} h; {found.night_postgres_hours:,.1f} h",
            f"{found.night_log_gb:,.0f} GB",
            first,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
