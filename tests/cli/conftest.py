"""A town for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.town import Town, a_town


@pytest.fixture
def town(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Town]:
    """Two shops with nothing set up in them."""
    with a_town(tmp_path, capsys) as found:
        yield found


@pytest.fixture
def ready(town: Town) -> Town:
    """The same with the back-link's definition in both shops."""
    assert town("bootstrap", "--yes").code == 0
    return town
