"""A new user with the verified email of a user who left gets that customer; no user gets one that is another's history."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from reconciler.controller.execute import ROUNDS
from tests.stories.harness import TRACE, StoryHarness, mail


@pytest.fixture
def four(story: StoryHarness) -> StoryHarness:
    for name in ("ada", "bob", "cyd", "dee"):
        story.user(name, last_name="First")
    story.apply()
    return story


def kinds(story: StoryHarness) -> dict[str, int]:
    return {kind: n for kind, n in story.plan()["summary"].items() if n and kind != "in_sync"}


@pytest.mark.parametrize("on_leave", ["keep", "tag"])
@pytest.mark.parametrize("released_first", [True, False])
@pytest.mark.parametrize("how", ["row", "deleted_at"])
def test_who_deletes_the_account_and_signs_up_again_gets_the_same_customer(
    four: StoryHarness, on_leave: str, *, released_first: bool, how: str
) -> None:
    four.store["on_leave"] = on_leave
    before = four.theirs("ada")
    if how == "row":
        four.gone("ada")
    else:
        four.user("ada", deleted_at=four.now())
    if released_first:
        four.apply()
    four.user("again", email=mail("ada"), first_name="Ada", last_name=None)
    (action,) = four.plan()["actions"]
    assert (action["kind"], action["clerk_user_id"], action["former_user"]) == ("adopt", "user_again", "user_ada")
    assert "of the released user user_ada" in " ".join(four("plan").out.split())
    sent = four.mutations
    four.apply()
    assert four.mutations - sent == action["cost_points"] / 10
    after = four.theirs("again")
    assert (after.id, after.email, after.first_name) == (before.id, mail("ada"), "Ada")
    assert after.last_name is None, "a value that we set for the former user is ours to clear"
    assert after.tags == ("app-user",), "the leave tag was ours to take off"
    row = four.mappings()["ada"]
    assert (row["status"], row["shopify_customer_id"]) == ("released", None)
    four.settles()


def test_who_was_deleted_in_shopify_and_signs_up_again_gets_a_new_customer(four: StoryHarness) -> None:
    four.store["on_leave"] = "delete"
    old = four.theirs("ada").id
    four.gone("ada")
    four.apply()
    four.user("again", email=mail("ada"))
    assert kinds(four) == {"create": 1}
    four.apply()
    assert four.theirs("again").id != old
    four.settles()


@pytest.mark.parametrize("bulk", ["auto", "always"])
@pytest.mark.parametrize("on_leave", ["keep", "tag", "delete", "erase"])
@pytest.mark.slow
def test_a_whole_clerk_instance_moves(story: StoryHarness, on_leave: str, bulk: str) -> None:
    """Forty people, forty new ids, default guards: no release is planned where a customer is adopted."""
    story.store.update(on_leave=on_leave)
    del story.store["guards"]
    for n in range(40):
        story.user(f"{n:02}", last_name=f"Nr {n}")
    story.apply()
    before = {c.email: c.id for c in story.everybody().values()}
    for n in range(40):
        story.gone(f"{n:02}")
        story.user(f"new_{n:02}", email=mail(f"{n:02}"), first_name=f"{n:02}", last_name=f"Nr {n}")
    assert kinds(story) == {"adopt": 40}
    story.apply("--bulk", bulk)
    assert {c.email: c.id for c in story.everybody().values()} == before
    assert {story.theirs(f"new_{n:02}").email for n in range(40)} == set(before)
    rows = story.mappings()
    assert {rows[f"{n:02}"]["status"] for n in range(40)} == {"released"}
    story.settles()


def test_a_move_that_is_above_the_guard_of_adoptions_waits_for_a_person_and_no_user_is_released(
    four: StoryHarness,
) -> None:
    four.store.update(on_leave="delete", guards={"adopt": {"max": 2}})
    before = four.everybody()
    for name in ("ada", "bob", "cyd"):
        four.gone(name)
        four.user(f"{name}2", email=mail(name))
    held = {(f"{name}2", "GuardExceeded") for name in ("ada", "bob", "cyd")}
    assert four.held() == held
    four.apply()
    assert four.everybody() == before
    plan = four("plan", "--output", "json").json
    four.apply("--approve", plan["digest"])
    assert {four.theirs(f"{name}2").email for name in ("ada", "bob", "cyd")} == {mail(n) for n in ("ada", "bob", "cyd")}
    assert len(four.everybody()) == 4
    four.settles()


def test_the_old_id_that_comes_back_later_takes_nothing_back(four: StoryHarness) -> None:
    four.gone("ada")
    four.user("again", email=mail("ada"))
    four.apply()
    at = four.theirs("again").id
    four.user("ada")
    assert four.held() == {("ada", "EmailTaken")}
    four.apply()
    four.settles(held={("ada", "EmailTaken")})
    assert four.theirs("again").id == at
    four.user("ada", email="ada@elsewhere.example.com")
    four.apply()
    assert four.theirs("ada").id != at
    four.settles()


def test_a_sealed_plan_of_adoptions_applies_as_it_was_shown(four: StoryHarness) -> None:
    file = str(four.folder / "plan.json")
    four.gone("ada")
    four.user("again", email=mail("ada"))
    assert four("plan", "--out", file).code == 0
    four.apply(file)
    assert four.theirs("again").email == mail("ada")
    assert four.mappings()["ada"]["status"] == "released"
    four.settles()


def test_an_unverified_e_mail_inherits_nothing(four: StoryHarness) -> None:
    four.gone("ada")
    four.apply()
    four.user("thief", email=mail("ada"), email_verified=0)
    assert ("thief", "EmailUnverified") in four.held()
    four.apply()
    assert four.theirs("ada").email == mail("ada")
    assert len(four.everybody()) == 4


def test_two_claimants_of_one_customer_are_both_held(four: StoryHarness) -> None:
    four.gone("ada")
    for name in ("one", "two"):
        four.user(name, email=mail("ada"))
    four.apply()
    four.settles(held={("one", "EmailTaken"), ("two", "EmailTaken")})
    assert four.mappings()["ada"]["status"] == "released"


def test_the_customer_of_an_erased_user_is_not_taken(four: StoryHarness) -> None:
    four.store["on_leave"] = "erase"
    at = four.theirs("ada").id
    four.gone("ada")
    four.apply()
    assert four.mappings()["ada"]["status"] == "erased"
    four.user("again", email=mail("ada"))
    assert four.held() == {("again", "EmailTaken")}
    four.apply()
    assert four.everybody()[at].backlink == "user_ada"


def test_the_customer_of_a_user_that_our_state_does_not_know_is_not_taken(four: StoryHarness) -> None:
    """Another installation may share the shop."""
    four.gone("ada")
    with closing(sqlite3.connect(four.folder / "state.db")) as state, state:
        state.execute("delete from reconciler_mapping where clerk_user_id = 'user_ada'")
    four.user("again", email=mail("ada"))
    assert four.held() == {("again", "EmailTaken")}


def test_a_user_with_a_customer_moves_to_that_of_a_user_who_left_by_the_policy(four: StoryHarness) -> None:
    at = four.theirs("ada").id
    four.gone("ada")
    four.apply()
    four.user("bob", email=mail("ada"))
    (action,) = four.plan()["actions"]
    assert (action["kind"], action["former_user"], action["customer_id"]) == ("relink", "user_ada", at)
    four.apply()
    assert four.theirs("bob").id == at
    four.settles()


def test_an_adoption_that_is_undone_leaves_the_customer_as_it_was_and_unlinked(four: StoryHarness) -> None:
    before = four.theirs("ada")
    four.gone("ada")
    four.user("again", email=mail("ada"), first_name="Again")
    digest = four.apply()["digest"]
    assert four("undo", "--plan", digest, "--yes").code == 0
    now = four.everybody()[before.id]
    assert (now.backlink, now.first_name, now.email) == (None, "Ada", mail("ada"))
    assert four.held() == {("again", "Undone")}
    four.apply()
    four.settles(held={("again", "Undone")})


@pytest.mark.parametrize("nth", range(4))
def test_an_adoption_that_stops_between_any_two_writes_is_finished(four: StoryHarness, nth: int) -> None:
    four.store["on_leave"] = "tag"
    at = four.theirs("ada").id
    four.gone("ada")
    four.apply()
    four.user("again", email=mail("ada"), first_name="Again")
    lost = four.shop().faults.add(
        "lost_before", on=("metafieldsDelete", "metafieldsSet", "customerSet", "tagsRemove")[nth], times=40
    )
    (store,) = four.apply(code=1)["stores"]
    assert [(one["clerk_user_id"], one["kind"]) for one in store["failed"]] == [("user_again", "adopt")]
    assert lost.hits == ROUNDS
    four.shop().faults.clear()
    four.apply()
    assert (four.theirs("again").id, four.theirs("again").first_name, four.theirs("again").tags) == (
        at,
        "Again",
        ("app-user",),
    )
    four.settles()


# --- a customer that a re-link left behind -------------------------------------------------------------------------


@pytest.fixture
def left(four: StoryHarness) -> str:
    """Ada was re-linked to a guest's customer; gives the one that was left, with its orders."""
    old = four.theirs("ada").id
    four.staff("order", id=old)
    four.staff("guest_checkout", email="guest@example.com")
    four.user("ada", email="guest@example.com")
    four.apply()
    assert four.everybody()[old].metafields == {TRACE: four.theirs("ada").id}
    four.settles()
    return old


