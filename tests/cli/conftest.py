"""Two simulated shops and a table of people for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import CliHarness, cli_harness
from tests.states import state_template


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[CliHarness]:
    """Two shops with nothing set up in them."""
    with cli_harness(tmp_path, capsys) as found:
        yield found


@pytest.fixture
def ready(cli: CliHarness) -> CliHarness:
    """The same with the back-link's definition in both shops, and a state."""
    (cli.folder / "state.db").write_bytes(state_template())
    assert cli("bootstrap", "--yes").code == 0
    return cli
