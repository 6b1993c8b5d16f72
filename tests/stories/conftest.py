"""A fresh harness for each story, on one server for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import World
from reconciler.state.database.engine import open_engine
from reconciler.state.schema import ensure_schema
from tests.cli.harness import EU, US
from tests.stories.harness import StoryHarness, open_shop, story_harness


@pytest.fixture(scope="session")
def stage() -> Iterator[SimulatorServer]:
    """A server with a port for each of two shops, which are reset for every story."""
    world = World()
    for name in (US, EU):
        open_shop(world, name)
    with SimulatorServer(world) as server:
        yield server


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state's file at the newest schema: each story begins with a copy."""
    path = tmp_path_factory.mktemp("state") / "empty.db"
    engine = open_engine(f"sqlite:///{path}")
    ensure_schema(engine)
    engine.dispose()
    return path


@pytest.fixture
def story(
    stage: SimulatorServer,
    empty_state: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[StoryHarness]:
    """One shop, its back-link's definition, no customers, an empty table of profiles."""
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)  # all is on loopback: reading the machine's certificates takes long
    with story_harness(tmp_path, stage, empty_state, capsys) as found:
        yield found