@pytest.mark.parametrize("policy", ["relink", "merge", "hold"])
@pytest.mark.parametrize("who", ["bob", "new"])
def test_a_customer_that_a_re_link_left_behind_is_taken_by_no_user(
    four: StoryHarness, left: str, who: str, policy: str
) -> None:
    four.store["on_email_conflict"] = policy
    before = four.everybody()[left]
    at: Any = four.theirs("bob").id
    four.user(who, email=mail("ada"))
    assert four.held() == {(who, "EmailConflict")}
    (hold,) = four.plan()["holds"]
    assert hold["who_acts"] == "operator"
    assert left in hold["message"]
    four.apply()
    assert four.everybody()[left] == before
    assert four.theirs("bob").id == at
    four.settles(held={(who, "EmailConflict")})
    four.staff("edit", id=left, email="else@example.com")  # the operator acts
    four.apply()
    assert four.theirs(who).email == mail("ada")
    four.settles()


@pytest.mark.parametrize("winner", ["new", "left"])
def test_a_customer_that_was_merged_with_the_one_of_a_re_link_is_taken_by_the_next_user(
    story: StoryHarness, winner: str
) -> None:
    story.user("ada")
    story.user("bob")
    story.apply()
    left, new = story.theirs("ada").id, story.staff("create", email=mail("new")).id
    story.user("ada", email=mail("new"))
    story.apply()
    keep, other = (new, left) if winner == "new" else (left, new)
    story.staff("merge", keep=keep, other=other)
    story.apply()
    assert story.theirs("ada").id == keep
    story.gone("ada")
    story.user("cleo", email=mail("new"))
    story.apply()
    assert story.theirs("cleo").id == keep
    story.settles()


