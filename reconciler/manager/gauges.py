"""The values of the gauges, read when the metrics are scraped."""

from __future__ import annotations

import time

from reconciler.manager.dispatcher import Dispatcher
from reconciler.manager.http.status_rows import status_rows_of
from reconciler.manager.metrics import GaugeValues, Metrics
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock
from reconciler.state.profile_writes import ProfileWriteTable


def gauge_values(
    running: RunningConfig,
    dispatcher: Dispatcher,
    clock: Clock,
    writes: ProfileWriteTable | None,
    metrics: Metrics,
) -> GaugeValues:
    """Read the state and the reconciles in progress. `writes` are those of profile rows, if webhooks write some."""
    held, now = dispatcher.in_progress(), time.monotonic()
    metrics.set_active(len(held))
    rows_pending, oldest_row_s = writes.backlog(now=clock.now()) if writes is not None else (0, 0.0)
    with running.components() as components:
        return GaugeValues(
            rows=(rows := status_rows_of(components, running.stores())),
            depth=components.queue.depth(),
            oldest_s=max((row.oldest_request_s or 0.0 for row in rows), default=0.0),
            longest_running_s=max((now - each.since for each in held), default=0.0),
            points_left=components.points_left(),
            rows_pending=rows_pending,
            oldest_row_s=oldest_row_s,
            rollout=state.rollout if (state := running.rollout()) is not None else None,
            has_waves=state is not None,
        )
