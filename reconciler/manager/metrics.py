"""Metrics of a running controller, with controller-runtime's names where it has one.

Events are counted as they happen. What the state knows (parity, holds, depth) is read at a scrape, at most every few
seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reconciler.controller.step import ReconcileResult
from reconciler.core.model.action import KINDS
from reconciler.core.model.frozen import frozen
from reconciler.core.model.ids import StoreName
from reconciler.core.model.rollout import Phase, Rollout
from reconciler.core.report.status import StatusRow
from reconciler.errors import ReconcilerError

CONTROLLER = "customer"
RESULTS = ("success", "error", "requeue_after")
SCANS = ("full", "changes")
SCAN_RESULTS = ("done", "failed", "access")  # those that alerts use; others appear when they happen
ASK_EVERY_S = 5.0
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@frozen
class GaugeValues:
    """What a scrape reads: the stores' rows, the queue's depth, and the points left at each shop."""

    rows: Sequence[StatusRow]
    depth: int
    oldest_s: float
    longest_running_s: float
    points_left: dict[StoreName, float]
    rows_pending: int = 0
    oldest_row_s: float = 0.0
    rollout: Rollout | None = None
    has_waves: bool = False


class Metrics:
    """All counters of one process, in their own registry. Thread-safe."""

    def __init__(self, workers: int) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # without the extra `_created` series
        self.registry = CollectorRegistry()
        reg = self.registry
        self._reconciles = Counter(
            "controller_runtime_reconcile", "Reconciles by result.", ("controller", "result"), registry=reg
        )
        self._errors = Counter(
            "controller_runtime_reconcile_errors", "Reconciles that failed.", ("controller",), registry=reg
        )
        self._seconds = Histogram(
            "controller_runtime_reconcile_time_seconds", "Seconds of one reconcile.", ("controller",), buckets=SECONDS,
            registry=reg,
        )  # fmt: skip
        self._active = Gauge(
            "controller_runtime_active_workers", "Reconciles in progress.", ("controller",), registry=reg
        )
        Gauge("controller_runtime_max_concurrent_reconciles", "Worker threads.", ("controller",), registry=reg).labels(
            CONTROLLER
        ).set(workers)
        self._waited = Histogram(
            "workqueue_queue_duration_seconds",
            "Seconds that a due request waited for a worker.",
            ("name",),
            buckets=SECONDS,
            registry=reg,
        )
        self._worked = Histogram(
            "workqueue_work_duration_seconds",
            "Seconds from a request's claim to its result.",
            ("name",),
            buckets=SECONDS,
            registry=reg,
        )
        self._adds = Counter("workqueue_adds", "Requests added to the queue.", ("name",), registry=reg)
        self._retries = Counter("workqueue_retries", "Requests scheduled again.", ("name",), registry=reg)
        self._points = Counter("reconciler_points_spent", "Points spent on writes.", ("store",), registry=reg)
        self._actions = Counter("reconciler_actions", "Actions executed.", ("store", "kind"), registry=reg)
        self._scans = Counter("reconciler_sweeps", "Scans of whole stores.", ("store", "kind", "result"), registry=reg)
        self._reloads = Counter(
            "reconciler_config_reloads", "Reloads of the settings files.", ("result",), registry=reg
        )

        self._current = Gauge(
            "reconciler_config_current", "1 if the running config is that of the files, else 0.", registry=reg
        )
        self._current.set(1)
        self._export_zeros()

    def _export_zeros(self) -> None:
        """Export counters that are still zero: a counter that first appears at 1 shows no increase, so no alert fires."""
        for result in RESULTS:
            self._reconciles.labels(CONTROLLER, result)
        for labelled in (
            self._errors,
            self._seconds,
            self._active,
            self._waited,
            self._worked,
            self._adds,
            self._retries,
        ):
            labelled.labels(CONTROLLER)
        for result in ("taken", "refused"):
            self._reloads.labels(result)

    def follow(self, stores: Iterable[StoreName]) -> None:
        """Export zeros for these stores too, for example for new ones after a reload."""
        for store in stores:
            self._points.labels(store)
            for kind in KINDS:
                self._actions.labels(store, kind)
            for scan, result in product(SCANS, SCAN_RESULTS):
                self._scans.labels(store, scan, result)

    def read_at_scrape(self, known: Callable[[], GaugeValues]) -> None:
        """Call `known` at each scrape from now on."""
        self.registry.register(_StateCollector(known))

    def note_reconcile(self, store: StoreName, done: ReconcileResult, seconds: float, waited_s: float) -> None:
        """Count one finished reconcile."""
        result = {"applied": "success", "in_sync": "success", "nothing": "success", "held": "success"}.get(
            done.result, "requeue_after" if done.error is None else "error"
        )
        self._reconciles.labels(CONTROLLER, result).inc()
        if done.error is not None:
            self._errors.labels(CONTROLLER).inc()
        self._seconds.labels(CONTROLLER).observe(seconds)
        self._worked.labels(CONTROLLER).observe(seconds)
        self._waited.labels(CONTROLLER).observe(max(waited_s, 0.0))
        if done.again_s is not None:
            self._retries.labels(CONTROLLER).inc()
        if done.kind is not None and done.result == "applied":
            self._actions.labels(store, done.kind).inc()
            self._points.labels(store).inc(done.points)

    def set_active(self, count: int) -> None:
        self._active.labels(CONTROLLER).set(count)

    def note_added(self, count: int) -> None:
        self._adds.labels(CONTROLLER).inc(count)

    def note_scan(self, store: StoreName, kind: str, result: str) -> None:
        self._scans.labels(store, kind, result).inc()

    def config_current(self, current: bool) -> None:  # noqa: FBT001  a gauge's value
        self._current.set(float(current))

    def note_reload(self, result: str) -> None:
        self._reloads.labels(result).inc()


class _StateCollector(Collector):
    def __init__(self, known: Callable[[], GaugeValues]) -> None:
        self._known = known
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._last: list[Metric] = []

    def describe(self) -> Iterable[Metric]:
        return ()  # registration reads nothing

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() - self._at >= ASK_EVERY_S:
                try:
                    self._last = list(_families(self._known()))
                except ReconcilerError:
                    self._last = []  # the state does not answer: /readyz reports it, and stale values would hide it
                self._at = time.monotonic()
            return self._last


def _families(known: GaugeValues) -> Iterable[Metric]:
    yield _one("workqueue_depth", "Requests in the queue.", "name", CONTROLLER, known.depth)
    yield _one(
        "workqueue_longest_running_processor_seconds", "Seconds of the longest reconcile in progress.", "name", CONTROLLER,
        known.longest_running_s,
    )  # fmt: skip
    oldest = GaugeMetricFamily(
        "reconciler_oldest_request_age_seconds", "Seconds since the oldest due request became due."
    )
    oldest.add_metric([], known.oldest_s)
    yield oldest
    rows = GaugeMetricFamily(
        "reconciler_profile_rows_pending", "Profile rows of Clerk events that are not written yet."
    )
    rows.add_metric([], known.rows_pending)
    yield rows
    row_age = GaugeMetricFamily(
        "reconciler_oldest_profile_row_age_seconds", "Seconds since the oldest pending row became due."
    )
    row_age.add_metric([], known.oldest_row_s)
    yield row_age
    parity = GaugeMetricFamily("parity_ratio", "Users in sync, as a share of users wanted.", labels=["store"])
    held = GaugeMetricFamily("reconciler_held", "Held users by reason.", labels=["store", "reason"])
    suspended = GaugeMetricFamily("reconciler_store_suspended", "1 if the shop refuses access.", labels=["store"])
    failing = GaugeMetricFamily(
        "reconciler_store_failing",
        "1 if the work of the store fails although the shop grants access.",
        labels=["store"],
    )
    unmoved = GaugeMetricFamily(
        "reconciler_updated_at_unmoved", "1 if profile rows change without their updated_at.", labels=["store"]
    )
    for row in known.rows:
        if row.profiles or row.last_sweep_at is None:  # no share of zero profiles
            parity.add_metric([row.store], row.parity)
        suspended.add_metric([row.store], float(row.suspended is not None))
        failing.add_metric([row.store], float(row.failing is not None))
        unmoved.add_metric([row.store], float(bool(row.updated_at_unmoved)))
        for reason, count in row.held.items():
            held.add_metric([row.store, reason], count)
    yield from (parity, held, suspended, failing, unmoved)
    if known.has_waves:
        yield from _rollout_families(known.rollout)
    left = GaugeMetricFamily("reconciler_points_available", "Points left in the shop's bucket.", labels=["store"])
    for store, points in known.points_left.items():
        left.add_metric([store], points)
    yield left


def _rollout_families(rollout: Rollout | None) -> Iterable[Metric]:
    """The state of the newest rollout; all zero without one."""
    wave = GaugeMetricFamily("reconciler_rollout_wave", "The wave that the newest rollout has reached.")
    wave.add_metric([], rollout.wave if rollout is not None else 0)
    phase = GaugeMetricFamily("reconciler_rollout_phase", "1 for the phase of the newest rollout.", labels=["phase"])
    for name in get_args(Phase):
        phase.add_metric([name], float(rollout is not None and rollout.phase == name))
    yield from (wave, phase)


def _one(name: str, text: str, label: str, value: str, number: float) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    family.add_metric([value], number)
    return family
