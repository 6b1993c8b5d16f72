"""Phones as people, spreadsheets and exports write them: the number that was written, or none."""

from __future__ import annotations

import re
import unicodedata

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.fields.phones import e164


@pytest.mark.parametrize(
    ("written", "country", "number"),
    [
        ("+1 (613) 450-5293", None, "+16134505293"),
        ("+1.613.450.5293", None, "+16134505293"),
        ("0049 151 12345678", "US", "+4915112345678"),
        ("(+49) 151/12345678", None, "+4915112345678"),
        ("+44 (0)20 7946 0958", None, "+442079460958"),
        ("011 49 151 12345678", "US", "+4915112345678"),
        ("613\u00a0450\u20115293", "US", "+16134505293"),
        ("030/1234567", "DE", "+49301234567"),
        ("0171.1234567", "DE", "+491711234567"),
        ("06 1234 5678", "IT", "+390612345678"),
        ("\uff10\uff19\uff10\uff0d\uff11\uff12\uff13\uff14\uff0d\uff15\uff16\uff17\uff18", "JP", "+819012345678"),
        # without its plus
        ("4915112345678", "US", "+4915112345678"),
        ("4915112345678", "DE", "+4915112345678"),
        ("49 151 12345678", "US", "+4915112345678"),
        ("447911123456", "GB", "+447911123456"),
        ("16134505293", "US", "+16134505293"),
    ],
)
def test_a_number_is_read_however_people_write_it(written: str, country: str | None, number: str) -> None:
    assert e164(written, country) == number


@pytest.mark.parametrize(
    "written",
    [
        "+1234abcd", "n/a 1234567", "n/a", "none", "+1 555 1212", "911", "0000000000",
        "4915112345678.0", "6134505293.00", "4.915E+12", "4.915112345678E+12", "1.6134505293", "'+16134505293",
        '="+16134505293"', "-6134505293", "6134505293-", "+", "++16134505293", "+1 +613 4505293", "00",
        "+1 613 450 5293 x123", "+1 613 450 5293 ext. 7", "+1 613 450 5293;ext=7", "+1 613 450 5293#7",
        "tel:+16134505293", "1-800-FLOWERS", "613-450-5293 (cell)", "(613) 450-5293 (2)",
        "613-450-5293, 613-450-5294", "613-450-5293 / 613-450-5294", "613-450-5293; 613-450-5294",
        "6134505293 6134505294", "+16134505293\n+16134505294", "3012345 3012346", "+49 30 1234567 / 89",
        "030123456 030123457", "\u202a+16134505293\u202c", "\ufeff+16134505293", "+1613\u200b4505293", "+1_613_4505293",
        "613 450 529\u00b3", "\u2460613450529", "+1\u00b7613\u00b7450\u00b75293",
    ],
)  # fmt: skip
def test_what_is_not_one_whole_number_is_none(written: str) -> None:
    for country in (None, "US", "DE", "CA", "JP"):
        with pytest.raises(ValueError, match=r"phone number|country code"):
            e164(written, country)


@pytest.mark.parametrize("country", ["US", "CA"])
def test_a_number_that_can_be_dialled_locally_only_is_none(country: str) -> None:
    with pytest.raises(ValueError, match="not valid in the store's country"):
        e164("555-1212", country)


@pytest.mark.parametrize("written", ["6134505293", "4915112345678", "0151 12345678"])
def test_without_a_country_a_number_without_its_plus_is_not_guessed(written: str) -> None:
    with pytest.raises(ValueError, match="no country code"):
        e164(written, None)


PIECES = st.sampled_from(
    ["+", "00", "(", ")", "-", ".", "/", " ", "0", "49", "1", "613", "450", "5293", "151", "12345678", "x", "E+11", ".0",
     "\u200b", "\u202a", "\uff11", "\u0661", ",", ";", "#"]
)  # fmt: skip


@given(st.lists(PIECES, min_size=1, max_size=9).map("".join), st.sampled_from([None, "US", "DE", "GB", "IT", "FR"]))
def test_a_number_is_never_made_of_digits_that_were_not_written(written: str, country: str | None) -> None:
    try:
        found = e164(written, country)
    except ValueError:
        return
    digits = "".join(str(unicodedata.decimal(c)) for c in written if c.isdecimal())
    number = phonenumbers.parse(found, None)
    significant = str(number.national_number)
    assert significant in digits or significant.lstrip("0") in digits.replace("0", "", 1)
    assert not re.search(r"[^\W\d_]", written)
    assert phonenumbers.is_possible_number(number)
    assert e164(found, country) == found