def test_the_very_user_who_left_a_customer_may_go_back_to_it(four: StoryHarness, left: str) -> None:
    four.user("ada", email=mail("ada"))
    four.apply()
    assert four.theirs("ada").id == left
    four.settles()


@pytest.mark.parametrize("way", ["fresh", "sealed"])
@pytest.mark.parametrize("on_leave", ["keep", "tag"])
def test_a_user_with_a_customer_takes_the_address_of_a_user_who_leaves_in_the_same_plan(
    four: StoryHarness, on_leave: str, way: str
) -> None:
    four.store["on_leave"] = on_leave
    theirs, old = four.theirs("bob").id, four.theirs("ada").id
    four.gone("bob")
    four.user("ada", email=mail("bob"))
    plan = four.plan()
    assert {a["clerk_user_id"]: a["kind"] for a in plan["actions"]} == {"user_ada": "relink", "user_bob": "release"}
    assert plan["holds"] == []
    if way == "sealed":
        assert four("plan", "--out", str(four.folder / "seen.json")).code in {0, 2}
        four.apply(str(four.folder / "seen.json"))
    else:
        four.apply()
    moved = four.theirs("ada")
    assert (moved.id, moved.email, four.mappings()["bob"]["status"]) == (theirs, mail("bob"), "released")
    assert old in four.everybody()
    assert "clerk-left" not in moved.tags
    four.settles()


