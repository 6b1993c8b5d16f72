"""One seed in every run of the suite; `python -m tests.simulation` continues with others."""

from __future__ import annotations

import pytest

from tests.matrices import seeds
from tests.simulation.__main__ import report_of
from tests.simulation.history import HISTORY
from tests.simulation.simulation import SHORT, simulate

SEEDS = range(20)


@pytest.mark.parametrize("seed", seeds(3, quick=1))
def test_after_a_storm_all_users_are_in_sync_and_a_seed_gives_the_same_interleaving_each_time(seed: int) -> None:
    one, other = (simulate(seed + 1, SHORT) for _ in range(2))
    assert not one.violations, report_of(one)
    assert (one.digest, one.points, one.injected) == (other.digest, other.points, other.injected)


@pytest.mark.explore
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", HISTORY)
def test_a_fault_of_the_past_is_found_when_it_is_put_back(fault: str) -> None:
    """By one of these seeds: which one it is changes with every change of the product."""
    assert any(simulate(seed, SHORT, HISTORY[fault]).violations for seed in SEEDS)
