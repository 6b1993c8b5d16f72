"""The state is lost: everything is found again by the back-links, and nobody is made twice."""

from __future__ import annotations

from tests.stories.village import TRACE, Village, mail


def test_the_mapping_list_is_back_without_one_write(village: Village) -> None:
    for name in ("ada", "bob", "cyd"):
        village.user(name, phone="+16134505293" if name == "ada" else None)
    village.apply()
    before, mapped = village.everybody(), village.mappings()
    village.lose_the_state()
    assert village.actions() == {}
    mutations = village.mutations
    village.apply()
    assert village.mutations == mutations
    assert village.everybody() == before
    known = ("shopify_customer_id", "email", "status", "reason")
    again = village.mappings()
    assert {n: [row[k] for k in known] for n, row in again.items()} == {
        n: [row[k] for k in known] for n, row in mapped.items()
    }
    village.settles()


def test_whoever_changed_her_address_meanwhile_is_found_and_followed(village: Village) -> None:
    village.user("ada")
    village.user("bob")
    village.apply()
    at = village.theirs("ada").id
    village.lose_the_state()
    village.user("ada", email=mail("new"), first_name="Adah")
    assert village.actions() == {"ada": "update"}
    village.apply()
    assert (village.theirs("ada").id, village.theirs("ada").email, village.theirs("ada").first_name) == (
        at,
        mail("new"),
        "Adah",
    )
    village.settles()


def test_values_that_we_no_longer_know_to_be_ours_are_left_alone(village: Village) -> None:
    village.store["fields"] = {"phone": "enforce", "note": "enforce"}
    village.user("ada", phone="+16134505293", note="of the profile", last_name="King")
    village.user("bob")
    village.apply()
    village.lose_the_state()
    village.user("ada", phone=None, note=None, last_name=None)
    village.store["tags"] = ["other"]
    village.apply()
    ada = village.theirs("ada")
    assert (ada.phone, ada.note, ada.last_name) == ("+16134505293", "of the profile", "King")
    assert ada.tags == ("app-user", "other")
    village.settles()


def test_a_swap_in_a_lost_state_still_ends_with_both_on_their_own_customers(village: Village) -> None:
    for name in ("ada", "bob", "cyd"):
        village.user(name)
    village.apply()
    before = {n: village.theirs(n).id for n in ("ada", "bob", "cyd")}
    village.lose_the_state()
    village.user("ada", email=mail("bob"))
    village.user("bob", email=mail("ada"))
    village.apply()
    assert (village.theirs("ada").email, village.theirs("bob").email) == (mail("bob"), mail("ada"))
    assert {n: village.theirs(n).id for n in before} == before
    village.settles()


def test_two_who_want_one_address_don_t_end_on_one_customer(village: Village) -> None:
    for name in ("ada", "bob", "cyd"):
        village.user(name)
    village.apply()
    village.lose_the_state()
    village.user("ada", email=mail("shared"))
    village.user("bob", email=mail("shared"))
    village.apply()
    assert len(village.everybody()) == 3
    assert {village.theirs(n).email for n in ("ada", "bob")} == {mail("ada"), mail("bob")}
    village.settles(held={("ada", "EmailTaken"), ("bob", "EmailTaken")})


def test_a_re_link_whose_state_is_lost_half_way_ends_with_one_customer(village: Village) -> None:
    """The old back-link is off and the new one not yet on: the new address alone finds her."""
    village.user("ada")
    village.user("bob")
    village.apply()
    village.staff("guest_checkout", email=mail("new"))
    village.user("ada", email=mail("new"))
    village.shop().faults.add("status", status=423, on="tagsRemove", times=None)
    village.apply(code=1)
    village.shop().faults.clear()
    village.lose_the_state()
    village.apply()
    assert village.theirs("ada").id == village.at(mail("new")).id
    assert village.theirs("ada").orders == 1
    assert len(village.everybody()) == 3
    assert TRACE not in village.theirs("ada").metafields
    village.settles()


def test_who_had_left_is_left_alone(village: Village) -> None:
    village.store["on_leave"] = "tag"
    village.user("ada")
    village.user("bob")
    village.apply()
    village.gone("ada")
    village.apply()
    before = village.everybody()
    village.lose_the_state()
    village.apply()
    assert village.everybody() == before
    village.user("ada")
    village.apply()
    assert village.theirs("ada").id in before
    village.settles()
