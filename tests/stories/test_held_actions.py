"""A hold that withholds an action shows it: what would change, before, after and why, in every output."""

from __future__ import annotations

import re
from typing import Any

import pytest

from reconciler.cli.render.redaction import Redaction
from tests.stories.harness import StoryHarness, mail

NAMES = ("ada", "bob", "cyd", "dee")
OUTPUTS = ("text", "markdown", "html")


@pytest.fixture
def four(story: StoryHarness) -> StoryHarness:
    for name in NAMES:
        story.user(name, last_name="King")
    story.apply()
    return story


def withheld(plan: Any) -> dict[str, list[dict[str, Any]]]:
    """The changes that each user's holds withhold."""
    found: dict[str, list[dict[str, Any]]] = {}
    for hold in plan["holds"]:
        assert hold["action"] is not None, hold
        assert hold["action"]["clerk_user_id"] == hold["clerk_user_id"]
        found.setdefault(hold["clerk_user_id"].removeprefix("user_"), []).extend(hold["action"]["changes"])
    return found


def guard(store: dict[str, Any]) -> None:
    store["guards"] = {"update": {"max": 1}}


def pause(store: dict[str, Any]) -> None:
    store["paused"] = True


def hold_roll_out(store: dict[str, Any]) -> None:
    store["roll_out"] = "hold"


@pytest.mark.parametrize("withhold", [guard, pause, hold_roll_out], ids=lambda f: f.__name__)
def test_a_tag_that_one_line_of_config_adds_is_shown_whatever_withholds_it(four: StoryHarness, withhold: Any) -> None:
    withhold(four.store)
    four.store["tags"] = ["app-user", "club"]
    plan = four.plan()
    assert plan["actions"] == []
    expected = {"field": "tags", "before": ["app-user"], "after": ["app-user", "club"], "why": "config changed"}
    assert withheld(plan) == {name: [expected] for name in NAMES}
    for output in OUTPUTS:
        said = four("plan", "--output", output)
        assert "club" in said.out, output
        assert "config changed" in said.out, output
        assert "4 alike" in said.out, output
    four.settles(held={(hold["clerk_user_id"].removeprefix("user_"), hold["reason"]) for hold in plan["holds"]})


def test_drift_that_is_held_shows_what_staff_wrote_and_what_it_would_become(four: StoryHarness) -> None:
    four.store["heal_drift"] = "hold"
    four.staff("edit", id=four.theirs("ada").id, first_name="Edited")
    plan = four.plan()
    changes = [{"field": "first_name", "before": "Edited", "after": "Ada", "why": "drift"}]
    assert withheld(plan) == {"ada": changes}
    assert plan["holds"][0]["action"]["email"] == mail("ada")
    assert plan["holds"][0]["action"]["name"] == "Edited King"
    for output in OUTPUTS:
        assert "Edited" in four("plan", "--output", output).out


def test_a_release_and_a_create_that_are_withheld_are_shown_whole(four: StoryHarness) -> None:
    four.store["paused"] = True
    four.gone("ada")
    four.user("eve", last_name="Poole")
    actions = {h["clerk_user_id"]: h["action"] for h in four.plan()["holds"]}
    assert (actions["user_ada"]["kind"], actions["user_ada"]["email"]) == ("release", mail("ada"))
    assert {c["field"]: c["after"] for c in actions["user_eve"]["changes"]}["last_name"] == "Poole"
    said = four("plan", "--all")
    assert "Poole" in said.out
    assert mail("ada") in said.out


def test_the_accepted_removal_of_a_tag_lasts_when_stores_yaml_has_a_new_list_of_tags(four: StoryHarness) -> None:
    four.staff("untag", id=four.theirs("dee").id, tags=["app-user"])
    assert four("accept", "user_dee", "--until", "2999-12-31", "--yes").code == 0
    four.store["tags"] = ["app-user", "club"]
    four.apply()
    assert four.theirs("dee").tags == ("club",)
    assert four.theirs("ada").tags == ("app-user", "club")
    assert "drift is accepted until 2999-12-31 23:59 UTC" in " ".join(four("explain", "user_dee").out.split())
    four.settles()


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_redacted_plan_shows_each_change_and_nothing_personal(four: StoryHarness, output: str) -> None:
    four.user("ada", first_name="Adalberta", last_name="Quinceworth", phone="+16134520000")
    four.user("eve", first_name="Adalberta", last_name="Poole")
    four.user("fay", first_name="Fayette", email=mail("bob"))
    four.staff("edit", id=four.theirs("cyd").id, first_name="Mistyped")
    four.staff("edit", id=four.theirs("dee").id, last_name="Unaccustomed")
    assert four("accept", "user_dee", "--until", "2999-12-31", "--field", "last_name", "--yes").code == 0
    four.store["heal_drift"] = "hold"
    four.store["tags"] = ["app-user", "club"]
    four.store["metafields"] = {"app.city": {"from": "first_name"}}
    said = four("plan", "--output", output, "--redact", "--all" if output == "text" else "--brief")
    assert said.code == 0, said.err
    shown = (said.out + said.err).replace("<wbr>", "")
    for personal in ("Adalberta", "Quinceworth", "Poole", "Fayette", "Mistyped", "King", "example.com", "+16134520000",
                     "Unaccustomed"):  # fmt: skip
        assert personal not in shown, personal
    assert re.search(
        r"drift that is accepted for now.*last_name-[0-9a-f]{6}.*by operator-[0-9a-f]{6}", shown, re.DOTALL
    )
    for needed in ("club", "user_ada", "user_eve", "EmailTaken", "DriftHeld", "first_name", "metafields.app.city"):
        assert needed in shown, needed
    names = re.findall(r"first_name-[0-9a-f]{6}", shown)
    assert len(names) > len(set(names))  # the two Adalbertas are one stand-in
    assert four("plan", "--output", "json", "--redact").code == 64


def test_a_message_that_quotes_a_value_is_redacted_as_well() -> None:
    redaction = Redaction(b"key")
    assert redaction.text("taken by ada@x.example (+1 613 452 0000)") == redaction.text(
        "taken by ADA@x.example (+1 613 452 0000)"
    )
    assert "x.example" not in redaction.text("the email <ada@x.example>, or 'bob@x.example'.")
    assert redaction.text("since 2026-11-30 09:00, gid://shopify/Customer/7001") == (
        "since 2026-11-30 09:00, gid://shopify/Customer/7001"
    )
