"""One user's email changes: when it is free, when a guest has it, what each policy does, and crashes on the way."""

from __future__ import annotations

import pytest

from reconciler.simulator.faults import FaultKind
from tests.stories.harness import TRACE, StoryHarness, locked_at, mail, unlike

NEW = "countess@village.example.com"


@pytest.fixture
def ada(story: StoryHarness) -> StoryHarness:
    """Ada is there, in sync, with a neighbour."""
    story.user("ada", last_name="King")
    story.user("bob")
    story.apply()
    return story


@pytest.fixture
def wants_guests(ada: StoryHarness) -> StoryHarness:
    """Ada's new address is that of a guest with an order and a tag of their own."""
    ada.staff("tag", id=ada.theirs("ada").id, tags=["vip"])
    guest = ada.staff("guest_checkout", email=NEW, first_name="A.")
    ada.staff("tag", id=guest.id, tags=["newsletter"])
    ada.user("ada", email=NEW)
    return ada


def test_a_new_address_that_is_free_is_written_on_the_same_customer(ada: StoryHarness) -> None:
    before = ada.theirs("ada")
    ada.user("ada", email=NEW)
    assert ada.actions() == {"ada": "update"}
    ada.apply()
    assert unlike(before, ada.theirs("ada")) == {"email": (mail("ada"), NEW)}
    assert ada.mappings()["ada"]["email"] == NEW
    ada.settles()


@pytest.mark.parametrize("email", ["  ADA@Village.Example.COM ", "Ada@village.example.com\n"])
def test_the_same_address_in_other_letters_or_with_blanks_around_it_is_no_change(ada: StoryHarness, email: str) -> None:
    ada.user("ada", email=email)
    assert ada.actions() == {}
    ada.settles()


def test_an_address_with_a_blank_inside_is_a_mistake_and_changes_nothing(ada: StoryHarness) -> None:
    before = ada.everybody()
    ada.user("ada", email="ada @village.example.com")
    ada.apply()
    assert ada.everybody() == before
    ada.settles(held={("ada", "EmailInvalid")})


@pytest.mark.parametrize("email", ["ada+shop@village.example.com", "a.da@village.example.com"])
def test_plus_and_dot_variants_are_addresses_of_their_own(ada: StoryHarness, email: str) -> None:
    ada.user("eve", email=email)
    assert ada.actions() == {"eve": "create"}
    ada.apply()
    assert ada.theirs("eve").email == email
    assert ada.theirs("ada").email == mail("ada")
    ada.settles()


@pytest.mark.parametrize("email", ["käthe@bücher.example", "kathe@xn--bcher-kva.example"])
def test_addresses_of_other_alphabets_are_kept_as_they_are_written(story: StoryHarness, email: str) -> None:
    story.user("kathe", email=email)
    story.user("bob")
    story.apply()
    assert story.theirs("kathe").email == email
    story.settles()


# --- relink --------------------------------------------------------------------------------------------------------


def test_re_linking_leaves_the_old_customer_clean_and_makes_the_new_one_the_users(wants_guests: StoryHarness) -> None:
    story = wants_guests
    old, new = story.theirs("ada"), story.at(NEW)
    (action,) = story.plan()["actions"]
    assert (action["kind"], action["from_customer_id"], action["customer_id"]) == ("relink", old.id, new.id)
    story.apply()
    left, theirs = story.everybody()[old.id], story.theirs("ada")
    assert unlike(old, left) == {
        "tags": (("app-user", "vip"), ("vip",)),
        "backlink": ("user_ada", None),
        "metafields": ({}, {TRACE: new.id}),
    }
    assert theirs.id == new.id
    assert unlike(new, theirs) == {
        "first_name": ("A.", "Ada"),
        "last_name": (None, "King"),
        "tags": (("newsletter",), ("app-user", "newsletter")),
        "backlink": (None, "user_ada"),
    }
    assert story.mappings()["ada"]["shopify_customer_id"] == new.id
    story.settles()


