from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manager.harness import EU, US, RunHarness, run_harness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[RunHarness]:
    """One shop, a table of people, both files."""
    with run_harness(tmp_path) as found:
        yield found


@pytest.fixture
def two_shops(tmp_path: Path) -> Iterator[RunHarness]:
    with run_harness(tmp_path, US, EU) as found:
        yield found
