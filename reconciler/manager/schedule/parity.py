"""`ParitySampler`: records every few minutes how many users of each store are in sync."""

from __future__ import annotations

from reconciler.core.report.parity import sample_of
from reconciler.manager.http.status_rows import status_rows_of
from reconciler.manager.running_config import RunningConfig
from reconciler.ports import Clock


class ParitySampler:
    """Samples all stores from the state alone. Any number of replicas may sample: the first of them is recorded."""

    def __init__(self, running: RunningConfig, clock: Clock) -> None:
        self._running, self._clock = running, clock

    def sample(self) -> None:
        """Record one sample of each store, unless another replica has just done it. StateError."""
        now, stores = self._clock.now(), self._running.stores()
        with self._running.components() as components:
            if components.state.parity.is_sampled([store.shop for store in stores], at=now):
                return
            rows = status_rows_of(components, stores)
            samples = [sample_of(row, store.shop, now) for row, store in zip(rows, stores, strict=True)]
            components.state.parity.note_parity(samples)
