"""Guests: an existing customer is linked, never doubled, and only by an address that is known to be theirs."""

from __future__ import annotations

import pytest

from tests.cli.harness import EU
from tests.stories.harness import StoryHarness, mail, unlike


@pytest.fixture
def guest(story: StoryHarness) -> StoryHarness:
    """Ada has bought as a guest, in capitals, and staff wrote a note on the customer."""
    found = story.staff("guest_checkout", email="ADA@village.example.com", first_name="A.", phone="+16134505293")
    story.staff("edit", id=found.id, note="prefers the phone", addresses=[{"city": "Ottawa", "countryCode": "CA"}])
    story.staff("tag", id=found.id, tags=["vip"])
    return story


def test_a_guest_with_a_verified_address_is_linked_and_keeps_all_that_is_not_ours(guest: StoryHarness) -> None:
    before = guest.at(mail("ada"))
    guest.user("ada", phone="+442079460958", note="of the profile", locale="de")
    (action,) = guest.plan()["actions"]
    assert (action["kind"], action["customer_id"]) == ("adopt", before.id)
    guest.apply()
    assert unlike(before, guest.theirs("ada")) == {
        "first_name": ("A.", "Ada"),
        "tags": (("vip",), ("app-user", "vip")),
        "backlink": (None, "user_ada"),
    }
    guest.settles()


@pytest.mark.parametrize(
    ("guest", "user"),
    [
        ("ada@xn--mnchen-3ya.example.com", "ada@m\u00fcnchen.example.com"),
        ("ada@m\u00fcnchen.example.com", "Ada@XN--MNCHEN-3YA.example.com"),
        ("jos\u00e9@village.example.com", "jose\u0301@village.example.com"),
        ("jose\u0301@village.example.com", "jos\u00e9@village.example.com"),
    ],
)
def test_a_guest_with_another_spelling_of_the_same_address_is_adopted(
    story: StoryHarness, guest: str, user: str
) -> None:
    there = story.staff("guest_checkout", email=guest)
    story.user("ada", email=user)
    assert story.actions() == {"ada": "adopt"}
    story.apply()
    assert list(story.everybody()) == [there.id]
    story.settles()


def test_of_two_users_with_spellings_of_one_address_one_adopts_the_guest(story: StoryHarness) -> None:
    there = story.staff("guest_checkout", email="ada@xn--mnchen-3ya.example.com")
    story.user("ada", email="ada@m\u00fcnchen.example.com")
    story.user("bob", email="ada@xn--mnchen-3ya.example.com")
    story("apply", "--yes")
    story("apply", "--yes")
    (owner,) = [c.backlink for c in story.everybody().values() if c.id == there.id]
    assert owner in {"user_ada", "user_bob"}
    (other,) = {"ada", "bob"} - {str(owner).removeprefix("user_")}
    story.settles(held={(other, "EmailTaken")})


@pytest.mark.parametrize("verified", [0, None, "no"])
def test_a_guest_is_never_given_to_an_address_that_is_not_verified(guest: StoryHarness, verified: object) -> None:
    before = guest.everybody()
    guest.user("ada", email_verified=verified)
    assert guest.held() == {("ada", "EmailUnverified")}
    guest.apply()
    assert guest.everybody() == before
    guest.settles(held={("ada", "EmailUnverified")})
    guest.user("ada", email_verified="true")
    guest.apply()
    assert guest.theirs("ada").orders == 1
    guest.settles()


def test_the_operator_may_say_that_every_address_can_be_trusted(guest: StoryHarness) -> None:
    guest.settings["profiles"]["trust_email"] = "always"
    guest.user("ada", email_verified=0)
    assert guest.actions() == {"ada": "adopt"}
    guest.apply()
    assert guest.theirs("ada").orders == 1
    guest.settles()


def test_the_operator_may_say_that_no_address_can_be_trusted(guest: StoryHarness) -> None:
    guest.settings["profiles"]["trust_email"] = "never"
    guest.user("ada")
    guest.user("bob")
    assert guest.held() == {("ada", "EmailConflict")}
    guest.apply()
    assert guest.at(mail("ada")).backlink is None
    assert guest.theirs("bob").email == mail("bob")
    guest.settles(held={("ada", "EmailConflict")})


def test_trust_in_verified_addresses_without_such_a_column_is_an_error_of_the_files(guest: StoryHarness) -> None:
    guest.user("ada")
    del guest.settings["profiles"]["columns"]["email_verified"]
    said = guest("plan")
    assert said.code == 1
    assert "email_verified" in said.err
    assert "hint: " in said.err
    guest.settings["profiles"]["columns"]["email_verified"] = "email_verified"
    guest.apply()
    guest.settles()


def test_a_customer_of_another_user_is_never_taken(guest: StoryHarness) -> None:
    guest.user("ada")
    guest.apply()
    guest.user("ada", email=mail("new"))
    guest.staff("edit", id=guest.theirs("ada").id, email=mail("eve"))
    guest.user("eve", email=mail("eve"))
    guest.store["heal_drift"] = "hold"
    guest.store["roll_out"] = "hold"
    guest.apply("--user", "user_eve")
    assert guest.at(mail("eve")).backlink == "user_ada"
    assert ("eve", "EmailTaken") in guest.held()
    guest.store.update(heal_drift="auto", roll_out="auto")
    guest.apply()
    assert (guest.theirs("ada").email, guest.theirs("eve").email) == (mail("new"), mail("eve"))
    guest.settles()


def test_a_guest_who_buys_between_plan_and_apply_is_linked_and_not_doubled(story: StoryHarness) -> None:
    """The shop makes the customer while our own create is on its way: TAKEN, a fresh read, an adoption."""
    story.user("ada")
    story.shop().faults.add(
        "slow", on="customerSet", seconds=0.0, when=lambda _v: bool(story.staff("guest_checkout", email=mail("ada")))
    )
    story.apply()
    assert (len(story.everybody()), story.theirs("ada").orders) == (1, 1)
    story.settles()


def test_the_same_person_is_one_customer_in_each_shop(guest: StoryHarness) -> None:
    guest.second_shop()
    guest.user("ada")
    said = guest("plan", "--output", "json").json
    assert [[a["kind"] for a in s["actions"]] for s in said["stores"]] == [["create"], ["adopt"]]
    guest.apply()
    assert guest.theirs("ada").id != guest.theirs("ada", EU).id
    guest.settles()


def test_people_without_an_address_are_held_or_made_by_their_back_link_alone(story: StoryHarness) -> None:
    story.user("ada", email=None)
    story.user("bob")
    assert story.held() == {("ada", "NoEmail")}
    story.apply()
    assert len(story.everybody()) == 1
    story.settles(held={("ada", "NoEmail")})
    story.store["require_email"] = False
    story.apply()
    assert (story.theirs("ada").email, story.theirs("ada").first_name) == (None, "Ada")
    story.settles()
    story.user("ada", email=mail("ada"))
    story.apply()
    assert story.theirs("ada").email == mail("ada")
    story.settles()
