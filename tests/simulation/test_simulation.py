"""Two seeds in every run of the suite; `python -m tests.simulation` continues with others."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import report_of
from tests.simulation.history import HISTORY
from tests.simulation.simulation import SHORT, simulate


def test_after_a_storm_of_three_replicas_all_users_are_in_sync_and_nothing_is_sent_any_more() -> None:
    outcome = simulate(2, SHORT)
    assert not outcome.violations, report_of(outcome)


def test_a_seed_gives_the_same_interleaving_each_time() -> None:
    one, other = (simulate(1, SHORT) for _ in range(2))
    assert (one.digest, one.points, one.injected) == (other.digest, other.points, other.injected)
    assert not one.violations, report_of(one)


@pytest.mark.explore
@pytest.mark.parametrize("fault", HISTORY)
def test_a_fault_of_the_past_is_found_when_it_is_put_back(fault: str) -> None:
    """By the first seed from 0 on that finds it."""
    known = HISTORY[fault]
    assert simulate(known.found_by, SHORT, known.variant).violations
