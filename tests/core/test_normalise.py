"""Values as Shopify keeps them (facts read 2026-11-23)."""

from __future__ import annotations

import pytest

from reconciler.core.fields import normalise


@pytest.mark.parametrize(
    ("given", "kept"), [(None, None), ("", None), (" \t\n", None), ("  Ada ", "Ada"), ("Ada  B", "Ada  B")]
)
def test_a_name_is_trimmed_and_blank_is_none(given: str | None, kept: str | None) -> None:
    assert normalise.name(given) == kept


@pytest.mark.parametrize(
    ("given", "kept"), [(None, None), ("", None), (" a\r\nb ", "a\nb"), ("a\nb", "a\nb"), ("\n", None)]
)
def test_a_note_s_line_ends_and_outer_blanks_do_not_count(given: str | None, kept: str | None) -> None:
    assert normalise.note(given) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [(None, None), (" ", None), ("EN", "en"), ("en_us", "en-US"), ("zh-hant-tw", "zh-Hant-TW"), (" de-CH ", "de-CH")],
)
def test_a_locale_has_its_usual_case(given: str | None, kept: str | None) -> None:
    assert normalise.locale(given) == kept


def test_an_email_is_written_as_it_is_but_for_white_space_at_its_ends() -> None:
    assert normalise.email(" Ada@X.com\n") == "Ada@X.com"
    assert normalise.email(" ") is None


def test_two_emails_are_one_whatever_their_case_and_white_space() -> None:
    assert normalise.email_key("A da@X.com ") == normalise.email_key("ada@x.COM") == "ada@x.com"
    assert normalise.email_key(None) is None


def test_plus_and_dot_variants_of_an_email_are_different_people() -> None:
    keys = {normalise.email_key(e) for e in ("ada@x.com", "ada+1@x.com", "a.da@x.com")}
    assert len(keys) == 3


@pytest.mark.parametrize("email", ["ada@x.com", "a+b.c@x-y.co.uk", "ö@müller.example", "a" * 248 + "@x.com"])
def test_usual_emails_are_valid(email: str) -> None:
    assert normalise.email_is_valid(email)


@pytest.mark.parametrize(
    "email",
    [
        "not-an-email", "foo@", "@bar.com", "foo@bar", "foo@@bar.com", "a b@x.com", "a..b@x.com", "a@x..com", "a@x.c",
        "<a@x.com>", "a,b@x.com", "a" * 250 + "@x.com",
    ],
)  # fmt: skip
def test_what_shopify_calls_invalid_is_invalid(email: str) -> None:
    assert not normalise.email_is_valid(email)


UNSEEN = [
    "\ufeff", "\u200b", "\u200c", "\u200d", "\u2060", "\u2063", "\u00ad", "\u200e", "\u200f", "\u061c", "\u202a", "\u202e",
    "\u2066", "\u2069", "\u034f", "\u115f", "\u3164", "\uffa0", "\u17b4", "\u180e", "\ufe0f", "\u2800", "\U000e0061",
    "\U000e0100", "\u0007", "\u007f", "\u0080", "\ufff9", "\U0001d173", "\ue000", "\ud800", "\u2028",
]  # fmt: skip


@pytest.mark.parametrize("unseen", UNSEEN, ids=lambda c: f"U+{ord(c):04X}")
def test_an_email_with_something_unseen_in_it_is_invalid(unseen: str) -> None:
    for place in ("{}ada@x.com", "a{}da@x.com", "ada{}@x.com", "ada@{}x.com", "ada@x.c{}om", "ada@x.com{}"):
        email = normalise.email(place.format(unseen))
        assert email == "ada@x.com" or not normalise.email_is_valid(email or ""), place


@pytest.mark.parametrize("unseen", UNSEEN[:-1], ids=lambda c: f"U+{ord(c):04X}")
def test_a_name_and_a_tag_are_what_they_are(unseen: str) -> None:
    assert normalise.name(f"A{unseen}da") == f"A{unseen}da"
    assert normalise.tags([f"v{unseen}ip"]) == (f"v{unseen}ip",)


def test_a_phone_becomes_e164() -> None:
    assert normalise.phone("+1 (613) 450-5293", None) == "+16134505293"
    assert normalise.phone("613 450 5293", "CA") == "+16134505293"
    assert normalise.phone("  ", "CA") is None
    assert normalise.phone(None, None) is None


