"""A fresh harness for each story, on one server for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.simulator.server import SimulatorServer
from reconciler.simulator.world import World
from tests.cli.harness import EU, US
from tests.stories.consent import RULE
from tests.stories.harness import AMPLE, StoryHarness, open_shop, story_harness


@pytest.fixture(scope="session")
def stage() -> Iterator[SimulatorServer]:
    """A server with a port for each of two shops, which are reset for every story."""
    world = World()
    for name in (US, EU):
        open_shop(world, name)
    with SimulatorServer(world) as server:
        yield server


@pytest.fixture
def story(
    stage: SimulatorServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[StoryHarness]:
    """One shop, its back-link's definition, no customers, an empty table of profiles."""
    with story_harness(tmp_path, stage, capsys) as found:
        yield found


@pytest.fixture
def news(story: StoryHarness) -> StoryHarness:
    """The same, with marketing consent by email and by text message, and withdrawals."""
    story.store["consent"] = {"email": RULE, "sms": RULE}
    story.store["guards"] = {**AMPLE, "adopt": {"max": 50}}
    return story
