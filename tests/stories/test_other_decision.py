"""The world moves between the plan and the write: a step of another kind, which no plan has shown, is not done instead."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.harness import US
from tests.stories.harness import StoryHarness, mail

NEW = "new@village.example.com"


@pytest.fixture
def ada(story: StoryHarness) -> StoryHarness:
    story.user("ada")
    story.apply()
    return story


def guest_comes(story: StoryHarness) -> None:
    """Somebody buys as a guest with the new address, after the user was looked at for the last time."""
    shop = story.shop()
    came: list[Any] = []

    def when(_variables: Any) -> bool:
        if not came:
            came.append(shop.shop.staff_guest_checkout(email=NEW))
        return False

    shop.faults.add("status", status=500, on="customerSet", when=when, times=None)


@pytest.mark.parametrize("policy", ["relink", "merge"])
def test_an_update_does_not_become_a_re_link_or_a_merge_that_no_plan_showed(ada: StoryHarness, policy: str) -> None:
    guards = {"update": {"max": 50}, "relink": {"max": 0}, "merge": {"max": 0}}
    ada.store.update(on_email_conflict=policy, guards=guards)
    at = ada.theirs("ada").id
    ada.user("ada", email=NEW)
    guest_comes(ada)
    said = ada("apply", "--yes", "--output", "json")
    assert said.code == 1
    (failed,) = said.json["stores"][0]["failed"]
    assert failed["result"] == "refused"
    assert policy in failed["message"]
    assert ada.theirs("ada").id == at
    assert ada.theirs("ada").email == mail("ada")
    assert ada.held() == {("ada", "GuardExceeded")}
    plan = ada.plan()
    assert plan["holds"][0]["action"]["kind"] == policy
    assert plan["store"] == US
