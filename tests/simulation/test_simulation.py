"""Some seeds in every run of the suite; `python -m tests.simulation` continues with others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.matrices import seeds
from tests.simulation.__main__ import report_of
from tests.simulation.history import HISTORY
from tests.simulation.simulation import PRODUCT, simulate
from tests.simulation.sizes import DAY_S, LONG, SHORT

SEEDS = range(20)
BRIEF = replace(SHORT, people=4, storm_s=420.0, quiet_s=120.0)
STORM = replace(SHORT, people=5, storm_s=600.0, quiet_s=1800.0)
DAYS = replace(LONG, people=5, storm_s=DAY_S, quiet_s=DAY_S / 2)
POSTGRES = replace(PRODUCT, postgres=True)


@pytest.mark.parametrize("seed", seeds(6, quick=1))
def test_after_a_storm_all_users_are_in_sync(seed: int) -> None:
    outcome = simulate(seed + 3, STORM)
    assert not outcome.violations, report_of(outcome)
    assert seed or outcome.injected["bulk operations run"]  # the first one has a first sync by bulk


@pytest.mark.parametrize("seed", seeds(3, quick=1))
@pytest.mark.slow
def test_a_seed_gives_the_same_interleaving_each_time_also_inside_transactions_of_postgres(seed: int) -> None:
    one, other = (simulate(seed + 1, BRIEF, POSTGRES) for _ in range(2))
    assert not one.violations, report_of(one)
    assert (one.digest, one.points, one.injected) == (other.digest, other.points, other.injected)


@pytest.mark.parametrize("seed", seeds(3, quick=1))
def test_after_days_with_long_faults_all_users_are_in_sync_and_nothing_old_is_kept(seed: int) -> None:
    outcome = simulate(seed + 1, DAYS)
    assert not outcome.violations, report_of(outcome)


@pytest.mark.explore
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", HISTORY)
def test_a_fault_of_the_past_is_found_when_it_is_put_back(fault: str) -> None:
    """By one of these seeds: which one it is changes with every change of the product."""
    assert any(simulate(seed, SHORT, HISTORY[fault]).violations for seed in SEEDS)
