"""One user's e-mail changes: when it is free, when a guest has it, what each policy does, and crashes on the way."""

from __future__ import annotations

import pytest

from reconciler.simulator.faults import FaultKind
from tests.stories.village import TRACE, Village, locked_at, mail, unlike

NEW = "countess@village.example.com"


@pytest.fixture
def ada(village: Village) -> Village:
    """Ada is there, in sync, with a neighbour."""
    village.user("ada", last_name="King")
    village.user("bob")
    village.apply()
    return village


@pytest.fixture
def wants_guests(ada: Village) -> Village:
    """Her new address is that of a guest with an order and a tag of her own."""
    ada.staff("tag", id=ada.theirs("ada").id, tags=["vip"])
    guest = ada.staff("guest_checkout", email=NEW, first_name="A.")
    ada.staff("tag", id=guest.id, tags=["newsletter"])
    ada.user("ada", email=NEW)
    return ada


def test_a_new_address_that_is_free_is_written_on_the_same_customer(ada: Village) -> None:
    before = ada.theirs("ada")
    ada.user("ada", email=NEW)
    assert ada.actions() == {"ada": "update"}
    ada.apply()
    assert unlike(before, ada.theirs("ada")) == {"email": (mail("ada"), NEW)}
    assert ada.mappings()["ada"]["email"] == NEW
    ada.settles()


@pytest.mark.parametrize("email", ["  ADA@Village.Example.COM ", "Ada@village.example.com\n"])
def test_the_same_address_in_other_letters_or_with_blanks_around_it_is_no_change(ada: Village, email: str) -> None:
    ada.user("ada", email=email)
    assert ada.actions() == {}
    ada.settles()


def test_an_address_with_a_blank_inside_is_a_mistake_and_changes_nothing(ada: Village) -> None:
    before = ada.everybody()
    ada.user("ada", email="ada @village.example.com")
    ada.apply()
    assert ada.everybody() == before
    ada.settles(held={("ada", "EmailInvalid")})


@pytest.mark.parametrize("email", ["ada+shop@village.example.com", "a.da@village.example.com"])
def test_plus_and_dot_variants_are_addresses_of_their_own(ada: Village, email: str) -> None:
    ada.user("eve", email=email)
    assert ada.actions() == {"eve": "create"}
    ada.apply()
    assert ada.theirs("eve").email == email
    assert ada.theirs("ada").email == mail("ada")
    ada.settles()


@pytest.mark.parametrize("email", ["käthe@bücher.example", "kathe@xn--bcher-kva.example"])
def test_addresses_of_other_alphabets_are_kept_as_they_are_written(village: Village, email: str) -> None:
    village.user("kathe", email=email)
    village.user("bob")
    village.apply()
    assert village.theirs("kathe").email == email
    village.settles()


# --- relink --------------------------------------------------------------------------------------------------------


def test_re_linking_leaves_the_old_customer_clean_and_makes_the_new_one_hers(wants_guests: Village) -> None:
    village = wants_guests
    old, new = village.theirs("ada"), village.at(NEW)
    (action,) = village.plan()["actions"]
    assert (action["kind"], action["from_customer_id"], action["customer_id"]) == ("relink", old.id, new.id)
    village.apply()
    left, theirs = village.everybody()[old.id], village.theirs("ada")
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
    assert village.mappings()["ada"]["shopify_customer_id"] == new.id
    village.settles()


def test_whoever_goes_back_to_her_first_address_gets_her_first_customer_and_its_trace_is_gone(
    wants_guests: Village,
) -> None:
    village = wants_guests
    first, second = village.theirs("ada").id, village.at(NEW).id
    village.apply()
    village.user("ada", email=mail("ada"))
    assert village.actions() == {"ada": "relink"}
    village.apply()
    assert village.theirs("ada").id == first
    assert TRACE not in village.theirs("ada").metafields
    assert village.everybody()[second].metafields == {TRACE: first}
    assert village.everybody()[second].tags == ("newsletter",)
    village.settles()


@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7])
def test_re_linking_that_ends_between_any_two_calls_is_finished_by_the_next_apply(
    wants_guests: Village, n: int, kind: FaultKind
) -> None:
    village = wants_guests
    old, new = village.theirs("ada").id, village.at(NEW).id

    with locked_at(village, n, kind):
        village.apply(code=1)
    village.apply()
    left = village.everybody()[old]
    assert (left.backlink, left.tags, left.metafields) == (None, ("vip",), {TRACE: new})
    theirs = village.theirs("ada")
    assert (theirs.id, theirs.tags, theirs.first_name, theirs.last_name) == (
        new,
        ("app-user", "newsletter"),
        "Ada",
        "King",
    )
    village.settles()


def test_an_unverified_new_address_re_links_nobody(wants_guests: Village) -> None:
    village = wants_guests
    before = village.everybody()
    village.user("ada", email_verified=0)
    assert village.held() == {("ada", "EmailUnverified")}
    village.apply()
    assert village.everybody() == before
    village.user("ada", last_name="Lovelace")
    village.apply()
    assert village.at(mail("ada")).last_name == "Lovelace"
    village.settles(held={("ada", "EmailUnverified")})


# --- merge ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def merges(wants_guests: Village) -> Village:
    wants_guests.store["on_email_conflict"] = "merge"
    return wants_guests


def test_a_merge_unites_both_and_link_and_mapping_follow_the_winner_of_the_answer(merges: Village) -> None:
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


def test_what_shopify_says_against_a_merge_is_told_and_nothing_is_touched(merges: Village) -> None:
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


@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
@pytest.mark.parametrize("n", [1, 2])
def test_a_merge_that_ends_in_the_middle_is_finished_by_the_next_apply(
    merges: Village, n: int, kind: FaultKind
) -> None:
    with locked_at(merges, n, kind):
        merges.apply(code=1)
    merges.apply()
    assert len(merges.everybody()) == 2
    assert (merges.theirs("ada").email, merges.theirs("ada").orders) == (NEW, 1)
    assert set(merges.theirs("ada").tags) == {"app-user", "newsletter", "vip"}
    merges.settles()


# --- hold ----------------------------------------------------------------------------------------------------------


def test_the_hold_policy_says_whose_it_is_and_keeps_the_rest_up_to_date(wants_guests: Village) -> None:
    village = wants_guests
    village.store["on_email_conflict"] = "hold"
    village.user("ada", last_name="Lovelace")
    assert village.actions() == {"ada": "update"}
    (hold,) = village.plan()["holds"]
    assert hold["reason"] == "EmailConflict"
    assert village.at(NEW).id in hold["message"]
    village.apply()
    assert (village.theirs("ada").email, village.theirs("ada").last_name) == (mail("ada"), "Lovelace")
    assert village.at(NEW).backlink is None
    village.settles(held={("ada", "EmailConflict")})
    assert village.mappings()["ada"]["status"] == "held"