@pytest.mark.parametrize(
    ("given", "country", "says"),
    [
        ("613 450 5293", None, "no country code"),
        ("hello", "CA", "not a phone number"),
        ("+", None, "not a phone number"),
        ("+1 613", None, "that Shopify takes"),
        ("+1 613 450 5293 ext. 7", None, "not a phone number"),
    ],
)
def test_a_phone_shopify_would_refuse_is_an_error_that_says_why(given: str, country: str | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        normalise.phone(given, country)


def test_stored_phones_are_compared_by_digits() -> None:
    assert normalise.phone_key("+1 613-450") == "+1613450"
    assert normalise.phone_key("") is None


def test_tags_are_split_trimmed_deduped_and_sorted_ignoring_case() -> None:
    assert normalise.tags(["Zulu", " alpha , ALPHA", "", ",", "spaced tag"]) == ("alpha", "spaced tag", "Zulu")
    assert normalise.tag_keys(["Zulu", "zULU"]) == {"zulu"}


@pytest.mark.parametrize(
    ("one", "other", "type_"),
    [
        ('{"b": 1, "a": 2}', '{"a":2,"b":1}', "json"),
        ("[1, 2]", "[1,2]", "list.number_integer"),
        ("1.50", "1.5", "number_decimal"),
        ("1E2", "100", "number_decimal"),
        ("007", "7", "number_integer"),
        (" text ", "text", "single_line_text_field"),
        ("2024-01-01T12:30:00", "2024-01-01T12:30:00+00:00", "date_time"),
        ("2024-01-01T12:30:00Z", "2024-01-01T13:30:00+01:00", "date_time"),
        ("2026-06-25T10:11:12.123+05:30", "2026-06-25T10:11:12+05:30", "date_time"),
        ("1.1234567891", "1.123456789", "number_decimal"),
        ("5.000", "5", "number_integer"),
        ("t", "true", "boolean"),
        (" TRUE ", "1", "boolean"),
        ("f", "0", "boolean"),
        ("[10.4]", '["10.4"]', "list.number_decimal"),
        ('["2024-01-01T12:30:00"]', '["2024-01-01T12:30:00+00:00"]', "list.date_time"),
        ("[5.0, 6]", "[5,6]", "list.number_integer"),
        (
            '{"value":"3.5","scale_min":"1.0","scale_max":"5.0"}',
            '{"scale_min":"1","scale_max":"5.0","value":"3.50"}',
            "rating",
        ),
        (
            '[{"value":"3.5","scale_min":"1.0","scale_max":"5.0"}]',
            '[{"scale_min":"1.0","scale_max":"5.0","value":"3.5"}]',
            "list.rating",
        ),
        ('{"value":25,"unit":"centimeters"}', '{"value":25.0,"unit":"CENTIMETERS"}', "dimension"),
        ('[{"value":20,"unit":"ml"}]', '[{"value":20.0,"unit":"ML"}]', "list.volume"),
        ('{"value":256,"unit":"gigabytes"}', '{"value":256.0,"unit":"GIGABYTES"}', "data_storage_capacity"),
        ('{"amount":"5.990","currency_code":"usd"}', '{"currency_code":"USD","amount":"5.99"}', "money"),
        ("#AABBCC", "#aabbcc", "color"),
        ("a\r\nb", "a\nb", "multi_line_text_field"),
    ],
)
def test_two_spellings_of_one_metafield_are_equal(one: str, other: str, type_: str) -> None:
    assert normalise.metafield(one, type_) == normalise.metafield(other, type_)


@pytest.mark.parametrize(
    ("one", "other", "type_"),
    [
        ("[2, 1]", "[1, 2]", "json"),
        ("9007199254740993", "9007199254740992", "number_integer"),
        ("9999999999999.999999999", "9999999999999.999999998", "number_decimal"),
        ("1.5", "1.50", "single_line_text_field"),
        ("{broken", "{broken}", "json"),
        ("one", "two", "number_integer"),
        ("2024-01-01T12:30:00Z", "2024-01-01T12:30:00+01:00", "date_time"),
        ("1.123456789", "1.123456788", "number_decimal"),
        ("true", "false", "boolean"),
        ("1", "true", "single_line_text_field"),
        ('["1"]', '["1.0"]', "list.single_line_text_field"),
        ('{"value":25,"unit":"cm"}', '{"value":25,"unit":"m"}', "dimension"),
        ('{"value":25,"unit":"cm"}', '{"value":25,"unit":"CM"}', "json"),
        ("1e400", "2e400", "number_decimal"),
        ("NaN", "Infinity", "number_decimal"),
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "date_time"),
        ("[" * 100_000, "[" * 99_999, "json"),
    ],
)
def test_two_values_of_a_metafield_stay_two(one: str, other: str, type_: str) -> None:
    assert normalise.metafield(one, type_) != normalise.metafield(other, type_)


def test_a_blank_metafield_is_none_and_a_broken_one_stays_text() -> None:
    assert normalise.metafield(" ", "json") is None
    assert normalise.metafield(None, "url") is None
    assert normalise.metafield(" {broken ", "json") == "{broken"
    assert normalise.metafield("one", "number_integer") == "one"


def test_each_spelling_of_an_email_leads_to_the_others() -> None:
    letters, ascii_ = "jos\u00e9@m\u00fcnchen.example.com", "jos\u00e9@xn--mnchen-3ya.example.com"
    decomposed = "jose\u0301@m\u00fcnchen.example.com"
    assert {ascii_, decomposed} <= set(normalise.other_spellings(letters))
    assert {letters, decomposed} <= set(normalise.other_spellings(ascii_))
    assert {letters, ascii_} <= set(normalise.other_spellings(decomposed))
    assert normalise.other_spellings("ada@m\uff20b\u00e9.example.com") == (), "`@` in the domain makes another address"
    assert normalise.other_spellings("Ada@village.example.com") == ()
