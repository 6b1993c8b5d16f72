"""Fields by their policy, tags and metafields: whole customers are compared, so that what is not ours is seen untouched."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.simulator.faults import FaultKind
from tests.stories.village import AVATAR, Village, mail, unlike

ONE, OTHER = "+16134505293", "+442079460958"
PICTURE, SECOND = "https://img.example.com/1.png", "https://img.example.com/2.png"


@pytest.fixture
def rich(village: Village) -> Village:
    """Ada is in sync, and staff and the shop have added everything that is none of our business."""
    village.store.update(country="US", metafields={AVATAR: {"from": "image_url", "type": "url"}})
    village.user("ada", last_name="King", phone=ONE, image_url=PICTURE, locale="en", note="from the profile")
    village.user("bob")
    village.apply()
    at = village.theirs("ada").id
    village.staff("edit", id=at, addresses=[{"city": "Ottawa", "countryCode": "CA"}], tax_exempt=True, note="by staff")
    village.staff("tag", id=at, tags=["vip", "wholesale"])
    village.staff("set_metafield", id=at, namespace="loyalty", key="points", value="7", type="number_integer")
    village.staff("order", id=at)
    village.staff("state", id=at, state="ENABLED")
    shop = village.shop()
    consent = {"marketingState": "SUBSCRIBED", "marketingOptInLevel": "SINGLE_OPT_IN"}
    with shop.lock:
        shop.shop.customer_email_marketing_consent_update({"customerId": at, "emailMarketingConsent": consent})
        shop.shop.customer_sms_marketing_consent_update({"customerId": at, "smsMarketingConsent": consent})
    village.settles()
    return village


POLICIES = ("enforce", "fill", "create_only", "ignore")
NEW: dict[str, Any] = {
    "email": mail("new"), "first_name": "Adah", "last_name": "Lovelace", "phone": OTHER, "locale": "fr", "note": "anew",
}  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
def test_a_changed_profile_changes_exactly_the_fields_that_the_policy_owns(rich: Village, policy: str) -> None:
    rich.store["fields"] = dict.fromkeys(NEW, policy)
    before, neighbour = rich.theirs("ada"), rich.theirs("bob")
    rich.apply()  # what the new policy makes of the old profile
    middle = rich.theirs("ada")
    assert unlike(before, middle) == ({"note": ("by staff", "from the profile")} if policy == "enforce" else {})
    rich.user("ada", image_url=SECOND, **NEW)
    rich.apply()
    changed = {name: (getattr(middle, name), value) for name, value in NEW.items()} if policy == "enforce" else {}
    pictures = (middle.metafields, {**middle.metafields, AVATAR: SECOND})
    assert unlike(middle, rich.theirs("ada")) == {**changed, "metafields": pictures}
    assert rich.theirs("bob") == neighbour
    rich.settles()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_profile_that_loses_its_values_clears_only_what_we_wrote_and_own(rich: Village, policy: str) -> None:
    rich.store["fields"] = dict.fromkeys(NEW, policy)
    rich.store["metafields"][AVATAR]["policy"] = policy
    rich.apply()
    before = rich.theirs("ada")
    rich.user("ada", last_name=None, phone=None, note=None, locale=None, image_url=None)
    rich.apply()
    cleared = {"last_name", "phone", "note", "locale", "metafields"} if policy == "enforce" else set()
    if policy == "fill":
        cleared = {"last_name", "phone", "metafields"}
    assert set(unlike(before, rich.theirs("ada"))) <= cleared
    if policy == "enforce":
        assert (rich.theirs("ada").last_name, rich.theirs("ada").phone, rich.theirs("ada").note) == (None, None, None)
        assert rich.theirs("ada").metafields == {"loyalty.points": "7"}
    assert set(rich.theirs("ada").tags) == {"app-user", "vip", "wholesale"}
    rich.settles()


@pytest.mark.parametrize("policy", ["fill", "create_only"])
def test_a_new_customer_gets_all_fields_but_the_ignored(village: Village, policy: str) -> None:
    village.store["fields"] = {**dict.fromkeys(NEW, policy), "note": "ignore"}
    village.user("ada", **NEW)
    village.apply()
    ada = village.theirs("ada")
    assert (ada.email, ada.first_name, ada.last_name, ada.phone, ada.locale, ada.note) == (
        mail("new"), "Adah", "Lovelace", OTHER, "fr", None,
    )  # fmt: skip
    village.settles()


def test_a_blank_field_is_filled_and_a_full_one_is_left(village: Village) -> None:
    village.store["fields"] = {"first_name": "fill", "last_name": "fill", "note": "fill"}
    village.staff("create", email=mail("ada"), first_name="A.", note="by staff")
    village.user("ada", last_name="King", note="of the profile")
    village.apply()
    ada = village.theirs("ada")
    assert (ada.first_name, ada.last_name, ada.note) == ("A.", "King", "by staff")
    village.settles()
    village.staff("edit", id=ada.id, last_name=None)
    village.apply()
    assert village.theirs("ada").last_name == "King"
    village.settles()


def test_what_only_the_shop_knows_is_never_cleared_by_a_null_profile(village: Village) -> None:
    village.store["fields"] = dict.fromkeys(NEW, "enforce")
    at = village.staff("create", email=mail("ada"), last_name="King", phone=ONE, note="by staff", locale="fr").id
    before = village.everybody()[at]
    village.user("ada", first_name=None)
    village.apply()
    assert unlike(before, village.theirs("ada")) == {"tags": ((), ("app-user",)), "backlink": (None, "user_ada")}
    village.settles()


def test_values_that_shopify_writes_in_another_way_are_equal_afterwards(village: Village) -> None:
    village.store.update(country="CA", fields={"phone": "enforce", "note": "enforce", "locale": "enforce"})
    village.store["metafields"] = {
        "clerk.plan": {"from": "metadata.plan", "type": "json"},
        "clerk.score": {"from": "metadata.score", "type": "number_decimal"},
    }
    village.user(
        "ada", first_name="  Ada ", last_name="\t", phone="(613) 450-5293", note="two\r\nlines  ", locale="fr_ca",
        metadata='{"plan": {"b": 1, "a": [2, 1]}, "score": 7.50}',
    )  # fmt: skip
    village.apply()
    ada = village.theirs("ada")
    assert (ada.first_name, ada.last_name, ada.phone) == ("Ada", None, ONE)
    village.settles()


# --- tags ----------------------------------------------------------------------------------------------------------


def test_tags_that_the_config_no_longer_names_leave_and_nobody_elses_do(rich: Village) -> None:
    rich.store["tags"] = ["member"]
    (change,) = next(a for a in rich.plan()["actions"] if a["clerk_user_id"] == "user_ada")["changes"]
    assert (change["field"], change["why"]) == ("tags", "config changed")
    rich.apply()
    assert rich.theirs("ada").tags == ("member", "vip", "wholesale")
    rich.settles()
    rich.store["tags"] = []
    rich.apply()
    assert rich.theirs("ada").tags == ("vip", "wholesale")
    rich.settles()


def test_a_tag_that_was_there_before_us_stays_when_the_config_drops_it(village: Village) -> None:
    village.staff("create", email=mail("ada"), tags=["App-User"])
    village.user("ada")
    village.user("bob")
    village.apply()
    assert village.theirs("ada").tags == ("App-User",)
    village.store["tags"] = []
    village.apply()
    assert (village.theirs("ada").tags, village.theirs("bob").tags) == (("App-User",), ())
    village.settles()


def test_our_tag_comes_back_when_staff_take_it_off(rich: Village) -> None:
    rich.staff("untag", id=rich.theirs("ada").id, tags=["app-user", "vip"])
    (change,) = rich.plan()["actions"][0]["changes"]
    assert (change["field"], change["why"], change["before"]) == ("tags", "drift", ["wholesale"])
    rich.apply()
    assert rich.theirs("ada").tags == ("app-user", "wholesale")
    rich.settles()


def test_a_tag_that_the_shop_knows_in_other_letters_is_the_same_tag(village: Village) -> None:
    with village.shop().lock:
        village.shop().shop.change_habits(snap_tag_casing=True)
    village.staff("create", email=mail("eve"), tags=["APP-USER"])
    village.user("ada")
    village.apply()
    assert village.theirs("ada").tags == ("APP-USER",)
    village.settles()
    village.store["tags"] = []
    village.apply()
    assert village.theirs("ada").tags == ()
    village.settles()


# --- phones --------------------------------------------------------------------------------------------------------


def test_a_phone_that_somebody_has_never_blocks_the_rest_and_comes_when_it_is_free(village: Village) -> None:
    other = village.staff("create", first_name="Home", phone=ONE).id
    village.user("ada", phone=ONE, last_name="King")
    village.user("bob")
    village.apply()
    assert (village.theirs("ada").phone, village.theirs("ada").last_name) == (None, "King")
    village.settles(held={("ada", "PhoneTaken")})
    village.user("ada", last_name="Lovelace")
    village.apply()
    assert village.theirs("ada").last_name == "Lovelace"
    village.settles(held={("ada", "PhoneTaken")})
    village.staff("edit", id=other, phone=None)
    village.apply()
    assert village.theirs("ada").phone == ONE
    village.settles()


@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
def test_a_create_without_its_phone_whose_answer_is_lost_counts_as_done(village: Village, kind: FaultKind) -> None:
    village.staff("create", first_name="Home", phone=ONE)
    village.user("ada", phone=ONE)
    village.shop().faults.add(kind, on="customerSet")
    assert village.apply()["stores"][0]["applied"] == {"create": 1}
    village.settles(held={("ada", "PhoneTaken")})


def test_two_users_with_one_phone_get_it_one_after_the_other(village: Village) -> None:
    village.store["fields"] = {"phone": "enforce"}
    village.user("ada", phone=ONE)
    village.user("bob", phone=ONE)
    village.apply()
    village.apply()
    phones = {name: village.theirs(name).phone for name in ("ada", "bob")}
    assert sorted(phones.values(), key=str) == [ONE, None]
    has, waits = sorted(phones, key=lambda name: phones[name] is None)
    village.settles(held={(waits, "PhoneTaken")})
    village.user(has, phone=None)
    village.apply()
    village.apply()
    assert (village.theirs(waits).phone, village.theirs(has).phone) == (ONE, None)
    village.settles()


@pytest.mark.parametrize("phone", ["12", "call me", "450-5293 ext. 7"])
def test_a_phone_that_is_none_is_left_out_and_goes_when_it_is_mended(village: Village, phone: str) -> None:
    village.store["country"] = "CA"
    village.user("ada", phone=phone)
    village.apply()
    assert village.theirs("ada").phone is None
    village.settles(held={("ada", "PhoneInvalid")})
    village.user("ada", phone=ONE)
    village.apply()
    assert village.theirs("ada").phone == ONE
    village.settles()


def test_a_phone_without_a_country_code_is_held_where_the_store_names_no_country(village: Village) -> None:
    village.user("ada", phone="(613) 450-5293")
    village.apply()
    assert village.theirs("ada").phone is None
    village.settles(held={("ada", "PhoneInvalid")})
    village.store["country"] = "CA"
    village.apply()
    assert village.theirs("ada").phone == ONE
    village.settles()


# --- refused values ------------------------------------------------------------------------------------------------


def test_a_name_that_shopify_refuses_is_left_out_and_the_rest_goes_on(village: Village) -> None:
    village.user("ada", last_name="King")
    village.apply()
    village.user("ada", first_name="www.example.com", last_name="Lovelace")
    village.apply()
    assert (village.theirs("ada").first_name, village.theirs("ada").last_name) == ("Ada", "Lovelace")
    village.settles(held={("ada", "Rejected")})
    assert village.mappings()["ada"]["reason"] == "Rejected"
    village.user("ada", first_name="Adah")
    village.apply()
    assert village.theirs("ada").first_name == "Adah"
    village.settles()


def test_what_shopify_refuses_of_a_new_customer_is_told_at_once_and_held_from_there_on(village: Village) -> None:
    village.user("ada", first_name="www.example.com", last_name="King")
    result = village.apply()["stores"][0]
    assert (result["applied"], result["failed"], result["held"]) == ({"create": 1}, [], 1)
    told = result["holds"][0]
    assert (told["clerk_user_id"], told["reason"], told["field"]) == ("user_ada", "Rejected", "first_name")
    assert "First name cannot contain URL" in told["message"]
    row = village.mappings()["ada"]
    assert (row["status"], row["reason"]) == ("held", "Rejected")
    assert village.theirs("ada").last_name == "King"
    village.settles(held={("ada", "Rejected")})
    village.user("bob", first_name="www.example.com")
    said = village("apply", "--yes").out
    assert "1 created · 2 held" in said
    assert "! Rejected user_bob: Shopify refused first_name: First name cannot contain URL" in said


def test_a_picture_that_shopify_refuses_is_left_out_and_clears_itself(village: Village) -> None:
    village.store["metafields"] = {AVATAR: {"from": "image_url", "type": "url"}}
    village.user("ada", image_url="not a url")
    assert village.apply()["stores"][0]["applied"] == {"create": 1}
    assert (village.theirs("ada").email, village.theirs("ada").metafields) == (mail("ada"), {})
    village.settles(held={("ada", "Rejected")})
    village.user("ada", image_url=PICTURE)
    village.apply()
    assert village.theirs("ada").metafields == {AVATAR: PICTURE}
    village.settles()


def test_the_last_word_by_which_a_customer_is_known_is_not_cleared(village: Village) -> None:
    village.store.update(require_email=False, fields={"phone": "enforce"})
    village.user("ada", email=None)
    village.apply()
    village.user("ada", first_name=None)
    village.apply()
    assert village.theirs("ada").first_name == "Ada"
    village.settles(held={("ada", "Rejected"), ("ada", "NoEmail")} & village.held())
    assert ("ada", "Rejected") in village.held()
    village.user("ada", phone=ONE)
    village.apply()
    village.apply()
    assert (village.theirs("ada").first_name, village.theirs("ada").phone) == (None, ONE)
    village.settles()
