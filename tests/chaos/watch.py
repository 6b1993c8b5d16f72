"""What is looked at while all this happens: transactions on the profiles, the app's waits, health, memory, descriptors.

A bound is for a process that runs: the time for which some process of this machine waited for a processor meanwhile (the
kernel's own account, `/proc/pressure/cpu`) is not counted. On a machine that is not busy that is nearly nothing.

Left out, by rule: what a frozen replica holds open counts against the bound for dead peers (`DEAD_OPEN_S`); the app's
waits for locks that the app itself holds; health before the first answer after a start, or while frozen.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psycopg

from tests.chaos.checker import Violation
from tests.chaos.cluster import Cluster, Replica

LOOK_S = 0.2
SAMPLE_S = 2.0
IDLE_S = 1.0
OPEN_S = 5.0
DEAD_OPEN_S = 30.0
BLOCKED_S = 2.0
THAWED_S = 2.0
HEALTH_S = 5.0
HEALTH_AT_ALL_S = 60.0
MEMORY_GROWTH = 1.15
MEMORY_MB = 12.0
SAMPLES = 90
"""Of processes that lived three minutes: in a shorter life one huge reply of a shop is half of the memory."""
MORE = {"threads": 8, "descriptors": 16}
SLACK_S = 0.5
"""A transaction is seen a little later than it ended."""
PRESSURE = Path("/proc/pressure/cpu")

TRANSACTIONS = """
SELECT usename, pid, state, extract(epoch FROM clock_timestamp() - xact_start)::float8,
  extract(epoch FROM clock_timestamp() - state_change)::float8, left(query, 120)
FROM pg_stat_activity WHERE usename IN ('reader', 'reconciler') AND xact_start IS NOT NULL
"""
BLOCKED = """
SELECT a.pid, extract(epoch FROM clock_timestamp() - a.state_change)::float8, left(a.query, 80)
FROM pg_stat_activity a WHERE a.application_name = 'app' AND a.wait_event_type = 'Lock'
  AND EXISTS (SELECT 1 FROM pg_stat_activity b WHERE b.pid = ANY(pg_blocking_pids(a.pid)) AND b.usename = 'reader')
"""


@dataclass(slots=True)
class Sample:
    at: float
    memory_mb: float
    threads: int
    descriptors: int


def sampled(pid: int) -> Sample | None:
    """Of a process that lives."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if "VmRSS" not in values:
        return None
    return Sample(time.monotonic(), int(values["VmRSS"].split()[0]) / 1024, int(values["Threads"]), descriptors)


@dataclass(slots=True)
class Starved:
    """For how long processes waited for a processor; 0 where the kernel keeps no account of it."""

    seen: list[tuple[float, float]] = field(default_factory=list)

    def look(self) -> None:
        with suppress(OSError):
            some = PRESSURE.read_text().splitlines()[0]
            self.seen.append((time.monotonic(), int(some.rpartition("=")[2]) / 1e6))

    def within_s(self, seconds: float) -> float:
        """In the last so many seconds, and since the look before them."""
        if not self.seen:
            return 0.0
        began = time.monotonic() - seconds
        before = next((total for at, total in reversed(self.seen) if at <= began), self.seen[0][1])
        return self.seen[-1][1] - before

    def total_s(self) -> float:
        return self.seen[-1][1] - self.seen[0][1] if self.seen else 0.0


