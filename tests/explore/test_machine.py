"""The stateful machine: a short walk in every run of the suite, long ones in `make explore`."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.explore.machine import Parity


@pytest.mark.timeout(900)  # a failure is made small before it is shown
@pytest.mark.slow
def test_whatever_happens_every_user_ends_on_one_equal_customer() -> None:
    run_state_machine_as_test(Parity, settings=settings(max_examples=12, stateful_step_count=20))


@pytest.mark.explore
@pytest.mark.timeout(3600)
def test_whatever_happens_for_long_every_user_ends_on_one_equal_customer() -> None:
    run_state_machine_as_test(Parity, settings=settings(max_examples=4000, stateful_step_count=40))
