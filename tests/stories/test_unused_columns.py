"""Columns and keys of the metadata that no store uses: they may differ in each read, as the time of the last visit does."""

from __future__ import annotations

import pytest

from tests.stories.harness import AMPLE, COLUMNS, StoryHarness

VISITS = "json_object('brand', 'acme', 'visits', abs(random()))"


@pytest.fixture
def visited(story: StoryHarness) -> StoryHarness:
    """The profiles are a view in which the metadata and the picture differ in each read."""
    others = ", ".join(column for column in COLUMNS if column not in {"metadata", "image_url"})
    picture = "'https://img.example.com/' || abs(random())"
    story.store["where"] = {"metadata.brand": "acme"}
    story.user("ada")
    story.user("bob")
    story.sql("alter table customers rename to people")
    story.sql(f"create view customers as select {others}, {VISITS} as metadata, {picture} as image_url from people")
    return story


def rename(story: StoryHarness, user: str, name: str) -> None:
    story.sql("update people set first_name = ? where clerk_user_id = ?", name, f"user_{user}")


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_what_no_store_uses_stops_no_action(visited: StoryHarness, bulk: str) -> None:
    visited.apply("--bulk", bulk)
    assert {c.first_name for c in visited.everybody().values()} == {"Ada", "Bob"}
    rename(visited, "ada", "Grace")
    visited.apply("--bulk", bulk)
    assert visited.theirs("ada").first_name == "Grace"
    visited.settles()


def test_what_no_store_uses_changes_neither_a_saved_plan_nor_its_digest(visited: StoryHarness) -> None:
    visited.store["guards"] = {**AMPLE, "create": {"max": 1}}
    plan = visited("plan", "--output", "json").json
    assert visited("plan", "--output", "json").json["digest"] == plan["digest"]
    visited.apply("--approve", plan["digest"])
    rename(visited, "ada", "Grace")
    file = str(visited.folder / "plan.json")
    assert visited("plan", "--out", file).code == 0
    assert visited("apply", file, "--yes").code == 0
    assert visited.theirs("ada").first_name == "Grace"
    visited.settles()


def test_a_customer_that_undo_has_deleted_stays_away_whatever_else_changes_in_the_row(visited: StoryHarness) -> None:
    visited.apply()
    assert visited("undo", "--run", "1", "--yes").code == 0
    assert visited.everybody() == {}
    visited.settles(held={("ada", "Undone"), ("bob", "Undone")})
    rename(visited, "ada", "Grace")
    assert visited.actions() == {"ada": "create"}