@dataclass(slots=True)
class Watch:
    """Run it in threads by `start`; `found` grows. `longest` is for the report."""

    cluster: Cluster
    found: set[Violation] = field(default_factory=set)
    longest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    starved: Starved = field(default_factory=Starved)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _thawed_at: float = 0.0

    def start(self) -> None:
        works = (
            (self.starved.look, LOOK_S), (self._transactions, LOOK_S), (self._processes, SAMPLE_S), (self._health, 1.0),
        )  # fmt: skip
        for work, every_s in works:
            thread = threading.Thread(target=self._run, args=(work, every_s), name=work.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(HEALTH_AT_ALL_S * 4)

    def _run(self, work: object, every_s: float) -> None:
        while not self._stop.wait(every_s):
            with suppress(psycopg.Error):
                work()  # type: ignore[operator]

    def _transactions(self) -> None:
        with self.cluster.postgres.connect() as connection:
            while not self._stop.wait(LOOK_S):
                if any(replica.frozen for replica in self.cluster.replicas):
                    self._thawed_at = time.monotonic()
                frozen = time.monotonic() - self._thawed_at < THAWED_S
                for role, pid, state, open_s, since_s, query in connection.execute(TRANSACTIONS.encode()).fetchall():
                    self._judge(f"{role} {pid}", state, open_s, since_s, query, frozen=frozen)
                if frozen:
                    continue
                for pid, waited_s, query in connection.execute(BLOCKED.encode()).fetchall():
                    self._note("app kept waiting", waited_s, BLOCKED_S, f"app {pid}", query)

    def _judge(self, who: str, state: str, open_s: float, since_s: float, query: str, *, frozen: bool) -> None:
        """On the profiles (role `reader`) all bounds hold; in the state, and while somebody is frozen, that for the dead."""
        if frozen or who.startswith("reconciler"):
            kept = "frozen" if frozen else "in the state"
            self._note("long transaction", open_s, DEAD_OPEN_S, who, f"{query} ({kept})", kept=kept)
            return
        self._note("long transaction", open_s, OPEN_S, who, query)
        if state.startswith("idle in transaction"):
            self._note("idle transaction", since_s, IDLE_S, who, query)

    def _note(self, kind: str, seconds: float, bound_s: float, who: str, what: str, *, kept: str = "") -> None:
        name = f"{kind} {kept}".strip()
        self.longest[name] = max(self.longest[name], seconds)
        if seconds > bound_s + SLACK_S and seconds - self._starved_s(seconds) > bound_s + SLACK_S:
            self.found.add(Violation(kind, who, what))

    def _starved_s(self, seconds: float) -> float:
        self.starved.look()
        return self.starved.within_s(seconds)

    def _processes(self) -> None:
        for replica in self.cluster.replicas:
            replica.supervise()
            if replica.works() and replica.popen is not None and (sample := sampled(replica.popen.pid)) is not None:
                self.samples[f"{replica.name} {replica.popen.pid}"].append(sample)

    def _health(self) -> None:
        for replica in self.cluster.replicas:
            popen, freezes, expected = replica.popen, replica.freezes, _should_answer(replica)
            before = time.monotonic()
            status = replica.answers("/healthz", HEALTH_AT_ALL_S)
            took = time.monotonic() - before
            if status == 200:
                replica.answered = replica.popen is popen
            if status == 200 and took - self._starved_s(took) <= HEALTH_S:
                pass
            elif expected and _should_answer(replica) and replica.popen is popen and replica.freezes == freezes:
                self.found.add(Violation("not healthy", replica.name, f"/healthz gave {status} after {took:.1f} s"))
            if expected:
                self.longest["healthz"] = max(self.longest["healthz"], took)

    def grown(self) -> list[Violation]:
        """Growth between the second and the last third of each process that lived long enough to have all three."""
        found = []
        for name, samples in self.samples.items():
            if len(samples) < SAMPLES:
                continue
            for what, (before, after) in _thirds(samples).items():
                more = before * (MEMORY_GROWTH - 1) + MEMORY_MB if what == "memory" else MORE[what]
                if after > before + more:
                    found.append(Violation(what, name, f"{before:.0f}, then {after:.0f}"))
        return found

    def thirds(self) -> dict[str, str]:
        """For the table: of each replica the process that lived longest, in its second and in its last third."""
        longest: dict[str, list[Sample]] = {}
        for name, samples in self.samples.items():
            replica = name.split()[0]
            longest[replica] = max(longest.get(replica, []), samples, key=len)
        return {
            f"{replica}, second and last third": ", ".join(
                f"{what} {before:.0f} to {after:.0f}" + (" MB" if what == "memory" else "")
                for what, (before, after) in _thirds(samples).items()
            )
            for replica, samples in longest.items()
        }


def _thirds(samples: list[Sample]) -> dict[str, tuple[float, float]]:
    """Medians by what is measured. In its first third a process takes what it needs, so that it counts as no growth."""
    third = max(1, len(samples) // 3)
    early, late = samples[-2 * third : -third] or samples, samples[-third:]
    names = {"memory": "memory_mb", "threads": "threads", "descriptors": "descriptors"}
    return {
        what: (median(getattr(s, name) for s in early), median(getattr(s, name) for s in late))
        for what, name in names.items()
    }


def _should_answer(replica: Replica) -> bool:
    return replica.wanted and replica.answered and not replica.frozen and replica.running()
