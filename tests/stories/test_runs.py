"""Each command that changes something is one run in the state, and its events point to it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reconciler.core.model.act import Actor
from reconciler.core.model.run import Run, RunCounts
from reconciler.state.database.engine import open_engine
from tests.clock import WallClock
from tests.state_store import StateStore
from tests.stories.harness import StoryHarness
from tests.stories.test_killed import killed_at


@contextmanager
def state_of(story: StoryHarness) -> Iterator[StateStore]:
    engine = open_engine(story.settings["state"]["url"])
    yield StateStore(engine)
    engine.dispose()


def runs(story: StoryHarness) -> list[Run]:
    """All runs, oldest first."""
    with state_of(story) as state:
        return state.runs(now=WallClock().now(), limit=100)[::-1]


def test_an_apply_and_its_undo_are_runs_that_their_events_point_to(story: StoryHarness) -> None:
    me = Actor(pwd.getpwuid(os.getuid()).pw_name, "command")
    story.user("ada")
    story.user("bob", email=None)
    story.apply()
    story.user("ada", first_name="Grace")
    digest = story.apply()["digest"]
    assert story("undo", "--plan", digest, "--yes").code == 0
    created, updated, undone = runs(story)
    assert [run.kind for run in (created, updated, undone)] == ["apply", "apply", "undo"]
    assert {run.actor for run in (created, updated, undone)} == {me}
    assert created.counts == RunCounts(actions={"create": 1}, holds=1)
    assert updated.counts == RunCounts(actions={"update": 1}, holds=1)
    assert (updated.outcome, updated.plan_digest, updated.stores) == ("done", digest, ("acme-us",))
    assert updated.ended_at is not None
    assert updated.began_at <= updated.ended_at
    events = story("explain", "user_ada", "--output", "json").json["stores"][0]["events"]
    assert [event["run_id"] for event in events] == [created.id, updated.id, undone.id]


def test_a_run_with_an_action_that_failed_says_so(story: StoryHarness) -> None:
    story.user("ada")
    story.shop().faults.add("status", status=500, on="customerSet", times=None)
    story.apply(code=1)
    story.shop().faults.clear()
    (run,) = runs(story)
    assert (run.outcome, run.counts.actions, run.counts.failures) == ("failed", {}, 1)


def test_a_plan_alone_is_no_run_and_a_backfill_is_one(story: StoryHarness) -> None:
    story.user("ada")
    story.apply()
    before = len(runs(story))
    story("plan")
    assert len(runs(story)) == before
    assert story("backfill", "shopify").code == 0
    found = runs(story)[-1]
    assert (found.kind, found.outcome, found.counts.users) == ("backfill_shopify", "done", 1)


@pytest.mark.slow
def test_a_killed_apply_is_shown_as_interrupted(story: StoryHarness) -> None:
    for name in ("ada", "bob"):
        story.user(name)
    assert killed_at(story, 2, "lost_after")
    (run,) = runs(story)
    assert (run.outcome, run.ended_at, run.counts) == ("interrupted", None, RunCounts())
    story.apply()
    assert [run.outcome for run in runs(story)] == ["interrupted", "done"]
    story.settles()
