"""One request reads straight down: queue, worker, reconcile, observe, decide, writes, execute, state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.trace_path import apply, webhook


@pytest.mark.slow
def test_one_webhook_makes_at_most_twelve_stops_in_the_controller(tmp_path: Path) -> None:
    stops = webhook(tmp_path).stops
    assert stops[:3] == ["worker", "reconcile", "observe"]
    assert stops[-3:] == ["execute", "reconcile", "worker"]
    assert len(stops) <= 12, stops


def test_one_apply_makes_at_most_48_stops_in_the_controller(tmp_path: Path) -> None:
    stops = apply(tmp_path).stops
    assert stops[-3:] == ["execute", "writes", "execute"]
    assert len(stops) <= 48, stops
