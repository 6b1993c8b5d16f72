"""The arithmetic of docs/scaling.md, against a run in virtual time that knows none of it."""

from __future__ import annotations

from typing import Final

import pytest

from tests.benchmarks.capacity import Costs, Load, Machines, Shop, ceilings, needs, postgres_servers, processes
from tests.benchmarks.capacity_run import Run

FAR: Final = Load(stores=1000, asked=3)
"""Far from what is measured: 60 stores at most have been, and none with a million customers and its changes."""
SIZED: Final = Machines(processes=processes(FAR), postgres_cores=8 * postgres_servers(FAR))


def test_what_a_thousand_stores_take_is_what_a_run_of_them_takes() -> None:
    counted, calculated = Run(FAR, Costs(), Shop(), SIZED).seconds(3, 5), needs(FAR)
    came = counted.came_a_s / FAR.requests_a_s
    assert came == pytest.approx(1, rel=0.05)
    assert counted.done_a_s == pytest.approx(counted.came_a_s, rel=0.05)
    assert counted.run_cores == pytest.approx(calculated.run_cores * came, rel=0.05)
    assert counted.postgres_cores == pytest.approx(calculated.postgres_cores * came, rel=0.05)
    assert counted.points_a_s == pytest.approx(calculated.shop_share * 100 * FAR.stores * came, rel=0.05)
    assert counted.workers_busy == pytest.approx(calculated.workers_busy * came, rel=0.15)
    assert counted.waited_p99_s < 0.1


def test_no_more_gets_through_than_the_least_ceiling() -> None:
    counted = Run(FAR, Costs(), Shop(), SIZED, rate=2.5).seconds(3, 4)
    least = min(ceilings(FAR, Costs(), Shop(), SIZED).values())
    assert counted.came_a_s > 1.2 * counted.done_a_s
    assert counted.done_a_s == pytest.approx(least, rel=0.15)
