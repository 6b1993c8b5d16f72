"""Values as profiles really hold them: what is odd in one field holds that field, and never becomes another person's."""

from __future__ import annotations

import pytest

from tests.stories.village import Village, mail


@pytest.mark.parametrize("unseen", ["\ufeff", "\u200b", "\u2060", "\u202e"])
@pytest.mark.parametrize(
    "place", ["{}ada@village.example.com", "ada{}@village.example.com", "ada@village.example.com{}"]
)
def test_an_unseen_character_in_an_email_makes_no_second_customer_beside_the_guest(
    village: Village, place: str, unseen: str
) -> None:
    guest = village.staff("guest_checkout", email=mail("ada"))
    village.user("ada", email=place.format(unseen))
    assert village.held() == {("ada", "EmailInvalid")}
    hold = village.plan()["holds"][0]
    assert f"U+{ord(unseen):04X}" in hold["message"]
    village.apply()
    assert list(village.everybody()) == [guest.id]
    village.user("ada", email=mail("ada"))
    village.apply()
    assert village.theirs("ada").id == guest.id
    village.settles()


def test_names_and_tags_keep_their_unseen_characters(village: Village) -> None:
    village.store["tags"] = ["app\u200duser"]
    village.user("ada", first_name="می\u200cخواهم")
    village.apply()
    assert (village.theirs("ada").first_name, village.theirs("ada").tags) == ("می\u200cخواهم", ("app\u200duser",))
    village.settles()


@pytest.mark.parametrize(
    "phone",
    ["+1234abcd", "n/a 1234567", "555-1212", "4915112345678.0", "+1 613 450 5293 x7", "613-450-5293 / 613-450-5294"],
)
def test_a_phone_that_is_none_is_left_out_and_the_rest_is_written(village: Village, phone: str) -> None:
    village.store.update(country="US", fields={"phone": "enforce"})
    village.user("ada", phone=phone)
    village.apply()
    assert (village.theirs("ada").phone, village.theirs("ada").first_name) == (None, "Ada")
    village.settles(held={("ada", "PhoneInvalid")})


def test_a_phone_without_its_plus_is_the_number_that_was_written(village: Village) -> None:
    village.store.update(country="US", fields={"phone": "enforce"})
    village.user("ada", phone="4915112345678")
    village.user("bob", phone="613 450 5293")
    village.apply()
    assert (village.theirs("ada").phone, village.theirs("bob").phone) == ("+4915112345678", "+16134505293")
    village.settles()


@pytest.mark.parametrize("phone", ["2026-01-31", "31.01.2026", "1-31-2026", "2026.1.31"])
def test_a_date_is_no_phone_though_a_country_may_have_such_numbers(village: Village, phone: str) -> None:
    village.store.update(country="DE", fields={"phone": "enforce"})
    village.user("ada", phone=phone)
    village.apply()
    assert village.theirs("ada").phone is None
    village.settles(held={("ada", "PhoneInvalid")})


@pytest.mark.parametrize("phone", ["4 915 112 345 678", "4.915.112.345.678", "4\u00a0915\u00a0112\u00a0345\u00a0678"])
@pytest.mark.parametrize("country", ["DE", "US"])
def test_a_phone_with_the_thousands_of_a_spreadsheet_is_the_number_that_was_written(
    village: Village, phone: str, country: str
) -> None:
    village.store.update(country=country, fields={"phone": "enforce"})
    village.user("ada", phone=phone)
    village.apply()
    assert village.theirs("ada").phone == "+4915112345678"
    village.settles()


def test_numbers_of_the_metadata_are_written_as_shopify_takes_them(village: Village) -> None:
    village.store["metafields"] = {
        "app.latitude": {"from": "metadata.latitude", "type": "number_decimal"},
        "app.raw": {"from": "metadata.raw", "type": "json"},
    }
    village.user("ada", metadata='{"latitude": 0.0000123, "raw": {"a": 1e-7, "b": "1e-7"}}')
    village.apply()
    assert village.theirs("ada").metafields == {
        "app.latitude": "0.0000123",
        "app.raw": '{"a": 0.0000001, "b": "1e-7"}',
    }
    village.settles()


def test_decimals_with_an_exponent_are_written_in_digits_in_lists_and_texts_too(village: Village) -> None:
    village.store["metafields"] = {
        "app.list": {"from": "metadata.list", "type": "list.number_decimal"},
        "app.plain": {"from": "metadata.plain", "type": "list.number_decimal"},
        "app.text": {"from": "metadata.text", "type": "number_decimal"},
    }
    village.user("ada", metadata='{"list": [1e-7, 2.5, -0.00001, "3E+2"], "plain": [10.4, 7], "text": "1.5e-7"}')
    village.apply()
    assert village.theirs("ada").metafields == {
        "app.list": '["0.0000001","2.5","-0.00001","300"]',
        "app.plain": '["10.4","7"]',
        "app.text": "0.00000015",
    }
    village.settles()


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
def test_a_selector_finds_its_users_however_either_is_written(village: Village, rule: object, value: str) -> None:
    village.store["where"] = {"metadata.is": rule}
    village.user("ada", metadata=f'{{"is": {value}}}')
    village.user("bob", metadata='{"is": "other"}')
    assert village.actions() == {"ada": "create"}
