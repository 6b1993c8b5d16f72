"""A pause in the state: it holds like one of stores.yaml, and says who set it."""

from __future__ import annotations

import os
import pwd

from reconciler.core.model.act import Actor
from reconciler.state.database.engine import open_engine
from tests.cli.harness import US
from tests.state_store import StateStore
from tests.stories.harness import StoryHarness

ALL = {("ada", "StorePaused"), ("bob", "StorePaused")}


def two_changed(story: StoryHarness) -> str:
    """Two users in sync, then changed in the table; gives the name of the user who runs commands."""
    for name in ("ada", "bob"):
        story.user(name)
    story.apply()
    for name in ("ada", "bob"):
        story.user(name, first_name="New")
    return pwd.getpwuid(os.getuid()).pw_name


def test_a_store_paused_in_the_state_is_held_until_it_is_resumed(story: StoryHarness) -> None:
    me = two_changed(story)
    assert story("pause", US).code == 0
    before = story.everybody()
    assert story.held() == ALL
    (store,) = story("plan", "--output", "json").json["stores"]
    assert [hold["action"]["changes"][0]["after"] for hold in store["holds"]] == ["New", "New"]
    for hold in store["holds"]:
        assert hold["message"].startswith(f"update is held: the store is paused by {me} since 2")
        assert hold["message"].endswith(" UTC (command)")
    story.apply()
    assert story.everybody() == before
    assert story("drift").code == 2  # what is paused is intent all the same
    story.settles(held=ALL)
    assert story("resume", US).code == 0
    story.apply()
    assert story.theirs("ada").first_name == "New"
    story.settles()


def test_status_and_explain_say_who_paused_a_store(story: StoryHarness) -> None:
    me = two_changed(story)
    story.second_shop()
    story("pause", US)
    said = story("status", "--output", "json").json
    paused = {store["store"]: (store["paused"], store["paused_by"], store["paused_since"]) for store in said["stores"]}
    assert paused["acme-eu"] == (None, None, None)
    words, by, since = paused[US]
    assert (by, since[:2]) == (me, "20")
    assert words.startswith(f"paused by {me} since 2")
    assert f"paused by {me} since 2" in " ".join(story("status").out.split())
    assert f"held: update is held: the store is paused by {me}" in " ".join(story("explain", "user_ada").out.split())
    story.stores[US]["paused"] = True
    story("resume", US)
    (store, _) = sorted(story("status", "--output", "json").json["stores"], key=lambda s: s["store"] != US)
    assert (store["paused"], store["paused_by"], store["paused_since"]) == ("paused in stores.yaml", None, None)


def test_a_second_pause_keeps_the_first_and_a_resume_says_what_stays(story: StoryHarness) -> None:
    two_changed(story)
    assert "to end it: reconciler resume acme-us" in story("pause", US).err
    again = story("pause", US)
    assert (again.code, "is already paused by" in again.err) == (0, True)
    story.store["paused"] = True
    resumed = story("resume", US)
    assert resumed.code == 1
    assert "still paused in stores.yaml: acme-us" in resumed.err
    story.store["paused"] = False
    nothing = story("resume", US)
    assert (nothing.code, "has no pause to end" in nothing.err) == (0, True)
    assert story("pause", "nowhere").code == 64


def test_acts_of_commands_are_recorded_with_the_user_who_ran_them(story: StoryHarness) -> None:
    me = two_changed(story)
    for words in (("pause", US), ("resume", US), ("nudge", "user_ada"), ("mappings", "forget", "user_bob", "--yes")):
        assert story(*words).code == 0
    engine = open_engine(story.settings["state"]["url"])
    acts = StateStore(engine).acts(limit=10)
    engine.dispose()
    assert {act.actor for act in acts} == {Actor(me, "command")}
    assert [(act.kind, act.store, act.user) for act in reversed(acts)] == [
        ("pause", US, None), ("resume", US, None), ("nudge", None, "user_ada"), ("forget", US, "user_bob"),
    ]  # fmt: skip


def test_a_saved_plan_is_refused_once_the_store_is_paused(story: StoryHarness) -> None:
    two_changed(story)
    file = str(story.folder / "saved.plan")
    assert story("plan", "--out", file).code == 0
    story("pause", US)
    before = story.everybody()
    refused = story("apply", file, "--yes")
    assert refused.code == 1
    assert "the config of acme-us has changed" in refused.err
    assert story.everybody() == before