def test_who_has_orders_and_is_tagged_instead_of_deleted_leaves_the_customer_to_the_next_in_one_apply(
    four: StoryHarness,
) -> None:
    four.store["on_leave"] = "delete"
    theirs = four.theirs("bob").id
    four.staff("order", id=theirs)
    four.gone("bob")
    four.user("ada", email=mail("bob"))
    four.apply()
    assert four.theirs("ada").id == theirs
    four.settles()


@pytest.mark.parametrize("policy", ["hold", "merge"])
def test_where_the_policy_moves_no_user_the_address_of_who_leaves_is_held_and_the_release_goes(
    four: StoryHarness, policy: str
) -> None:
    four.store["on_email_conflict"] = policy
    four.gone("bob")
    four.user("ada", email=mail("bob"), last_name="King")
    four.apply()
    assert (four.theirs("ada").last_name, four.theirs("ada").email) == ("King", mail("ada"))
    four.settles(held={("ada", "EmailConflict")})


def test_where_a_guard_withholds_the_release_the_address_is_not_taken(four: StoryHarness) -> None:
    four.store["guards"] = {"release": {"max": 0}, "relink": {"max": 9}}
    four.gone("bob")
    four.user("ada", email=mail("bob"))
    assert four.held() == {("ada", "EmailTaken"), ("bob", "GuardExceeded")}


def test_where_the_release_fails_the_customer_is_not_taken_and_the_next_apply_ends_both(four: StoryHarness) -> None:
    four.store["on_leave"] = "tag"
    theirs, before = four.theirs("bob"), four.theirs("ada")
    four.gone("bob")
    four.user("ada", email=mail("bob"))
    four.shop().faults.add("status", status=500, on="tagsAdd", times=None)
    four.apply(code=1)
    assert (four.theirs("bob"), four.theirs("ada")) == (theirs, before)
    four.shop().faults.clear()
    four.apply()
    assert four.theirs("ada").id == theirs.id
    four.settles()


@pytest.mark.parametrize("on_leave", ["delete", "keep"])
@pytest.mark.parametrize(
    ("left", "comes"),
    [
        ("ada@m\u00fcnchen.example.com", "ada@xn--mnchen-3ya.example.com"),
        ("ada@xn--mnchen-3ya.example.com", "ada@m\u00fcnchen.example.com"),
        ("jos\u00e9@village.example.com", "jose\u0301@village.example.com"),
    ],
)
def test_the_customer_of_a_user_who_left_is_adopted_by_each_spelling_of_the_address(
    story: StoryHarness, left: str, comes: str, on_leave: str
) -> None:
    story.store["on_leave"] = on_leave
    story.user("ada", email=left)
    story.apply()
    at = story.theirs("ada").id
    story.gone("ada")
    story.user("bob", email=comes)
    story.apply()
    story.apply()
    assert list(story.everybody()) == [at]
    assert story.theirs("bob").id == at
    story.settles()