def test_a_user_who_returns_to_their_first_address_gets_their_first_customer_and_its_trace_is_gone(
    wants_guests: StoryHarness,
) -> None:
    story = wants_guests
    first, second = story.theirs("ada").id, story.at(NEW).id
    story.apply()
    story.user("ada", email=mail("ada"))
    assert story.actions() == {"ada": "relink"}
    story.apply()
    assert story.theirs("ada").id == first
    assert TRACE not in story.theirs("ada").metafields
    assert story.everybody()[second].metafields == {TRACE: first}
    assert story.everybody()[second].tags == ("newsletter",)
    story.settles()


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7])
def test_re_linking_that_ends_between_any_two_calls_is_finished_by_the_next_apply(
    wants_guests: StoryHarness, n: int, kind: FaultKind
) -> None:
    story = wants_guests
    old, new = story.theirs("ada").id, story.at(NEW).id

    with locked_at(story, n, kind):
        story.apply(code=1)
    story.apply()
    left = story.everybody()[old]
    assert (left.backlink, left.tags, left.metafields) == (None, ("vip",), {TRACE: new})
    theirs = story.theirs("ada")
    assert (theirs.id, theirs.tags, theirs.first_name, theirs.last_name) == (
        new,
        ("app-user", "newsletter"),
        "Ada",
        "King",
    )
    story.settles()


def test_an_unverified_new_address_re_links_no_one(wants_guests: StoryHarness) -> None:
    story = wants_guests
    before = story.everybody()
    story.user("ada", email_verified=0)
    assert story.held() == {("ada", "EmailUnverified")}
    story.apply()
    assert story.everybody() == before
    story.user("ada", last_name="Lovelace")
    story.apply()
    assert story.at(mail("ada")).last_name == "Lovelace"
    story.settles(held={("ada", "EmailUnverified")})


# --- merge ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def merges(wants_guests: StoryHarness) -> StoryHarness:
    wants_guests.store["on_email_conflict"] = "merge"
    return wants_guests


def test_a_merge_unites_both_and_link_and_mapping_follow_the_winner_of_the_answer(merges: StoryHarness) -> None:
    old, guest = merges.theirs("ada").id, merges.at(NEW).id
    assert merges.actions() == {"ada": "merge"}
    results = merges.apply()
    assert results["stores"][0]["applied"] == {"merge": 1}
    theirs = merges.theirs("ada")
    assert theirs.id in {old, guest}
    assert len(merges.everybody()) == 2
    assert (theirs.email, theirs.orders, theirs.first_name, theirs.last_name) == (NEW, 1, "Ada", "King")
    assert set(theirs.tags) == {"app-user", "newsletter", "vip"}
    assert merges.mappings()["ada"]["shopify_customer_id"] == theirs.id
    merges.settles()


def test_what_shopify_says_against_a_merge_is_reported_and_nothing_is_touched(merges: StoryHarness) -> None:
    merges.staff("block_merge", id=merges.at(NEW).id, fields=["GIFT_CARDS"])
    before = merges.everybody()
    (hold,) = merges.plan()["holds"]
    assert (hold["reason"], hold["who_acts"]) == ("EmailConflict", "operator")
    assert "gift cards" in hold["message"]
    merges.apply()
    assert merges.everybody() == before
    merges.settles(held={("ada", "EmailConflict")})
    merges.staff("block_merge", id=merges.at(NEW).id, fields=[])
    merges.apply()
    assert merges.theirs("ada").orders == 1
    merges.settles()


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
@pytest.mark.parametrize("n", [1, 2])
def test_a_merge_that_ends_in_the_middle_is_finished_by_the_next_apply(
    merges: StoryHarness, n: int, kind: FaultKind
) -> None:
    with locked_at(merges, n, kind):
        merges.apply(code=1)
    merges.apply()
    assert len(merges.everybody()) == 2
    assert (merges.theirs("ada").email, merges.theirs("ada").orders) == (NEW, 1)
    assert set(merges.theirs("ada").tags) == {"app-user", "newsletter", "vip"}
    merges.settles()


# --- hold ----------------------------------------------------------------------------------------------------------


def test_the_hold_policy_names_the_owner_and_keeps_the_rest_up_to_date(wants_guests: StoryHarness) -> None:
    story = wants_guests
    story.store["on_email_conflict"] = "hold"
    story.user("ada", last_name="Lovelace")
    assert story.actions() == {"ada": "update"}
    (hold,) = story.plan()["holds"]
    assert hold["reason"] == "EmailConflict"
    assert story.at(NEW).id in hold["message"]
    story.apply()
    assert (story.theirs("ada").email, story.theirs("ada").last_name) == (mail("ada"), "Lovelace")
    assert story.at(NEW).backlink is None
    story.settles(held={("ada", "EmailConflict")})
    assert story.mappings()["ada"]["status"] == "held"
