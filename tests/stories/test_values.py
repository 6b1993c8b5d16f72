"""Values as profiles really hold them: what is odd in one field holds that field, and never becomes another person's."""

from __future__ import annotations

import pytest

from tests.stories.harness import StoryHarness, mail


@pytest.mark.parametrize("unseen", ["\ufeff", "\u200b", "\u2060", "\u202e"])
@pytest.mark.parametrize(
    "place", ["{}ada@village.example.com", "ada{}@village.example.com", "ada@village.example.com{}"]
)
def test_an_unseen_character_in_an_email_makes_no_second_customer_beside_the_guest(
    story: StoryHarness, place: str, unseen: str
) -> None:
    guest = story.staff("guest_checkout", email=mail("ada"))
    story.user("ada", email=place.format(unseen))
    assert story.held() == {("ada", "EmailInvalid")}
    hold = story.plan()["holds"][0]
    assert f"U+{ord(unseen):04X}" in hold["message"]
    story.apply()
    assert list(story.everybody()) == [guest.id]
    story.user("ada", email=mail("ada"))
    story.apply()
    assert story.theirs("ada").id == guest.id
    story.settles()


def test_names_and_tags_keep_their_unseen_characters(story: StoryHarness) -> None:
    story.store["tags"] = ["app\u200duser"]
    story.user("ada", first_name="می\u200cخواهم")
    story.apply()
    assert (story.theirs("ada").first_name, story.theirs("ada").tags) == ("می\u200cخواهم", ("app\u200duser",))
    story.settles()


@pytest.mark.parametrize(
    "phone",
    ["+1234abcd", "n/a 1234567", "555-1212", "4915112345678.0", "+1 613 450 5293 x7", "613-450-5293 / 613-450-5294"],
)
def test_a_phone_that_is_none_is_left_out_and_the_rest_is_written(story: StoryHarness, phone: str) -> None:
    story.store.update(country="US", fields={"phone": "enforce"})
    story.user("ada", phone=phone)
    story.apply()
    assert (story.theirs("ada").phone, story.theirs("ada").first_name) == (None, "Ada")
    story.settles(held={("ada", "PhoneInvalid")})


def test_a_phone_without_its_plus_is_the_number_that_was_written(story: StoryHarness) -> None:
    story.store.update(country="US", fields={"phone": "enforce"})
    story.user("ada", phone="4915112345678")
    story.user("bob", phone="613 450 5293")
    story.apply()
    assert (story.theirs("ada").phone, story.theirs("bob").phone) == ("+4915112345678", "+16134505293")
    story.settles()


@pytest.mark.parametrize("phone", ["2026-01-31", "31.01.2026", "1-31-2026", "2026.1.31"])
def test_a_date_is_no_phone_though_a_country_may_have_such_numbers(story: StoryHarness, phone: str) -> None:
    story.store.update(country="DE", fields={"phone": "enforce"})
    story.user("ada", phone=phone)
    story.apply()
    assert story.theirs("ada").phone is None
    story.settles(held={("ada", "PhoneInvalid")})


@pytest.mark.parametrize("phone", ["4 915 112 345 678", "4.915.112.345.678", "4\u00a0915\u00a0112\u00a0345\u00a0678"])
@pytest.mark.parametrize("country", ["DE", "US"])
def test_a_phone_with_the_thousands_of_a_spreadsheet_is_the_number_that_was_written(
    story: StoryHarness, phone: str, country: str
) -> None:
    story.store.update(country=country, fields={"phone": "enforce"})
    story.user("ada", phone=phone)
    story.apply()
    assert story.theirs("ada").phone == "+4915112345678"
    story.settles()


def test_numbers_of_the_metadata_are_written_as_shopify_takes_them(story: StoryHarness) -> None:
    story.store["metafields"] = {
        "app.latitude": {"from": "metadata.latitude", "type": "number_decimal"},
        "app.raw": {"from": "metadata.raw", "type": "json"},
        "app.tier": {"from": "metadata.tier", "type": "json"},
        "app.mark": {"from": "metadata.mark", "type": "json"},
    }
    story.user(
        "ada",
        metadata='{"latitude": 0.0000123, "raw": {"a": 1e-7, "b": "1e-7"}, "tier": "gold \\u00e9", "mark": "NaN"}',
    )
    story.apply()
    assert story.theirs("ada").metafields == {
        "app.latitude": "0.0000123",
        "app.raw": '{"a": 0.0000001, "b": "1e-7"}',
        "app.tier": '"gold \u00e9"',
        "app.mark": '"NaN"',
    }
    story.settles()


def test_decimals_with_an_exponent_are_written_in_digits_in_lists_and_texts_too(story: StoryHarness) -> None:
    story.store["metafields"] = {
        "app.list": {"from": "metadata.list", "type": "list.number_decimal"},
        "app.plain": {"from": "metadata.plain", "type": "list.number_decimal"},
        "app.text": {"from": "metadata.text", "type": "number_decimal"},
    }
    story.user("ada", metadata='{"list": [1e-7, 2.5, -0.00001, "3E+2"], "plain": [10.4, 7], "text": "1.5e-7"}')
    story.apply()
    assert story.theirs("ada").metafields == {
        "app.list": '["0.0000001","2.5","-0.00001","300"]',
        "app.plain": '["10.4","7"]',
        "app.text": "0.00000015",
    }
    story.settles()


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("yes", "true"),
        ("on", "true"),
        ("no", "false"),
        ("S\u00e3o Paulo", '"Sa\u0303o Paulo"'),
        ("49", "49"),
        (49, '"49"'),
    ],
)
def test_a_selector_finds_its_users_however_either_is_written(story: StoryHarness, rule: object, value: str) -> None:
    story.store["where"] = {"metadata.is": rule}
    story.user("ada", metadata=f'{{"is": {value}}}')
    story.user("bob", metadata='{"is": "other"}')
    assert story.actions() == {"ada": "create"}
