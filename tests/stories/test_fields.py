"""Fields by their policy, tags and metafields: whole customers are compared, so that what is not ours is seen untouched."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.simulator.faults import FaultKind
from tests.stories.harness import AVATAR, StoryHarness, mail, unlike

ONE, OTHER = "+16134505293", "+442079460958"
PICTURE, SECOND = "https://img.example.com/1.png", "https://img.example.com/2.png"


@pytest.fixture
def rich(story: StoryHarness) -> StoryHarness:
    """Ada is in sync, and staff and the shop have added everything that is none of our business."""
    story.store.update(country="US", metafields={AVATAR: {"from": "image_url", "type": "url"}})
    story.user("ada", last_name="King", phone=ONE, image_url=PICTURE, locale="en", note="from the profile")
    story.user("bob")
    story.apply()
    at = story.theirs("ada").id
    story.staff("edit", id=at, addresses=[{"city": "Ottawa", "countryCode": "CA"}], tax_exempt=True, note="by staff")
    story.staff("tag", id=at, tags=["vip", "wholesale"])
    story.staff("set_metafield", id=at, namespace="loyalty", key="points", value="7", type="number_integer")
    story.staff("order", id=at)
    story.staff("state", id=at, state="ENABLED")
    shop = story.shop()
    consent = {"marketingState": "SUBSCRIBED", "marketingOptInLevel": "SINGLE_OPT_IN"}
    with shop.lock:
        shop.shop.customer_email_marketing_consent_update({"customerId": at, "emailMarketingConsent": consent})
        shop.shop.customer_sms_marketing_consent_update({"customerId": at, "smsMarketingConsent": consent})
    story.settles()
    return story


POLICIES = ("enforce", "fill", "create_only", "ignore")
NEW: dict[str, Any] = {
    "email": mail("new"), "first_name": "Adah", "last_name": "Lovelace", "phone": OTHER, "locale": "fr", "note": "new",
}  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
def test_a_changed_profile_changes_exactly_the_fields_that_the_policy_owns(rich: StoryHarness, policy: str) -> None:
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
def test_a_profile_that_loses_its_values_clears_only_what_we_wrote_and_own(rich: StoryHarness, policy: str) -> None:
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
def test_a_new_customer_gets_all_fields_but_the_ignored(story: StoryHarness, policy: str) -> None:
    story.store["fields"] = {**dict.fromkeys(NEW, policy), "note": "ignore"}
    story.user("ada", **NEW)
    story.apply()
    ada = story.theirs("ada")
    assert (ada.email, ada.first_name, ada.last_name, ada.phone, ada.locale, ada.note) == (
        mail("new"), "Adah", "Lovelace", OTHER, "fr", None,
    )  # fmt: skip
    story.settles()


def test_a_blank_field_is_filled_and_a_full_one_is_left(story: StoryHarness) -> None:
    story.store["fields"] = {"first_name": "fill", "last_name": "fill", "note": "fill"}
    story.staff("create", email=mail("ada"), first_name="A.", note="by staff")
    story.user("ada", last_name="King", note="of the profile")
    story.apply()
    ada = story.theirs("ada")
    assert (ada.first_name, ada.last_name, ada.note) == ("A.", "King", "by staff")
    story.settles()
    story.staff("edit", id=ada.id, last_name=None)
    story.apply()
    assert story.theirs("ada").last_name == "King"
    story.settles()


def test_what_only_the_shop_knows_is_never_cleared_by_a_null_profile(story: StoryHarness) -> None:
    story.store["fields"] = dict.fromkeys(NEW, "enforce")
    at = story.staff("create", email=mail("ada"), last_name="King", phone=ONE, note="by staff", locale="fr").id
    before = story.everybody()[at]
    story.user("ada", first_name=None)
    story.apply()
    assert unlike(before, story.theirs("ada")) == {"tags": ((), ("app-user",)), "backlink": (None, "user_ada")}
    story.settles()


def test_values_that_shopify_writes_in_another_way_are_equal_afterwards(story: StoryHarness) -> None:
    story.store.update(country="CA", fields={"phone": "enforce", "note": "enforce", "locale": "enforce"})
    story.store["metafields"] = {
        "clerk.plan": {"from": "metadata.plan", "type": "json"},
        "clerk.score": {"from": "metadata.score", "type": "number_decimal"},
    }
    story.user(
        "ada", first_name="  Ada ", last_name="\t", phone="(613) 450-5293", note="two\r\nlines  ", locale="fr_ca",
        metadata='{"plan": {"b": 1, "a": [2, 1]}, "score": 7.50}',
    )  # fmt: skip
    story.apply()
    ada = story.theirs("ada")
    assert (ada.first_name, ada.last_name, ada.phone) == ("Ada", None, ONE)
    story.settles()


# --- tags ----------------------------------------------------------------------------------------------------------


def test_tags_that_the_config_no_longer_names_leave_and_those_of_others_stay(rich: StoryHarness) -> None:
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


def test_a_tag_that_was_there_before_us_stays_when_the_config_drops_it(story: StoryHarness) -> None:
    story.staff("create", email=mail("ada"), tags=["App-User"])
    story.user("ada")
    story.user("bob")
    story.apply()
    assert story.theirs("ada").tags == ("App-User",)
    story.store["tags"] = []
    story.apply()
    assert (story.theirs("ada").tags, story.theirs("bob").tags) == (("App-User",), ())
    story.settles()


def test_our_tag_comes_back_when_staff_take_it_off(rich: StoryHarness) -> None:
    rich.staff("untag", id=rich.theirs("ada").id, tags=["app-user", "vip"])
    (change,) = rich.plan()["actions"][0]["changes"]
    assert (change["field"], change["why"], change["before"]) == ("tags", "drift", ["wholesale"])
    rich.apply()
    assert rich.theirs("ada").tags == ("app-user", "wholesale")
    rich.settles()


def test_a_tag_that_the_shop_knows_in_other_letters_is_the_same_tag(story: StoryHarness) -> None:
    with story.shop().lock:
        story.shop().shop.change_habits(snap_tag_casing=True)
    story.staff("create", email=mail("eve"), tags=["APP-USER"])
    story.user("ada")
    story.apply()
    assert story.theirs("ada").tags == ("APP-USER",)
    story.settles()
    story.store["tags"] = []
    story.apply()
    assert story.theirs("ada").tags == ()
    story.settles()


# --- phones --------------------------------------------------------------------------------------------------------


def test_a_phone_that_somebody_has_never_blocks_the_rest_and_comes_when_it_is_free(story: StoryHarness) -> None:
    other = story.staff("create", first_name="Home", phone=ONE).id
    story.user("ada", phone=ONE, last_name="King")
    story.user("bob")
    story.apply()
    assert (story.theirs("ada").phone, story.theirs("ada").last_name) == (None, "King")
    story.settles(held={("ada", "PhoneTaken")})
    story.user("ada", last_name="Lovelace")
    story.apply()
    assert story.theirs("ada").last_name == "Lovelace"
    story.settles(held={("ada", "PhoneTaken")})
    story.staff("edit", id=other, phone=None)
    story.apply()
    assert story.theirs("ada").phone == ONE
    story.settles()


@pytest.mark.parametrize("kind", ["lost_before", "lost_after"])
def test_a_create_without_its_phone_and_with_a_lost_answer_counts_as_done(story: StoryHarness, kind: FaultKind) -> None:
    story.staff("create", first_name="Home", phone=ONE)
    story.user("ada", phone=ONE)
    story.shop().faults.add(kind, on="customerSet")
    assert story.apply()["stores"][0]["applied"] == {"create": 1}
    story.settles(held={("ada", "PhoneTaken")})


def test_two_users_with_one_phone_get_it_one_after_the_other(story: StoryHarness) -> None:
    story.store["fields"] = {"phone": "enforce"}
    story.user("ada", phone=ONE)
    story.user("bob", phone=ONE)
    story.apply()
    story.apply()
    phones = {name: story.theirs(name).phone for name in ("ada", "bob")}
    assert sorted(phones.values(), key=str) == [ONE, None]
    has, waits = sorted(phones, key=lambda name: phones[name] is None)
    story.settles(held={(waits, "PhoneTaken")})
    story.user(has, phone=None)
    story.apply()
    story.apply()
    assert (story.theirs(waits).phone, story.theirs(has).phone) == (ONE, None)
    story.settles()


@pytest.mark.parametrize("phone", ["12", "call me", "450-5293 ext. 7"])
def test_a_phone_that_is_none_is_left_out_and_goes_when_it_is_mended(story: StoryHarness, phone: str) -> None:
    story.store["country"] = "CA"
    story.user("ada", phone=phone)
    story.apply()
    assert story.theirs("ada").phone is None
    story.settles(held={("ada", "PhoneInvalid")})
    story.user("ada", phone=ONE)
    story.apply()
    assert story.theirs("ada").phone == ONE
    story.settles()


def test_a_phone_without_a_country_code_is_held_where_the_store_names_no_country(story: StoryHarness) -> None:
    story.user("ada", phone="(613) 450-5293")
    story.apply()
    assert story.theirs("ada").phone is None
    story.settles(held={("ada", "PhoneInvalid")})
    story.store["country"] = "CA"
    story.apply()
    assert story.theirs("ada").phone == ONE
    story.settles()


# --- refused values ------------------------------------------------------------------------------------------------


def test_a_name_that_shopify_refuses_is_left_out_and_the_rest_is_written(story: StoryHarness) -> None:
    story.user("ada", last_name="King")
    story.apply()
    story.user("ada", first_name="www.example.com", last_name="Lovelace")
    story.apply()
    assert (story.theirs("ada").first_name, story.theirs("ada").last_name) == ("Ada", "Lovelace")
    story.settles(held={("ada", "Rejected")})
    assert story.mappings()["ada"]["reason"] == "Rejected"
    story.user("ada", first_name="Adah")
    story.apply()
    assert story.theirs("ada").first_name == "Adah"
    story.settles()


def test_what_shopify_refuses_of_a_new_customer_is_reported_immediately_and_held_from_there_on(
    story: StoryHarness,
) -> None:
    story.user("ada", first_name="www.example.com", last_name="King")
    result = story.apply()["stores"][0]
    assert (result["applied"], result["failed"], result["held"]) == ({"create": 1}, [], 1)
    told = result["holds"][0]
    assert (told["clerk_user_id"], told["reason"], told["field"]) == ("user_ada", "Rejected", "first_name")
    assert "First name cannot contain URL" in told["message"]
    row = story.mappings()["ada"]
    assert (row["status"], row["reason"]) == ("held", "Rejected")
    assert story.theirs("ada").last_name == "King"
    story.settles(held={("ada", "Rejected")})
    story.user("bob", first_name="www.example.com")
    said = story("apply", "--yes").out
    assert "1 created · 2 held" in said
    assert "! Rejected user_bob: Shopify refused first_name: First name cannot contain URL" in said


def test_a_picture_that_shopify_refuses_is_left_out_and_clears_itself(story: StoryHarness) -> None:
    story.store["metafields"] = {AVATAR: {"from": "image_url", "type": "url"}}
    story.user("ada", image_url="not a url")
    assert story.apply()["stores"][0]["applied"] == {"create": 1}
    assert (story.theirs("ada").email, story.theirs("ada").metafields) == (mail("ada"), {})
    story.settles(held={("ada", "Rejected")})
    story.user("ada", image_url=PICTURE)
    story.apply()
    assert story.theirs("ada").metafields == {AVATAR: PICTURE}
    story.settles()


def test_the_last_word_by_which_a_customer_is_known_is_not_cleared(story: StoryHarness) -> None:
    story.store.update(require_email=False, fields={"phone": "enforce"})
    story.user("ada", email=None)
    story.apply()
    story.user("ada", first_name=None)
    story.apply()
    assert story.theirs("ada").first_name == "Ada"
    story.settles(held={("ada", "Rejected"), ("ada", "NoEmail")} & story.held())
    assert ("ada", "Rejected") in story.held()
    story.user("ada", phone=ONE)
    story.apply()
    story.apply()
    assert (story.theirs("ada").first_name, story.theirs("ada").phone) == (None, ONE)
    story.settles()
