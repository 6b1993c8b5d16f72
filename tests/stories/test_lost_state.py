"""The state is lost: everything is found again by the back-links, and no one is made twice."""

from __future__ import annotations

from tests.stories.harness import TRACE, StoryHarness, mail


def test_the_mapping_list_is_back_without_one_write(story: StoryHarness) -> None:
    for name in ("ada", "bob", "cyd"):
        story.user(name, phone="+16134505293" if name == "ada" else None)
    story.apply()
    before, mapped = story.everybody(), story.mappings()
    story.lose_the_state()
    assert story.actions() == {}
    mutations = story.mutations
    story.apply()
    assert story.mutations == mutations
    assert story.everybody() == before
    known = ("shopify_customer_id", "email", "status", "reason")
    again = story.mappings()
    assert {n: [row[k] for k in known] for n, row in again.items()} == {
        n: [row[k] for k in known] for n, row in mapped.items()
    }
    story.settles()


def test_a_user_who_changed_their_address_meanwhile_is_found_and_followed(story: StoryHarness) -> None:
    story.user("ada")
    story.user("bob")
    story.apply()
    at = story.theirs("ada").id
    story.lose_the_state()
    story.user("ada", email=mail("new"), first_name="Adah")
    assert story.actions() == {"ada": "update"}
    story.apply()
    assert (story.theirs("ada").id, story.theirs("ada").email, story.theirs("ada").first_name) == (
        at,
        mail("new"),
        "Adah",
    )
    story.settles()


def test_values_that_we_no_longer_know_to_be_ours_are_left_alone(story: StoryHarness) -> None:
    story.store["fields"] = {"phone": "enforce", "note": "enforce"}
    story.user("ada", phone="+16134505293", note="of the profile", last_name="King")
    story.user("bob")
    story.apply()
    story.lose_the_state()
    story.user("ada", phone=None, note=None, last_name=None)
    story.store["tags"] = ["other"]
    story.apply()
    ada = story.theirs("ada")
    assert (ada.phone, ada.note, ada.last_name) == ("+16134505293", "of the profile", "King")
    assert ada.tags == ("app-user", "other")
    story.settles()


def test_a_swap_in_a_lost_state_still_ends_with_both_on_their_own_customers(story: StoryHarness) -> None:
    for name in ("ada", "bob", "cyd"):
        story.user(name)
    story.apply()
    before = {n: story.theirs(n).id for n in ("ada", "bob", "cyd")}
    story.lose_the_state()
    story.user("ada", email=mail("bob"))
    story.user("bob", email=mail("ada"))
    story.apply()
    assert (story.theirs("ada").email, story.theirs("bob").email) == (mail("bob"), mail("ada"))
    assert {n: story.theirs(n).id for n in before} == before
    story.settles()


def test_two_who_want_one_address_don_t_end_on_one_customer(story: StoryHarness) -> None:
    for name in ("ada", "bob", "cyd"):
        story.user(name)
    story.apply()
    story.lose_the_state()
    story.user("ada", email=mail("shared"))
    story.user("bob", email=mail("shared"))
    story.apply()
    assert len(story.everybody()) == 3
    assert {story.theirs(n).email for n in ("ada", "bob")} == {mail("ada"), mail("bob")}
    story.settles(held={("ada", "EmailTaken"), ("bob", "EmailTaken")})


def test_a_re_link_that_loses_its_state_half_way_ends_with_one_customer(story: StoryHarness) -> None:
    """The old back-link is off and the new one not yet on: the new address alone finds the user."""
    story.user("ada")
    story.user("bob")
    story.apply()
    story.staff("guest_checkout", email=mail("new"))
    story.user("ada", email=mail("new"))
    story.shop().faults.add("status", status=423, on="tagsRemove", times=None)
    story.apply(code=1)
    story.shop().faults.clear()
    story.lose_the_state()
    story.apply()
    assert story.theirs("ada").id == story.at(mail("new")).id
    assert story.theirs("ada").orders == 1
    assert len(story.everybody()) == 3
    assert TRACE not in story.theirs("ada").metafields
    story.settles()


def test_who_had_left_is_left_alone(story: StoryHarness) -> None:
    story.store["on_leave"] = "tag"
    story.user("ada")
    story.user("bob")
    story.apply()
    story.gone("ada")
    story.apply()
    before = story.everybody()
    story.lose_the_state()
    story.apply()
    assert story.everybody() == before
    story.user("ada")
    story.apply()
    assert story.theirs("ada").id in before
    story.settles()
