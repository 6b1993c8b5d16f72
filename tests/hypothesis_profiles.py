"""How hard the random tests search: `quick` in `make test`, the same each time; `explore` in `make explore`, by a new seed.

The seed of an exploration is drawn here, handed to all workers, and printed at the end with the way to repeat it.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, settings

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)

settings.register_profile("quick", derandomize=True, database=None, deadline=None, max_examples=40, print_blob=True,
                          suppress_health_check=SLOW)  # fmt: skip
settings.register_profile("explore", database=None, deadline=None, max_examples=1500, stateful_step_count=40,
                          print_blob=True, suppress_health_check=SLOW)  # fmt: skip
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or "quick"  # noqa: TID251  chosen by the Makefile, before there are settings
settings.load_profile(PROFILE)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed before Hypothesis looks for one, and before workers are given their options."""
    if PROFILE != "quick" and config.getoption("hypothesis_seed") is None:
        config.option.hypothesis_seed = random.SystemRandom().randrange(2**32)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    seed = config.getoption("hypothesis_seed")
    if seed is not None:
        terminalreporter.write_line(f"random tests: HYPOTHESIS_PROFILE={PROFILE} pytest --hypothesis-seed={seed}")
