"""The shop refuses what is asked for one user: that user is held, and everybody else is planned and applied."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.simulator.faults import FaultKind
from reconciler.simulator.world import ALL_SCOPES
from tests.cli.harness import US
from tests.stories.consent import MID, RULE, WRITE, answers, consents
from tests.stories.harness import StoryHarness, mail

GUEST = "ada.new@village.example.com"
NEVER = None


@pytest.fixture
def merging(story: StoryHarness) -> StoryHarness:
    """Ada has a customer, and their new email is a guest's; Bob is new."""
    story.store["on_email_conflict"] = "merge"
    story.user("ada")
    story.apply()
    story.staff("create", email=GUEST)
    story.user("ada", email=GUEST)
    story.user("bob")
    return story


def check_bob_alone_is_served(story: StoryHarness, *, user: str, reason: str, said: str) -> None:
    plan = story.plan()
    assert plan["error"] is None
    assert {a["clerk_user_id"]: a["kind"] for a in plan["actions"]} == {"user_bob": "create"}
    (hold,) = plan["holds"]
    assert (hold["clerk_user_id"], hold["reason"]) == (user, reason)
    assert said in hold["message"]
    (result,) = story.apply()["stores"]
    assert (result["applied"], result["error"]) == ({"create": 1}, None)
    assert story.theirs("bob").email == mail("bob")
    assert story.mappings()[user.removeprefix("user_")]["status"] == "held"


@pytest.mark.parametrize(
    ("kind", "status"),
    [("status", 400), ("status", 403), ("status", 404), ("status", 422), ("status", 402), ("missing_scope", None)],
)
def test_a_merge_preview_that_is_refused_holds_that_user_alone(
    merging: StoryHarness, kind: FaultKind, status: int | None
) -> None:
    merging.shop().faults.add(kind, on="customerMergePreview", status=status, times=NEVER)
    check_bob_alone_is_served(merging, user="user_ada", reason="EmailConflict", said="customerMergePreview")
    merging.shop().faults.clear()
    assert merging.actions() == {"ada": "merge"}
    merging.apply()
    merging.settles()


def test_without_the_scope_for_merges_everybody_else_is_served(merging: StoryHarness) -> None:
    merging.shop().shop.scopes = set(ALL_SCOPES) - {"read_customer_merge", "write_customer_merge"}
    check_bob_alone_is_served(merging, user="user_ada", reason="EmailConflict", said="read_customer_merge")


@pytest.mark.parametrize(("kind", "status"), [("status", 400), ("status", 403), ("missing_scope", None)])
def test_a_merge_that_is_refused_is_that_users_failure_alone(
    merging: StoryHarness, kind: FaultKind, status: int | None
) -> None:
    merging.shop().faults.add(kind, on="customerMerge", status=status, times=NEVER)
    (result,) = merging.apply(code=1)["stores"]
    assert (result["applied"], result["error"]) == ({"create": 1}, None)
    assert merging.theirs("bob").email == mail("bob")


@pytest.mark.parametrize(("kind", "status"), [("status", 403), ("missing_scope", None)])
def test_an_erasure_that_is_refused_is_that_users_failure_alone(
    story: StoryHarness, kind: FaultKind, status: int | None
) -> None:
    story.store["on_leave"] = "erase"
    story.user("ada")
    story.apply()
    story.user("ada", deleted_at=story.now())
    story.user("bob")
    story.shop().faults.add(kind, on="customerRequestDataErasure", status=status, times=NEVER)
    (result,) = story.apply(code=1)["stores"]
    assert (result["applied"], result["error"]) == ({"create": 1}, None)


@pytest.mark.parametrize(("kind", "status"), [("status", 403), ("missing_scope", None)])
def test_a_consent_that_is_refused_is_that_users_failure_alone(
    story: StoryHarness, kind: FaultKind, status: int | None
) -> None:
    story.store["consent"] = {"email": RULE}
    answers(story, "ada", yes=True, at=MID)
    story.apply()
    answers(story, "ada", yes=False, at=story.now())
    story.shop().faults.add(kind, on=WRITE, status=status, times=NEVER)
    for name in ("bob", "cleo"):
        story.user(name)
    (result,) = story.apply(code=1)["stores"]
    assert (result["applied"], result["error"]) == ({"create": 2}, None)
    assert [failed["clerk_user_id"] for failed in result["failed"]] == ["user_ada"]
    story.shop().faults.clear()
    story.apply()
    assert consents(story)["ada"][0] == "UNSUBSCRIBED"
    story.settles()


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_read_that_is_refused_for_one_of_many_holds_that_one(story: StoryHarness, status: int) -> None:
    for name in ("ada", "cleo", "dora", "eve"):
        story.user(name)
    story.apply()
    story.user("bob")
    odd = story.theirs("cleo").id

    def asks_for_cleo(variables: dict[str, Any]) -> bool:
        return odd in variables.get("ids", ()) or "user_cleo" in str(variables)

    story.shop().faults.add("status", status=status, when=asks_for_cleo, times=NEVER)
    story.user("cleo", last_name="King")
    check_bob_alone_is_served(story, user="user_cleo", reason="Unreadable", said=f"HTTP {status}")
    story.shop().faults.clear()
    assert story.actions() == {"cleo": "update"}
    story.apply()
    story.settles()


@pytest.mark.parametrize("status", [400, 403, 422])
def test_a_shop_that_refuses_everybody_is_an_error_of_the_store(story: StoryHarness, status: int) -> None:
    for n in range(20):
        story.user(f"user{n}")
    story.shop().faults.add("status", status=status, times=NEVER)
    plan = story.plan(code=1)
    assert f"HTTP {status}" in plan["error"]
    assert (plan["actions"], plan["holds"]) == ([], [])
    assert len(story.shop(US).calls) < 40
