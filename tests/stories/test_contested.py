"""Another writer changes a field back after each of our writes: after three times within a day it is held, and says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from tests.cli.harness import US
from tests.stories.harness import StoryHarness

START = "2026-11-23T09:00:00Z"


@pytest.fixture
def one(story: StoryHarness) -> StoryHarness:
    story.user("ada", first_name="Ada", last_name="King")
    story.apply()
    return story


def edited(story: StoryHarness, **values: Any) -> None:
    story.staff("edit", id=story.theirs("ada").id, **values)


def fought(story: StoryHarness, times: int, *, bulk: str = "never", **values: Any) -> None:
    """So often somebody writes these values over ours, and we heal that."""
    for _ in range(times):
        edited(story, **values)
        story.apply("--bulk", bulk)


def contested(story: StoryHarness) -> list[dict[str, Any]]:
    return [h for h in story.plan()["holds"] if h["reason"] == "Contested"]


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_the_third_change_back_within_a_day_is_held_and_the_rest_is_written(one: StoryHarness, bulk: str) -> None:
    one.store["metafields"] = {"clerk.locale": {"from": "locale", "type": "single_line_text_field"}}
    one.user("ada", locale="en")
    fought(one, 1, bulk=bulk, first_name="Imported")  # two writes in bulk, and one change back
    assert not contested(one)
    fought(one, 1, bulk=bulk, first_name="Imported")
    assert one.theirs("ada").first_name == "Ada"
    edited(one, first_name="Imported")
    one.user("ada", last_name="Byron")
    one.apply()
    assert (one.theirs("ada").first_name, one.theirs("ada").last_name) == ("Imported", "Byron")
    (held,) = contested(one)
    assert (held["field"], held["who_acts"]) == ("first_name", "operator")
    assert held["message"].count("'Imported' at ") == 3
    assert "another policy" not in held["message"], "the next step says it"
    assert held["action"]["changes"][0]["after"] == "Ada"
    assert one.mappings()["ada"]["status"] == "held"
    assert one("drift").code == 3
    one.settles(held={("ada", "Contested")})


def test_two_installations_do_not_write_by_turns_for_ever(one: StoryHarness) -> None:
    ours = one.settings["state"]["url"]
    theirs = ours.replace("state.db", "other.db")
    before = one.mutations
    for turn in range(12):
        one.settings["state"]["url"] = theirs if turn % 2 else ours
        one.user("ada", first_name="Adah" if turn % 2 else "Ada", updated_at=one.now())
        one("apply", "--yes")
    assert one.mutations - before <= 8
    seen = set()
    for state, name in ((theirs, "Adah"), (ours, "Ada")):
        one.settings["state"]["url"] = state
        one.user("ada", first_name=name)
        seen |= {h["reason"] for h in one.plan()["holds"]}
    assert seen == {"Contested"}


def test_a_whole_tag_list_that_a_claim_import_replaces_is_contested_too(one: StoryHarness) -> None:
    for _ in range(2):
        one.staff("untag", id=one.theirs("ada").id, tags=["app-user"])
        one.apply()
    one.staff("untag", id=one.theirs("ada").id, tags=["app-user"])
    one.apply()
    (held,) = contested(one)
    assert held["field"] == "tags"
    assert not one.theirs("ada").tags


@pytest.mark.parametrize("how", ["profile", "policy", "person"])
def test_what_ends_it(one: StoryHarness, how: str) -> None:
    fought(one, 2, first_name="Imported")
    edited(one, first_name="Imported")
    one.apply()
    assert contested(one)
    if how == "profile":
        one.user("ada", first_name="Augusta")
        one.apply()
        assert one.theirs("ada").first_name == "Augusta"
    elif how == "policy":
        one.store["fields"] = {"first_name": "create_only"}
        one.apply()
        assert one.theirs("ada").first_name == "Imported"
    else:
        one.apply("--user", "user_ada")
        assert one.theirs("ada").first_name == "Ada"
    assert not contested(one)
    one.settles()


def test_three_edits_in_a_week_are_staff_at_work(one: StoryHarness) -> None:
    for day in range(4):
        with freeze_time(START, ignore=["reconciler.simulator"]) as clock:
            clock.tick(timedelta(hours=25 * day))
            edited(one, first_name=f"Edit {day}")
            one.apply("--store", US)
        assert one.theirs("ada").first_name == "Ada"


def test_it_stays_held_the_day_after(one: StoryHarness) -> None:
    with freeze_time(START, ignore=["reconciler.simulator"]) as clock:
        fought(one, 2, first_name="Imported")
        edited(one, first_name="Imported")
        one.apply()
        clock.tick(timedelta(hours=30))
        one.apply()
    assert one.theirs("ada").first_name == "Imported"


def test_a_back_link_that_another_app_removes_each_time_is_contested_too(one: StoryHarness) -> None:
    """A cleaner of metafields: each removal was healed, for ever."""
    at = one.theirs("ada").id

    def removed() -> None:
        if one.everybody()[at].backlink:
            one.staff("delete_metafield", id=at, namespace="clerk", key="user_id")

    for _ in range(3):
        removed()
        one.apply()
    (held,) = contested(one)
    assert (held["field"], held["customer_id"]) == ("backlink", at)
    assert held["action"]["changes"][0]["after"] == "user_ada"
    one.user("ada", last_name="Byron")
    one.apply()
    assert one.everybody()[at].last_name == "Byron", "the rest is written"
    one.settles(held={("ada", "Contested")})
    one.apply("--user", "user_ada")
    assert one.theirs("ada").id == at
    one.settles()
