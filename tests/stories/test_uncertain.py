"""Where it is not known for certain how Shopify behaves, users are kept in sync either way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stories.harness import AMPLE, AVATAR, StoryHarness, mail

OTHER_WAY: dict[str, Any] = {
    "fold_email_case": True,
    "trim_names": False,
    "names_refuse_urls": False,
    "strict_tld": True,
    "refused_domains": ["blocked.example.com"],
    "snap_tag_casing": True,
    "custom_id_adopts_email": True,
    "unique_metafield_code": "CAPABILITY_VIOLATION",
    "metafields_bump_updated_at": False,
    "erasure_wipes_metafields": False,
    "consent_stays_with_customer": False,
    "merge_sends_delete": True,
    "updated_at_whole_days": True,
    "identity_message": "Customer must have a name, phone number or email address",
}
"""What the simulator does not do by default. One merge of identities, `fold_plus_addresses`, is a row of its own."""
PICTURE = "https://img.example.com/{}.png"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("habits", "refused", "at_first"),
    [
        (OTHER_WAY, {("blocked", "Rejected"), ("digit", "Rejected")}, 1),
        ({}, {("address", "Rejected")}, 0),
        ({"fold_plus_addresses": True}, {("address", "Rejected"), ("plus", "Rejected")}, 1),
    ],
    ids=["the other way", "as the simulator does", "plus addresses are one"],
)
def test_users_are_in_sync_or_held_whichever_way_shopify_behaves(
    story: StoryHarness, habits: dict[str, Any], refused: set[tuple[str, str]], at_first: int
) -> None:
    """`refused`: who is held, as Shopify refuses a value. `at_first`: the exit code of the command that learns it."""
    story.shop().shop.change_habits(**habits)
    story.store["metafields"] = {AVATAR: {"from": "image_url", "type": "url"}}
    story.store.update(tags=["App-User"], on_leave="erase", on_email_conflict="merge", guards=AMPLE)
    story.store["fields"] = dict.fromkeys(("email", "first_name", "phone", "note", "locale"), "enforce")
    story.staff("guest_checkout", email="Dora@Village.example.com", first_name="D.")
    story.staff("guest_checkout", email=mail("joined"), first_name="J.")
    story.user("dora", image_url=PICTURE.format(1))
    story.user("ada", email="Ada.B@Village.example.com", first_name=" Ada ", phone="+16134505293")
    story.user("plus", email="bob+x@village.example.com")
    story.user("bob", image_url=PICTURE.format(2))
    story.user("joins")
    story.user("address", first_name="www.eve.example.com")
    story.user("blocked", email="fay@blocked.example.com")
    story.user("digit", email="guy@mail.ex4mple")
    story.user("leaver", image_url=PICTURE.format(3))
    story.apply(code=at_first)
    story.settles(held=refused)
    assert story.theirs("dora").orders == 1
    story.user("ada", email="ADA.c@village.example.com", phone=None, first_name="Ada")
    story.user("dora", email="dora+new@village.example.com", image_url=None)
    story.user("joins", email=mail("joined"))
    story.gone("leaver")
    story.apply()
    story.settles(held=refused)
    assert (story.theirs("joins").email, story.theirs("joins").orders) == (mail("joined"), 1)
    assert (story.theirs("ada").email or "").casefold() == "ada.c@village.example.com"
    assert story.theirs("dora").metafields == {}
    assert story.mappings()["leaver"]["status"] == "erased"


@pytest.mark.parametrize("adopts", [True, False])
def test_a_guest_who_comes_between_the_look_and_the_create_is_linked_either_way(
    story: StoryHarness, *, adopts: bool
) -> None:
    story.shop().shop.change_habits(custom_id_adopts_email=adopts)
    story.user("ada")

    def buy(_variables: Any) -> bool:
        if not story.everybody():
            story.staff("guest_checkout", email=mail("ada"), first_name="A.")
        return False

    story.shop().faults.add("slow", on="customerSet", when=buy, times=None)
    story.apply()
    story.shop().faults.clear()
    assert (story.theirs("ada").orders, len(story.everybody())) == (1, 1)
    story.settles()


def test_a_shop_that_folds_user_ids_holds_one_of_two_and_keeps_the_other_in_sync(story: StoryHarness) -> None:
    story.shop().shop.change_habits(id_values_case_sensitive=False)
    story.store["guards"] = AMPLE
    story.user("bob")
    story.apply()
    story.user("BOB", email=mail("other"))
    story.user("ada")
    story.apply()
    held = {("BOB", "Unreadable")}
    assert story.held() == held
    assert (story.theirs("bob").email, story.theirs("ada").email) == (mail("bob"), mail("ada"))
    story.settles(held=held)


@pytest.mark.slow
def test_a_shop_that_folds_the_ids_of_two_new_users_ends_with_one_in_sync(story: StoryHarness) -> None:
    story.shop().shop.change_habits(id_values_case_sensitive=False)
    story.store["guards"] = AMPLE
    story.user("bob")
    story.user("BOB", email=mail("other"))
    for _ in range(3):
        story("apply", "--yes")
    (customer,) = story.everybody().values()
    story.settles(held={("BOB" if customer.backlink == "user_bob" else "bob", "Unreadable")})
    assert customer.email == (mail("bob") if customer.backlink == "user_bob" else mail("other"))
