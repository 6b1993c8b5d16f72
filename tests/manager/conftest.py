from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manager.street import EU, US, Street, a_street


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """One shop, a table of people, both files."""
    with a_street(tmp_path) as found:
        yield found


@pytest.fixture
def two_shops(tmp_path: Path) -> Iterator[Street]:
    with a_street(tmp_path, US, EU) as found:
        yield found
