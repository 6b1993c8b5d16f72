"""A customer holds text that no database can store: that field of that user is held, and everybody else is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests import servers
from tests.stories.harness import StoryHarness

MOTTO = "app.motto"
ODD = ["a\0b", "half a \ud83d"]


@pytest.fixture(params=["sqlite", "postgres"])
def story_kept_in(request: pytest.FixtureRequest, story: StoryHarness) -> StoryHarness:
    if request.param == "postgres":
        server: servers.Server = request.getfixturevalue("postgres")
        database: Callable[..., str] = request.getfixturevalue("postgres_database")
        story.settings["state"] = {"url": server.url(database(migrated=True))}
    story.store.update(fields={"note": "enforce", "last_name": "enforce"}, tags=["app-user"])
    story.store["metafields"] = {MOTTO: {"from": "image_url", "type": "single_line_text_field"}}
    for name in ("ada", "bob"):
        story.user(name, last_name="Old", note="ours", image_url=f"https://img.example.com/{name}.png")
    story.apply()
    return story


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("field", ["note", "last_name", "tags", f"metafields.{MOTTO}"])
def test_only_the_user_of_the_customer_that_holds_it_is_held(story_kept_in: StoryHarness, field: str, odd: str) -> None:
    story = story_kept_in
    ada = story.theirs("ada")
    mend: tuple[str, dict[str, Any]] = ("edit", {field: "ours" if field == "note" else "Old"})
    if field == "tags":
        story.staff("tag", id=ada.id, tags=[odd])
        mend = ("untag", {"tags": [odd]})
    elif field.startswith("metafields."):
        namespace, key = field.split(".")[1:]
        story.staff("set_metafield", id=ada.id, namespace=namespace, key=key, value=odd)
        mend = ("delete_metafield", {"namespace": namespace, "key": key})
    else:
        story.staff("edit", id=ada.id, **{field: odd})
    story.user("bob", first_name="Robert")
    assert story("backfill", "shopify").code == 0
    plan = story.plan()
    assert [(a["clerk_user_id"], a["kind"]) for a in plan["actions"]] == [("user_bob", "update")]
    assert [(h["clerk_user_id"], h["reason"]) for h in plan["holds"]] == [("user_ada", "Unreadable")]
    assert field in plan["holds"][0]["message"]
    assert "no database can store" in plan["holds"][0]["message"]
    story.apply()
    assert story.theirs("bob").first_name == "Robert"
    assert story.mappings()["ada"]["reason"] == "Unreadable"
    assert story("explain", "user_ada").code == 0
    assert story("drift").code == 1
    story.staff(mend[0], id=ada.id, **mend[1])
    story.apply()
    story.settles()
    assert story.mappings()["ada"]["status"] == "in_sync"


@pytest.mark.parametrize("odd", ODD)
def test_what_we_do_not_manage_holds_up_nothing(story_kept_in: StoryHarness, odd: str) -> None:
    story = story_kept_in
    story.store["fields"] = {"note": "ignore", "last_name": "enforce"}
    story.apply()
    story.staff("edit", id=story.theirs("ada").id, note=odd)
    story.user("ada", first_name="Adah")
    assert story("backfill", "shopify").code == 0
    story.apply()
    assert story.theirs("ada").first_name == "Adah"
    story.settles()
