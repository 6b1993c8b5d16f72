"""How much CPU a run took, and which tests took most: time by the clock depends on what else runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

SHOWN = 10
SHOWN_MIN_S = 0.5
BEGAN = pytest.StashKey[float]()
COST = "cpu_s"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[BEGAN] = time.process_time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield
    item.user_properties.append((COST, time.process_time() - item.stash[BEGAN]))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say it at the end: of the tests without, of the whole run with the servers and processes that it started."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not isinstance(reporter, pytest.TerminalReporter):  # a worker
        return
    ended = [report for report in reporter.stats.get("", ()) if report.when == "teardown"]
    if len(ended) < SHOWN:
        return
    costs = sorted(((value, each.nodeid) for each in ended for name, value in each.user_properties if name == COST))
    for cost_s, test in costs[: -SHOWN - 1 : -1]:
        if cost_s >= SHOWN_MIN_S:
            reporter.write_line(f"{cost_s:5.1f} s of CPU  {test}")
    reporter.write_line(f"{len(ended)} tests took {sum(os.times()[:4]):.0f} s of CPU")
