"""A shop that turns hostile, through the command line: its error in its place, the other shop served, JSON on stdout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.simulator.hostile import Hostile, HostileKind
from tests.cli.harness import EU, US
from tests.stories.harness import StoryHarness, mail

LOUD: tuple[HostileKind, ...] = ("nan", "endless", "headers", "packed", "deep", "bomb")
"""Kinds of which no reply can be read."""


@pytest.fixture
def two(story: StoryHarness) -> Iterator[StoryHarness]:
    story.second_shop()
    for name in ("ada", "bob", "cleo"):
        story.user(name)
    story.apply()
    story.user("ada", last_name="King")
    story.user("dora")
    yield story
    story.shop(US).hostile = None


def parts(said: Any) -> tuple[Any, Any]:
    stores = {s["store"]: s for s in said["stores"]}
    return stores[EU], stores[US]


@pytest.mark.parametrize("kind", LOUD)
def test_a_shop_without_valid_replies_is_reported_and_the_other_is_served(two: StoryHarness, kind: HostileKind) -> None:
    two.shop(US).hostile = Hostile(kind, megabytes=32)
    plan = two("plan", "--output", "json")
    assert plan.code == 1
    other, hostile = parts(plan.json)
    assert hostile["error"]
    assert (other["error"], {a["kind"] for a in other["actions"]}) == (None, {"create", "update"})
    assert two("drift", "--output", "json").code == 1
    assert two("explain", "user_ada", "--output", "json").json["stores"]
    assert two("doctor").code == 1
    assert two("bootstrap", "--yes", "--store", US).code == 1
    assert two("backfill", "shopify", "--store", US).code == 1
    other, hostile = parts(two.apply(code=1))
    assert (other["applied"], other["error"]) == ({"create": 1, "update": 1}, None)
    assert hostile["error"]
    assert two.theirs("dora", EU).email == mail("dora")
    two.shop(US).hostile = None
    two.apply()
    two.settles()


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["shape", "text", "numbers", "twice"])
def test_a_shop_with_odd_replies_never_hurts_another(two: StoryHarness, kind: HostileKind, seed: int) -> None:
    two.shop(US).hostile = Hostile(kind, seed)
    for words in (["plan", "--output", "json"], ["drift", "--output", "json"]):
        said = two(*words)
        assert "Traceback" not in said.err
        other, _ = parts(said.json)
        assert other["error"] is None
    other, _ = parts(two("apply", "--yes", "--output", "json").json)
    assert (other["applied"], other["error"]) == ({"create": 1, "update": 1}, None)
    for words in (["doctor"], ["bootstrap", "--yes"], ["explain", "user_ada"], ["backfill", "shopify"]):
        said = two(*words)
        assert said.code in {0, 1}
        assert "Traceback" not in said.err
    assert two.theirs("dora", EU).email == mail("dora")


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["urls", "shape", "bomb"])
@pytest.mark.slow
def test_files_that_are_spoilt_never_hurt_another(two: StoryHarness, kind: HostileKind, seed: int) -> None:
    two.shop(US).hostile = Hostile(kind, seed, megabytes=32, only=None if kind == "urls" else "bulkResult")
    for words in (["backfill", "shopify"], ["apply", "--yes", "--bulk", "always", "--output", "json"]):
        said = two(*words)
        assert said.code in {0, 1}
        assert "Traceback" not in said.err
    assert two.theirs("dora", EU).email == mail("dora")
    two.shop(US).hostile = None
    two.apply()
    two.settles()
